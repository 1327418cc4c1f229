//! All trails together: which there are, whose turn it is, and what a round brings.
//!
//! Blocking: every call may read files. [`super::task`] keeps it off the async threads.
//!
//! Invariants:
//! - A round's positions cover exactly the records of that round and the rounds before it.
//! - A stored position is forgotten only when nothing is left of its file; a config that no longer names the file
//!   leaves it alone, because the config may be undone.

use skerry_logs::pipeline::Now;
use skerry_model::{ContainerInfo, Labels, LossReason, Mono, TimeRange, UnixMillis};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::{Checked, Format, Start};
use super::generation::Round;
use super::intake::Intake;
use super::position::{Position, digest};
use super::record::Origin;
use super::scan::{self, Scan};
use super::shared::Shared;
use super::stats::LogStats;
use super::trail::{Advance, FirstLook, FolderGone, NewTrail, Trail};
use crate::data::{LogGate, LogInput, PositionUpdate};

/// Most trails; further paths wait.
const TRAILS_MAX: usize = 4096;
/// Most positions of one batch that come without records.
const POSITIONS_MAX: usize = 64;
/// Longest key that carries its path in words.
const KEY_BYTES_MAX: usize = 1024;

/// What one round brought.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) input: LogInput,
    /// There is more to read at once.
    pub(super) more: bool,
}

/// All trails.
#[derive(Debug)]
pub(super) struct Tailer {
    config: Arc<Checked>,
    /// The stages of the inputs of files, in the config's order, and last those of containers.
    intakes: Vec<Intake>,
    shared: Shared,
    trails: Vec<Trail>,
    keys: HashSet<String>,
    /// Stored positions that no trail has taken up.
    saved: HashMap<String, Vec<u8>>,
    /// Inputs whose marker is stored or will be: they have run before.
    begun: HashMap<String, u64>,
    /// Inputs whose marker is to be passed on when the first look of all their files is.
    announced: Vec<(String, u64)>,
    forgotten: Vec<String>,
    next_scan: Option<Mono>,
    next_turn: usize,
    containers: Vec<ContainerInfo>,
    /// The list of containers has been seen with something in it.
    containers_listed: bool,
    reported: BTreeSet<String>,
}

impl Tailer {
    /// # Errors
    /// If the stages of an input do not go together, which the check of the config finds first.
    pub(super) fn new(
        config: Arc<Checked>,
        saved: Vec<(String, Vec<u8>)>,
        stats: Arc<LogStats>,
    ) -> Result<Self, Vec<(String, String)>> {
        let lists = config.files.iter().map(|input| &input.pipeline).chain([&config.containers.pipeline]);
        let intakes = lists.map(|own| Intake::new(own, &config.pipeline, &stats)).collect::<Result<Vec<_>, _>>()?;
        let mut saved: HashMap<String, Vec<u8>> = saved.into_iter().collect();
        let markers: Vec<String> = saved.keys().filter(|key| key.starts_with("input/")).cloned().collect();
        let mut begun = HashMap::new();
        for key in markers {
            let selection = saved.remove(&key).and_then(|state| state.try_into().ok()).map(u64::from_le_bytes);
            begun.insert(key, selection.unwrap_or(0));
        }
        let round = Round { line_bytes_max: config.line_bytes_max, stats: stats.clone(), ..Round::default() };
        let shared = Shared {
            round,
            stats,
            open: HashMap::new(),
            open_count: 0,
            files_max: config.files_max,
            grace_ms: config.grace_ms,
            poll_ms: config.poll_ms,
            retry_ms: config.rescan_ms,
            next_id: 0,
            gate: LogGate::open(),
        };
        Ok(Self {
            config,
            intakes,
            shared,
            trails: Vec::new(),
            keys: HashSet::new(),
            saved,
            begun,
            announced: Vec::new(),
            forgotten: Vec::new(),
            next_scan: None,
            next_turn: 0,
            containers: Vec::new(),
            containers_listed: false,
            reported: BTreeSet::new(),
        })
    }

    /// What the stages still remember, when the inputs end: without positions, since every record was handed on.
    pub(super) fn end(&mut self, mono: Mono, wall: UnixMillis) -> LogInput {
        let mut batch = std::mem::take(&mut self.shared.round.batch);
        for intake in &self.intakes {
            intake.end(Now { mono, wall }, &mut batch);
        }
        batch.into_input(Vec::new())
    }

    /// As when a network file system's server forgot all handles.
    #[cfg(test)]
    pub(super) fn forget_handles(&mut self) {
        self.trails.iter_mut().for_each(|trail| trail.reopen(&mut self.shared));
    }

    fn container_intake(&self) -> Intake {
        self.intakes.last().cloned().unwrap_or_default()
    }

    pub(super) fn set_gate(&mut self, gate: LogGate) {
        self.shared.gate = gate;
    }

    /// Takes the containers that there are now; those that are no longer listed are read to their end.
    pub(super) fn set_containers(&mut self, containers: Vec<ContainerInfo>) {
        self.containers_listed |= !containers.is_empty();
        self.containers = containers;
        self.next_scan = None;
    }

    /// One round: every file has a turn, until the batch is full.
    pub(super) fn poll_once(&mut self, mono: Mono, wall: UnixMillis) -> Outcome {
        self.shared.round.mono = mono;
        self.shared.round.wall = wall;
        if self.next_scan.is_none_or(|at| at <= mono) {
            self.next_scan = Some(Mono(mono.0.saturating_add(self.config.rescan_ms)));
            self.scan();
        }
        let (mut more, mut sources) = (false, 0);
        let trails = self.trails.len();
        for turn in 0..trails {
            let at = (self.next_turn + turn) % trails;
            let advance = self.trails[at].advance(&mut self.shared);
            sources += usize::from(self.trails[at].in_batch);
            if advance == Advance::More || sources >= POSITIONS_MAX {
                // The others come first in the next round, so that one long backlog does not hold them up.
                self.next_turn = (at + 1) % trails;
                more = true;
                if self.shared.round.batch.is_full() || sources >= POSITIONS_MAX {
                    break;
                }
            }
        }
        let now = Now { mono, wall };
        for intake in &self.intakes {
            intake.tick(now, &mut self.shared.round.batch);
        }
        self.outcome(more)
    }

    fn outcome(&mut self, mut more: bool) -> Outcome {
        let batch = std::mem::take(&mut self.shared.round.batch);
        let mut positions = Vec::new();
        for trail in self.trails.iter_mut().filter(|trail| trail.dirty || trail.in_batch) {
            // Whoever has records or losses in the batch must be in it; the rest may wait for the next one.
            if trail.in_batch || positions.len() < POSITIONS_MAX {
                (trail.dirty, trail.in_batch) = (false, false);
                positions.push(PositionUpdate { key: trail.key.clone(), state: Some(trail.position().encode()) });
            } else {
                more = true;
            }
        }
        positions.extend(self.forgotten.drain(..).map(|key| PositionUpdate { key, state: None }));
        if !more {
            // Every file that the inputs began with had its first look, and its position went out.
            for (key, selection) in self.announced.drain(..) {
                positions.push(PositionUpdate { key, state: Some(selection.to_le_bytes().to_vec()) });
            }
        }
        let stats = &self.shared.stats;
        stats.files_open.set(self.shared.open_count as u64);
        stats.files_waiting.set(self.trails.iter().filter(|trail| trail.is_waiting()).count() as u64);
        stats.files_unreadable.set(self.trails.iter().filter(|trail| trail.is_unreadable()).count() as u64);
        Outcome { input: batch.into_input(positions), more }
    }

    /// Looks for new files, and lets go of those of which nothing is left.
    fn scan(&mut self) {
        for at in (0..self.trails.len()).rev() {
            if self.trails[at].is_gone() {
                let trail = self.trails.swap_remove(at);
                self.keys.remove(&trail.key);
                self.shared.stats.solved(&trail.path);
                if trail.is_live() {
                    self.forgotten.push(trail.key);
                }
            }
        }
        let config = self.config.clone();
        let mut problems = BTreeSet::new();
        for index in 0..config.files.len() {
            self.scan_input(index, &mut problems);
        }
        if config.containers.enabled {
            self.scan_containers(&mut problems);
        }
        // Stored positions first: what they claim is not new to anyone.
        for trail in &mut self.trails {
            trail.resume(&mut self.shared);
        }
        let waiting = self.trails.iter().filter(|trail| trail.is_waiting()).count();
        if waiting > 0 {
            problems.insert(format!(
                "{} log files are open, as many as logs.files_max allows; others wait: raise it or exclude files",
                self.config.files_max
            ));
        }
        self.report(problems);
    }

    /// Reports problems that were not there before, and forgets those that are gone.
    fn report(&mut self, problems: BTreeSet<String>) {
        for problem in problems.difference(&self.reported) {
            tracing::warn!(problem, "some log files are not read");
            self.shared.stats.read_errors.add(1);
            self.shared.stats.problem(Path::new(problem), problem.clone());
        }
        for problem in self.reported.difference(&problems) {
            self.shared.stats.solved(Path::new(problem));
        }
        self.reported = problems;
    }

    fn scan_input(&mut self, index: usize, problems: &mut BTreeSet<String>) {
        let config = self.config.clone();
        let input = &config.files[index];
        let mut scan = Scan::default();
        for pattern in &input.patterns {
            scan.expand(pattern);
        }
        for (path, error) in scan.problems {
            problems.insert(format!(
                "cannot look into {}: {error}; give the agent's user the right to read it, or exclude it",
                path.display()
            ));
        }
        if scan.incomplete {
            problems.insert(format!(
                "the globs of input {} match too much: a scan ends at {} folder entries; narrow them",
                input.name,
                scan::ENTRIES_MAX
            ));
        }
        let marker = format!("input/{}", input.name);
        let first_time = self.begun.get(&marker) != Some(&input.selection);
        let excluded = |path: &Path| input.exclude.iter().any(|glob| glob.is_match(path));
        let mut hits = scan.hits;
        hits.retain(|path| !excluded(path) && !path.file_name().is_some_and(scan::is_compressed));
        hits.sort_unstable();
        hits.dedup();
        let mut rotated: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        let mut paths = Vec::new();
        for path in &hits {
            let key = file_key(&input.name, path);
            match scan::rotation_base(path) {
                // A generation of another path, unless it is being read by its own name already.
                Some(base)
                    if !self.saved.contains_key(&key)
                        && !self.keys.contains(&key)
                        && (hits.binary_search(&base).is_ok() || self.keys.contains(&file_key(&input.name, &base))) =>
                {
                    rotated.entry(base).or_default().push(path.clone());
                }
                _ => paths.push((key, path.clone())),
            }
        }
        // Files with a stored position that are not there now: they may be found under another name, or are lost.
        let prefix = file_key(&input.name, Path::new(""));
        for key in self.saved.keys() {
            if let Some(path) = key.strip_prefix(&prefix).map(PathBuf::from)
                && input.patterns.iter().any(|pattern| pattern.matches(&path))
                && !excluded(&path)
                && !paths.iter().any(|(other, _)| other == key)
            {
                paths.push((key.clone(), path));
            }
        }
        for (key, path) in paths {
            let second_name = || super::file::look(&path).is_ok_and(|meta| self.shared.is_open(meta.ident));
            if self.keys.contains(&key) || (!self.saved.contains_key(&key) && second_name()) {
                continue;
            }
            if !self.has_room(problems) {
                continue;
            }
            let look = match (first_time, input.start) {
                (false, _) => FirstLook::All,
                (true, Start::Beginning) => FirstLook::Listed(rotated.remove(&path).unwrap_or_default()),
                (true, Start::End) => FirstLook::End,
            };
            let mut labels: Vec<(String, String)> =
                input.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            labels.push(("source".to_owned(), input.name.clone()));
            labels.push(("filename".to_owned(), path.display().to_string()));
            labels.extend(super::pods::labels(&path));
            let intake = self.intakes[index].clone();
            let origin = Origin {
                labels: label_set(labels),
                source: path.display().to_string(),
                intake,
                multiline: input.multiline.clone(),
            };
            let new = NewTrail { key, path, origin, format: input.format, folder_gone: FolderGone::Wait };
            self.add(new, look);
        }
        if first_time {
            self.begun.insert(marker.clone(), input.selection);
            self.announced.push((marker, input.selection));
        }
    }

    fn scan_containers(&mut self, problems: &mut BTreeSet<String>) {
        let config = self.config.clone();
        let settings = &config.containers;
        let marker = format!("input/{}", super::CONTAINERS);
        let first_time = !self.begun.contains_key(&marker);
        let containers = std::mem::take(&mut self.containers);
        for container in containers.iter().filter(|container| {
            let named = |glob: &globset::GlobMatcher| glob.is_match(&container.name);
            (settings.include.is_empty() || settings.include.iter().any(named)) && !settings.exclude.iter().any(named)
        }) {
            let Some(path) = &container.json_log_path else { continue };
            let key = container_key(&container.id, path);
            let labels = container_labels(container, path);
            let multiline = settings.multiline.clone();
            let origin = Origin { labels, source: path.clone(), intake: self.container_intake(), multiline };
            if container.state == "running" && is_missing(Path::new(path)) {
                problems.insert(format!(
                    "the log {path} of container {} is not there: if the agent runs in a container itself, mount \
                     /var/lib/docker/containers into it at the same path",
                    container.name
                ));
                continue;
            }
            let ended = matches!(container.state.as_str(), "exited" | "dead" | "removing");
            if let Some(trail) = self.trails.iter_mut().find(|trail| trail.key == key) {
                if trail.origin.labels != origin.labels {
                    trail.origin = origin;
                }
                trail.ended = ended;
            } else if self.has_room(problems) {
                let look = match (first_time, settings.start) {
                    (true, Start::End) => FirstLook::End,
                    _ => FirstLook::All,
                };
                let new = NewTrail {
                    key,
                    path: path.into(),
                    origin,
                    format: Format::DockerJson,
                    folder_gone: FolderGone::GiveUp,
                };
                self.add(new, look);
                if let Some(trail) = self.trails.last_mut() {
                    trail.ended = ended;
                }
            }
        }
        self.containers = containers;
        if !self.containers_listed {
            return;
        }
        if first_time {
            self.begun.insert(marker.clone(), 1);
            self.announced.push((marker, 1));
        }
        self.give_up_removed();
    }

    /// Containers that were removed while the agent was down: what was not read of them is lost, and is said.
    fn give_up_removed(&mut self) {
        let prefix = container_key("", "");
        let removed: Vec<String> = self.saved.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        for key in removed {
            let Some((id, path)) = key[prefix.len()..].split_once('/') else { continue };
            if self.containers.iter().any(|container| container.id == id) {
                continue;
            }
            let path = PathBuf::from(path);
            if !is_missing(&path) || self.trails.len() >= TRAILS_MAX {
                continue;
            }
            let labels = label_set(vec![
                ("source".to_owned(), super::CONTAINERS.to_owned()),
                ("container_id".to_owned(), id.chars().take(12).collect()),
            ]);
            let (source, intake) = (path.display().to_string(), self.container_intake());
            let origin = Origin { labels, source, intake, multiline: self.config.containers.multiline.clone() };
            let new = NewTrail { key, path, origin, format: Format::DockerJson, folder_gone: FolderGone::GiveUp };
            self.add(new, FirstLook::All);
        }
    }

    fn has_room(&self, problems: &mut BTreeSet<String>) -> bool {
        if self.trails.len() < TRAILS_MAX {
            return true;
        }
        problems.insert(format!("more than {TRAILS_MAX} log files: the rest waits; narrow the globs"));
        false
    }

    fn add(&mut self, new: NewTrail, look: FirstLook) {
        self.keys.insert(new.key.clone());
        let Some(state) = self.saved.remove(&new.key) else {
            self.trails.push(Trail::first(new, look));
            return;
        };
        match Position::decode(&state) {
            Ok(position) => self.trails.push(Trail::resumed(new, position)),
            Err(error) => {
                tracing::error!(
                    path = %new.path.display(),
                    %error,
                    "the stored position of a log file is damaged: the file is read again from its begin, so that \
                     lines come twice, and files that were rotated before may be missing"
                );
                let at = TimeRange::at(self.shared.round.wall);
                self.shared.round.batch.lose(&new.origin.source, LossReason::Corrupt, None, at);
                self.trails.push(Trail::first(new, FirstLook::All));
            }
        }
    }
}

fn container_labels(container: &ContainerInfo, path: &str) -> Labels {
    let mut labels = vec![
        ("source".to_owned(), super::CONTAINERS.to_owned()),
        ("filename".to_owned(), path.to_owned()),
        ("container".to_owned(), container.name.clone()),
        ("container_id".to_owned(), container.id.chars().take(12).collect()),
        ("image".to_owned(), container.image.clone()),
    ];
    for (label, from) in [
        ("compose_project", "com.docker.compose.project"),
        ("compose_service", "com.docker.compose.service"),
        ("namespace", "io.kubernetes.pod.namespace"),
        ("pod", "io.kubernetes.pod.name"),
    ] {
        if let Some(value) = container.labels.get(from) {
            labels.push((label.to_owned(), value.clone()));
        }
    }
    label_set(labels)
}

fn is_missing(path: &Path) -> bool {
    matches!(super::file::look(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The label set of pairs whose names do not repeat; values are cut at 1 KiB, so that a long path costs no record.
fn label_set(mut pairs: Vec<(String, String)>) -> Labels {
    for (_, value) in &mut pairs {
        let mut end = value.len().min(1024);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        value.truncate(end);
    }
    Labels::new(pairs).unwrap_or_default()
}

fn file_key(input: &str, path: &Path) -> String {
    match path.to_str() {
        Some(text) if input.len() + text.len() + 6 <= KEY_BYTES_MAX => format!("file/{input}/{text}"),
        _ => {
            let mut key = format!("file/{input}/");
            // Writing to a string cannot fail.
            let _infallible = write!(key, "#{:016x}", digest(path.as_os_str().as_encoded_bytes()));
            key
        }
    }
}

fn container_key(id: &str, path: &str) -> String {
    if id.is_empty() && path.is_empty() {
        return "container/".to_owned();
    }
    let key = format!("container/{id}/{path}");
    if key.len() <= KEY_BYTES_MAX { key } else { format!("container/#{:016x}", digest(key.as_bytes())) }
}
