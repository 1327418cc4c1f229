//! Work that may never end, such as asking a network file system whose server is gone.
//!
//! A call into the kernel cannot be broken off. So it is made on a thread of its own; if it takes too long the thread is
//! left to it and the next call gets a new one. A thread that was left ends by itself when its call does.
//!
//! Invariant: there are at most as many threads as there are calls that were left, and one more. Whoever asks keeps a
//! [`Late`] for each of the former and so bounds them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Collectors and calls need little; a node with dead mounts should not pay for them.
const STACK_BYTES: usize = 512 << 10;

/// Does one kind of work on a thread, as long as it is worth waiting for.
pub(super) struct Patient<J, D> {
    work: fn(J) -> D,
    worker: Option<Worker<J, D>>,
}

struct Worker<J, D> {
    jobs: SyncSender<J>,
    done: Receiver<D>,
}

/// What came of asking.
pub(super) enum Answer<D> {
    /// The result.
    Done(D),
    /// Nothing yet.
    Late(Late<D>),
    /// No thread could be started, or it ended without a result. What it was given is gone.
    Gone,
}

/// Work that was left alone.
pub(super) struct Late<D>(Receiver<D>);

impl<D> Late<D> {
    /// The result, if it has come by now.
    pub(super) fn poll(&self) -> Option<D> {
        self.0.try_recv().ok()
    }
}

impl<J: Send + 'static, D: Send + 'static> Patient<J, D> {
    pub(super) const fn new(work: fn(J) -> D) -> Self {
        Self { work, worker: None }
    }

    /// Does `job`, and waits at most `patience` for it.
    pub(super) fn ask(&mut self, job: J, patience: Duration) -> Answer<D> {
        let Some(worker) = self.worker.take().or_else(|| Worker::start(self.work)) else { return Answer::Gone };
        if worker.jobs.send(job).is_err() {
            return Answer::Gone;
        }
        match worker.done.recv_timeout(patience) {
            Ok(done) => {
                self.worker = Some(worker);
                Answer::Done(done)
            }
            Err(RecvTimeoutError::Timeout) => Answer::Late(Late(worker.done)),
            Err(RecvTimeoutError::Disconnected) => Answer::Gone,
        }
    }
}

impl<J: Send + 'static, D: Send + 'static> Worker<J, D> {
    fn start(work: fn(J) -> D) -> Option<Self> {
        // Nobody asks twice at once, so one place is enough and sending never waits.
        let (jobs, asked) = sync_channel::<J>(1);
        let (finished, done) = sync_channel::<D>(1);
        let run = move || {
            while let Ok(job) = asked.recv() {
                if finished.send(work(job)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("measure".into()).stack_size(STACK_BYTES).spawn(run);
        match thread {
            Ok(_) => Some(Self { jobs, done }),
            Err(error) => {
                tracing::warn!(%error, "a thread to measure with could not be started; is there a limit of tasks?");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_is_left_and_answers_later() {
        let mut patient = Patient::new(|job: Receiver<u8>| job.recv().unwrap_or_default());
        let (wake, hangs) = sync_channel(1);
        let Answer::Late(late) = patient.ask(hangs, Duration::from_millis(5)) else { panic!("it cannot be done") };
        assert_eq!(late.poll(), None);
        let (other, quick) = sync_channel(1);
        other.send(7).unwrap();
        assert!(matches!(patient.ask(quick, Duration::from_secs(60)), Answer::Done(7)));
        wake.send(9).unwrap();
        assert_eq!(late.0.recv().unwrap(), 9);
    }
}
