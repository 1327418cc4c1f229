//! Scaling, put together: what wiring knows of it.

use super::alerting::put_up;
use crate::actuate::{
    Actuator, Asked, ComposeActuator, ContainerActuator, ExecActuator, Initial, KubernetesActuator, SystemdActuator,
    WorkloadActuator,
};
use crate::board::Board;
use crate::config::{Effective, Local};
use crate::docker::Engine;
use crate::http::SystemRoots;
use crate::query::{Queries, Scales};
use crate::scale::{self, Actuators, Manifests, Question, ScaleTask, Scaling};
use crate::store::Store;
use crate::supervise::Tasks;
use crate::vitals::Vitals;
use crate::workloads;
use serde_json::Value;
use skerry_alerting::window::Need;
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::target::TargetKind;
use skerry_wire::ScalingAsk;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Scaling of a run, before anything runs.
pub(super) struct Scale {
    /// For whoever shows what is scaled.
    pub(super) scaling: Scaling,
    questions: mpsc::Receiver<Question>,
    stored: Vec<(String, Vec<u8>)>,
}

impl Scale {
    /// Takes over what was stored, and takes in what manifests on the node say. Files with faults are left out: the local
    /// file was refused for them when it was read, and a signed one cannot know what lies on the node.
    pub(super) fn install(effective: &mut Effective, stored: Vec<(String, Vec<u8>)>, board: &Board) -> Self {
        let Manifests { policies, workloads, faults } = Manifests::read(&effective.scaling);
        put_up("scaling", &faults, board);
        effective.workloads.is_incomplete = !faults.is_empty();
        for policy in policies {
            let is_known = effective.scaling.policies.iter().any(|known| known.name == policy.name);
            let most = scale::POLICIES_MAX;
            take(&mut effective.scaling.policies, most, policy.name.clone(), policy, is_known, board);
        }
        for workload in workloads {
            let is_known = effective.workloads.workloads.iter().any(|known| known.name == workload.name);
            let most = workloads::WORKLOADS_MAX;
            let all = &mut effective.workloads.workloads;
            // Containers of one that is left out stay as they are.
            effective.workloads.is_incomplete |= !take(all, most, workload.name.clone(), workload, is_known, board);
        }
        let (scaling, questions) = Scaling::new();
        Self { scaling, questions, stored }
    }

    /// What policies read.
    pub(super) fn needs(effective: &Effective) -> Vec<Need> {
        scale::needs(&effective.scaling, effective.collect.interval.0)
    }

    /// Begins to scale.
    pub(super) fn start(
        self,
        local: &Local,
        effective: &Effective,
        queries: &Queries,
        store: &Store,
        vitals: &Vitals,
        (tasks, stop): (&mut Tasks, &CancellationToken),
    ) {
        let Self { scaling, questions, stored } = self;
        let mut config = effective.scaling.clone();
        // Of sizes alone the recommender takes care.
        config.policies.retain(ScalingPolicy::scales_replicas);
        let task = ScaleTask {
            config,
            stored,
            actuators: actuators(local, effective, vitals),
            collected_every: effective.collect.interval.0,
            memory: vitals.memory.clone(),
            latest: vitals.latest.clone(),
            behind: Arc::new(queries.behind()),
            store: store.clone(),
            scaling,
            questions,
            board: vitals.board.clone(),
            clock: vitals.clock.clone(),
        };
        tasks.spawn_fallible("scaling", task.run(stop.clone()));
    }
}

/// Takes what a manifest on the node says, unless a document of the same name stands in a config, or there are as many as
/// a node takes: `false` then.
fn take<T>(all: &mut Vec<T>, most: usize, name: String, one: T, is_known: bool, board: &Board) -> bool {
    if is_known {
        let problem = format!("{name} stands in a config and in a file of this node; the config's counts");
        tracing::warn!(name, "a manifest of this node is left out: the config has one of its name");
        board.problem(&format!("scaling {name}"), &problem);
    } else if all.len() >= most {
        let problem = format!("{name}, in a file of this node, is one too many: a node takes at most {most}");
        tracing::warn!(name, most, "a manifest of this node is left out: there are as many as a node takes");
        board.problem("manifests", &problem);
        return false;
    } else {
        all.push(one);
    }
    true
}

/// Who answers questions about scaling.
pub(super) fn scales(vitals: &Vitals) -> Scales {
    let (scaling, workloads, recommender) =
        (vitals.scaling.clone(), vitals.workloads.clone(), vitals.recommender.clone());
    Arc::new(move |ask| {
        let (scaling, workloads, recommender) = (scaling.clone(), workloads.clone(), recommender.clone());
        Box::pin(async move {
            let values: Vec<Value> = match ask {
                ScalingAsk::List => scaling.list(),
                ScalingAsk::Explain { policy } => scaling.explain(&policy).await?,
                ScalingAsk::Try { file, text } => scaling.explain_spec(&file, &text).await?,
                ScalingAsk::Workloads => workloads.to_json(),
                ScalingAsk::Recommend => recommender.to_json(),
            };
            Ok(values.iter().map(Value::to_string).collect())
        })
    })
}

/// Who scales what on this node.
fn actuators(local: &Local, effective: &Effective, vitals: &Vitals) -> Actuators {
    let scaling = &effective.scaling;
    let names = scaling.policies.iter().map(|policy| (policy.target.clone(), policy.name.clone())).collect();
    let exec: Arc<dyn Actuator> = Arc::new(ExecActuator::new(local.exec_allow.clone(), names));
    let systemd: Arc<dyn Actuator> = Arc::new(SystemdActuator::new(&vitals.clock));
    let kubernetes: Arc<dyn Actuator> = Arc::new(KubernetesActuator::new(&scaling.kubernetes, &SystemRoots::default()));
    let recommender = vitals.recommender.clone();
    let asked: Asked = Arc::new(move |id| recommender.given(id));
    let workloads: Arc<dyn Actuator> = Arc::new(WorkloadActuator::new(vitals.workloads.clone(), asked.clone()));
    let engines: Arc<[Engine]> = effective.containers.sockets.iter().map(|socket| Engine::new(socket)).collect();
    let recommender = vitals.recommender.clone();
    let initial: Initial = Arc::new(move |target, container| recommender.initial(target, container));
    let containers: Arc<dyn Actuator> =
        Arc::new(ContainerActuator::new(engines.clone(), &vitals.clock).with_sizes(initial.clone(), asked.clone()));
    let compose: Arc<dyn Actuator> = Arc::new(ComposeActuator::new(engines, &vitals.clock).with_sizes(initial, asked));
    let mut actuators = Actuators::from([
        (TargetKind::Container, containers),
        (TargetKind::ComposeService, compose),
        (TargetKind::Exec, exec),
        (TargetKind::SystemdUnit, systemd),
        (TargetKind::Workload, workloads),
    ]);
    let kinds = TargetKind::ALL.into_iter().filter(|kind| kind.is_kubernetes());
    actuators.extend(kinds.map(|kind| (kind, kubernetes.clone())));
    actuators
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_too_many_is_told_of() {
        let (mut all, board) = (vec!["a"], Board::default());
        assert!(take(&mut all, 2, "b".into(), "b", false, &board));
        assert!(take(&mut all, 2, "b".into(), "b", true, &board), "the config has one of its name");
        assert!(!take(&mut all, 2, "c".into(), "c", false, &board));
        assert_eq!(all, ["a", "b"]);
        let told = board.read().problems().join("\n");
        assert!(told.contains("c, in a file of this node, is one too many"), "{told}");
    }
}
