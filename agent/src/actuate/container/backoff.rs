//! How often a replica that ends by itself is started again: at once, then after 10 s, doubled to 5 min, as the kubelet does.

use skerry_model::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// Who ran so long is well.
const WELL: Duration = Duration::from_secs(600);
/// Most replicas that are remembered; the one whose last attempt is longest ago is forgotten first.
const REMEMBERED_MAX: usize = 256;

/// Attempts by container.
#[derive(Debug, Default)]
pub(super) struct Backoff(BTreeMap<String, Attempts>);

#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    last: Mono,
}

impl Backoff {
    /// Notes an attempt to start a container that ran so long the last time; or says how long to wait before the next.
    pub(super) fn attempt(&mut self, id: &str, ran: Option<Duration>, now: Mono) -> Option<Duration> {
        let known = self.0.get(id).filter(|_| ran.is_none_or(|ran| ran < WELL));
        let count = known.map_or(0, |known| known.count);
        if let Some(known) = known {
            let pause = FIRST.saturating_mul(1 << (count - 1).min(8)).min(LONGEST);
            let waited = now.since(known.last);
            if waited < pause {
                return Some(pause.saturating_sub(waited));
            }
        }
        if self.0.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, attempts)| attempts.last).map(|(id, _)| id.clone())
        {
            self.0.remove(&oldest);
        }
        self.0.insert(id.to_owned(), Attempts { count: count + 1, last: now });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_where_it_ran_well() {
        let mut backoff = Backoff::default();
        let short = Some(Duration::from_secs(1));
        let mut now = Mono(0);
        for pause in [10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(backoff.attempt("a", short, now), None, "{pause}");
            let half = Duration::from_secs(pause / 2);
            assert_eq!(backoff.attempt("a", short, now + half), Some(half));
            now = now + 2 * half;
        }
        assert_eq!(backoff.attempt("a", Some(WELL), now), None);
        assert_eq!(backoff.attempt("a", short, now), Some(FIRST), "counted anew");
        assert_eq!(backoff.attempt("b", None, now), None);
        for n in 0..2 * REMEMBERED_MAX {
            backoff.attempt(&n.to_string(), short, now);
        }
        assert!(backoff.0.len() <= REMEMBERED_MAX);
    }
}
