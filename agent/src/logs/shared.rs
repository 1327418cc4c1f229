//! What the trails share: the round they read into, and how many files are open.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::generation::Round;
use super::position::Ident;
use super::stats::LogStats;
use crate::data::LogGate;

/// What the trails share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) round: Round,
    pub(super) stats: Arc<LogStats>,
    /// Files that are open, by device and inode.
    pub(super) open: HashMap<(u64, u64), u32>,
    pub(super) open_count: usize,
    pub(super) files_max: usize,
    pub(super) grace_ms: u64,
    pub(super) poll_ms: u64,
    pub(super) retry_ms: u64,
    pub(super) next_id: u64,
    /// Which trails wait.
    pub(super) gate: LogGate,
}

impl Shared {
    /// Whether some trail reads this file.
    pub(super) fn is_open(&self, ident: Ident) -> bool {
        self.open.contains_key(&(ident.dev, ident.ino))
    }

    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn hold(&mut self, ident: Ident) {
        *self.open.entry((ident.dev, ident.ino)).or_insert(0) += 1;
        self.open_count += 1;
    }

    pub(super) fn release(&mut self, ident: Ident) {
        if let Some(count) = self.open.get_mut(&(ident.dev, ident.ino)) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&(ident.dev, ident.ino));
            }
        }
        self.open_count = self.open_count.saturating_sub(1);
    }
}

/// Why a generation was not opened.
#[derive(Debug)]
pub(super) enum Unopened {
    Io(io::Error),
    /// As many files are open as may be.
    NoRoom,
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
