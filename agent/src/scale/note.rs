//! What is written down of a policy, beside what its decisions remember.

use serde_json::{Map, Value, json};
use skerry_model::UnixMillis;
use skerry_wire::{Event, EventKind, ScalingEvent};

/// What is known of a policy over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Note {
    /// What is being done, or was said to have failed and may still come to pass: no event tells of its effect yet.
    pub(super) intent: Option<Intent>,
    /// The trouble of which the newest event told; until it is over there is none of the same.
    pub(super) told: Option<String>,
    /// When the target was scaled last.
    pub(super) scaled_at: Option<UnixMillis>,
}

/// An action that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intent {
    /// Whose replicas.
    pub(super) target: String,
    /// It was said to have failed; whether it did is seen at the next look.
    pub(super) has_failed: bool,
    /// Replicas before.
    pub(super) from: u32,
    /// Replicas that are to be.
    pub(super) to: u32,
    /// When it was decided.
    pub(super) at: UnixMillis,
    /// Reason of its event.
    pub(super) reason: String,
    /// Message of its event.
    pub(super) message: String,
}

impl Note {
    /// As it is kept; `None` where there is nothing to keep.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut map = Map::new();
        if let Some(Intent { target, has_failed, from, to, at, reason, message }) = &self.intent {
            let intent = json!({
                "target": target, "failed": has_failed, "from": from, "to": to, "at": at.0, "reason": reason,
                "message": message,
            });
            map.insert("intent".into(), intent);
        }
        map.extend(self.told.as_ref().map(|told| ("told".to_owned(), json!(told))));
        map.extend(self.scaled_at.map(|at| ("scaled".to_owned(), json!(at.0))));
        (!map.is_empty()).then(|| Value::Object(map).to_string().into_bytes())
    }

    /// What was kept, as far as it can be read.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let intent = |value: &Value| {
            let number = |key: &str| u32::try_from(value[key].as_u64()?).ok();
            Some(Intent {
                target: text(&value["target"])?,
                has_failed: value["failed"].as_bool()?,
                from: number("from")?,
                to: number("to")?,
                at: UnixMillis(value["at"].as_i64()?),
                reason: text(&value["reason"])?,
                message: text(&value["message"])?,
            })
        };
        Self {
            intent: intent(&value["intent"]),
            told: text(&value["told"]),
            scaled_at: value["scaled"].as_i64().map(UnixMillis),
        }
    }
}

impl Intent {
    /// The event that tells of it where nobody looks after it any more.
    pub(super) fn cut_off(self, policy: &str, at: UnixMillis) -> Event {
        let Self { target, from, to, message, .. } = self;
        let message = format!("cut off on the way to {to}; what became of it was not seen. {message}");
        let (policy, reason) = (policy.to_owned(), "Interrupted".to_owned());
        Event { at, kind: EventKind::Scaling(ScalingEvent { policy, target, from, to, reason, message }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back() {
        let intent = Intent {
            target: "web".into(),
            has_failed: true,
            from: 2,
            to: 5,
            at: UnixMillis(7),
            reason: "SuccessfulRescale".into(),
            message: "a \"b\"\nc".into(),
        };
        for note in [
            Note { intent: Some(intent), told: Some("FailedRescale".into()), scaled_at: Some(UnixMillis(9)) },
            Note { scaled_at: Some(UnixMillis(0)), ..Note::default() },
        ] {
            assert_eq!(Note::from_bytes(&note.to_bytes().unwrap()), note);
        }
        assert_eq!(Note::default().to_bytes(), None);
        for bytes in [&b""[..], b"{", b"[]", b"{\"intent\": {\"from\": -1}}", b"\xff"] {
            assert_eq!(Note::from_bytes(bytes), Note::default());
        }
    }
}
