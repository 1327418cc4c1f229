//! Whether the machine stood still: for tests whose measure is time, where nothing can be waited for.
//!
//! Invariants:
//! - No bound of a test moves: what fails on a machine that ran fails at once.
//! - What fails while the machine stood still is played again, and that is told; at most [`TRIES`] times in all.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often something is played at most.
pub const TRIES: u32 = 3;
/// Pause between two looks of the watch.
const PAUSE: Duration = Duration::from_millis(50);

/// Plays something until it succeeds, or fails while the machine did not stand still for `limit` or longer.
///
/// # Errors
/// The last one of `play`; what the watch needs to write to the disk.
pub fn play_again<T>(limit: Duration, mut play: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (played, longest) = watched(&mut play)?;
        match played {
            Err(error) if tries < TRIES && longest >= limit => {
                eprintln!("played again, for the machine stood still for {longest:?}: {error:#}");
            }
            played => return played,
        }
    }
}

/// What came of it, and for how long a thread that sleeps, writes and syncs was held up at most meanwhile.
fn watched<T>(play: impl FnOnce() -> T) -> anyhow::Result<(T, Duration)> {
    let mut file = tempfile::tempfile()?;
    let (stop, longest) = (AtomicBool::new(false), AtomicU64::new(0));
    let played = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                #[expect(clippy::disallowed_methods, reason = "the real clock is what is watched")]
                let begin = Instant::now();
                std::thread::sleep(PAUSE);
                // A full disk is for the test to notice.
                let _ = file.write_all(b".").and_then(|()| file.sync_data());
                let held_up = begin.elapsed().saturating_sub(PAUSE);
                longest.fetch_max(u64::try_from(held_up.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        let _ends = Ends(&stop);
        play()
    });
    Ok((played, Duration::from_millis(longest.into_inner())))
}

/// Ends the watch, also where what is watched panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_on_a_machine_that_runs_fails_at_once() {
        let mut plays = 0;
        let played: anyhow::Result<()> = play_again(Duration::MAX, || {
            plays += 1;
            anyhow::bail!("{plays}")
        });
        assert_eq!((played.unwrap_err().to_string().as_str(), plays), ("1", 1));
    }

    #[test]
    fn what_fails_on_a_machine_that_stands_still_is_played_a_few_times() {
        let mut plays = 0;
        let mut play = |well| {
            plays = 0;
            let played: anyhow::Result<u32> = play_again(Duration::ZERO, || {
                plays += 1;
                anyhow::ensure!(plays == well, "{plays}");
                Ok(plays)
            });
            played.map_err(|error| error.to_string())
        };
        assert_eq!(play(2), Ok(2));
        assert_eq!(play(0), Err("3".to_owned()));
    }
}
