//! Remarks on an answer: warnings, where it is likely not what was meant, and infos, where it may not be.

use std::collections::BTreeSet;

/// Most remarks of one kind; further ones are left out.
const KEPT_MAX: usize = 16;

/// Remarks on an answer, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

impl Annotations {
    /// Warnings, sorted.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(String::as_str)
    }

    /// Infos, sorted.
    pub fn infos(&self) -> impl Iterator<Item = &str> {
        self.infos.iter().map(String::as_str)
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        if self.warnings.len() < KEPT_MAX {
            self.warnings.insert(format!("PromQL warning: {}", text.into()));
        }
    }

    pub(crate) fn info(&mut self, text: impl Into<String>) {
        if self.infos.len() < KEPT_MAX {
            self.infos.insert(format!("PromQL info: {}", text.into()));
        }
    }
}
