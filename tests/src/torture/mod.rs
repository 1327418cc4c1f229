//! Log torture: writers number their lines and rotate their files in every style, the agent is killed with SIGKILL at
//! random moments, and afterwards its database must hold every number once.
//!
//! ```text
//! seed -> writers (one thread per style) -> files -> agent (real program, killed and begun again) -> agent.db -> stored
//! ```
//!
//! What a style loses by its nature is kept from happening, so that whatever is missing is the agent's:
//! - copytruncate loses what is written between the copy and the truncation: its writer pauses for that time.
//! - Files are deleted only when their lines are stored: nobody can read a deleted file after a restart.
//! - The agent knows its inputs before the first line is written: what was rotated away before an input first ran is
//!   not its to read.
//! - Every writer goes on with a rotated file for less than `rotate_grace`.

mod stored;
mod writers;

pub use stored::Stored;
pub use writers::Style;

use crate::lab::{Binaries, Running, free_port, wait_for};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use writers::Writer;

/// How long the agent may take for what is unread when the writers have stopped.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// SplitMix64: what a seed says is the same everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that one seed throws for one of many users.
    #[must_use]
    pub fn new(seed: u64, user: u64) -> Self {
        Self(seed ^ user.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`, which must not be zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Whether one of so many throws comes.
    pub fn one_in(&mut self, throws: u64) -> bool {
        self.below(throws) == 0
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Kills at least. There are more, up to five times as many, until every style has written and rotated enough to tell.
    pub crashes: u32,
    /// Seed of every choice but the scheduler's.
    pub seed: u64,
    /// Which styles write.
    pub styles: Vec<Style>,
    /// Longest time between a start and its kill.
    pub life_max: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The plan's.
    pub seed: u64,
    /// Kills.
    pub crashes: u32,
    /// Seconds from the first start to the last line.
    pub seconds: f64,
    /// Per style.
    pub styles: Vec<StyleReport>,
    /// The ledger's entries about logs: reason, source, count.
    pub ledger: Vec<(String, String, Option<i64>)>,
    /// Records that no writer wrote, the first few.
    pub foreign: Vec<String>,
    /// Every number stands in the database once, and nothing else does.
    pub exact: bool,
    /// As `exact`, but what is missing may stand in the ledger.
    pub accounted: bool,
}

/// What came of one style.
#[derive(Debug, Serialize)]
pub struct StyleReport {
    /// Its name.
    pub style: &'static str,
    /// Records written.
    pub written: u64,
    /// Rotations, or files that came and went.
    pub rotations: u64,
    /// New files that got the inode of a deleted one.
    pub inodes_reused: u64,
    /// Numbers that stand in the database.
    pub stored: u64,
    /// Numbers that stand there more than once.
    pub twice: u64,
    /// Numbers that do not.
    pub missing: u64,
    /// The first few of them.
    pub missing_first: Vec<u64>,
    /// The ledger has an entry about its files.
    pub ledgered: bool,
}

/// What writers and the reader of the database share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stored: Mutex<Stored>,
    pub(crate) stop: AtomicBool,
    /// Writers that have written and rotated enough to tell something.
    pub(crate) told_enough: AtomicUsize,
}

/// Runs it in an empty folder, which must lie on a file system that reuses inodes for that style to bite.
///
/// # Errors
/// If a program or a file fails. What was lost is no error but stands in the report.
pub fn run(binaries: &Binaries, folder: &Path, plan: &Plan) -> anyhow::Result<Report> {
    let begun = clock();
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs)?;
    std::fs::write(folder.join("agent.yaml"), config(folder, &plan.styles)?)?;
    let database = folder.join("data/agent.db");
    // Its end in order commits that the inputs were there: nothing else would for a minute.
    wait_for("the inputs to be known", || {
        let agent = start(binaries, folder)?;
        wait_for("the agent to run", || {
            let said = std::fs::read_to_string(folder.join("agent.log"))?;
            ensure!(said.contains("agent runs"), "it has not begun: {said}");
            Ok(())
        })?;
        thread::sleep(Duration::from_millis(200));
        agent.stop()?;
        let known = Stored::inputs(&database)?;
        ensure!(known >= plan.styles.len(), "{known} inputs are known");
        Ok(())
    })?;
    let shared = Arc::new(Shared {
        stored: Mutex::new(Stored::new(&database)),
        stop: AtomicBool::new(false),
        told_enough: AtomicUsize::new(0),
    });
    let writers: Vec<_> = plan
        .styles
        .iter()
        .enumerate()
        .map(|(n, style)| {
            let mut writer = Writer::new(*style, &logs, Dice::new(plan.seed, n as u64 + 1), shared.clone())?;
            Ok(thread::spawn(move || writer.run().map(|()| writer)))
        })
        .collect::<anyhow::Result<_>>()?;
    let reader = thread::spawn({
        let shared = shared.clone();
        move || {
            while !shared.stop.load(Ordering::Relaxed) {
                // Not there yet, or busy: the next look will tell.
                let _ = lock(&shared.stored).refresh();
                thread::sleep(Duration::from_millis(150));
            }
        }
    });
    let mut dice = Dice::new(plan.seed, 0);
    let mut crashes = 0;
    let is_early = || shared.told_enough.load(Ordering::Relaxed) < plan.styles.len();
    while crashes < plan.crashes || (is_early() && crashes < 5 * plan.crashes) {
        crashes += 1;
        let agent = start(binaries, folder)?;
        thread::sleep(life(&mut dice, plan.life_max));
        agent.kill();
        thread::sleep(Duration::from_millis(dice.below(150)));
    }
    shared.stop.store(true, Ordering::Relaxed);
    let writers: Vec<Writer> = writers
        .into_iter()
        .map(|writer| writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?)
        .collect::<anyhow::Result<_>>()?;
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    let agent = start(binaries, folder)?;
    let waited = clock();
    loop {
        let mut stored = lock(&shared.stored);
        let _ = stored.refresh();
        if writers.iter().all(|writer| stored.has_all(writer.style, writer.written)) || waited.elapsed() > DRAIN_MAX {
            break;
        }
        drop(stored);
        thread::sleep(Duration::from_millis(100));
    }
    // Whatever would come twice, comes within a rescan and a commit.
    thread::sleep(Duration::from_millis(2500));
    let status = agent.stop()?;
    ensure!(status.success(), "the agent ended with {status}");
    let mut stored = lock(&shared.stored);
    stored.refresh().context("read the database")?;
    let ledger = stored.ledger()?;
    let styles: Vec<StyleReport> = writers.iter().map(|writer| of_style(writer, &stored, &ledger)).collect();
    let nothing_else = stored.foreign.is_empty() && styles.iter().all(|style| style.twice == 0);
    Ok(Report {
        seed: plan.seed,
        crashes,
        seconds: begun.elapsed().as_secs_f64(),
        exact: nothing_else && styles.iter().all(|style| style.missing == 0),
        accounted: nothing_else && styles.iter().all(|style| style.missing == 0 || style.ledgered),
        styles,
        ledger,
        foreign: stored.foreign.clone(),
    })
}

fn of_style(writer: &Writer, stored: &Stored, ledger: &[(String, String, Option<i64>)]) -> StyleReport {
    let name = writer.style.name();
    let missing = stored.missing(writer.style, writer.written);
    StyleReport {
        style: name,
        written: writer.written,
        rotations: writer.rotations,
        inodes_reused: writer.inodes_reused,
        stored: writer.written - missing.len() as u64,
        twice: stored.twice(writer.style),
        missing: missing.len() as u64,
        missing_first: missing.into_iter().take(5).collect(),
        ledgered: ledger.iter().any(|(_, source, _)| source.contains(&format!("/{name}/"))),
    }
}

/// From the first moments of a start, which are the hardest, to long enough for some commits.
fn life(dice: &mut Dice, most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(2);
    Duration::from_millis(if dice.one_in(4) { dice.below(most / 4 + 1) } else { most / 4 + dice.below(most) })
}

fn start(binaries: &Binaries, folder: &Path) -> anyhow::Result<Running> {
    let mut command = Command::new(binaries.path("skerry-agent"));
    command.arg("run").arg("--config").arg(folder.join("agent.yaml"));
    Running::spawn(&mut command, &folder.join("agent.log"))
}

fn config(folder: &Path, styles: &[Style]) -> anyhow::Result<String> {
    let mut text = format!(
        "node: torture\ndata_dir: {}/data\nlisten: 127.0.0.1:{}\ncollect:\n  interval: 60s\nstore:\n  log_interval: 1s\n  \
         log_bytes: 4KiB\n  write_budget: 0B\nlogs:\n  poll: 50ms\n  rescan: 200ms\n  rotate_grace: 5s\n  containers:\n    \
         enabled: false\n  files:\n",
        folder.display(),
        free_port()?
    );
    for style in styles {
        text += &format!(
            "    - name: {}\n      paths: ['{}/logs/{}/{}']\n{}",
            style.name(),
            folder.display(),
            style.name(),
            style.glob(),
            style.settings()
        );
    }
    Ok(text)
}

pub(crate) fn lock(stored: &Mutex<Stored>) -> std::sync::MutexGuard<'_, Stored> {
    stored.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "real processes are timed by the real clock")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}
