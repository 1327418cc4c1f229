//! Curves replayed against the service under one scaler or another, second by second.

use super::curves::Curve;
use super::plain::Plain;
use super::service::Service;
use anyhow::ensure;
use skerry_model::{Mono, Now, UnixMillis};
use skerry_scaling::hpa::{Controller, State, decide};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::trigger::{Forecast, Zones};

/// Monday, 2026-01-05.
const BEGIN: UnixMillis = UnixMillis(1_767_571_200_000);
const SYNC: u64 = 15;
const MIN: u32 = 1;
const MAX: u32 = 60;

/// How a curve was met.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Outcome {
    /// Replica-seconds that ran, or were starting, beyond what the load needs.
    pub(super) over: f64,
    /// Replica-seconds that were not ready though the load needs them.
    pub(super) under: f64,
    /// How often the number of replicas was changed.
    pub(super) actions: f64,
    /// Part of the requests that waited for a second or more, or were given up.
    pub(super) late: f64,
}

/// Who scales.
pub(super) trait Scaler {
    /// Replicas from now on.
    fn scale(&mut self, service: &Service, now: Now) -> u32;
}

/// The plain formula.
#[must_use]
pub(super) fn plain(replicas: u32) -> impl Scaler {
    struct Scaled(Plain);
    impl Scaler for Scaled {
        fn scale(&mut self, service: &Service, now: Now) -> u32 {
            self.0.decide(&service.observed(), &service.reading(), now.wall)
        }
    }
    Scaled(Plain::new(MIN, MAX, replicas, BEGIN))
}

/// Skerry, with these keys beside bounds and CPU at 80 %.
///
/// # Errors
/// If the policy cannot be read.
pub(super) fn skerry(keys: &str) -> anyhow::Result<impl Scaler> {
    let spec = format!(
        "scaleTargetRef: {{kind: Container, name: web}}\nminReplicas: {MIN}\nmaxReplicas: {MAX}\nmetrics: [{{type: Resource, \
         resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 80}}}}}}]\n{keys}"
    );
    let policy = ScalingPolicy::parse("web", &spec);
    ensure!(policy.is_ok(), "{policy:?}");
    let zones = Zones::new(Box::new(|_| None));
    let policy = policy.map_err(|_| anyhow::anyhow!("checked"))?;
    Ok(Skerry { policy, zones, state: State::default(), forecast: Forecast::default() })
}

struct Skerry {
    policy: ScalingPolicy,
    zones: Zones,
    state: State,
    forecast: Forecast,
}

impl Scaler for Skerry {
    /// A round as the agent makes it.
    fn scale(&mut self, service: &Service, now: Now) -> u32 {
        let (observed, readings) = (service.observed(), vec![Ok(service.reading())]);
        let season = self.policy.triggers.forecast();
        let mut floors = self.policy.triggers.floors(now, &self.zones);
        floors.extend(season.and_then(|season| self.forecast.floor(season, now, &self.zones)));
        let usual = Controller::default();
        let window = self.forecast.stabilization(season, now, usual.downscale_stabilization);
        let controller = Controller { downscale_stabilization: window, ..usual };
        let decision = decide(&self.policy, &controller, &mut self.state, &observed, &readings, &floors, now);
        if decision.desired != decision.current {
            self.state.scaled(decision.current, decision.desired, &self.policy, now);
        }
        let demand = decision.proposals.iter().filter_map(|proposal| proposal.demand_milli).max();
        if let (Some(season), Some(demand)) = (season, demand) {
            self.forecast.note(season, now, demand, &self.zones);
        }
        decision.desired
    }
}

/// Replicas that a run begins with.
#[must_use]
pub(super) fn first(curve: &Curve) -> u32 {
    Service::needed(curve.at(0)).clamp(MIN, MAX)
}

/// Replays a curve; `each` is told the replicas of every round.
pub(super) fn replay(curve: &Curve, scaler: &mut dyn Scaler, each: &mut dyn FnMut(u32)) -> Outcome {
    let mut service = Service::new(BEGIN, first(curve));
    let mut outcome = Outcome::default();
    for second in 0..curve.seconds() {
        let load = curve.at(second);
        service.run(load);
        let (all, ready) = service.count();
        let needed = f64::from(Service::needed(load).clamp(MIN, MAX));
        outcome.over += (all as f64 - needed).max(0.0);
        outcome.under += (needed - ready as f64).max(0.0);
        if second % SYNC == SYNC - 1 {
            let now = Now { wall: service.now(), mono: Mono(second * 1000) };
            let replicas = scaler.scale(&service, now);
            each(replicas);
            if replicas as usize != all {
                outcome.actions += 1.0;
                service.scale(replicas);
            }
        }
    }
    outcome.late = service.late / service.requests.max(1.0);
    outcome
}

#[cfg(test)]
mod tests {
    use super::super::curves::{CURVES, make};
    use super::*;

    #[test]
    fn without_triggers_every_round_is_as_the_formula_says() {
        for (name, ..) in CURVES {
            let curve = make(name).unwrap();
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            let plain = replay(&curve, &mut plain(first(&curve)), &mut |replicas| theirs.push(replicas));
            let skerry = replay(&curve, &mut skerry("").unwrap(), &mut |replicas| ours.push(replicas));
            let differs = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours);
            assert_eq!(differs.map(|at| (at, theirs[at], ours[at])), None, "{name}");
            assert_eq!(plain, skerry, "{name}");
            assert!(plain.actions > 2.0, "{name}");
        }
    }
}
