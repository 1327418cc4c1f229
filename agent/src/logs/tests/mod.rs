//! The log inputs against real files. Time is a number that the test moves; nothing sleeps.

mod compressed;
mod containers;
mod crash;
mod files;
mod multiline;
mod pipeline;
mod rotation;
mod task;

use skerry_model::{ContainerInfo, LogRecord, LossEntry, LossReason, Mono, Span, UnixMillis};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::config::{Checked, Config, FileInput, Format, Start};
use super::stats::LogStats;
use super::tailer::Tailer;
use crate::data::LogInput;

/// A folder of logs, a tailer over it, and what a store would hold of it.
struct Rig {
    dir: tempfile::TempDir,
    config: Config,
    tailer: Tailer,
    stats: Arc<LogStats>,
    now_ms: u64,
    records: Vec<LogRecord>,
    losses: Vec<LossEntry>,
    positions: BTreeMap<String, Vec<u8>>,
}

/// Time of the first round.
const WALL_MS: i64 = 1_795_213_080_000;

impl Rig {
    /// Tails `*.log` of a new folder.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            files: vec![FileInput {
                name: "app".to_owned(),
                paths: vec![format!("{}/*.log", dir.path().display())],
                exclude: Vec::new(),
                format: Format::Auto,
                labels: BTreeMap::new(),
                start: Start::Beginning,
                multiline: None,
                pipeline: Default::default(),
            }],
            rotate_grace: Span::secs(2),
            ..Config::default()
        };
        config.containers.enabled = false;
        change(&mut config);
        let stats = Arc::new(LogStats::default());
        let tailer = Tailer::new(Arc::new(Checked::parse(&config).unwrap()), Vec::new(), stats.clone()).unwrap();
        let (records, losses, positions) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { dir, config, tailer, stats, now_ms: 0, records, losses, positions }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = self.writer(name);
        file.write_all(text.as_ref()).unwrap();
        file.set_modified(self.time()).unwrap();
    }

    /// Now, as a file's time of change. Files carry the test's time, so that no test depends on the clock's ticks.
    fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(WALL_MS).unwrap() + self.now_ms)
    }

    fn writer(&self, name: &str) -> File {
        OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap()
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// What logrotate's copytruncate does.
    fn copytruncate(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
        self.writer(to).set_modified(self.time()).unwrap();
        self.truncate(from);
    }

    /// What gzip and zstd do: the packed file carries the time of the original, which goes.
    fn pack(&self, name: &str, ending: &str) {
        let content = fs::read(self.path(name)).unwrap();
        let packed = match ending {
            "gz" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&content).unwrap();
                encoder.finish().unwrap()
            }
            "zst" => zstd::stream::encode_all(&content[..], 1).unwrap(),
            _ => b"who knows".to_vec(),
        };
        let time = fs::metadata(self.path(name)).unwrap().modified().unwrap();
        let to = format!("{name}.{ending}");
        fs::write(self.path(&to), packed).unwrap();
        self.writer(&to).set_modified(time).unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    fn truncate(&self, name: &str) {
        let file = self.writer(name);
        file.set_len(0).unwrap();
        file.set_modified(self.time()).unwrap();
    }

    /// One round whose outcome is not committed.
    fn round(&mut self) -> (LogInput, bool) {
        let wall = UnixMillis(WALL_MS + i64::try_from(self.now_ms).unwrap());
        let outcome = self.tailer.poll_once(Mono(self.now_ms), wall);
        (outcome.input, outcome.more)
    }

    fn commit(&mut self, input: LogInput) {
        self.records.extend(input.records);
        self.losses.extend(input.losses);
        for update in input.positions {
            assert!(update.key.len() <= 1024);
            match update.state {
                Some(state) => {
                    assert!(state.len() <= 4096);
                    self.positions.insert(update.key, state);
                }
                None => {
                    self.positions.remove(&update.key);
                }
            }
        }
    }

    /// Lets time pass and commits every round until there is nothing more.
    fn poll_after(&mut self, ms: u64) {
        self.now_ms += ms;
        for _ in 0..10_000 {
            let (input, more) = self.round();
            self.commit(input);
            if !more {
                return;
            }
        }
        panic!("the rounds do not end");
    }

    /// Polls often enough that a rescan, a poll and the grace period all pass.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.poll_after(5_000);
        }
    }

    /// Begins again from what was committed, as after a kill.
    fn restart(&mut self) {
        let saved = self.positions.clone().into_iter().collect();
        self.stats = Arc::new(LogStats::default());
        self.tailer = Tailer::new(Arc::new(Checked::parse(&self.config).unwrap()), saved, self.stats.clone()).unwrap();
    }

    fn list(&mut self, containers: &[ContainerInfo]) {
        self.tailer.set_containers(containers.to_vec());
    }

    fn lines(&self) -> Vec<String> {
        self.records.iter().map(|record| String::from_utf8_lossy(&record.line).into_owned()).collect()
    }

    fn losses(&self) -> Vec<(LossReason, Option<u64>)> {
        self.losses.iter().map(|loss| (loss.reason, loss.count)).collect()
    }
}
