//! Rules and alerts, put together: what wiring knows of them.

use super::random_bits;
use crate::alerts::{AlertsTask, Desk, Kept, Routing, Setup, Silences, Tell, Tellers};
use crate::board::Board;
use crate::clock::Clock;
use crate::config::{Effective, Local};
use crate::data::{AlertsRequest, Raised};
use crate::http::SystemRoots;
use crate::notify::Shell;
use crate::query::Queries;
use crate::rules::{self, Memory, Rules, RulesTask};
use crate::store::Store;
use crate::supervise::Tasks;
use crate::vitals::Vitals;
use skerry_alerting::Now;
use skerry_alerting::window::Need;
use skerry_yaml::Faults;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What of alerting lasts longer than a run.
#[derive(Debug, Clone, Default)]
pub struct Lasting {
    /// Rules with the state of their alerts.
    pub rules: Rules,
    /// Who was told of what.
    pub kept: Kept,
}

/// Rules and alerts of a run, before anything runs.
pub(super) struct Alerting {
    lasting: Lasting,
    routing: Routing,
    stored: Vec<(String, Vec<u8>)>,
    /// Samples that rules read.
    pub(super) memory: Arc<Memory>,
}

/// What runs while the inputs do, and what outlives them.
pub(super) struct Running<'a> {
    pub(super) intake_tasks: &'a mut Tasks,
    pub(super) intake: &'a CancellationToken,
    pub(super) tasks: &'a mut Tasks,
    pub(super) stop: &'a CancellationToken,
}

impl Alerting {
    /// Reads what the config names, and takes over from the run before. `needs`: what others read of the samples in memory. Files with faults are left out: the local file
    /// was refused for them when it was read, and a signed one cannot know what lies on the node.
    pub(super) fn install(
        lasting: &Lasting,
        local: &Local,
        effective: &Effective,
        stored: Vec<(String, Vec<u8>)>,
        needs: Vec<Need>,
        clock: &Clock,
        board: &Board,
    ) -> Self {
        let sources = rules::Sources::read(&effective.rules);
        put_up("rules", &sources.faults, board);
        for remarks in &sources.remarks {
            tracing::warn!(%remarks, "rules may not mean what was meant");
        }
        let (routing, faults) = Routing::read(&effective.alerting, &local.exec_allow);
        put_up("alerting", &faults, board);
        let now = Now { wall: clock.wall(), mono: clock.mono() };
        lasting.rules.install(sources.files, effective.rules.settings(), now);
        let needs = lasting.rules.needs().into_iter().chain(needs).collect();
        let memory = Arc::new(Memory::new(needs, now.wall));
        Self { lasting: lasting.clone(), routing, stored, memory }
    }

    /// Begins to evaluate and to tell. Gives where requests of Alertmanager's API go.
    pub(super) fn start(
        self,
        local: &Local,
        effective: &Effective,
        queries: &Queries,
        store: &Store,
        vitals: &Vitals,
        running: Running<'_>,
    ) -> mpsc::Sender<AlertsRequest> {
        let Self { lasting, routing, stored, memory } = self;
        let Running { intake_tasks, intake, tasks, stop } = running;
        // When it is full the next evaluation waits: nobody may miss an alert.
        let (raised_in, raised) = mpsc::channel::<Raised>(16);
        // When it is full whoever asks waits.
        let (requests_in, requests) = mpsc::channel(4);
        let groups = lasting.rules.groups();
        let interval = groups.iter().map(|group| group.interval).max();
        let evaluating = RulesTask {
            rules: lasting.rules,
            memory,
            behind: Arc::new(queries.behind()),
            store: store.clone(),
            alerts: raised_in,
            board: vitals.board.clone(),
            stats: vitals.rule_stats.clone(),
            clock: vitals.clock.clone(),
        };
        intake_tasks.spawn_fallible("rules", evaluating.run(intake.clone()));
        let now = Now { wall: vitals.clock.wall(), mono: vitals.clock.mono() };
        let setup = Setup {
            kept: lasting.kept,
            has_fleet: vitals.fleet.is_some(),
            interval,
            external_url: effective.alerting.external_url.clone(),
            seed: random_bits(),
            silences: Silences::new(effective.alerting.silences.clone(), &stored),
            stored,
            routing: routing.clone(),
        };
        let reached = vitals.clone();
        let alerts = AlertsTask {
            desk: Desk::new(setup, now),
            tellers: Tellers::new(tell(routing, vitals), local.exec_allow.clone()),
            raised,
            requests,
            link_up: Box::new(move || reached.fleet_reached()),
            store: store.clone(),
            board: vitals.board.clone(),
            stats: vitals.alert_stats.clone(),
            clock: vitals.clock.clone(),
        };
        tasks.spawn_fallible("alerts", alerts.run(stop.clone()));
        requests_in
    }
}

/// Faults of files that are left out.
pub(super) fn put_up(source: &str, all: &[Faults], board: &Board) {
    for faults in all {
        tracing::error!(%faults, source, "a file is left out for its faults");
        board.problem(&format!("{source} {}", faults.file), &faults.to_string());
    }
}

/// Tells receivers by the shell, with the templates of the config.
fn tell(routing: Routing, vitals: &Vitals) -> Tell {
    let (shell, clock) = (Arc::new(Shell::new(&SystemRoots::default())), vitals.clock.clone());
    Arc::new(move |integration, data, limit| {
        let (shell, templates, clock) = (shell.clone(), routing.templates.clone(), clock.clone());
        Box::pin(async move {
            let now = Now { wall: clock.wall(), mono: clock.mono() };
            shell.tell(&integration, &data, &templates, now, limit).await
        })
    })
}
