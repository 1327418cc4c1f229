//! Silences: alerts that nobody is told of for a while, because somebody said so.
//!
//! Invariants:
//! - What a silence silenced is never changed: an edit of its matchers, or of the start of one that is active, ends it and
//!   makes another with an id of its own.
//! - Silences are bounded in number and size, and forgotten a while after their end.

use super::matcher::{self, Matcher, Op};
use serde_json::{Map, Value, json};
use skerry_model::{Labels, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Names it: a UUID; empty before it is set.
    pub id: String,
    /// Sets of conditions. An alert is silenced if it meets all of one set.
    pub matchers: Vec<Vec<Matcher>>,
    /// Its first moment.
    pub starts_at: UnixMillis,
    /// The moment from which it silences no more.
    pub ends_at: UnixMillis,
    /// When it was set last.
    pub updated_at: UnixMillis,
    /// Who set it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Further remarks.
    pub annotations: BTreeMap<String, String>,
}

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SilenceState {
    /// It silences.
    Active,
    /// It will.
    Pending,
    /// It is over.
    Expired,
}

impl SilenceState {
    /// As the API writes it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

/// Why a silence is not set or ended. The texts are Alertmanager's, since tools show them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No silence has that id.
    #[error("silence not found")]
    NotFound,
    /// It cannot be; why.
    #[error("{0}")]
    Invalid(String),
    /// There are as many as are kept.
    #[error("exceeded maximum number of silences: {0} (limit: {0})")]
    TooMany(usize),
    /// It takes more bytes than one may.
    #[error("silence exceeded maximum size: {bytes} bytes (limit: {bytes_max} bytes)")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What one may take.
        bytes_max: usize,
    },
    /// It is over already.
    #[error("silence {0} already expired")]
    Expired(String),
}

impl Silence {
    /// Where it stands at `now`.
    #[must_use]
    pub fn state(&self, now: UnixMillis) -> SilenceState {
        if now < self.starts_at {
            SilenceState::Pending
        } else if now < self.ends_at {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }

    /// Whether it is about alerts with these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().any(|set| matcher::matches_all(set, labels))
    }

    fn check(&self) -> Result<(), SilenceError> {
        let invalid = |problem: String| Err(SilenceError::Invalid(format!("silence invalid: {problem}")));
        if self.matchers.iter().all(Vec::is_empty) {
            return invalid("at least one matcher required".to_owned());
        }
        for set in &self.matchers {
            if let Some(at) = set.iter().position(|matcher| !matcher::is_name(matcher.name())) {
                return invalid(format!("invalid label matcher {at}: invalid label name \"\""));
            }
            // As upstream has it: a negative one never counts as one that takes everything.
            let takes_empty = |matcher: &Matcher| matches!(matcher.op(), Op::Equal | Op::Regex) && matcher.matches("");
            if set.iter().all(takes_empty) {
                return invalid("at least one matcher must not match the empty string".to_owned());
            }
        }
        if self.ends_at < self.starts_at {
            return invalid("end time must not be before start time".to_owned());
        }
        Ok(())
    }

    /// Bytes of its texts.
    fn bytes(&self) -> usize {
        let matchers: usize = self.matchers.iter().flatten().map(|m| m.name().len() + m.value().len() + 32).sum();
        let annotations: usize = self.annotations.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
        matchers + annotations + self.created_by.len() + self.comment.len() + 128
    }

    /// As it is kept on disk.
    pub(super) fn save(&self) -> Vec<u8> {
        let matcher = |m: &Matcher| json!([m.name(), m.op().text(), m.value()]);
        let sets: Vec<Value> = self.matchers.iter().map(|set| set.iter().map(matcher).collect()).collect();
        let value = json!({
            "id": self.id, "matchers": sets, "from": self.starts_at.0, "to": self.ends_at.0,
            "updated": self.updated_at.0, "by": self.created_by, "comment": self.comment,
            "annotations": self.annotations,
        });
        value.to_string().into_bytes()
    }

    /// As it was kept on disk.
    pub(super) fn load(bytes: &[u8]) -> Option<Self> {
        let value: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let time = |key: &str| value.get(key)?.as_i64().map(UnixMillis);
        let matcher = |value: &Value| {
            let part = |at: usize| value.get(at)?.as_str();
            Matcher::new(part(0)?, Op::parse(part(1)?)?, part(2)?).ok()
        };
        let set = |value: &Value| value.as_array()?.iter().map(matcher).collect::<Option<Vec<_>>>();
        let annotations = value.get("annotations")?.as_object()?.iter();
        let silence = Self {
            id: text("id")?,
            matchers: value.get("matchers")?.as_array()?.iter().map(set).collect::<Option<_>>()?,
            starts_at: time("from")?,
            ends_at: time("to")?,
            updated_at: time("updated")?,
            created_by: text("by")?,
            comment: text("comment")?,
            annotations: annotations.map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect::<Option<_>>()?,
        };
        silence.check().is_ok().then_some(silence)
    }
}

/// Every silence.
#[derive(Debug)]
pub(super) struct Silences {
    all: BTreeMap<String, Silence>,
    count_max: usize,
    bytes_max: usize,
    retention: Duration,
}

impl Silences {
    pub(super) const fn new(count_max: usize, bytes_max: usize, retention: Duration) -> Self {
        Self { all: BTreeMap::new(), count_max, bytes_max, retention }
    }

    pub(super) const fn all(&self) -> &BTreeMap<String, Silence> {
        &self.all
    }

    /// Puts back what was kept; false where it does not fit or is long over.
    pub(super) fn restore(&mut self, silence: Silence, now: UnixMillis) -> bool {
        let fits = self.all.len() < self.count_max && silence.ends_at + self.retention > now;
        fits && self.all.insert(silence.id.clone(), silence).is_none()
    }

    /// Sets a new silence, or changes the one of that id; the ids of what changed, the silence's own last.
    pub(super) fn set(
        &mut self,
        mut silence: Silence,
        now: UnixMillis,
        new_id: &mut dyn FnMut() -> String,
    ) -> Result<Vec<String>, SilenceError> {
        silence.updated_at = now;
        if silence.starts_at.0 == 0 {
            silence.starts_at = now;
        }
        silence.check()?;
        let bytes = silence.bytes();
        if bytes > self.bytes_max {
            return Err(SilenceError::TooLarge { bytes, bytes_max: self.bytes_max });
        }
        let previous =
            if silence.id.is_empty() { None } else { Some(self.all.get(&silence.id).ok_or(SilenceError::NotFound)?) };
        if let Some(previous) = previous.filter(|previous| can_update(previous, &silence, now)) {
            let id = previous.id.clone();
            self.all.insert(id.clone(), silence);
            return Ok(vec![id]);
        }
        // Before anything is ended: a silence that cannot be replaced stays.
        if self.all.len() >= self.count_max {
            return Err(SilenceError::TooMany(self.count_max));
        }
        let mut changed = Vec::new();
        if let Some(old) = previous.filter(|old| old.state(now) != SilenceState::Expired) {
            let id = old.id.clone();
            self.expire(&id, now)?;
            changed.push(id);
        }
        silence.id = new_id();
        silence.starts_at = silence.starts_at.max(now);
        changed.push(silence.id.clone());
        self.all.insert(silence.id.clone(), silence);
        Ok(changed)
    }

    /// Ends a silence now.
    pub(super) fn expire(&mut self, id: &str, now: UnixMillis) -> Result<(), SilenceError> {
        let silence = self.all.get_mut(id).ok_or(SilenceError::NotFound)?;
        match silence.state(now) {
            SilenceState::Expired => return Err(SilenceError::Expired(id.to_owned())),
            SilenceState::Active => {}
            SilenceState::Pending => silence.starts_at = now,
        }
        silence.ends_at = now;
        silence.updated_at = now;
        Ok(())
    }

    /// Forgets those that ended longer ago than they are kept; their ids.
    pub(super) fn forget(&mut self, now: UnixMillis) -> Vec<String> {
        let over = |silence: &Silence| silence.ends_at + self.retention <= now;
        let ids: Vec<String> = self.all.values().filter(|silence| over(silence)).map(|s| s.id.clone()).collect();
        for id in &ids {
            self.all.remove(id);
        }
        ids
    }

    /// Whether there is one that silences now.
    pub(super) fn is_any_active(&self, now: UnixMillis) -> bool {
        self.all.values().any(|silence| silence.state(now) == SilenceState::Active)
    }

    /// Ids of the silences that silence alerts with these labels now.
    pub(super) fn silencing(&self, labels: &Labels, now: UnixMillis) -> Vec<&str> {
        let active = self.all.values().filter(|silence| silence.state(now) == SilenceState::Active);
        active.filter(|silence| silence.matches(labels)).map(|silence| silence.id.as_str()).collect()
    }
}

/// Whether `to` may take the place of `from` under its id.
fn can_update(from: &Silence, to: &Silence, now: UnixMillis) -> bool {
    from.matchers == to.matchers
        && match from.state(now) {
            SilenceState::Active => from.starts_at.0 / 1000 == to.starts_at.0 / 1000 && to.ends_at >= now,
            SilenceState::Pending => to.starts_at >= now,
            SilenceState::Expired => false,
        }
}
