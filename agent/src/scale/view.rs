//! How a policy fares, as it is shown: to people, to the centre, in metrics.

use super::readings::Prepared;
use serde_json::{Map, Value, json};
use skerry_model::UnixMillis;
use skerry_scaling::guard::{Grant, Resources};
use skerry_scaling::hpa::Decision;
use skerry_scaling::trigger::Floor;
use std::fmt::Write;
use std::sync::Arc;

/// How a policy fares.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) prepared: Arc<Prepared>,
    pub(super) target: String,
    /// Replicas that are wanted of its runtime, and those that are there.
    pub(super) current: Option<(u32, u32)>,
    /// What one replica asks for.
    pub(super) request: Resources,
    pub(super) decision: Option<Decision>,
    pub(super) grant: Option<Grant>,
    pub(super) floors: Vec<Floor>,
    pub(super) decided_at: Option<UnixMillis>,
    pub(super) scaled_at: Option<UnixMillis>,
    /// Why nothing could be decided.
    pub(super) error: Option<String>,
}

impl View {
    /// What is to be, after the guard has spoken; unknown of a target that was never seen.
    pub(super) fn desired(&self) -> Option<u32> {
        self.current.and(self.decision.as_ref()).map(|decision| decision.desired)
    }

    /// The object that [`skerry_wire::ScalingAsk::List`] names.
    pub(super) fn to_json(&self) -> Value {
        let policy = &self.prepared.policy;
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                map.insert(key.to_owned(), value);
            }
        };
        put("policy", json!(policy.name));
        put("target", json!(self.target));
        put("priority", json!(policy.priority));
        put("paused", json!(policy.is_paused));
        put("min", json!(policy.min_replicas));
        put("max", json!(policy.max_replicas));
        put("current", json!(self.current.map(|(spec, _)| spec)));
        put("desired", json!(self.desired()));
        put("pending", json!(self.grant.as_ref().map_or(0, |grant| grant.pending)));
        put("decided_ms", json!(self.decided_at.map(|at| at.0)));
        put("scaled_ms", json!(self.scaled_at.map(|at| at.0)));
        put("error", json!(self.error));
        if let Some(decision) = &self.decision {
            put("reason", json!(decision.reason));
            let conditions = decision.conditions.iter().filter(|condition| !condition.reason.is_empty());
            let condition = |one: &skerry_scaling::hpa::Condition| json!({"kind": one.kind.as_str(), "status": one.status.as_str(), "reason": one.reason, "message": one.message});
            put("conditions", conditions.map(condition).collect());
            let metric = |one: &skerry_scaling::hpa::Proposal| {
                let (replicas, error) = match &one.replicas {
                    Ok(replicas) => (json!(replicas), Value::Null),
                    Err(error) => (Value::Null, json!(error)),
                };
                json!({"metric": one.metric, "current": one.current, "target": one.target, "replicas": replicas,
                    "error": error, "note": one.note})
            };
            put("metrics", decision.proposals.iter().map(metric).collect());
        }
        let floor = |floor: &Floor| json!({"replicas": floor.replicas, "why": floor.why});
        put("floors", self.floors.iter().map(floor).collect());
        Value::Object(map)
    }

    /// As [`Self::to_json`], with all of it for people as `text`.
    pub(super) fn explained(&self) -> Value {
        let mut value = self.to_json();
        if let Value::Object(map) = &mut value {
            map.insert("text".into(), json!(self.text()));
        }
        value
    }

    fn text(&self) -> String {
        let policy = &self.prepared.policy;
        let mut text = String::new();
        let _ = writeln!(text, "{}: {}", policy.name, self.target);
        if let Some(error) = &self.error {
            let _ = writeln!(text, "{error}");
        }
        let Some(decision) = &self.decision else { return text };
        if self.error.is_none() {
            let _ = writeln!(text, "{}", decision.explain().trim_end());
        }
        if let Some(Grant { replicas, pending, why, .. }) = &self.grant
            && !why.is_empty()
        {
            let _ = writeln!(text, "guard: {replicas} are granted, {pending} find no room: {why}");
        }
        if policy.is_paused {
            let _ = writeln!(text, "the policy is paused: nothing is done");
        }
        text
    }
}
