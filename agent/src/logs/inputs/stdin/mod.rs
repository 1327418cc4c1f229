//! Reads the agent's standard input, line by line: `program | skerry-agent`.
//!
//! It reads only as fast as the store takes, so that the program on the other side waits. At the input's end the last
//! line is taken even where nothing ends it, and the agent goes on. A terminal is not read: whoever starts the agent by
//! hand would wait for it.

use super::source::{Draft, GATHER, Source, StoreEnded};
use crate::logs::intake::Batch;
use skerry_model::OutputStream;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// Reads until the end or `stop`; then waits for `stop`.
///
/// # Errors
/// [`StoreEnded`].
pub(super) async fn run(source: Source, stop: CancellationToken) -> Result<(), StoreEnded> {
    let input = io::stdin().as_fd().try_clone_to_owned();
    read_from(input, source, stop).await
}

async fn read_from(input: io::Result<OwnedFd>, source: Source, stop: CancellationToken) -> Result<(), StoreEnded> {
    match input.and_then(Input::new) {
        Ok(input) => Lines::new(source).read(input, &stop).await?,
        Err(error) => source.problem(&format!("standard input is not read: {error}; a pipe or a file is expected")),
    }
    stop.cancelled().await;
    Ok(())
}

/// What standard input is.
enum Input {
    Pipe(Receiver),
    /// Always ready, so read in small steps.
    File(File),
}

impl Input {
    fn new(input: OwnedFd) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        let file = File::from(input);
        let kind = file.metadata()?.file_type();
        if kind.is_fifo() {
            Receiver::from_file(file).map(Self::Pipe)
        } else if kind.is_file() {
            Ok(Self::File(file))
        } else if kind.is_char_device() && !file.is_terminal() {
            // /dev/null, as service managers give it: it ends at once.
            Ok(Self::File(file))
        } else {
            Err(io::Error::other("it is a terminal or a socket"))
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.readable().await,
            Self::File(_) => {
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

/// Lines that arrive.
struct Lines {
    source: Source,
    buffer: Vec<u8>,
    /// A line was cut: pass over the rest of it.
    skips: bool,
    batch: Batch,
}

impl Lines {
    fn new(source: Source) -> Self {
        Self { source, buffer: Vec::new(), skips: false, batch: Batch::default() }
    }

    async fn read(mut self, mut input: Input, stop: &CancellationToken) -> Result<(), StoreEnded> {
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                readable = input.readable() => if readable.is_err() { break },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    self.source.send(&mut self.batch, Vec::new()).await?;
                    continue;
                }
            }
            let before = self.buffer.len();
            self.buffer.resize(before + READ_BYTES, 0);
            let read = input.try_read(&mut self.buffer[before..]);
            self.buffer.truncate(before + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => break,
                Ok(_) => self.lines().await?,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    self.source.problem(&format!("standard input cannot be read any more: {error}"));
                    break;
                }
            }
            if due.is_none() && !self.batch.is_empty() {
                due = Some(Instant::now() + GATHER);
            }
        }
        if !self.skips && !self.buffer.is_empty() {
            let rest = std::mem::take(&mut self.buffer);
            self.take(&rest, false);
        }
        self.source.send(&mut self.batch, Vec::new()).await
    }

    /// Takes what is whole.
    async fn lines(&mut self) -> Result<(), StoreEnded> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = buffer.as_slice();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if !std::mem::take(&mut self.skips) {
                self.take(&rest[..end], false);
            }
            rest = &rest[end + 1..];
            if self.batch.is_full() {
                self.source.send(&mut self.batch, Vec::new()).await?;
            }
        }
        if self.skips {
            return Ok(());
        }
        if rest.len() > self.source.line_bytes_max {
            self.skips = true;
            self.take(rest, true);
            return Ok(());
        }
        self.buffer = rest.to_vec();
        Ok(())
    }

    fn take(&mut self, line: &[u8], is_cut: bool) {
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        let draft = Draft {
            at: None,
            labels: Vec::new(),
            output: OutputStream::None,
            level: None,
            fields: Vec::new(),
            line,
            is_cut,
        };
        self.source.take(draft, &mut self.batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::inputs::rig::Rig;
    use skerry_model::{Level, LossReason};
    use std::io::Write;

    fn start(rig: &Rig, input: OwnedFd) -> tokio::task::JoinHandle<Result<(), StoreEnded>> {
        let common = Rig::checked(r#"{"stdin": {"enabled": true, "name": "in"}}"#).stdin.unwrap();
        tokio::spawn(read_from(Ok(input), rig.source(&common).marked(), rig.stop.clone()))
    }

    #[tokio::test]
    async fn a_pipe_is_read_to_its_end_and_waits_for_the_store() {
        let mut rig = Rig::new();
        let (out, mut into) = io::pipe().unwrap();
        let task = start(&rig, out.into());
        // 10 MB, while the pipe and all buffers hold less than one.
        let writer = std::thread::spawn(move || {
            for n in 0..10_000 {
                writeln!(into, "ERROR {n} {}", "z".repeat(1000)).unwrap();
            }
            write!(into, "{}\nlast, which nothing ends", "y".repeat(70_000)).unwrap();
        });
        rig.until("all", |rig| rig.records.len() == 10_002).await;
        writer.join().unwrap();
        let numbers = rig
            .records
            .iter()
            .filter_map(|record| std::str::from_utf8(&record.line).ok()?.split(' ').nth(1)?.parse::<u32>().ok());
        assert!(numbers.eq(0..10_000));
        assert_eq!((rig.records[0].level, rig.records[10_000].line.len()), (Level::Error, 64 << 10));
        assert_eq!(rig.lines()[10_001], "last, which nothing ends");
        assert_eq!((rig.losses[0].reason, rig.losses[0].count), (LossReason::Oversize, Some(1)));
        assert!(!task.is_finished(), "its end is not the agent's");
        rig.stop.cancel();
        rig.rest(task).await;
    }

    #[tokio::test]
    async fn a_file_is_read_and_nothing_is_no_problem() {
        let mut rig = Rig::new();
        let path = rig.folder.path().join("lines");
        std::fs::write(&path, "1\r\n2\n\n").unwrap();
        let task = start(&rig, File::open(&path).unwrap().into());
        rig.until("all", |rig| rig.records.len() == 3).await;
        assert_eq!(rig.lines(), ["1", "2", ""]);
        rig.stop.cancel();
        rig.rest(task).await;
        let rig = Rig::new();
        let task = start(&rig, File::open("/dev/null").unwrap().into());
        rig.stop.cancel();
        task.await.unwrap().unwrap();
        assert!(rig.board.read().problems().is_empty());
    }
}
