//! What the runtimes say about containers, also about those that do not run: state, health, exit, image and labels.
//!
//! The names are ours, in the spirit of kube-state-metrics: each state there may be is a series of 0 or 1, so that a
//! rule can ask for `container_state{state="running"} == 0`.

use super::super::sink::{counter, gauge};
use super::{Labelled, Rows, runtime_labels};
use skerry_model::{ContainerInfo, MetricMeta};

static STATE: MetricMeta = gauge("container_state", "Whether the container is in this state, as its runtime says.");
static HEALTH: MetricMeta = gauge("container_health_status", "Whether the container's health check has this outcome.");
static EXIT_CODE: MetricMeta = gauge("container_exit_code", "Exit code of a container that has ended.");
static OOM_KILLED: MetricMeta =
    gauge("container_oom_killed", "Whether a container that has ended was killed for want of memory.");
static INFO: MetricMeta = gauge("container_info", "Image and labels of the container, value is always 1.");
pub(super) static RESTARTS: MetricMeta =
    counter("container_restarts_total", "Times that the runtime has restarted the container.");

/// Docker's and Podman's words for states.
const STATES: [&str; 7] = ["created", "dead", "exited", "paused", "removing", "restarting", "running"];
const HEALTH_STATES: [&str; 3] = ["healthy", "starting", "unhealthy"];

/// The values of one container.
pub(super) fn read(info: &ContainerInfo) -> Labelled {
    let mut rows = Rows::default();
    let is = |state: &str, found: &str| f64::from(u8::from(state == found));
    for state in STATES {
        rows.labelled(&STATE, vec![("state", state.to_owned())], is(state, &info.state));
    }
    if let Some(health) = &info.health {
        for state in HEALTH_STATES {
            rows.labelled(&HEALTH, vec![("status", state.to_owned())], is(state, health));
        }
    }
    if let Some(code) = info.exit_code {
        rows.push(&EXIT_CODE, f64::from(code));
        rows.push(&OOM_KILLED, f64::from(u8::from(info.oom_killed)));
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of restarts is small")]
    rows.push(&RESTARTS, info.restarts as f64);
    let name = ("name".to_owned(), info.name.clone());
    let mut labels = vec![("container_id".to_owned(), info.id.clone()), name];
    let few = rows.0.into_iter().map(|row| (labels.clone(), row)).collect::<Vec<_>>();
    labels.push(("image".to_owned(), info.image.clone()));
    labels.extend(runtime_labels(info));
    let mut rows = Rows::default();
    rows.push(&INFO, 1.0);
    few.into_iter().chain(rows.0.into_iter().map(|row| (labels.clone(), row))).collect()
}
