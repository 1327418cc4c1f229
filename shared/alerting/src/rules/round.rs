//! What goes into an evaluation of a group and what comes out.

use skerry_model::{Alert, Labels, Sample, UnixMillis};
use skerry_promapi::AlertState;
use std::sync::Arc;

/// A group and the moment at which it is to be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The file and the name of the group, which together name it: after a reload a turn of a group that is gone does
    /// nothing.
    pub file: Arc<str>,
    /// The group's name.
    pub group: Arc<str>,
    /// The rules' time.
    pub at: UnixMillis,
}

/// What the evaluation of a group gave.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Results, `ALERTS`, `ALERTS_FOR_STATE` and stale markers, in the order of the rules; no series twice.
    pub samples: Vec<(Labels, Sample)>,
    /// Alerts that are due to be sent.
    pub alerts: Vec<Alert>,
    /// Alerts whose state is another than before.
    pub changes: Vec<Change>,
    /// Rules that failed, and templates that did.
    pub errors: Vec<RuleError>,
    /// Samples looked at and values made.
    pub values: u64,
}

/// An alert whose state is another than before.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The alert as it would be sent.
    pub alert: Alert,
    /// The expression's value.
    pub value: f64,
    /// The rule.
    pub rule: Arc<str>,
    /// Before.
    pub was: AlertState,
    /// Now.
    pub is: AlertState,
    /// Whether it fired before a restart already and is only taken up again.
    pub is_restored: bool,
}

/// Where a rule went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its evaluation: nothing was written, its state is as before.
    Evaluation,
    /// A template: the error stands where its text would.
    Template,
    /// Its state of before a restart could not be read; it begins anew.
    Restore,
}

/// A rule that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The file of its group.
    pub file: Arc<str>,
    /// Its group.
    pub group: Arc<str>,
    /// The rule.
    pub rule: Arc<str>,
    /// What went wrong in it.
    pub stage: Stage,
    /// Why, of bounded length.
    pub text: Arc<str>,
    /// Whether it is worth a line in the log: the rule's evaluation before this one went well, or wrong in another way.
    pub is_new: bool,
}
