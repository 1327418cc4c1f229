//! A container that is being made anew: written down before it is, and taken away together with the event that tells of
//! it. So after a kill in between it is looked for, and the change has its event once.

use serde_json::{Value, json};
use skerry_wire::{EVENT_TEXT_BYTES_MAX, Event, EventKind, ScalingEvent};

/// Where it is kept: one is made at a time.
pub(super) const KEY: &str = "recommend/doing";
/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doing {
    /// The container.
    pub(super) id: String,
    pub(super) policy: String,
    /// What the policy scales, as in events.
    pub(super) target: String,
    /// How many containers the target has.
    pub(super) replicas: u32,
    pub(super) message: String,
}

impl Doing {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self { id, policy, target, replicas, message } = self;
        json!([id, policy, target, replicas, message]).to_string().into_bytes()
    }

    /// What was kept; none where it cannot be read.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |at: usize| value[at].as_str().map(str::to_owned);
        Some(Self {
            id: text(0)?,
            policy: text(1)?,
            target: text(2)?,
            replicas: u32::try_from(value[3].as_u64()?).ok()?,
            message: text(4)?,
        })
    }

    /// The event that tells of it.
    pub(super) fn event(&self, reason: &str, message: &str, at: skerry_model::UnixMillis) -> Event {
        let mut message = message.to_owned();
        message.truncate(message.floor_char_boundary(EVENT_TEXT_BYTES_MAX));
        let kind = EventKind::Scaling(ScalingEvent {
            policy: self.policy.clone(),
            target: self.target.clone(),
            from: self.replicas,
            to: self.replicas,
            reason: reason.into(),
            message,
        });
        Event { at, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back() {
        let doing = Doing {
            id: "abc".into(),
            policy: "p".into(),
            target: "Container/web".into(),
            replicas: 2,
            message: "web \"grows\"".into(),
        };
        assert_eq!(Doing::from_bytes(&doing.to_bytes()), Some(doing));
        for bytes in [&b""[..], b"[]", b"{}", b"[1, 2]", b"\xff"] {
            assert_eq!(Doing::from_bytes(bytes), None);
        }
    }
}
