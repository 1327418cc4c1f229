//! When the task begins, in virtual time, over a real store.

use super::config::Config;
use super::handle::Scaling;
use super::hands::Actuators;
use super::task::ScaleTask;
use crate::actuate::{Acting, Actuator};
use crate::board::Board;
use crate::clock::{Clock, ManualClock};
use crate::rules::{Memory, Nothing};
use crate::store;
use skerry_model::{Observation, UnixMillis};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::target::{Observed, TargetKind, TargetRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Shorter than any pause of the task, so that none is jumped over.
const STEP: Duration = Duration::from_millis(50);

/// A target that counts who looks at it.
#[derive(Default)]
struct Target {
    looks: AtomicUsize,
}

impl Actuator for Target {
    fn observe<'a>(&'a self, _: &'a TargetRef) -> Acting<'a, Observed> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(Observed { spec_replicas: 1, status_replicas: 1, pods: Vec::new() }) })
    }

    fn scale<'a>(&'a self, _: &'a TargetRef, _: u32) -> Acting<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// A task that runs, beside a collection each second that has not measured anything yet.
struct Rig {
    target: Arc<Target>,
    board: Board,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), super::ScaleError>>,
    _folder: tempfile::TempDir,
    _latest: watch::Sender<Arc<Vec<Observation>>>,
}

impl Rig {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(UnixMillis(1_700_000_000_000));
        let opened =
            store::open(&folder.path().join("agent.db"), store::Config::default(), clock.clone(), || 1).unwrap();
        let spec = "scaleTargetRef: {kind: Exec, name: /bin/a}\nminReplicas: 1\nmaxReplicas: 3\nmetrics:\n- type: External\n  \
                    external: {metric: {name: queue}, target: {type: AverageValue, averageValue: 1}}\n";
        let policies = vec![ScalingPolicy::parse("one", spec).unwrap()];
        let target = Arc::<Target>::default();
        let (scaling, questions) = Scaling::new();
        let (sender, latest) = watch::channel(Arc::default());
        let (board, stop) = (Board::default(), CancellationToken::new());
        let task = ScaleTask {
            config: Config { policies, ..Config::default() },
            stored: Vec::new(),
            actuators: Actuators::from([(TargetKind::Exec, target.clone() as Arc<dyn Actuator>)]),
            collected_every: Duration::from_secs(1),
            memory: Arc::new(Memory::new(Vec::new(), clock.wall())),
            behind: Arc::new(Nothing),
            latest,
            store: opened.store,
            scaling,
            questions,
            board: board.clone(),
            clock,
        };
        let running = tokio::spawn(task.run(stop.clone()));
        Self { target, board, clock: hand, stop, running, _folder: folder, _latest: sender }
    }

    /// Time passes; how often the target was looked at so far.
    async fn pass(&self, span: Duration) -> usize {
        for _ in 0..span.as_millis() / STEP.as_millis() {
            self.clock.advance(STEP);
            tokio::time::sleep(STEP).await;
        }
        self.target.looks.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_round_waits_for_a_measurement_of_this_run() {
    let rig = Rig::start();
    // A busy machine may be late with its first measurement.
    assert_eq!(rig.pass(Duration::from_secs(7)).await, 0);
    rig.board.write(|entries| entries.last_round = Some((UnixMillis(1), 1)));
    assert_eq!(rig.pass(Duration::from_secs(1)).await, 1);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_ever_measured_the_first_round_begins_all_the_same() {
    let rig = Rig::start();
    assert_eq!(rig.pass(Duration::from_millis(9500)).await, 0);
    assert_eq!(rig.pass(Duration::from_secs(1)).await, 1);
    rig.end().await;
}
