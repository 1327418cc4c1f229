//! Who goes outside now: a target that hangs keeps no healthy one waiting.
//!
//! ```text
//! quick: answered in time the last time ─ 16 at once, each for 2 s ─┬─> answered
//!                                                                  └─> late: goes on as a slow one, or is cut off
//! slow:  did not                        ─ 16 at once, as long as they may ─> answered: quick again
//! ```
//!
//! Invariants:
//! - Whoever answers within [`PATIENCE`] waits at most [`PATIENCE`] for every [`AT_ONCE`] targets of its kind that hang and
//!   did not the last time, and for none that did.
//! - At most twice [`AT_ONCE`] targets of a kind are asked at a time, whatever they do.
//! - Slow ones come in the order in which they asked, and waiting is no part of the time that they have.

use crate::actuate::ActuatorError;
use skerry_scaling::target::TargetRef;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Targets of one kind that are asked at once, of the quick and of the slow each.
pub(super) const AT_ONCE: usize = 16;
/// Who answers in this time keeps nobody waiting.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Most targets that are remembered as slow: texts to try out name others than those of policies.
const SLOW_MAX: usize = 2 * super::POLICIES_MAX;

/// The turns of the targets of one kind.
pub(super) struct Turns {
    quick: Semaphore,
    slow: Semaphore,
    /// Those that were late the last time.
    late: Mutex<BTreeSet<TargetRef>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { quick: Semaphore::new(AT_ONCE), slow: Semaphore::new(AT_ONCE), late: Mutex::default() }
    }
}

impl Turns {
    /// Asks a target when it is its turn. It has `limit` from then on.
    ///
    /// # Errors
    /// The work's; `Timeout` where it is late, or late for the first time while too many are.
    pub(super) async fn take<T>(
        &self,
        target: &TargetRef,
        limit: Duration,
        work: impl Future<Output = Result<T, ActuatorError>>,
    ) -> Result<T, ActuatorError> {
        let mut work = pin!(work);
        let was_late = self.late().contains(target);
        // Never closed.
        let mut turn = if was_late { self.slow.acquire().await } else { self.quick.acquire().await };
        if let Ok(done) = timeout(PATIENCE, &mut work).await {
            self.late().remove(target);
            return done;
        }
        self.remember(target);
        if !was_late {
            let Ok(slow) = self.slow.try_acquire() else {
                let message = format!(
                    "{target} has not answered within {} s, nor have {AT_ONCE} others; it is asked when it is its turn",
                    PATIENCE.as_secs()
                );
                return Err(ActuatorError { reason: "Timeout", message });
            };
            turn = Ok(slow);
        }
        let done = timeout(limit.saturating_sub(PATIENCE), work).await;
        drop(turn);
        done.unwrap_or_else(|_| Err(late(target, limit)))
    }

    fn remember(&self, target: &TargetRef) {
        let mut late = self.late();
        if late.len() >= SLOW_MAX {
            late.clear();
        }
        late.insert(target.clone());
    }

    fn late(&self) -> std::sync::MutexGuard<'_, BTreeSet<TargetRef>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a target that does not answer is left.
pub(super) fn late(target: &TargetRef, limit: Duration) -> ActuatorError {
    let message = format!("{target} has not answered within {} s", limit.as_secs());
    ActuatorError { reason: "Timeout", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_scaling::target::TargetKind;
    use std::sync::Arc;
    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};

    const LIMIT: Duration = Duration::from_secs(20);

    fn target(name: &str) -> TargetRef {
        TargetRef { kind: TargetKind::Exec, name: name.to_owned(), scope: String::new() }
    }

    /// A target that answers after so long, and how long that took with its turn.
    async fn ask(turns: Arc<Turns>, name: String, after: Duration) -> (String, Duration, bool) {
        let begun = Instant::now();
        let work = async {
            sleep(after).await;
            Ok(())
        };
        let is_answered = turns.take(&target(&name), LIMIT, work).await.is_ok();
        (name, begun.elapsed(), is_answered)
    }

    /// All at once, in this order; how long each took.
    async fn round(turns: &Arc<Turns>, of: &[(&str, usize, Duration)]) -> Vec<(String, Duration, bool)> {
        let mut asked = JoinSet::new();
        for (name, count, after) in of {
            for n in 0..*count {
                asked.spawn(ask(turns.clone(), format!("{name}{n}"), *after));
            }
        }
        asked.join_all().await
    }

    fn slowest(all: &[(String, Duration, bool)], name: &str) -> Duration {
        all.iter().filter(|(one, ..)| one.starts_with(name)).map(|(_, took, _)| *took).max().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_keeps_nobody_waiting() {
        let turns = Arc::new(Turns::default());
        let all = [
            ("hangs", 100, Duration::from_secs(3600)),
            ("well", 50, Duration::from_millis(10)),
            ("busy", 1, Duration::from_secs(3)),
        ];
        let first = round(&turns, &all).await;
        // Seven times sixteen are more than a hundred.
        let bound = PATIENCE * 7 + Duration::from_secs(1);
        assert!(slowest(&first, "well") < bound, "{:?}", slowest(&first, "well"));
        assert!(
            first.iter().all(|(name, _, is_answered)| *is_answered != name.starts_with("hangs") || name == "busy0")
        );
        for _ in 0..3 {
            let later = round(&turns, &all).await;
            assert!(slowest(&later, "well") < Duration::from_millis(100), "{:?}", slowest(&later, "well"));
            // Among those that hang, one that takes long has its turn and its time.
            assert!(later.iter().any(|(name, _, is_answered)| name == "busy0" && *is_answered));
            assert!(slowest(&later, "hangs") <= LIMIT * 7);
        }
        // They come back as soon as they answer.
        let healed = [("hangs", 100, Duration::from_millis(10))];
        let all_answered = |all: Vec<(String, Duration, bool)>| all.iter().all(|(.., is_answered)| *is_answered);
        assert!(all_answered(round(&turns, &healed).await));
        assert!(turns.late().is_empty() || turns.late().iter().all(|one| one.name == "busy0"));
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_are_asked_than_there_are_turns() {
        let turns = Arc::new(Turns::default());
        let now = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut asked = JoinSet::new();
        for n in 0..200 {
            let (turns, now, most) = (turns.clone(), now.clone(), most.clone());
            asked.spawn(async move {
                use std::sync::atomic::Ordering::SeqCst;
                struct Leaves(Arc<std::sync::atomic::AtomicUsize>);
                impl Drop for Leaves {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, SeqCst);
                    }
                }
                for _ in 0..3 {
                    let work = async {
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        let _leaves = Leaves(now.clone());
                        std::future::pending::<Result<(), ActuatorError>>().await
                    };
                    let error = turns.take(&target(&n.to_string()), LIMIT, work).await.unwrap_err();
                    assert_eq!(error.reason, "Timeout");
                }
            });
        }
        asked.join_all().await;
        assert_eq!(most.load(std::sync::atomic::Ordering::SeqCst), 2 * AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let turns = Turns::default();
        for n in 0..2 * SLOW_MAX {
            turns.remember(&target(&n.to_string()));
        }
        assert!(turns.late().len() <= SLOW_MAX);
    }
}
