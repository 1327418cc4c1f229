//! Alerts, as rules make them and routing takes them.

use crate::labels::Labels;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Names an alert: a hash of its labels, the same that Alertmanager and `amtool` show.
///
/// FNV-1a of 64 bits over each label's name and value, by rising name, each followed by the byte `0xFF` (Prometheus's
/// `LabelSet.Fingerprint`). Written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of a label set.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash = OFFSET;
        let mut add = |text: &str| {
            for byte in text.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
            }
        };
        for (name, value) in labels.iter() {
            add(name);
            add(value);
        }
        Self(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fingerprint: 16 hex digits are expected")]
pub struct InvalidFingerprint(String);

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parsed = hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        parsed.map(Self).ok_or_else(|| InvalidFingerprint(text.to_owned()))
    }
}

/// An alert at a moment: its labels are who it is, all else may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Who it is; `alertname` among them.
    pub labels: Labels,
    /// What people are told.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: UnixMillis,
    /// When it ends or ended. In the future while it fires; whoever sends it says it again before then.
    pub ends_at: UnixMillis,
    /// Whether `ends_at` was assumed, because whoever sent it named none. What is named beats what was assumed.
    pub is_timeout: bool,
    /// Where its expression can be looked at; may be empty.
    pub generator_url: String,
    /// When it was heard last.
    pub updated_at: UnixMillis,
}

impl Alert {
    /// Its name among others.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.labels)
    }

    /// Label `alertname`; empty where there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.value("alertname")
    }

    /// Whether it has ended by `now`.
    #[must_use]
    pub fn is_resolved(&self, now: UnixMillis) -> bool {
        self.ends_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_fnv_over_names_and_values() {
        // FNV-1a of nothing is its offset; the known value of one label was computed apart from this code.
        assert_eq!(Fingerprint::of(&Labels::default()).to_string(), "cbf29ce484222325");
        let one = Fingerprint::of(&Labels::new([("a", "b")]).unwrap());
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in [b'a', 0xff, b'b', 0xff] {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(one, Fingerprint(hash));
        assert_eq!(one.to_string().parse::<Fingerprint>().unwrap(), one);
        assert!("+123456789abcdef".parse::<Fingerprint>().is_err());
    }
}
