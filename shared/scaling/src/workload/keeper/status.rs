//! How a workload stands, for people and for policies.

use super::SeenState;
use super::kept::{Kept, Replica};
use super::slot::{self, Slot, short};
use crate::target::{Observed, Phase, Pod, PodContainer, Ready};
use crate::workload::{RestartPolicy, Template, Workload};
use skerry_model::{Labels, Now, UnixMillis};
use std::time::Duration;

/// A workload as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The workload.
    pub name: String,
    /// Replicas that are declared; `None` where it is not declared any more and on its way out.
    pub declared: Option<u32>,
    /// Replicas that are wanted: as declared, or as somebody asked for since.
    pub wanted: u32,
    /// Those that serve.
    pub ready: u32,
    /// Those that have served for `minReadySeconds`.
    pub available: u32,
    /// Those made from what counts now.
    pub updated: u32,
    /// Hash of what counts now, as containers carry it; `""` where nothing is declared.
    pub revision: String,
    /// Who gives way first: the lowest.
    pub priority: i32,
    /// `Available`, `Progressing`, `RolledBack`, `ProgressDeadlineExceeded`, or `Removing`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Its containers, by replica and name.
    pub containers: Vec<ContainerStatus>,
    /// As a policy sees it.
    pub observed: Observed,
}

/// A container as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Name of its replica.
    pub replica: String,
    /// Its own.
    pub name: String,
    /// The runtime's id, `""` where none is there.
    pub id: String,
    /// Image, where the template is known.
    pub image: String,
    /// `Running`, `Waiting`, `Terminated`, `Paused`, `Terminating`.
    pub state: &'static str,
    /// Why it waits or ended: Kubernetes's word, or `""`.
    pub reason: String,
    /// For people, or `""`.
    pub message: String,
    /// Whether it serves.
    pub is_ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// When it was started last.
    pub started_at: Option<UnixMillis>,
    /// How it ended last.
    pub exit_code: Option<i32>,
    /// How long until it is started again, where it waits for that.
    pub starts_in: Option<Duration>,
}

impl Kept {
    pub(super) fn status(&self, now: Now) -> Status {
        let target = self.target();
        let hash = target.map_or("", |target| &target.template.hash);
        let min_ready = target.map_or(Duration::ZERO, |target| target.min_ready);
        let (mut ready, mut available, mut updated) = (0, 0, 0);
        let mut containers = Vec::new();
        let mut observed = Observed {
            spec_replicas: self.wanted(),
            status_replicas: 0,
            pods: Vec::with_capacity(self.replicas.len()),
        };
        for (number, replica) in &self.replicas {
            let template = self.template(&replica.hash);
            let policy = template.map_or(RestartPolicy::Always, |template| template.restart);
            if !replica.is_leaving {
                observed.status_replicas += 1;
                let is = |well: &dyn Fn(&Slot) -> bool| {
                    u32::from(!replica.slots.is_empty() && replica.slots.values().all(|s| s.is_done(policy) || well(s)))
                };
                ready += is(&|slot| slot.is_ready);
                available += is(&|slot| slot.is_available(min_ready, now));
                updated += u32::from(replica.hash == hash);
            }
            let name = format!("{}-{number}", self.name);
            containers
                .extend(replica.slots.iter().map(|(own, slot)| container(&name, own, slot, replica, template, now)));
            observed.pods.push(pod(name, replica, template));
        }
        let (reason, message) = self.condition(available);
        Status {
            name: self.name.clone(),
            declared: self.declared.as_ref().map(|declared| declared.replicas),
            wanted: self.wanted(),
            ready,
            available,
            updated,
            revision: hash.to_owned(),
            priority: target.map_or(0, |target| target.priority),
            reason,
            message,
            containers,
            observed,
        }
    }

    fn condition(&self, available: u32) -> (&'static str, String) {
        let wanted = self.wanted();
        let of = format!("{available} of {wanted} replicas are available");
        let image = |workload: &Workload| workload.template.containers[0].image.text.clone();
        match (&self.declared, &self.good, &self.progress) {
            (None, ..) => ("Removing", "it is not declared any more".to_owned()),
            (Some(declared), Some(good), _) if self.failed.as_ref() == Some(&declared.template.hash) => {
                let message = format!("{} did not run and was undone to {}; {of}", image(declared), image(good));
                ("RolledBack", message)
            }
            (_, _, Some(progress)) if progress.is_late => ("ProgressDeadlineExceeded", of),
            (_, _, Some(_)) => ("Progressing", of),
            (_, _, None) if available < wanted => ("Progressing", of),
            (_, _, None) => ("Available", of),
        }
    }
}

fn container(
    replica_name: &str,
    name: &str,
    slot: &Slot,
    replica: &Replica,
    template: Option<&Template>,
    now: Now,
) -> ContainerStatus {
    let declared = template.and_then(|template| template.containers.iter().find(|one| one.name == name));
    let policy = template.map_or(RestartPolicy::Always, |template| template.restart);
    let starts_in = slot.until.map(|until| until.since(now.mono)).filter(|left| !left.is_zero());
    let trouble = slot.trouble.as_ref().map(|trouble| (trouble.reason.to_owned(), trouble.message.clone()));
    let (state, (reason, message)) = match slot.state {
        _ if replica.is_leaving => ("Terminating", Default::default()),
        Some(SeenState::Running) => ("Running", Default::default()),
        Some(SeenState::Paused) => ("Paused", Default::default()),
        Some(SeenState::Exited { code, is_oom, .. }) if slot.is_done(policy) => {
            ("Terminated", (slot::reason(code, is_oom).to_owned(), String::new()))
        }
        Some(SeenState::Exited { .. }) if trouble.is_none() && starts_in.is_some() => {
            let last = slot.ended.map_or("", slot::Ended::reason);
            ("Waiting", ("CrashLoopBackOff".to_owned(), last.to_owned()))
        }
        _ => ("Waiting", trouble.unwrap_or_else(|| ("ContainerCreating".to_owned(), String::new()))),
    };
    ContainerStatus {
        replica: replica_name.to_owned(),
        name: name.to_owned(),
        id: short(&slot.id).to_owned(),
        image: declared.map(|one| one.image.text.clone()).unwrap_or_default(),
        state,
        reason,
        message,
        is_ready: slot.is_ready,
        restarts: slot.restarts,
        started_at: slot.run,
        exit_code: slot.ended.map(|ended| ended.code),
        starts_in,
    }
}

/// A replica as a policy sees it: its phase is that of a pod with such containers.
fn pod(name: String, replica: &Replica, template: Option<&Template>) -> Pod {
    let policy = template.map_or(RestartPolicy::Always, |template| template.restart);
    let slots: Vec<&Slot> = replica.slots.values().collect();
    let is_done = !slots.is_empty() && slots.iter().all(|slot| slot.is_done(policy));
    let phase = if is_done {
        let is_well = slots.iter().all(|slot| slot.ended.is_none_or(|ended| ended.code == 0));
        if is_well { Phase::Succeeded } else { Phase::Failed }
    } else if slots.iter().any(|slot| matches!(slot.state, None | Some(SeenState::Created))) {
        Phase::Pending
    } else {
        Phase::Running
    };
    let since = slots.iter().filter_map(|slot| slot.ready_since).map(|(_, since)| since).max();
    let containers = replica.slots.iter().map(|(own, slot)| {
        let declared = template.and_then(|template| template.containers.iter().find(|one| one.name == *own));
        PodContainer {
            name: own.clone(),
            id: (!slot.id.is_empty()).then(|| slot.id.clone()),
            cpu_request_milli: slot.requests.cpu_milli.or_else(|| declared.and_then(|one| one.requests.cpu_milli)),
            memory_request: slot.requests.memory.or_else(|| declared.and_then(|one| one.requests.memory)),
        }
    });
    // One container alone has its replica's name, which its series carry.
    let labels = match replica.slots.len() {
        1 => Labels::new([("name", name.as_str())]).unwrap_or_default(),
        _ => Labels::default(),
    };
    Pod {
        phase,
        is_deleting: replica.is_leaving,
        started_at: slots.iter().filter_map(|slot| slot.run).max(),
        ready: since.map(|since| Ready { is_ready: slots.iter().all(|slot| slot.is_ready), since }),
        containers: containers.collect(),
        labels,
        name,
    }
}
