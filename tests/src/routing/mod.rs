//! Alertmanager beside Skerry: the same config, the same alerts at the same moments, and what receivers are told.
//!
//! ```text
//! scene ── posts, silences at their moments ──> Debian's prometheus-alertmanager ── webhooks ──> recorder ─┐
//!   └───────────────────────────────────────> the agent's API v2             ── webhooks ──> recorder ─┴─ compare
//! ```
//!
//! Times are Alertmanager's own, compressed to seconds. Both run at once, so that a slow machine is slow for both.

mod compare;
mod place;
mod recorder;
mod scene;

pub use compare::{compare, lines};
pub use place::{Place, Session};
pub use recorder::{Recorder, Webhook};
pub use scene::{Act, Scene, alert, millis, play, rfc3339};
