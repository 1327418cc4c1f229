//! Containers as declared: what is to be done so that they run as they should.
//!
//! ```text
//! Workload ─> replicas 1..N ─> a container each, or several
//!
//! declared, remembered ─┐                    ┌─> create, start, stop, remove
//! seen at the runtime ──┼─> Keeper::step ────┼─> probe
//! outcomes of acts ─────┘                    └─> state and events, written together
//! ```
//!
//! Invariants:
//! - What runs as declared is never touched: containers carry the hash of what they were made from, and a look that finds
//!   it unchanged leads to nothing but probes.
//! - Nothing is touched but containers that carry the label of a workload that is declared here, or was.
//! - An exit is counted once, also over restarts of the agent: what was counted is part of the state.
//! - A replacement that makes no progress is undone to what last ran well, and is not tried again until it is changed.

mod keeper;
mod read;
mod spec;

pub use keeper::{
    Act, Changes, ContainerStatus, Failure, Happened, Keeper, Outcome, PREFIX, Seen, SeenState, Settings, SlotId,
    Status,
};
pub use spec::{
    Amount, Container, EnvValue, HostPort, Image, Mount, MountSource, Port, Probe, ProbeAction, ProbeKind, PullPolicy,
    Resources, RestartPolicy, Security, Strategy, Template, Workload,
};

/// Label with the name of the workload that a container belongs to.
pub const LABEL_WORKLOAD: &str = "skerry.io/workload";
/// Label with the number of the replica that a container belongs to, from 1.
pub const LABEL_REPLICA: &str = "skerry.io/replica";
/// Label with the name of the container among those of its replica.
pub const LABEL_CONTAINER: &str = "skerry.io/container";
/// Label with the hash of the template that a container was made from.
pub const LABEL_SPEC: &str = "skerry.io/spec";
/// Labels of a service's template with what a replica asks for: they may be set by hand.
const LABELS_REQUEST: [&str; 2] = ["skerry.io/cpu-request", "skerry.io/memory-request"];

fn is_request_label(label: &str) -> bool {
    LABELS_REQUEST.contains(&label)
}
