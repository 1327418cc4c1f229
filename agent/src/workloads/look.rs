//! Looks at the containers of workloads, asking only of those that may have changed.

use super::probe::Reach;
use crate::actuate::{CPU_REQUEST_LABEL, MEMORY_REQUEST_LABEL};
use crate::docker::{Container, Engine, EngineError, Listed, Status};
use skerry_model::UnixMillis;
use skerry_scaling::quantity::Quantity;
use skerry_scaling::workload::{
    LABEL_CONTAINER, LABEL_REPLICA, LABEL_SPEC, LABEL_WORKLOAD, Resources, Seen, SeenState, SlotId,
};
use std::collections::BTreeMap;

/// Everything is asked for again after so many looks: an event may have been missed.
const LOOKS_MAX: u32 = 30;

/// What is known of containers.
#[derive(Default)]
pub(super) struct Looks {
    known: BTreeMap<String, (Status, Seen, Reach)>,
    since: u32,
}

impl Looks {
    /// Something happened to a container.
    pub(super) fn forget(&mut self, id: &str) {
        self.known.remove(id);
    }

    /// Anything may have happened.
    pub(super) fn forget_all(&mut self) {
        self.known.clear();
    }

    /// Where a container is reached.
    pub(super) fn reach(&self, id: &str) -> Reach {
        self.known.get(id).map(|(_, _, reach)| reach.clone()).unwrap_or_default()
    }

    /// All containers of workloads, also of those that are not this node's.
    pub(super) async fn look(&mut self, engine: &Engine) -> Result<Vec<Seen>, EngineError> {
        let listed = engine.list(&[(LABEL_WORKLOAD, "")]).await?;
        self.since += 1;
        if self.since > LOOKS_MAX {
            self.since = 0;
            self.known.clear();
        }
        self.known.retain(|id, _| listed.iter().any(|entry| entry.id == *id));
        let mut seen = Vec::with_capacity(listed.len());
        for entry in listed {
            let Some(slot) = slot(&entry) else { continue };
            if let Some((_, known, _)) = self.known.get(&entry.id).filter(|(status, ..)| *status == entry.status) {
                seen.push(known.clone());
                continue;
            }
            let container = match engine.inspect(&entry.id).await {
                Ok(container) => container,
                Err(EngineError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let spec = container.label(LABEL_SPEC).unwrap_or_default().to_owned();
            let one = Seen {
                slot,
                id: entry.id.clone(),
                spec,
                state: state(&container),
                started_at: container.started(),
                requests: requests(&container),
            };
            self.known.insert(entry.id, (container.status(), one.clone(), Reach::of(&container)));
            seen.push(one);
        }
        Ok(seen)
    }
}

/// Where a container belongs, by its labels and its name. Labels alone prove nothing: an image that somebody made of one
/// of ours (`docker commit`) gives them to whatever runs from it, and an image from elsewhere may have any.
fn slot(entry: &Listed) -> Option<SlotId> {
    let slot = SlotId {
        workload: entry.label(LABEL_WORKLOAD)?.to_owned(),
        replica: entry.label(LABEL_REPLICA)?.parse().ok().filter(|number| *number > 0)?,
        container: entry.label(LABEL_CONTAINER).filter(|name| !name.is_empty())?.to_owned(),
    };
    let rest = entry.name.strip_prefix(&slot.workload)?.strip_prefix('-')?.strip_prefix(&slot.replica.to_string())?;
    (rest.is_empty() || rest.strip_prefix('-') == Some(&slot.container)).then_some(slot)
}

/// What a container was made to ask for, by its labels.
fn requests(container: &Container) -> Resources {
    let [cpu, memory] = [CPU_REQUEST_LABEL, MEMORY_REQUEST_LABEL]
        .map(|label| container.label(label).and_then(|text| text.parse::<Quantity>().ok()));
    Resources {
        cpu_milli: cpu.and_then(|quantity| quantity.milli.try_into().ok()),
        memory: memory.and_then(|quantity| quantity.units().try_into().ok()),
    }
}

fn state(container: &Container) -> SeenState {
    match container.status() {
        Status::Created => SeenState::Created,
        Status::Running => SeenState::Running,
        Status::Paused => SeenState::Paused,
        Status::Exited => SeenState::Exited {
            code: i32::try_from(container.exit_code()).unwrap_or(-1),
            is_oom: container.oom_killed(),
            at: container.finished().unwrap_or(UnixMillis(0)),
        },
        Status::Removing => SeenState::Removing,
        Status::Dead => SeenState::Dead,
        Status::Restarting | Status::Other => SeenState::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bears_its_own_name_is_ours() {
        for (name, [workload, replica, container], is_ours) in [
            ("shop-2", ["shop", "2", "web"], true),
            ("shop-2-web", ["shop", "2", "web"], true),
            // What runs from an image that somebody made of one of ours.
            ("happy_curie", ["shop", "2", "web"], false),
            ("shop-3", ["shop", "2", "web"], false),
            ("shop-20", ["shop", "2", "web"], false),
            ("shop-2-db", ["shop", "2", "web"], false),
            ("shop-0", ["shop", "0", "web"], false),
            ("shop--1", ["shop", "-1", "web"], false),
            ("shop-99999999999", ["shop", "99999999999", "web"], false),
            ("shop-2", ["shop", "2", ""], false),
            ("", ["", "", ""], false),
        ] {
            let labels = [(LABEL_WORKLOAD, workload), (LABEL_REPLICA, replica), (LABEL_CONTAINER, container)];
            let listed = Listed {
                id: "a".into(),
                name: name.into(),
                image: String::new(),
                image_id: String::new(),
                status: Status::Running,
                told: String::new(),
                labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
                created: UnixMillis(0),
            };
            assert_eq!(slot(&listed).is_some(), is_ours, "{name} {labels:?}");
        }
    }
}
