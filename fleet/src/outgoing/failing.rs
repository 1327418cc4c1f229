//! Since when a target fails, and why.

use skerry_model::UnixMillis;
use std::sync::{Mutex, PoisonError};

/// Which part of a target's requests fails.
#[derive(Debug, Default)]
pub(crate) struct Failing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many lanes; the rest counts only if it is not zero.
    lanes: usize,
    since: UnixMillis,
    why: String,
}

impl Failing {
    /// Notes a failure, and whether its lane worked before; whether all lanes did.
    pub(crate) fn fail(&self, at: UnixMillis, why: &str, is_new: bool) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lanes == 0 {
            state.since = at;
        }
        state.lanes += usize::from(is_new);
        why.clone_into(&mut state.why);
        state.lanes == 1 && is_new
    }

    /// Notes that a lane that failed works again; whether all do now.
    pub(crate) fn recover(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.lanes = state.lanes.saturating_sub(1);
        state.lanes == 0
    }

    /// Since when, and why; `None` where nothing fails.
    pub(crate) fn now(&self) -> Option<(UnixMillis, String)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.lanes > 0).then(|| (state.since, state.why.clone()))
    }
}
