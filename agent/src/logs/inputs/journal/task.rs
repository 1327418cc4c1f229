//! The async shell of the journal's input.

use super::key;
use super::place::{Place, selection};
use crate::data::PositionUpdate;
use crate::logs::Start;
use crate::logs::inputs::config::Journal;
use crate::logs::inputs::source::{Draft, GATHER, Source, StoreEnded};
use crate::logs::inputs::stats::Count;
use crate::logs::intake::Batch;
use skerry_logs::wire::journal::{Entry, Next, Parser};
use skerry_model::{LossReason, OutputStream, TimeRange, UnixMillis};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time to the second start of the program when it has ended; it doubles with each further one.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// What is kept of the program's complaints.
const WORDS_BYTES_MAX: usize = 512;

/// Reads until `stop`. `state`: the stored place.
///
/// # Errors
/// [`StoreEnded`].
pub(in crate::logs::inputs) async fn run(
    config: Journal,
    source: Source,
    state: Option<Vec<u8>>,
    stop: CancellationToken,
) -> Result<(), StoreEnded> {
    run_program("journalctl", config, source, state, stop).await
}

pub(super) async fn run_program(
    program: &str,
    config: Journal,
    source: Source,
    state: Option<Vec<u8>>,
    stop: CancellationToken,
) -> Result<(), StoreEnded> {
    let mut reader = Reader {
        place: state.as_deref().and_then(Place::decode),
        selection: selection(&config),
        filters: !(config.units.is_empty() && config.matches.is_empty() && config.priority.is_none()),
        source,
        batch: Batch::default(),
        moved: false,
    };
    if state.is_some() && reader.place.is_none() {
        reader
            .source
            .problem("the stored place in the journal is damaged: it is read again as logs.journal.start says");
    }
    let mut again = AGAIN_MIN;
    while !stop.is_cancelled() {
        let starts = reader.source.stats.value(Count::Records);
        let problem = match Follower::start(program, &config, reader.place.as_ref()) {
            Ok(follower) => reader.follow(follower, config.start, &stop).await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("{program} is not installed: install systemd's package, or set logs.journal.enabled to false")
            }
            Err(error) => format!("{program} cannot be started: {error}"),
        };
        reader.hand_on().await?;
        if stop.is_cancelled() {
            break;
        }
        reader.source.problem(&problem);
        if reader.source.stats.value(Count::Records) > starts {
            again = AGAIN_MIN;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(again) => {}
        }
        again = (again * 2).min(AGAIN_MAX);
    }
    Ok(())
}

/// The program while it runs; it ends with this.
struct Follower {
    child: Child,
    out: Receiver,
    err: Receiver,
}

impl Follower {
    fn start(program: &str, config: &Journal, place: Option<&Place>) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["--output=export", "--follow", "--no-pager"]);
        match (place, config.start) {
            (Some(place), _) => command.arg("--no-tail").arg(format!("--cursor={}", place.cursor)),
            (None, Start::Beginning) => command.arg("--no-tail"),
            // The last entry tells the place; it is not taken.
            (None, Start::End) => command.arg("--lines=1"),
        };
        if let Some(path) = &config.path {
            command.arg("--directory").arg(path);
        }
        if let Some(priority) = config.priority {
            command.arg(format!("--priority={priority}"));
        }
        command.args(config.units.iter().map(|unit| format!("--unit={unit}"))).args(&config.matches);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let pipes = (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
        let opened = match pipes {
            (Some(out), Some(err)) => {
                Receiver::from_owned_fd(out).and_then(|out| Ok((out, Receiver::from_owned_fd(err)?)))
            }
            _ => Err(io::Error::other("it has no output")),
        };
        match opened {
            Ok((out, err)) => Ok(Self { child, out, err }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }
}

/// Ends the program, which only reads, and takes its leave.
fn end(child: &mut Child) {
    // Where it has ended already, so much the better.
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Follower {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What is known from entry to entry.
struct Reader {
    source: Source,
    selection: u32,
    /// Not all entries are shown.
    filters: bool,
    place: Option<Place>,
    batch: Batch,
    /// The place is ahead of what was handed on.
    moved: bool,
}

impl Reader {
    /// Takes what the program tells, until it ends or `stop`; why it ended.
    async fn follow(
        &mut self,
        follower: Follower,
        start: Start,
        stop: &CancellationToken,
    ) -> Result<String, StoreEnded> {
        self.source.stats.add(Count::Starts, 1);
        let began = self.source.clock.wall();
        let (mut parser, mut entry, mut buffer) = (Parser::default(), Entry::default(), Vec::new());
        let (mut is_first, mut words) = (true, String::new());
        let mut due: Option<Instant> = None;
        let mut hears = true;
        let why = loop {
            tokio::select! {
                () = stop.cancelled() => break String::new(),
                readable = follower.out.readable() => if let Err(error) = readable { break error.to_string() },
                readable = follower.err.readable(), if hears => {
                    hears = readable.is_ok() && self.listen(&follower.err, &mut words);
                    continue;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    self.hand_on().await?;
                    continue;
                }
            }
            let before = buffer.len();
            buffer.resize(before + READ_BYTES, 0);
            let read = follower.out.try_read(&mut buffer[before..]);
            buffer.truncate(before + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => break "it has ended".to_owned(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => break error.to_string(),
            }
            let mut used = 0;
            let fault = loop {
                used += match parser.next(&buffer[used..], self.source.line_bytes_max) {
                    Err(fault) => break Some(fault),
                    Ok(Next::More) => break None,
                    Ok(Next::Skip(used)) => used,
                    Ok(Next::Field { name, value, used, is_cut }) => {
                        entry.add(name, value, is_cut);
                        used
                    }
                    Ok(Next::End(used)) => {
                        let entry = std::mem::take(&mut entry);
                        if !entry.cursor.is_empty() {
                            if is_first && words.is_empty() {
                                self.source.solved();
                            }
                            self.take(entry, std::mem::take(&mut is_first), start, began);
                        }
                        used
                    }
                };
                if self.batch.is_full() {
                    self.hand_on().await?;
                }
            };
            buffer.drain(..used);
            if let Some(fault) = fault {
                break format!("its output is no export of a journal: {fault}");
            }
            if due.is_none() && self.moved {
                due = Some(Instant::now() + GATHER);
            }
        };
        self.listen(&follower.err, &mut words);
        Ok(if words.is_empty() { format!("journalctl: {why}") } else { format!("journalctl: {why}: {words}") })
    }

    /// Takes the program's complaints; the last of them stand on the board. Whether more may come.
    fn listen(&self, err: &Receiver, words: &mut String) -> bool {
        let mut bytes = [0; WORDS_BYTES_MAX];
        match err.try_read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                *words = String::from_utf8_lossy(&bytes[..read]).trim().replace('\n', " ");
                self.source.problem(&format!("journalctl says: {words}"));
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn take(&mut self, entry: Entry, is_first: bool, start: Start, began: UnixMillis) {
        let at = entry.at.unwrap_or(began);
        let place = Place { cursor: entry.cursor.clone(), at, selection: self.selection };
        let before = self.place.replace(place);
        self.moved = true;
        match before {
            Some(before) if is_first => {
                if before.cursor == entry.cursor {
                    return;
                }
                if before.selection == self.selection {
                    let missed = before.entries_before(&entry.cursor);
                    let count = missed.filter(|_| !self.filters);
                    // Nothing lies between two entries that follow each other, whatever became of the first.
                    if missed != Some(0) {
                        let range = TimeRange { from: before.at.min(at), to: at };
                        self.batch.lose(&self.source.name, LossReason::SourceGone, count, range);
                    }
                }
            }
            None if is_first && start == Start::End && at < began => return,
            _ => {}
        }
        let draft = Draft {
            at: Some(at),
            labels: vec![("unit", entry.unit), ("facility", entry.facility.unwrap_or_default().to_owned())],
            output: OutputStream::None,
            level: entry.level,
            fields: entry.fields,
            line: entry.message,
            is_cut: entry.is_cut,
        };
        self.source.take(draft, &mut self.batch);
    }

    /// Hands on what came, with the place behind it.
    async fn hand_on(&mut self) -> Result<(), StoreEnded> {
        if !std::mem::take(&mut self.moved) {
            return Ok(());
        }
        let state = self.place.as_ref().map(Place::encode);
        let positions = vec![PositionUpdate { key: key(&self.source.name), state }];
        self.source.send(&mut self.batch, positions).await
    }
}
