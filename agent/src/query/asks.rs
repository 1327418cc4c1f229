//! Which question of the centre is answered next.
//!
//! Invariants:
//! - At most [`WAITING_MAX`] questions wait; what comes on top is refused at once, so that the centre need not wait.
//! - A question's time counts from its arrival here, by this machine's clock. The centre's clock is another one.

use skerry_model::Mono;
use skerry_wire::{AnswerPart, QueryAsk};
use std::collections::VecDeque;
use std::time::Duration;

/// Questions that may wait.
const WAITING_MAX: usize = 16;
/// Longest time for which a question waits, whatever it says.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// A question that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) ask: QueryAsk,
    /// Nobody waits for the answer after this.
    pub(super) until: Mono,
}

/// The questions that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct AskQueue {
    waiting: VecDeque<Waiting>,
}

/// A refusal to answer.
pub(super) fn refusal(kind: &str, reason: impl Into<String>) -> AnswerPart {
    AnswerPart::Failed { kind: kind.to_owned(), reason: reason.into() }
}

impl AskQueue {
    /// Takes a question that has just arrived. One that waits already is taken once: a message may come twice.
    ///
    /// # Errors
    /// What to answer where too many wait.
    pub(super) fn push(&mut self, id: u64, ask: QueryAsk, now: Mono) -> Result<(), AnswerPart> {
        if self.waiting.iter().any(|waiting| waiting.id == id) {
            return Ok(());
        }
        self.waiting.retain(|waiting| waiting.until > now);
        if self.waiting.len() >= WAITING_MAX {
            let reason = format!("{WAITING_MAX} questions wait on this node; ask again later");
            return Err(refusal("unavailable", reason));
        }
        let until = now + Duration::from_millis(u64::from(ask.timeout_ms)).min(TIMEOUT_MAX);
        self.waiting.push_back(Waiting { id, ask, until });
        Ok(())
    }

    /// Forgets a question that was taken back.
    pub(super) fn withdraw(&mut self, id: u64) {
        self.waiting.retain(|waiting| waiting.id != id);
    }

    /// The question to answer now, if any. Those that have expired are gone: nobody waits for them.
    pub(super) fn next(&mut self, now: Mono) -> Option<Waiting> {
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.until > now {
                return Some(waiting);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::Labels;
    use skerry_wire::{Question, Scope};

    fn ask(timeout_ms: u32) -> QueryAsk {
        let question = Question::Labels(Scope::default());
        QueryAsk { question, signed: Labels::default(), timeout_ms, bytes_max: 1000 }
    }

    fn next(queue: &mut AskQueue, now: u64) -> Option<u64> {
        queue.next(Mono(now)).map(|waiting| waiting.id)
    }

    #[test]
    fn questions_are_answered_in_order_until_they_expire() {
        let mut queue = AskQueue::default();
        for (id, timeout_ms) in [(1, 100), (2, 500), (3, 1000), (4, 1000)] {
            queue.push(id, ask(timeout_ms), Mono(0)).unwrap();
        }
        queue.push(4, ask(1000), Mono(1)).unwrap();
        queue.withdraw(3);
        assert_eq!(next(&mut queue, 100), Some(2), "the first has expired");
        assert_eq!(next(&mut queue, 100), Some(4));
        assert_eq!(next(&mut queue, 100), None, "none is answered twice");
        queue.push(5, ask(u32::MAX), Mono(0)).unwrap();
        assert_eq!(next(&mut queue, 300_000), None, "no question waits for ever");
    }

    #[test]
    fn a_flood_is_refused_and_what_has_expired_makes_room() {
        let mut queue = AskQueue::default();
        for id in 0..WAITING_MAX as u64 {
            queue.push(id, ask(100), Mono(0)).unwrap();
        }
        let refused = queue.push(99, ask(100), Mono(50)).unwrap_err();
        assert!(matches!(refused, AnswerPart::Failed { kind, .. } if kind == "unavailable"));
        queue.push(100, ask(100), Mono(150)).unwrap();
        assert_eq!(next(&mut queue, 150), Some(100));
    }
}
