//! What was decided, and why.

/// How many replicas a target gets, with all that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Replicas that are wanted now: `spec.replicas`.
    pub current: u32,
    /// Replicas that should be wanted; as before where nothing is to be done.
    pub desired: u32,
    /// What each metric, and each trigger that is on, asks for.
    pub proposals: Vec<Proposal>,
    /// The largest of the proposals; `None` where they decide nothing: a bound, a switch or errors do.
    pub recommended: Option<u32>,
    /// What windows made of it, where they changed it.
    pub stabilized: Option<u32>,
    /// What made it another number after that.
    pub limited: Option<Limit>,
    /// AbleToScale, ScalingActive, ScalingLimited.
    pub conditions: [Condition; 3],
    /// Why, in a few words: `External queue above target`.
    pub reason: String,
}

/// What a metric or a trigger asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its name: `Resource cpu`, `trigger`.
    pub metric: String,
    /// What it is now: `83%`, `512m on average`, `7`; `""` where it could not be read.
    pub current: String,
    /// What it should be; `""` for triggers.
    pub target: String,
    /// Replicas, or why there are none.
    pub replicas: Result<u32, String>,
    /// What it needs before tolerance, windows, floors, bounds and rounding, in thousandths of a replica; `None` where it
    /// was not read, and for triggers.
    pub demand_milli: Option<u64>,
    /// What else counted: replicas that are not ready or not measured, tolerance, a trigger's reason; may be empty.
    pub note: String,
}

/// What held a number back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `ScaleUpLimit`: rates of growing.
    UpRate,
    /// `ScaleDownLimit`: rates of shrinking.
    DownRate,
    /// `TooManyReplicas`: the policy's most.
    Most,
    /// `TooFewReplicas`: the policy's least.
    Least,
}

/// A condition, as Kubernetes shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: Status,
    /// Stable word, Kubernetes's where it has one.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Kinds of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionKind {
    /// The target can be read and written, and no window holds it back.
    AbleToScale,
    /// Metrics can be read and turned into a number.
    ScalingActive,
    /// A bound or a rate holds it back.
    ScalingLimited,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can say now.
    Unknown,
}

impl ConditionKind {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AbleToScale => "AbleToScale",
            Self::ScalingActive => "ScalingActive",
            Self::ScalingLimited => "ScalingLimited",
        }
    }
}

impl Status {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Limit {
    /// The reason of ScalingLimited.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpRate => "ScaleUpLimit",
            Self::DownRate => "ScaleDownLimit",
            Self::Most => "TooManyReplicas",
            Self::Least => "TooFewReplicas",
        }
    }

    /// The same for people.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::UpRate => "the rates of scaleUp let no more be added now",
            Self::DownRate => "the rates of scaleDown let no more be taken now",
            Self::Most => "more would be needed than maxReplicas lets be",
            Self::Least => "fewer would do than minReplicas lets be",
        }
    }
}

impl Condition {
    /// A condition.
    #[must_use]
    pub fn new(kind: ConditionKind, status: Status, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status, reason, message: message.into() }
    }
}

impl Decision {
    /// Nothing is to be done.
    pub(super) fn unchanged(current: u32) -> Self {
        use ConditionKind::{AbleToScale, ScalingActive, ScalingLimited};
        let unknown =
            |kind| Condition::new(kind, Status::Unknown, "NotComputed", "no number was computed in this round");
        Self {
            current,
            desired: current,
            proposals: Vec::new(),
            recommended: None,
            stabilized: None,
            limited: None,
            conditions: [unknown(AbleToScale), unknown(ScalingActive), unknown(ScalingLimited)],
            reason: String::new(),
        }
    }

    /// The condition of a kind.
    pub fn condition_mut(&mut self, kind: ConditionKind) -> &mut Condition {
        &mut self.conditions[kind as usize]
    }

    /// Inputs, proposals and what decided, for people: a few lines.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = format!("{} -> {} replicas: {}", self.current, self.desired, self.reason);
        for one in &self.proposals {
            let Proposal { metric, current, target, note, .. } = one;
            text += "\n  ";
            text += metric;
            if !current.is_empty() {
                text += &format!(": {current}, target {target}");
            }
            match &one.replicas {
                Ok(replicas) => text += &format!(" -> {replicas}"),
                Err(error) => text += &format!(" failed: {error}"),
            }
            if !note.is_empty() {
                text += &format!(" ({note})");
            }
        }
        if let Some(recommended) = self.recommended {
            text += &format!("\n  largest {recommended}");
            if let Some(stabilized) = self.stabilized {
                text += &format!(", windows make it {stabilized}");
            }
            if let Some(limited) = self.limited {
                text += &format!(", {} makes it {}", limited.as_str(), self.desired);
            }
        }
        for one in &self.conditions {
            let (kind, status) = (one.kind.as_str(), one.status.as_str());
            text += &format!("\n  {kind}={status} {}: {}", one.reason, one.message);
        }
        text
    }
}
