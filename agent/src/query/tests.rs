use super::*;
use crate::clock::Clock;
use crate::rules::{Config, Sources, Text};
use crate::store::{self, Pace};
use skerry_alerting::Now;
use skerry_alerting::rules::Round;
use skerry_model::{LabelsBuilder, Scrape};
use skerry_promql::{Matcher, Selected, Source, SourceError};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A node with `series` series of the metric `m`, one sample each, now; its folder goes with the second.
pub(super) async fn node(series: usize) -> (Queries, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let path = folder.path().join("agent.db");
    let opened = store::open(&path, store::Config::default(), clock.clone(), || 1).unwrap();
    let value = |n: usize| (LabelsBuilder::metric("m").label("n", n.to_string()).build(), n as f64);
    let scrape = Scrape { at: clock.wall(), values: (0..series).map(value).collect() };
    opened.store.append_scrape(scrape, Pace::Round).await.unwrap();
    let vitals = Vitals::idle(clock, opened.store.stats());
    let about = About { config: String::new(), retention: String::new(), started: UnixMillis(0) };
    (Queries::new(opened.store, vitals, about), folder)
}

/// The store, as rules are answered from it while somebody asks for their alerts.
struct Meanwhile {
    behind: Behind,
    entered: Mutex<Option<oneshot::Sender<()>>>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Source for Meanwhile {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        if let Some(entered) = self.entered.lock().unwrap().take() {
            entered.send(()).unwrap();
            self.go.lock().unwrap().recv().unwrap();
        }
        self.behind.select(matchers, from, to, samples_max)
    }
}

/// The evaluation holds the rules and reads the store; the question has the turn of the queries and asks for the rules.
async fn evaluate_while_asked() -> (Round, Response) {
    let (queries, _folder) = node(3).await;
    let (rules, clock) = (queries.vitals.rules.clone(), queries.vitals.clock.clone());
    let text = "groups:\n- name: g\n  rules:\n  - {alert: High, expr: m > 1}\n";
    let mut config = Config::default();
    config.texts.push(Text { name: "here".into(), text: text.into() });
    let now = Now { wall: clock.wall(), mono: clock.mono() };
    rules.install(Sources::read(&config).files, config.settings(), now);
    // A group's moment within its interval is its own; by then it has come.
    let ahead = Duration::from_secs(120);
    let later = Now { wall: now.wall + ahead, mono: now.mono + ahead };
    let turn = rules.due(later).pop().unwrap();
    let ((entered, is_entered), (go, may_go)) = (oneshot::channel(), mpsc::sync_channel(1));
    let source = Meanwhile { behind: queries.behind(), entered: Mutex::new(Some(entered)), go: Mutex::new(may_go) };
    let evaluating = tokio::task::spawn_blocking({
        let rules = rules.clone();
        move || rules.evaluate(turn, &source, later)
    });
    is_entered.await.unwrap();
    let asking = tokio::spawn({
        let queries = queries.clone();
        async move { queries.answer(Endpoint::Alerts, Params::default()).await }
    });
    while queries.turn.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    (evaluating.await.unwrap(), asking.await.unwrap().unwrap())
}

#[test]
fn who_asks_for_alerts_and_who_evaluates_them_do_not_wait_for_each_other() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), evaluate_while_asked()).await });
    // Threads that wait for each other are not waited for.
    runtime.shutdown_background();
    let (round, answer) = done.expect("neither goes on");
    assert!(round.errors.is_empty(), "{:?}", round.errors);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("High"), "{}", answer.body);
}
