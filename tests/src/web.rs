//! HTTP as tests ask it: each request on a connection of its own, and an end to all patience.

use crate::lab::PATIENCE;
use std::sync::LazyLock;
use ureq::Agent;

/// A client whose requests fail when they are not answered within [`PATIENCE`]: who takes a connection and says nothing
/// fails a test, with the log that the test shows then, and does not stop it for ever. Connections are not used again,
/// since the processes behind them are killed and started.
#[must_use]
pub fn web() -> &'static Agent {
    static WEB: LazyLock<Agent> = LazyLock::new(|| {
        Agent::config_builder().timeout_global(Some(PATIENCE)).max_idle_connections(0).build().new_agent()
    });
    &WEB
}
