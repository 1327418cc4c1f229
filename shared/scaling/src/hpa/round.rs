//! One round: what is proposed, and what becomes of it.

use super::decision::{Condition, ConditionKind, Decision, Limit, Proposal, Status};
use super::judge::{failure, is_of_pods, judge, proposal, text};
use super::rates::{Bounds, limit};
use super::replicas::{Asked, Scene, Tolerances, average_value};
use super::state::State;
use super::windows::{Windows, stabilize};
use super::{Controller, Readings};
use crate::policy::{Metric, Rules, ScalingPolicy, Select, Source, Target};
use crate::target::Observed;
use crate::trigger::Floor;
use skerry_model::Now;

/// Whether a target is needed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// A metric is above its activation threshold, or a trigger asks for replicas.
    Active,
    /// None is.
    Idle,
    /// None is, and not all could be read.
    Unknown,
}

/// How many replicas a target gets now. The state keeps what was recommended; [`State::scaled`] has to be told when a
/// decision came to pass. For a rehearsal, hand in a clone of the state.
pub fn decide(
    policy: &ScalingPolicy,
    controller: &Controller,
    state: &mut State,
    observed: &Observed,
    readings: &Readings,
    floors: &[Floor],
    now: Now,
) -> Decision {
    let windows = Windows {
        up: policy.behavior.up.window.unwrap_or_default(),
        down: policy.behavior.down.window.unwrap_or(controller.downscale_stabilization),
    };
    state.begin(observed.spec_replicas, windows, now);
    // Tolerance is for noise about a number that metrics chose. One that a forecast chose ahead of them is corrected once,
    // or a tenth too few or too many would stay until load changes. What a schedule says somebody meant.
    let usual = if state.is_lifted { 0.0 } else { controller.tolerance };
    let tolerance = |rules: &Rules| rules.tolerance_ppm.map_or(usual, |ppm| f64::from(ppm) / 1e6);
    let tolerances = Tolerances { up: tolerance(&policy.behavior.up), down: tolerance(&policy.behavior.down) };
    let scene = Scene { observed, controller, tolerances, now: now.wall };
    let mut round =
        Round { policy, decision: Decision::unchanged(observed.spec_replicas), activity: Activity::Idle, guess: 0 };
    round.propose(scene, state, readings, floors);
    if round.activity == Activity::Active || state.active_at.is_none() {
        state.active_at = Some(now.wall);
    }
    round.conclude(state, windows, now);
    round.decision
}

struct Round<'a> {
    policy: &'a ScalingPolicy,
    decision: Decision,
    activity: Activity,
    /// What a forecast asks for; 0 without one.
    guess: u32,
}

impl Round<'_> {
    /// Asks metrics and triggers.
    fn propose(&mut self, scene: Scene<'_>, state: &mut State, readings: &Readings, floors: &[Floor]) {
        let metrics = &self.policy.metrics;
        state.failures.resize(metrics.len(), 0);
        let (mut is_active, mut has_failed) = (false, false);
        for (index, (metric, failures)) in metrics.iter().zip(&mut state.failures).enumerate() {
            if scene.observed.spec_replicas == 0 && is_of_pods(metric) {
                let note = "is not read while there are no replicas".to_owned();
                self.decision.proposals.push(proposal(metric, String::new(), Ok(0), None, note));
                continue;
            }
            let missing = Err("was not read".to_owned());
            let asked = judge(scene, metric, readings.get(index).unwrap_or(&missing));
            *failures = if asked.is_ok() { 0 } else { failures.saturating_add(1) };
            let asked = asked.or_else(|error| self.fall_back(scene, metric, *failures, error));
            let proposal = match asked {
                Ok((asked, total)) => {
                    is_active |= metric.activation_milli.is_some_and(|threshold| total > threshold);
                    let current = text(metric, &asked);
                    proposal(metric, current, Ok(asked.replicas), Some(asked.demand_milli), asked.note)
                }
                Err(error) => {
                    has_failed = true;
                    proposal(metric, String::new(), Err(error), None, String::new())
                }
            };
            self.decision.proposals.push(proposal);
        }
        for floor in floors {
            is_active |= floor.replicas > 0;
            if floor.is_guess {
                self.guess = self.guess.max(floor.replicas);
            }
            self.decision.proposals.push(Proposal {
                metric: "trigger".to_owned(),
                current: String::new(),
                target: String::new(),
                replicas: Ok(floor.replicas),
                demand_milli: None,
                note: floor.why.clone(),
            });
        }
        self.activity = match (is_active, has_failed) {
            (true, _) => Activity::Active,
            (false, true) => Activity::Unknown,
            (false, false) => Activity::Idle,
        };
    }

    /// What stands in for a metric that failed too often.
    fn fall_back(
        &self,
        scene: Scene<'_>,
        metric: &Metric,
        failures: u32,
        error: String,
    ) -> Result<(Asked, i64), String> {
        let fallback = self.policy.fallback.filter(|fallback| failures > fallback.failure_threshold);
        let (Some(fallback), Source::Object { .. } | Source::External(_), Target::AverageValue(each)) =
            (fallback, &metric.source, metric.target)
        else {
            return Err(error);
        };
        let total = each.milli.saturating_mul(i64::from(fallback.replicas));
        let mut asked = average_value(scene, total, each.milli);
        asked.note = format!("fallback after {failures} failures: {error}");
        Ok((asked, total))
    }

    /// From proposals to a decision.
    fn conclude(&mut self, state: &mut State, windows: Windows, now: Now) {
        let (policy, current) = (self.policy, self.decision.current);
        self.set(
            ConditionKind::AbleToScale,
            Status::True,
            "SucceededGetScale",
            "the target tells how many replicas it has",
        );
        let wanted = self.want();
        let first = |valid: &Result<u32, (&'static str, String)>| valid.as_ref().err().cloned();
        match first(&wanted) {
            None => {
                let largest = self.largest().map_or_else(|| "minReplicas".to_owned(), |one| one.metric.clone());
                let message = format!("the largest number comes from {largest}");
                self.set(ConditionKind::ScalingActive, Status::True, "ValidMetricFound", message);
            }
            Some((reason, message)) => self.set(ConditionKind::ScalingActive, Status::False, reason, message),
        }
        if !policy.scales_replicas() {
            self.set(ConditionKind::ScalingActive, Status::False, "ScalingDisabled", "the policy is about sizes alone");
            return self.keep("the policy says nothing about replicas");
        }
        if policy.is_paused {
            self.set(ConditionKind::ScalingActive, Status::False, "Paused", "the policy says paused");
            return self.keep("paused");
        }
        if current == 0 && policy.min_replicas > 0 && policy.target.kind.remembers_zero() {
            let message = "the target has 0 replicas though the policy wants more: it was switched off";
            self.set(ConditionKind::ScalingActive, Status::False, "ScalingDisabled", message);
            return self.keep("0 replicas are wanted and the policy's least is above: switched off");
        }
        if current > policy.max_replicas {
            return self.bound(policy.max_replicas, Limit::Most, "more replicas than maxReplicas");
        }
        if current < policy.min_replicas {
            return self.bound(policy.min_replicas, Limit::Least, "fewer replicas than minReplicas");
        }
        match wanted {
            Err(_) => self.keep("metrics cannot be read"),
            Ok(wanted) => self.follow(wanted, state, windows, now),
        }
    }

    /// The largest of the valid proposals, unless those that are not valid forbid to shrink.
    fn want(&self) -> Result<u32, (&'static str, String)> {
        let proposals = &self.decision.proposals;
        let wanted = self.largest().and_then(|one| one.replicas.clone().ok());
        let failed: Vec<usize> = (0..proposals.len()).filter(|n| proposals[*n].replicas.is_err()).collect();
        let Some(first) = failed.first() else {
            // Triggers alone raise what the policy wants at least.
            let least = if self.policy.metrics.is_empty() { self.policy.min_replicas } else { 0 };
            return Ok(wanted.map_or(least, |wanted| wanted.max(least)));
        };
        match wanted {
            Some(wanted) if wanted >= self.decision.current => Ok(wanted),
            _ => {
                let (metric, all) = (&proposals[*first].metric, proposals.len());
                let error = proposals[*first].replicas.as_ref().err().map_or("", String::as_str);
                let message = format!("{} of {all} metrics failed, the first: {metric}: {error}", failed.len());
                Err((self.policy.metrics.get(*first).map_or("FailedGetMetric", failure), message))
            }
        }
    }

    /// The first of the largest proposals.
    fn largest(&self) -> Option<&Proposal> {
        let valid = self.decision.proposals.iter().filter(|one| one.replicas.is_ok());
        valid.reduce(|best, one| if one.replicas > best.replicas { one } else { best })
    }

    /// Windows, rates and bounds.
    fn follow(&mut self, wanted: u32, state: &mut State, windows: Windows, now: Now) {
        let (policy, current) = (self.policy, self.decision.current);
        let behavior = &policy.behavior;
        let has_zero = policy.min_replicas == 0;
        let idle_for = now.wall.since(state.active_at.unwrap_or(now.wall));
        if has_zero && self.activity != Activity::Active {
            if current == 0 {
                self.set(ConditionKind::ScalingLimited, Status::False, "DesiredWithinRange", WITHIN);
                return self.keep("nothing is above its activation threshold");
            }
            let is_over = self.activity == Activity::Idle && idle_for >= policy.cooldown;
            if is_over && behavior.down.select != Select::Disabled {
                self.decision.recommended = Some(wanted);
                self.set(ConditionKind::ScalingLimited, Status::False, "DesiredWithinRange", WITHIN);
                self.decision.desired = 0;
                self.decision.reason = format!("nothing was active for {}s", policy.cooldown.as_secs());
                return;
            }
        }
        self.decision.recommended = Some(wanted);
        let stabilized = stabilize(&mut state.recommendations, windows, current, wanted, now.wall);
        if stabilized == wanted {
            let message = "no window holds the number back";
            self.set(ConditionKind::AbleToScale, Status::True, "ReadyForNewScale", message);
        } else {
            let (reason, message) = if wanted >= current {
                ("ScaleUpStabilized", "the window holds less: the least of what was recommended in it counts")
            } else {
                ("ScaleDownStabilized", "the window holds more: the most of what was recommended in it counts")
            };
            self.set(ConditionKind::AbleToScale, Status::True, reason, message);
            self.decision.stabilized = Some(stabilized);
        }
        // A target that is needed keeps one replica; only the cooldown ends that.
        let bounds = Bounds { min: policy.min_replicas.max(1), max: policy.max_replicas };
        let (mut desired, mut by) = limit(current, stabilized, bounds, behavior, &state.changes, now.wall);
        if current == 0 && desired == 0 && behavior.up.select != Select::Disabled {
            // It is needed: neither a window nor a percentage of nothing keeps it off.
            (desired, by) = (1, Some(Limit::Least));
        }
        let (status, reason, message) = match by {
            None => (Status::False, "DesiredWithinRange", WITHIN),
            Some(by) => (Status::True, by.as_str(), by.message()),
        };
        self.set(ConditionKind::ScalingLimited, status, reason, message);
        self.decision.limited = by;
        self.decision.desired = desired;
        if desired != current {
            // Of equal numbers that of a metric is the largest.
            let is_by_forecast =
                self.largest().is_some_and(|one| one.metric == "trigger" && one.replicas == Ok(self.guess));
            state.is_lifted =
                is_by_forecast && desired >= current + 2 && u64::from(desired) * 5 >= u64::from(current) * 6;
        }
        let largest = self.largest().map(|one| one.metric.clone());
        self.decision.reason = match desired.cmp(&current) {
            std::cmp::Ordering::Greater => match largest.as_deref() {
                Some("trigger") => "a trigger asks for more".to_owned(),
                Some(metric) if wanted > current => format!("{metric} above target"),
                _ => "fewer replicas than minReplicas".to_owned(),
            },
            std::cmp::Ordering::Less => "all metrics below target".to_owned(),
            std::cmp::Ordering::Equal if self.decision.stabilized.is_some() => "a window holds it".to_owned(),
            std::cmp::Ordering::Equal if by.is_some() => "a rate or bound holds it".to_owned(),
            std::cmp::Ordering::Equal => "as many as are needed".to_owned(),
        };
    }

    fn keep(&mut self, reason: &str) {
        self.decision.desired = self.decision.current;
        self.decision.reason = reason.to_owned();
    }

    fn bound(&mut self, to: u32, by: Limit, reason: &str) {
        self.decision.desired = to;
        self.decision.limited = Some(by);
        self.decision.reason = reason.to_owned();
        self.set(ConditionKind::ScalingLimited, Status::True, by.as_str(), by.message());
    }

    fn set(&mut self, kind: ConditionKind, status: Status, reason: &'static str, message: impl Into<String>) {
        *self.decision.condition_mut(kind) = Condition::new(kind, status, reason, message);
    }
}

const WITHIN: &str = "neither a rate nor a bound changes the number";
