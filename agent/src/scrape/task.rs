//! The async shell: finds targets and keeps a loop for each.

use super::config::{Config, Jobs, read_file};
use super::containers;
use super::discovery::{Found, Wanted, discover};
use super::files::Files;
use super::pool::Pool;
use super::state::{State, Status};
use super::target::{Shared, TargetLoop};
use crate::board::Board;
use crate::clock::Clock;
use crate::http::SystemRoots;
use crate::store::{Closed, Store};
use skerry_model::ContainerInfo;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Where a `config_file` that cannot be used is put up.
const FILE_SOURCE: &str = "scrape config_file";
/// Where targets that cannot be scraped are put up.
const TARGETS_SOURCE: &str = "scrape targets";

/// Why scraping ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeEnded {
    /// Nobody takes the samples.
    #[error(transparent)]
    Store(#[from] Closed),
    /// A loop or the reader of files ended without a result.
    #[error("a part of scraping ended unexpectedly; restart the agent and report this with the log around it")]
    Task(#[from] tokio::task::JoinError),
}

/// The task's ends.
pub struct ScrapeTask {
    /// Settings.
    pub config: Config,
    /// The containers that run.
    pub containers: watch::Receiver<Arc<Vec<ContainerInfo>>>,
    /// Where samples go.
    pub store: Store,
    /// What is shown.
    pub state: State,
    /// Where failures are put up.
    pub board: Board,
    /// Clocks.
    pub clock: Clock,
}

/// A loop that runs.
struct Running {
    wanted: Wanted,
    status: Arc<Status>,
    gone: CancellationToken,
}

/// Where targets come from.
struct Sources {
    config: Config,
    system: SystemRoots,
    own: Vec<Arc<Pool>>,
    /// Jobs of `config_file`, and how the file looked when they were read.
    of_file: Vec<Arc<Pool>>,
    mark: Option<(SystemTime, u64)>,
    problem: Option<String>,
    files: Files,
}

impl ScrapeTask {
    /// Scrapes until `stop`.
    ///
    /// # Errors
    /// [`ScrapeEnded`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), ScrapeEnded> {
        let Self { config, containers: mut list, store, state, board, clock } = self;
        let series = Arc::new(AtomicUsize::new(0));
        let shared = Shared { store, clock, board, series, series_max: config.series_limit };
        let targets_max = config.target_limit;
        let mut sources = Sources::new(config);
        let mut loops: JoinSet<Result<(), Closed>> = JoinSet::new();
        let mut running: Vec<Running> = Vec::new();
        let mut told = BTreeSet::new();
        let mut every = tokio::time::interval(LOOK_EVERY);
        let mut can_change = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = every.tick() => {}
                changed = list.changed(), if can_change => can_change = changed.is_ok(),
                Some(ended) = loops.join_next() => {
                    ended??;
                    continue;
                }
            }
            let containers = list.borrow_and_update().clone();
            let now = shared.clock.mono();
            let board = shared.board.clone();
            let looked = tokio::task::spawn_blocking(move || {
                sources.read_config_file(&board);
                let pools = sources.pools();
                let all: Vec<_> = pools.iter().flat_map(|pool| pool.file_sd.iter().cloned()).collect();
                sources.files.refresh(&all, now);
                let mut found = discover(&pools, &sources.files, &containers, targets_max);
                found.problems.extend(sources.files.problem());
                (sources, found)
            });
            let (returned, found) = looked.await?;
            sources = returned;
            tell(&found, &mut told, &shared.board);
            reconcile(&found, &mut running, &mut loops, &shared, &stop);
            state.show(running.iter().map(|running| running.status.clone()).collect(), found);
        }
        while let Some(ended) = loops.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Ends loops of targets that are no more and begins those of new ones; the others go on.
fn reconcile(
    found: &Found,
    running: &mut Vec<Running>,
    loops: &mut JoinSet<Result<(), Closed>>,
    shared: &Shared,
    stop: &CancellationToken,
) {
    let mut old: Vec<Option<Running>> = running.drain(..).map(Some).collect();
    for wanted in &found.wanted {
        let same = |held: &&mut Option<Running>| held.as_ref().is_some_and(|held| is_same(&held.wanted, wanted));
        if let Some(held) = old.iter_mut().find(same).and_then(Option::take) {
            held.status.update(wanted);
            running.push(held);
            continue;
        }
        let (status, gone) = (Arc::new(Status::new(wanted)), CancellationToken::new());
        running.push(Running { wanted: wanted.clone(), status: status.clone(), gone: gone.clone() });
        let (wanted, shared, stop) = (wanted.clone(), shared.clone(), stop.clone());
        loops.spawn(TargetLoop { wanted, status, shared, gone, stop }.run());
    }
    for held in old.into_iter().flatten() {
        held.gone.cancel();
    }
}

fn is_same(a: &Wanted, b: &Wanted) -> bool {
    let (x, y) = (&a.target, &b.target);
    Arc::ptr_eq(&a.pool, &b.pool)
        && (&x.labels, &x.url, x.interval, x.timeout) == (&y.labels, &y.url, y.interval, y.timeout)
}

/// Tells of targets that cannot be scraped, each once.
fn tell(found: &Found, told: &mut BTreeSet<String>, board: &Board) {
    let problems: BTreeSet<String> = found.problems.iter().cloned().collect();
    for problem in problems.difference(told) {
        tracing::warn!(problem, "target cannot be scraped");
    }
    match problems.first() {
        Some(problem) => board.problem(TARGETS_SOURCE, problem),
        None => board.solved(TARGETS_SOURCE),
    }
    *told = problems;
}

impl Sources {
    fn new(config: Config) -> Self {
        let system = SystemRoots::default();
        let mut own = Pool::of(config.jobs(), &[], &system);
        if config.containers && !own.iter().any(|pool| pool.job.name == containers::JOB) {
            own.push(Arc::new(Pool::new(&containers::job(), &config.global, &system)));
        }
        Self { config, system, own, of_file: Vec::new(), mark: None, problem: None, files: Files::default() }
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.own.iter().chain(&self.of_file).cloned().collect()
    }

    /// Reads the `prometheus.yml` where it has changed. One that cannot be used leaves the jobs as they are.
    fn read_config_file(&mut self, board: &Board) {
        let Some(path) = self.config.config_file.clone() else { return };
        let mark = mark(&path);
        if mark.is_some() && mark == self.mark {
            return;
        }
        self.mark = mark;
        let taken: BTreeSet<&str> = self.own.iter().map(|pool| pool.job.name.as_str()).collect();
        let read = read_file(&path).map_err(|faults| faults.to_string()).and_then(|read| {
            let twice = read.scrape_configs.iter().find(|job| taken.contains(job.job_name.as_str()));
            match twice {
                Some(job) => {
                    Err(format!("{}: job {:?} stands in the agent's config too", path.display(), job.job_name))
                }
                None => Ok(read),
            }
        });
        match read {
            Ok(read) => {
                let jobs = Jobs { global: &read.global, jobs: &read.scrape_configs };
                self.of_file = Pool::of(jobs, &self.of_file, &self.system);
                tracing::info!(path = %path.display(), jobs = self.of_file.len(), "scrape config is read");
                self.problem = None;
                board.solved(FILE_SOURCE);
            }
            Err(problem) => {
                board.problem(FILE_SOURCE, &problem);
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!(problem, "scrape config cannot be used; what was read before counts");
                }
                self.problem = Some(problem);
            }
        }
    }
}

fn mark(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
