//! The page of workloads: how they stood last, and what happened to them.

use crate::api::{ApiError, Fleet, known_workloads};
use crate::clock::{ago, utc};
use crate::scaling::history::{Happening, Wanted, happenings};
use crate::scaling::view::{Of, Workload};
use askama::Template;
use skerry_model::UnixMillis;

/// Workloads that the page shows; the others are counted.
const SHOWN_MAX: usize = 500;
/// Events that it shows.
const EVENTS_SHOWN: u32 = 200;

/// The page of workloads.
#[derive(Template)]
#[template(path = "workloads.html")]
pub(super) struct WorkloadsPage {
    workloads: Vec<WorkloadLine>,
    count: usize,
    ready: u64,
    wanted: u64,
    short: usize,
    events: Vec<EventLine>,
    at: String,
}

/// A workload.
struct WorkloadLine {
    name: String,
    node: String,
    ready: String,
    updated: String,
    is_short: bool,
    state: String,
    seen: String,
}

/// Something that happened.
struct EventLine {
    at: String,
    node: String,
    workload: String,
    container: String,
    reason: String,
    message: String,
}

impl WorkloadsPage {
    /// Asks for everything that stands on it.
    pub(super) async fn load(fleet: &Fleet) -> Result<Self, ApiError> {
        let now = (fleet.wall)();
        let mut workloads = known_workloads(fleet).await?;
        let wanted = Wanted { limit: EVENTS_SHOWN, ..Wanted::default() };
        let events = happenings(&fleet.store, wanted).await?.events;
        let sum = |of: fn(&Workload) -> u32| workloads.iter().map(|one| u64::from(of(&one.what))).sum();
        let (ready, all) = (sum(|workload| workload.ready), sum(|workload| workload.wanted));
        let short = workloads.iter().filter(|one| is_short(&one.what)).count();
        // What lacks something comes first.
        workloads.sort_by_key(|one| !is_short(&one.what));
        Ok(Self {
            count: workloads.len(),
            ready,
            wanted: all,
            short,
            workloads: workloads.into_iter().take(SHOWN_MAX).map(|of| WorkloadLine::new(of, &events, now)).collect(),
            events: events.into_iter().map(EventLine::new).collect(),
            at: utc(now),
        })
    }
}

fn is_short(workload: &Workload) -> bool {
    workload.ready < workload.wanted
}

impl WorkloadLine {
    fn new(of: Of<Workload>, events: &[Happening], now: UnixMillis) -> Self {
        let workload = of.what;
        // Newest first: the first one is how it stands.
        let last = events.iter().find(|one| one.node == of.node && one.workload == workload.workload);
        let is_short = is_short(&workload);
        Self {
            ready: format!("{} of {}", workload.ready, workload.wanted),
            updated: workload.updated.to_string(),
            is_short,
            state: last.filter(|_| is_short).map(|one| one.reason.clone()).unwrap_or_default(),
            seen: of.as_of_ms.map(|at| ago(now, UnixMillis(at))).unwrap_or_default(),
            node: of.node,
            name: workload.workload,
        }
    }
}

impl EventLine {
    fn new(one: Happening) -> Self {
        Self {
            at: utc(UnixMillis(one.at_ms)),
            node: one.node,
            workload: one.workload,
            container: one.container.unwrap_or_default(),
            reason: one.reason,
            message: one.message,
        }
    }
}
