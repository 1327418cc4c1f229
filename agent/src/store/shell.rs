//! The thread that owns the writer: takes commands and log inputs from bounded channels, and tells where things stand.
//!
//! Invariants:
//! - Commands go first: log inputs alone wait, in their own channel.
//! - One turn takes one command, and of log inputs no more than stood in their channel; after it all watchers are told.

use super::head::Pace;
use super::lanes::{Released, Tag};
use super::load::{LoadError, LoadRequest};
use super::read::{SeriesQuery, SeriesSnapshot};
use super::search::LogSnapshot;
use super::stats::Stats;
use super::streams::Tip;
use super::transact::Change;
use super::writer::{WriteError, Writer};
use crate::clock::Clock;
use crate::data::{GateList, LogInput};
use skerry_model::{Labels, LossEntry, Now, Sample, Scrape, TimeRange};
use skerry_wire::{Ack, Batch, Event};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<T>;
/// A log input with the room that it takes in the queue.
pub(super) type Waiting = (LogInput, OwnedSemaphorePermit);

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Scrape(Scrape, Pace),
    Events(Vec<Event>, Reply<Result<(), WriteError>>),
    Loss(LossEntry),
    Acknowledge(Ack),
    Load(LoadRequest, Reply<Result<Option<Batch>, LoadError>>),
    PutState(Vec<Change>, Vec<Event>, Reply<Result<(), WriteError>>),
    Keep(Vec<Change>, Vec<Event>, Reply<()>),
    State(String, Reply<rusqlite::Result<Option<Vec<u8>>>>),
    Newest(Reply<Vec<(Labels, Sample)>>),
    Series(SeriesQuery, Reply<SeriesSnapshot>),
    Release(Tag, TimeRange, Reply<Result<Released, LoadError>>),
    Logs(Reply<LogSnapshot>),
    Ledger(Reply<rusqlite::Result<Vec<LossEntry>>>),
    Flush(Reply<Result<(), WriteError>>),
    Close(Reply<Result<(), WriteError>>),
}

/// The moment on both clocks.
pub(super) fn moment(clock: &Clock) -> Now {
    Now { wall: clock.wall(), mono: clock.mono() }
}

/// The thread around the writer.
pub(super) struct Shell {
    pub(super) clock: Clock,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) logs: mpsc::Receiver<Waiting>,
    pub(super) gate: watch::Sender<Arc<GateList>>,
    pub(super) tips: watch::Sender<Arc<Vec<Tip>>>,
    pub(super) stats: watch::Sender<Arc<Stats>>,
}

enum Next {
    Command(Option<Command>),
    Logs(Option<Waiting>),
    Timer,
}

impl Shell {
    /// Serves until the store is closed or its last handle is dropped; commits everything in either case. Ends at
    /// once, as in a crash, when the file turns out to be damaged: inputs then keep their data, and the next start
    /// mends it.
    pub(super) fn run(mut self, mut writer: Writer, runtime: &Runtime) {
        let span = tracing::info_span!("store");
        let _entered = span.enter();
        let closed = loop {
            match runtime.block_on(self.next(&writer)) {
                Next::Command(Some(Command::Close(reply))) => break Some(reply),
                Next::Command(Some(command)) => self.serve(&mut writer, command),
                Next::Command(None) => break None,
                Next::Logs(Some((input, _room))) => writer.append_logs(input, moment(&self.clock)),
                Next::Logs(None) | Next::Timer => {}
            }
            writer.tick(moment(&self.clock));
            self.publish(&writer);
            if writer.is_broken() {
                tracing::error!(
                    "the database is damaged; start the agent again: it sets the file aside and begins anew"
                );
                return;
            }
        };
        self.take_logs(&mut writer, usize::MAX);
        let outcome = writer.close(moment(&self.clock));
        match closed {
            Some(reply) => drop(reply.send(outcome)),
            None => {
                if let Err(error) = outcome {
                    tracing::error!(%error, "the store could not write what was in memory");
                }
            }
        }
    }

    async fn next(&mut self, writer: &Writer) -> Next {
        let now = moment(&self.clock);
        let wake = writer.next_wake(now).map(|at| at.since(now.mono));
        let timer = async move {
            match wake {
                Some(span) => tokio::time::sleep(span).await,
                None => std::future::pending().await,
            }
        };
        let ended = self.logs.is_closed() && self.logs.is_empty();
        let takes_logs = !ended && !writer.logs_wait();
        tokio::select! {
            biased;
            command = self.commands.recv() => Next::Command(command),
            input = self.logs.recv(), if takes_logs => Next::Logs(input),
            () = timer => Next::Timer,
        }
    }

    fn serve(&mut self, writer: &mut Writer, command: Command) {
        let now = moment(&self.clock);
        // Whoever no longer waits for an answer does not need it: a failed reply is dropped.
        match command {
            Command::Scrape(scrape, pace) => writer.append_scrape(&scrape, pace, now),
            Command::Events(events, reply) => drop(reply.send(writer.append_events(events, now))),
            Command::Loss(entry) => writer.record_loss(entry, now),
            Command::Acknowledge(ack) => writer.acknowledge(&ack),
            Command::Load(want, reply) => drop(reply.send(writer.load(want, now))),
            Command::PutState(state, events, reply) => drop(reply.send(writer.put_state(state, events, now))),
            Command::Keep(state, events, reply) => {
                writer.keep(state, events, now);
                let _ = reply.send(());
            }
            Command::State(key, reply) => drop(reply.send(writer.state(&key))),
            Command::Newest(reply) => drop(reply.send(writer.newest())),
            Command::Series(query, reply) => drop(reply.send(writer.series_snapshot(&query))),
            Command::Release(rule, range, reply) => drop(reply.send(writer.release(rule, range, now))),
            Command::Logs(reply) => {
                // What was handed over before the question belongs to its answer, and not what comes meanwhile: an input
                // that reads a long file fills the queue as fast as it is emptied.
                self.take_logs(writer, self.logs.len());
                drop(reply.send(writer.log_snapshot()));
            }
            Command::Ledger(reply) => drop(reply.send(writer.ledger())),
            Command::Flush(reply) | Command::Close(reply) => {
                self.take_logs(writer, self.logs.len());
                let outcome = writer.flush(now);
                // Who was told that it is written reads where the streams stand by then.
                self.publish(writer);
                drop(reply.send(outcome));
            }
        }
    }

    /// Takes up to `most` inputs from the queue, while the store has room for them.
    fn take_logs(&mut self, writer: &mut Writer, most: usize) {
        for _ in 0..most {
            if writer.logs_wait() {
                return;
            }
            let Ok((input, _room)) = self.logs.try_recv() else { return };
            writer.append_logs(input, moment(&self.clock));
            writer.tick(moment(&self.clock));
        }
    }

    fn publish(&self, writer: &Writer) {
        let tips = writer.tips();
        self.tips.send_if_modified(|known| {
            let changed = **known != tips;
            if changed {
                *known = Arc::new(tips);
            }
            changed
        });
        if !writer.budgets_closed().is_empty() {
            self.gate.send_if_modified(|known| {
                let flags = |list: &GateList| list.iter().map(|(_, closed)| *closed).collect::<Vec<_>>();
                let list = writer.log_gate();
                let changed = flags(known) != flags(&list);
                if changed {
                    *known = Arc::new(list);
                }
                changed
            });
        }
        let stats = writer.stats(moment(&self.clock));
        self.stats.send_if_modified(|known| {
            let failed = |stats: &Stats| stats.last_error.is_some();
            if failed(&stats) != failed(known) {
                match &stats.last_error {
                    Some(error) => tracing::error!(error, "the store cannot write; it is tried again"),
                    None => tracing::info!("the store writes again"),
                }
            }
            let changed = **known != stats;
            if changed {
                *known = Arc::new(stats);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Config;
    use crate::store::tests::record;
    use skerry_model::UnixMillis;
    use tokio::sync::Semaphore;

    #[test]
    fn a_question_does_not_wait_for_what_comes_meanwhile() {
        const INPUTS: usize = 50;
        let folder = tempfile::tempdir().unwrap();
        let (clock, _hand) = Clock::manual(UnixMillis(1_700_000_000_000));
        let opened = Writer::open(&folder.path().join("agent.db"), Config::default(), moment(&clock), || 1);
        let mut writer = opened.unwrap().0;
        let (_commands, commands) = mpsc::channel(1);
        let (sender, logs) = mpsc::channel(2);
        let (gate, tips) = (watch::Sender::default(), watch::Sender::default());
        let stats = watch::Sender::new(Arc::new(writer.stats(moment(&clock))));
        let mut shell = Shell { clock, commands, logs, gate, tips, stats };
        // Faster than they are taken: each holds more than the time of one change of thread.
        let records = vec![record(1, "of a long file"); 500];
        let room = Arc::new(Semaphore::new(INPUTS));
        let filling = std::thread::spawn(move || {
            for _ in 0..INPUTS {
                let taken = room.clone().try_acquire_owned().unwrap();
                let input = LogInput { records: records.clone(), ..LogInput::default() };
                sender.blocking_send((input, taken)).unwrap();
            }
        });
        while shell.logs.len() < 2 {
            std::thread::yield_now();
        }
        let (reply, _answer) = oneshot::channel();
        shell.serve(&mut writer, Command::Logs(reply));
        let mut left = 0;
        while shell.logs.blocking_recv().is_some() {
            left += 1;
        }
        filling.join().unwrap();
        assert_eq!(left, INPUTS - 2);
    }
}
