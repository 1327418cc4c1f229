//! What a program leaves behind that left its group.

use super::{LOOK_MAX, LOOK_MIN};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Passes over all processes that look for what is left: a second, with their pauses.
const SWEEPS_MAX: usize = 25;
/// The variable that children inherit; early among all of them, since they are sorted.
pub(super) const MARK: &str = "AGENT_RUN";
/// Longest environment that is read.
const ENVIRONMENT_BYTES_MAX: usize = 128 << 10;

/// Among a process's flags: it is a thread of the kernel (PF_KTHREAD).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// Among a process's flags: it is ending (PF_EXITING).
const ENDING: u64 = 0x4;

/// One looks at a time: each look reads every environment, on a thread with a heap of its own.
static TURN: Semaphore = Semaphore::const_new(1);
/// Runs that ended and were not looked after yet: where many end at once, one look serves them all.
static ENDED: Mutex<Vec<Ended>> = Mutex::new(Vec::new());

/// A run that ended.
struct Ended {
    mark: String,
    group: Option<Pid>,
}

/// Kills whatever else carries the mark, until nothing does.
pub(super) async fn sweep(mark: String, group: Option<Pid>) {
    ended().push(Ended { mark: mark.clone(), group });
    // It is never closed. The look keeps it, also where nobody waits for the look any more.
    let turn = TURN.acquire().await;
    if !ended().iter().any(|other| other.mark == mark) {
        // The look before was for this run too, and is over.
        return;
    }
    let swept = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        look_after(&std::mem::take(&mut *ended()))
    });
    if !matches!(swept.await, Ok(true)) {
        tracing::error!("processes of a program live on although they were killed");
    }
}

fn ended() -> MutexGuard<'static, Vec<Ended>> {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills what carries one of the marks; whether nothing does any more.
fn look_after(runs: &[Ended]) -> bool {
    let marks: HashSet<&[u8]> = runs.iter().map(|run| run.mark.as_bytes()).collect();
    let (mut killed, mut is_clear, mut pause) = (Vec::new(), false, LOOK_MIN);
    for _ in 0..SWEEPS_MAX {
        let look = kill_marked(&marks);
        is_clear = look.killed.is_empty();
        killed.extend(look.killed);
        if is_clear && !look.sees_a_change {
            break;
        }
        // What was killed ends, and what becomes another program has become it, once they have had the processor.
        std::thread::sleep(pause);
        pause = (pause * 2).min(LOOK_MAX);
    }
    if std::process::id() == 1 {
        let groups = runs.iter().filter_map(|run| run.group).map(|group| WaitId::Pgid(Some(group)));
        bury(killed.into_iter().map(WaitId::Pid).chain(groups));
    }
    is_clear
}

/// What one pass over all processes came to.
#[derive(Default)]
struct Look {
    killed: Vec<Pid>,
    /// One was just becoming another program, or ending: what it is cannot be told yet.
    sees_a_change: bool,
}

/// Kills all processes that have one of the marks among their variables.
fn kill_marked(marks: &HashSet<&[u8]>) -> Look {
    let (mut look, mut room) = (Look::default(), vec![0; ENVIRONMENT_BYTES_MAX]);
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let environ = File::open(entry.path().join("environ"));
        match judge(environ, &entry.path(), &mut room, marks) {
            Seen::Marked => {
                look.killed.push(pid);
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            Seen::Changing => look.sees_a_change = true,
            Seen::Other => {}
        }
    }
    look
}

/// What a process is to a look.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// It carries one of the marks.
    Marked,
    /// It carries none.
    Other,
    /// It has to be looked at again.
    Changing,
}

/// What the process is whose variables were opened.
///
/// The opened file belongs to the memory that the process had then. With execve that memory goes, and nothing can be
/// read any more, though the process goes on with the same variables in new memory; nothing is there to be opened
/// either while it ends. One read takes all there is, so that the memory cannot go in the middle.
fn judge(environ: io::Result<File>, process: &Path, room: &mut [u8], marks: &HashSet<&[u8]>) -> Seen {
    let read = match environ {
        Ok(mut file) => file.read(room),
        // Somebody else's, which the program could not have become without its mark being kept from everybody.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Seen::Other,
        Err(_) => Ok(0),
    };
    let variables = &room[..read.unwrap_or(0)];
    let is_wanted = |variable: &[u8]| {
        let mark = variable.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        mark.is_some_and(|mark| marks.contains(mark))
    };
    match variables.split(|byte| *byte == 0).any(is_wanted) {
        true => Seen::Marked,
        false if variables.is_empty() && has_variables(process) => Seen::Changing,
        false => Seen::Other,
    }
}

/// Whether a process of which no variables could be read has some, or may have: not one of the kernel's, not one that
/// is dead, and not one of which the kernel says where its variables are, and that there are none. One that is ending
/// has closed its files soon and is waited for, unless a disk or a server that does not answer holds it up.
fn has_variables(process: &Path) -> bool {
    let Ok(stat) = std::fs::read_to_string(process.join("stat")) else { return false };
    // PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS ... ENV_START ENV_END EXIT_CODE: fields 3, 9, 50 and 51.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let is_alive = match fields.first() {
        None | Some(&("Z" | "X")) => false,
        Some(state) => *state != "D" || number(9) & ENDING == 0,
    };
    let is_kernels = number(9) & KERNEL_THREAD != 0;
    let has_none = number(50) != 0 && number(50) == number(51);
    is_alive && !is_kernels && !has_none
}

/// Whether a process, by the text of its number, lives: one that is dead does not, nor one that is ending and held up.
#[cfg(test)]
pub(crate) fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace().collect();
    let is_ending = fields.get(6).and_then(|flags| flags.parse::<u64>().ok()).is_some_and(|flags| flags & ENDING != 0);
    !fields.is_empty() && !["Z", "X"].contains(&fields[0]) && !is_ending
}

/// The first process of a container inherits the orphans and has to take note of their end, or they stay as zombies.
fn bury<'a>(all: impl Iterator<Item = WaitId<'a>>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    for which in all {
        // Each ends soon: it was killed. An error says that nobody is left.
        for _ in 0..SWEEPS_MAX {
            match rustix::process::waitid(which.clone(), options) {
                Ok(Some(_)) => {}
                Ok(None) => std::thread::sleep(LOOK_MIN),
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    const MARKS: [&[u8]; 1] = [b"test.7"];

    struct Begun(Child);

    impl Begun {
        /// A shell that waits for a line before it does this; with the mark or without any variable.
        fn shell(script: &str, is_marked: bool) -> Self {
            let script = format!("echo; read line; {script}");
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
            if is_marked {
                command.env(MARK, "test.7");
            }
            let mut begun = Self(command.spawn().unwrap());
            begun.hear();
            begun
        }

        fn path(&self) -> PathBuf {
            format!("/proc/{}", self.0.id()).into()
        }

        fn environ(&self) -> io::Result<File> {
            File::open(self.path().join("environ"))
        }

        fn judged(&self, environ: io::Result<File>) -> Seen {
            judge(environ, &self.path(), &mut vec![0; ENVIRONMENT_BYTES_MAX], &HashSet::from(MARKS))
        }

        /// Waits until it says a line: only then is it certain to be the program.
        fn hear(&mut self) {
            assert_eq!(self.0.stdout.as_mut().unwrap().read(&mut [0; 16]).unwrap(), 1);
        }

        fn go_on(&mut self) {
            self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            self.hear();
        }
    }

    impl Drop for Begun {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn one_that_becomes_another_program_under_the_look_is_looked_at_again() {
        let mut begun = Begun::shell("exec /bin/sh -c 'echo; read line; exit'", true);
        let before = begun.environ();
        assert_eq!(begun.judged(begun.environ()), Seen::Marked);
        begun.go_on();
        // The memory that was opened is gone, and the program has its arguments long since.
        assert_eq!(begun.judged(before), Seen::Changing);
        assert_eq!(begun.judged(begun.environ()), Seen::Marked);
        // Killed and not yet noted by anybody, and then gone.
        begun.0.kill().unwrap();
        let opened = begun.environ();
        begun.0.wait().unwrap();
        assert_eq!(begun.judged(opened), Seen::Other);
        assert_eq!(begun.judged(begun.environ()), Seen::Other);
    }

    #[test]
    fn one_without_variables_needs_no_second_look() {
        let mut begun = Begun::shell("exit", false);
        assert_eq!(begun.judged(begun.environ()), Seen::Other);
        // Nor does one that is dead and stays, or one of the kernel's.
        begun.0.kill().unwrap();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let pid = Pid::from_raw(begun.0.id().cast_signed()).unwrap();
        rustix::process::waitid(WaitId::Pid(pid), options).unwrap();
        assert_eq!(begun.judged(begun.environ()), Seen::Other);
    }
}
