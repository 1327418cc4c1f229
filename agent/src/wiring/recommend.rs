//! Recommendations, put together: what wiring knows of them.

use crate::board::Board;
use crate::clock::Clock;
use crate::config::Effective;
use crate::docker::Engine;
use crate::recommend::{KillsTask, Policy, RecommendTask, Recommender, Renew};
use crate::store::Store;
use crate::supervise::Tasks;
use crate::vitals::Vitals;
use crate::zone::read_zone;
use jiff::tz::TimeZone;
use skerry_model::Now;
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::vpa::{Amounts, Settings, UpdateMode, Windows};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Takes over what was stored.
pub(super) fn install(
    effective: &Effective,
    stored: &[(String, Vec<u8>)],
    clock: &Clock,
    board: &Board,
) -> Recommender {
    let all = &effective.scaling.policies;
    let policies = all.iter().filter_map(|policy| {
        let mut vertical = policy.vertical.clone()?;
        if policy.is_paused {
            vertical.update_mode = UpdateMode::Off;
        }
        // Neither acts, as with replicas: each would undo what the other does.
        let is_other = |other: &&ScalingPolicy| {
            other.name != policy.name && other.target == policy.target && other.vertical.is_some()
        };
        if let Some(other) = all.iter().find(is_other) {
            vertical.update_mode = UpdateMode::Off;
            let problem =
                format!("{} and {} both set sizes of {}; neither does now", policy.name, other.name, policy.target);
            tracing::warn!(policy = policy.name, other = other.name, "two policies set the sizes of one target");
            board.problem(&format!("scaling {}", policy.name), &problem);
        }
        let is_scaled = policy.scales_replicas();
        Some(Policy { name: policy.name.clone(), target: policy.target.clone(), vertical, is_scaled })
    });
    let now = Now { wall: clock.wall(), mono: clock.mono() };
    let scaling = &effective.scaling;
    let least = Amounts {
        cpu_milli: scaling.pod_recommendation_min_cpu_millicores.into(),
        memory: u64::from(scaling.pod_recommendation_min_memory_mb) << 20,
    };
    Recommender::new(policies.collect(), Settings { least, ..Settings::default() }, stored, now)
}

/// Begins to keep and to apply them.
pub(super) fn start(
    effective: &Effective,
    store: &Store,
    vitals: &Vitals,
    (tasks, stop): (&mut Tasks, &CancellationToken),
) {
    let zone = read_zone("local").and_then(|data| TimeZone::tzif("local", &data).ok());
    let sockets = if effective.containers.enabled { &effective.containers.sockets[..] } else { &[] };
    let engines: Arc<[Engine]> = sockets.iter().map(|socket| Engine::new(socket)).collect();
    let kills =
        KillsTask { recommender: vitals.recommender.clone(), engines: engines.clone(), clock: vitals.clock.clone() };
    tasks.spawn("kills", kills.run(stop.clone()));
    let workloads = vitals.workloads.clone();
    let renew: Renew = Arc::new(move |target, id| {
        let (workloads, name, id) = (workloads.clone(), target.name.clone(), id.to_owned());
        Box::pin(async move { workloads.renew(&name, id).await.map_err(|error| error.message) })
    });
    let task = RecommendTask {
        recommender: vitals.recommender.clone(),
        engines,
        renew,
        // Texts that are none were refused with their config.
        windows: Windows::parse(&effective.scaling.maintenance).unwrap_or_default(),
        zone: zone.unwrap_or(TimeZone::UTC),
        store: store.clone(),
        clock: vitals.clock.clone(),
    };
    tasks.spawn_fallible("recommend", task.run(stop.clone()));
}
