//! Samples that rules read, in memory: beside everything that goes into the store.
//!
//! Whoever hands samples to the store must not wait for an evaluation, which may wait for the disk. So what comes while
//! the window is in use waits in a short queue, and where that overflows the window begins anew and the store answers.

use skerry_alerting::rules::Need;
use skerry_alerting::window::{Stats, Window};
use skerry_model::{Scrape, UnixMillis};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Memory of the window, in bytes.
const BYTES_MAX: usize = 3 << 20;
/// Most values that wait.
const WAITING_VALUES_MAX: usize = 20_000;

/// The window and what waits for it.
#[derive(Debug)]
pub struct Memory {
    window: Mutex<Window>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    scrapes: Vec<Scrape>,
    values: usize,
    /// What the window holds has gaps.
    is_lost: bool,
    needs: Vec<Need>,
    stats: Stats,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while samples are written leaves samples out at worst.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Vec::new(), UnixMillis(0))
    }
}

impl Memory {
    /// Of what rules need from now on.
    #[must_use]
    pub fn new(needs: Vec<Need>, now: UnixMillis) -> Self {
        let window = Mutex::new(Window::new(&needs, BYTES_MAX, now));
        Self { window, waiting: Mutex::new(Waiting { needs, ..Waiting::default() }) }
    }

    /// Whether anybody reads what it holds.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !lock(&self.waiting).needs.is_empty()
    }

    /// Takes what goes into the store.
    pub fn push(&self, scrape: &Scrape) {
        let mut waiting = lock(&self.waiting);
        if waiting.needs.is_empty() {
            return;
        }
        // Never waited for while the queue is held: whoever has the window takes the queue afterwards.
        if let Ok(mut window) = self.window.try_lock() {
            waiting.drain_into(&mut window, scrape.at);
            window.push(scrape.at, scrape.values.iter().map(|(labels, value)| (labels, *value)));
            return;
        }
        waiting.values += scrape.values.len();
        if waiting.values > WAITING_VALUES_MAX {
            (waiting.scrapes, waiting.is_lost) = (Vec::new(), true);
        } else if !waiting.is_lost {
            waiting.scrapes.push(scrape.clone());
        }
    }

    /// The window with all that came before `now`. Blocks.
    pub fn window(&self, now: UnixMillis) -> MutexGuard<'_, Window> {
        let mut window = lock(&self.window);
        let mut waiting = lock(&self.waiting);
        waiting.drain_into(&mut window, now);
        window.trim(now);
        waiting.stats = window.stats();
        drop(waiting);
        window
    }

    /// How it fared at the last evaluation.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.waiting).stats.clone()
    }
}

impl Waiting {
    fn drain_into(&mut self, window: &mut Window, now: UnixMillis) {
        if std::mem::take(&mut self.is_lost) {
            *window = Window::new(&self.needs, BYTES_MAX, now);
        }
        for scrape in self.scrapes.drain(..) {
            window.push(scrape.at, scrape.values.iter().map(|(labels, value)| (labels, *value)));
        }
        self.values = 0;
    }
}
