//! Settings of the log inputs, section `logs` of a NodeConfig.

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use skerry_logs::multiline::{self, Rules};
use skerry_logs::pipeline::{Pipeline, Stages};
use skerry_model::{Bytes, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inputs::{self, ListenInput, LocalInput};
use super::intake;
use super::scan::Pattern;
use crate::zone::read_zone;

/// Most inputs, patterns per input, and own labels per input: bounds of what a config may ask for.
const INPUTS_MAX: usize = 128;
const PATTERNS_MAX: usize = 64;
const LABELS_MAX: usize = 32;
/// Labels that the input sets itself.
const RESERVED: [&str; 9] = [
    "source",
    "filename",
    "container",
    "container_id",
    "image",
    "compose_project",
    "compose_service",
    "namespace",
    "pod",
];

/// Settings of the log inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Inputs that tail files.
    pub files: Vec<FileInput>,
    /// The input that tails what containers write.
    pub containers: ContainerInput,
    /// The input that reads systemd's journal.
    pub journal: LocalInput,
    /// Inputs that take syslog messages.
    pub syslog: Vec<ListenInput>,
    /// The input that reads the kernel's messages.
    pub kmsg: LocalInput,
    /// Inputs that take what Fluentd and its kind send.
    pub forward: Vec<ListenInput>,
    /// The input that reads standard input.
    pub stdin: LocalInput,
    /// Stages that the records of every input pass through, after those of the input itself.
    pub pipeline: Stages,
    /// Time between two looks at a file. 250 ms: one wake-up reads what gathered instead of one per line.
    pub poll: Span,
    /// Time between two looks for new files.
    pub rescan: Span,
    /// How long a file that was rotated away is still read after its last growth.
    pub rotate_grace: Span,
    /// Longest record. What a line has beyond it is cut off, and the line counted in the loss ledger.
    pub line_bytes_max: Bytes,
    /// Most files held open at a time. Further ones wait.
    pub files_max: u32,
}

/// One input of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileInput {
    /// Unique name; becomes the label `source`.
    pub name: String,
    /// Globs of absolute paths.
    pub paths: Vec<String>,
    /// Globs of absolute paths that are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// How the lines are to be read.
    #[serde(default)]
    pub format: Format,
    /// Labels for each record.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Where to begin in files that are there when this input runs for the first time.
    #[serde(default)]
    pub start: Start,
    /// Lines that make one record; without it each line is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<multiline::Settings>,
    /// Stages that its records pass through.
    #[serde(default)]
    pub pipeline: Stages,
}

/// The input of container logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerInput {
    /// Whether containers' logs are read at all.
    pub enabled: bool,
    /// Globs of container names; empty: all.
    pub include: Vec<String>,
    /// Globs of container names that are left out.
    pub exclude: Vec<String>,
    /// Where to begin in the logs of containers that are there when the agent runs for the first time.
    pub start: Start,
    /// Lines of one output that make one record; without it each line is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiline: Option<multiline::Settings>,
    /// Stages that their records pass through.
    pub pipeline: Stages,
}

/// How lines of a file are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By the file's first bytes; of others each line that is an entry of the CRI format is read as one.
    #[default]
    Auto,
    /// Each line is a record.
    Plain,
    /// Each line is an entry of Docker's json-file driver.
    DockerJson,
    /// Each line is an entry of the CRI format, as the kubelet's pods have them.
    Cri,
}

/// Where to begin in a file that was there before its input was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At its first line, and with its rotated generations where the globs match them.
    #[default]
    Beginning,
    /// Behind its last line.
    End,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            containers: ContainerInput::default(),
            journal: LocalInput::default(),
            syslog: Vec::new(),
            kmsg: LocalInput::default(),
            forward: Vec::new(),
            stdin: LocalInput::default(),
            pipeline: Stages::default(),
            poll: Span::millis(250),
            rescan: Span::secs(5),
            rotate_grace: Span::secs(30),
            line_bytes_max: Bytes(256 << 10),
            files_max: 512,
        }
    }
}

impl Default for ContainerInput {
    fn default() -> Self {
        Self {
            enabled: true,
            include: Vec::new(),
            exclude: Vec::new(),
            start: Start::Beginning,
            multiline: None,
            pipeline: Stages::default(),
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("files[].name", "required", "unique name of the input; becomes the label source"),
    ("files[].paths", "required", "globs of absolute paths: * ? [a-z] {a,b}, and ** for any depth"),
    ("files[].exclude", "[]", "globs of absolute paths that are left out"),
    (
        "files[].format",
        "auto",
        "plain, docker-json, cri, or auto: by the file's first bytes, and each line that is one of CRI",
    ),
    ("files[].labels", "{}", "labels for each record"),
    (
        "files[].start",
        "beginning",
        "beginning or end: where to begin in files that are there when the input first runs; later files are read whole",
    ),
    ("files[].multiline.start", "none", "pattern: a line that matches begins a record, others go on with it"),
    (
        "files[].multiline.continuation",
        "none",
        "pattern: a line that matches goes on with the record before it, others begin one",
    ),
    (
        "files[].multiline.builtin",
        "[]",
        "stack traces that are joined, other lines stand alone: java, python, go, rust",
    ),
    (
        "files[].multiline.max_lines",
        "1000",
        "most lines of a record, 2 to 10000; further lines make records of their own",
    ),
    ("files[].multiline.timeout", "1s", "how long a record's last line waits for another one; 10ms to 1m"),
    ("files[].pipeline", "[]", "stages that the input's records pass through, in this order"),
    (
        "containers.enabled",
        "true",
        "read the logs of containers that use Docker's json-file or Podman's k8s-file driver",
    ),
    ("containers.include", "[]", "globs of container names; empty: all"),
    ("containers.exclude", "[]", "globs of container names that are left out"),
    ("containers.start", "beginning", "as files[].start, for containers"),
    (
        "containers.multiline",
        "none",
        "as files[].multiline, for containers: by output, after joining what the driver cut",
    ),
    ("containers.pipeline", "[]", "as files[].pipeline, for containers"),
    ("pipeline", "[]", "stages that the records of every input pass through, after those of the input"),
    ("poll", "250ms", "time between two looks at a file; 10ms to 1m"),
    ("rescan", "5s", "time between two looks for new files; 100ms to 1h"),
    ("rotate_grace", "30s", "how long a rotated file is still read after its last growth; 0s to 1h"),
    ("line_bytes_max", "256KiB", "longest record; the rest of a line is cut and counted; 256B to 1MiB"),
    ("files_max", "512", "most files held open; further ones wait; 1 to 16384"),
];

impl Config {
    /// Every fault, as key below `logs` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Checked::parse(self).err().unwrap_or_default();
        faults.extend(inputs::faults(self));
        faults
    }
}

/// A config whose globs are compiled and whose bounds hold.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) files: Vec<CheckedInput>,
    pub(super) containers: CheckedContainers,
    pub(super) pipeline: Stages,
    pub(super) poll_ms: u64,
    pub(super) rescan_ms: u64,
    pub(super) grace_ms: u64,
    pub(super) line_bytes_max: usize,
    pub(super) files_max: usize,
}

/// One input of files, checked.
#[derive(Debug)]
pub(super) struct CheckedInput {
    pub(super) name: String,
    pub(super) patterns: Vec<Pattern>,
    pub(super) exclude: Vec<GlobMatcher>,
    pub(super) format: Format,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) start: Start,
    pub(super) multiline: Option<Arc<Rules>>,
    pub(super) pipeline: Stages,
    /// Tells whether the globs are the same as when the input ran before.
    pub(super) selection: u64,
}

/// The container input, checked.
#[derive(Debug)]
pub(super) struct CheckedContainers {
    pub(super) enabled: bool,
    pub(super) include: Vec<GlobMatcher>,
    pub(super) exclude: Vec<GlobMatcher>,
    pub(super) start: Start,
    pub(super) multiline: Option<Arc<Rules>>,
    pub(super) pipeline: Stages,
}

impl Checked {
    /// The checked form, or every fault as key and what was expected.
    pub(super) fn parse(config: &Config) -> Result<Self, Vec<(String, String)>> {
        let mut faults = Vec::new();
        for (key, span, least, most) in [
            ("poll", config.poll, Span::millis(10), Span::secs(60)),
            ("rescan", config.rescan, Span::millis(100), Span::secs(3600)),
            ("rotate_grace", config.rotate_grace, Span::secs(0), Span::secs(3600)),
        ] {
            if span < least || span > most {
                faults.push((key.to_owned(), format!("{span} is out of range: {least} to {most} is expected")));
            }
        }
        if !(256..=1 << 20).contains(&config.line_bytes_max.0) {
            let problem = format!("{} is out of range: 256B to 1MiB is expected", config.line_bytes_max);
            faults.push(("line_bytes_max".to_owned(), problem));
        }
        if !(1..=16_384).contains(&config.files_max) {
            let problem = format!("{} is out of range: 1 to 16384 is expected", config.files_max);
            faults.push(("files_max".to_owned(), problem));
        }
        if config.files.len() > INPUTS_MAX {
            faults.push(("files".to_owned(), format!("{} inputs, at most {INPUTS_MAX} are taken", config.files.len())));
        }
        let mut names = BTreeSet::new();
        let mut files = Vec::new();
        for (index, input) in config.files.iter().take(INPUTS_MAX).enumerate() {
            if !names.insert(input.name.as_str()) {
                faults.push((format!("files[{index}].name"), format!("{:?} stands twice", input.name)));
            }
            files.push(check_input(input, &format!("files[{index}]"), &mut faults));
        }
        let containers = CheckedContainers {
            enabled: config.containers.enabled,
            include: globs(&config.containers.include, "containers.include", &mut faults),
            exclude: globs(&config.containers.exclude, "containers.exclude", &mut faults),
            start: config.containers.start,
            multiline: check_multiline(&config.containers.multiline, "containers", &mut faults),
            pipeline: config.containers.pipeline.clone(),
        };
        faults.extend(intake::faults("pipeline", &config.pipeline));
        let own = |(index, input): (usize, &FileInput)| (format!("files[{index}].pipeline"), input.pipeline.clone());
        for (key, stages) in (config.files.iter().take(INPUTS_MAX).enumerate().map(own))
            .chain([("containers.pipeline".to_owned(), config.containers.pipeline.clone())])
        {
            check_pipeline(&key, &stages, &config.pipeline, &mut faults);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let millis = |span: Span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            files,
            containers,
            pipeline: config.pipeline.clone(),
            poll_ms: millis(config.poll),
            rescan_ms: millis(config.rescan),
            grace_ms: millis(config.rotate_grace),
            line_bytes_max: usize::try_from(config.line_bytes_max.0).unwrap_or(1 << 20),
            files_max: usize::try_from(config.files_max).unwrap_or(usize::MAX),
        })
    }
}

fn check_input(input: &FileInput, key: &str, faults: &mut Vec<(String, String)>) -> CheckedInput {
    let name_ok = (1..=63).contains(&input.name.len())
        && input.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !name_ok || input.name == super::CONTAINERS {
        let problem = format!(
            "{:?} is no name: 1 to 63 letters, digits, '.', '_' or '-' are expected, and not {:?}",
            input.name,
            super::CONTAINERS
        );
        faults.push((format!("{key}.name"), problem));
    }
    if input.paths.is_empty() || input.paths.len() > PATTERNS_MAX {
        let problem = format!("{} globs: 1 to {PATTERNS_MAX} are expected", input.paths.len());
        faults.push((format!("{key}.paths"), problem));
    }
    let mut patterns = Vec::new();
    for (at, text) in input.paths.iter().take(PATTERNS_MAX).enumerate() {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => faults.push((format!("{key}.paths[{at}]"), problem)),
        }
    }
    if input.labels.len() > LABELS_MAX {
        faults
            .push((format!("{key}.labels"), format!("{} labels, at most {LABELS_MAX} are taken", input.labels.len())));
    }
    for (name, value) in &input.labels {
        let well_formed = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.as_bytes()[0].is_ascii_digit();
        let problem = if !well_formed || name.len() > 128 {
            "is no label name: letters, digits and '_' are expected, not beginning with a digit"
        } else if RESERVED.contains(&name.as_str()) || name.starts_with("__") {
            "is set by the agent itself: another name is expected"
        } else if value.len() > 1024 {
            "has a value of more than 1024 bytes"
        } else {
            continue;
        };
        faults.push((format!("{key}.labels.{name}"), problem.to_owned()));
    }
    let exclude = globs(&input.exclude, &format!("{key}.exclude"), faults);
    let selection = super::position::digest(format!("{:?}{:?}", input.paths, input.exclude).as_bytes());
    CheckedInput {
        name: input.name.clone(),
        patterns,
        exclude,
        format: input.format,
        labels: input.labels.clone(),
        start: input.start,
        multiline: check_multiline(&input.multiline, key, faults),
        pipeline: input.pipeline.clone(),
        selection,
    }
}

fn check_multiline(
    settings: &Option<multiline::Settings>,
    key: &str,
    faults: &mut Vec<(String, String)>,
) -> Option<Arc<Rules>> {
    let found = Rules::new(settings.as_ref()?);
    let below = |at: &str| if at.is_empty() { String::new() } else { format!(".{at}") };
    let named = |(at, problem): (String, String)| (format!("{key}.multiline{}", below(&at)), problem);
    found.map_err(|found| faults.extend(found.into_iter().map(named))).ok().map(Arc::new)
}

/// Checks the stages of one input: by themselves, so that each fault has its key, and with those of all inputs.
fn check_pipeline(key: &str, own: &Stages, all: &Stages, faults: &mut Vec<(String, String)>) {
    let found = intake::faults(key, own);
    if found.is_empty()
        && !own.0.is_empty()
        && let (Ok(_), Err(together)) =
            (Pipeline::with_zones(&[all], &read_zone), Pipeline::with_zones(&[own, all], &read_zone))
    {
        faults.extend(together.into_iter().map(|(at, problem)| {
            (key.to_owned(), format!("does not go together with the stages of all inputs, at {at}: {problem}"))
        }));
    }
    faults.extend(found);
}

fn globs(texts: &[String], key: &str, faults: &mut Vec<(String, String)>) -> Vec<GlobMatcher> {
    if texts.len() > PATTERNS_MAX {
        faults.push((key.to_owned(), format!("{} globs, at most {PATTERNS_MAX} are taken", texts.len())));
    }
    let mut matchers = Vec::new();
    for (at, text) in texts.iter().take(PATTERNS_MAX).enumerate() {
        match Glob::new(text) {
            Ok(glob) => matchers.push(glob.compile_matcher()),
            Err(error) => faults.push((format!("{key}[{at}]"), format!("{text:?} is no glob: {}", error.kind()))),
        }
    }
    matchers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_fault_is_reported_with_its_key() {
        let config = parse(
            r#"{"poll": "1ms", "line_bytes_max": "8GiB", "files_max": 0,
                "files": [{"name": "a b", "paths": ["relative", "/x/[", "/ok/*.log"]},
                          {"name": "app", "paths": []},
                          {"name": "app", "paths": ["/y"], "labels": {"filename": "x", "0a": "y"}}],
                "containers": {"exclude": ["{"]}}"#,
        )
        .unwrap();
        let keys: Vec<String> = config.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "poll",
                "line_bytes_max",
                "files_max",
                "files[0].name",
                "files[0].paths[0]",
                "files[0].paths[1]",
                "files[1].paths",
                "files[2].name",
                "files[2].labels.0a",
                "files[2].labels.filename",
                "containers.exclude[0]",
            ]
        );
    }

    #[test]
    fn faults_of_stages_stand_below_the_list_they_are_in() {
        let config = parse(
            r#"{"files": [{"name": "app", "paths": ["/a"], "pipeline": [{"no_such_stage": {}}]}],
                "containers": {"pipeline": [{"no_such_stage": {}}]}, "pipeline": [{"no_such_stage": {}}]}"#,
        )
        .unwrap();
        let keys: Vec<String> = config.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 3, "{keys:?}");
        for (key, begin) in keys.iter().zip(["pipeline[0]", "files[0].pipeline[0]", "containers.pipeline[0]"]) {
            assert!(key.starts_with(begin), "{key}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_defaults_hold() {
        assert!(parse(r#"{"pol": "1s"}"#).is_err());
        assert!(parse(r#"{"files": [{"name": "a", "paths": ["/a"], "glob": 1}]}"#).is_err());
        assert_eq!(parse("{}").unwrap(), Config::default());
        assert!(Config::default().faults().is_empty());
    }

    #[test]
    fn the_reference_tells_the_true_defaults() {
        let value = serde_json::to_value(Config::default()).unwrap();
        for (key, default, _) in REFERENCE.iter().filter(|(key, ..)| !key.starts_with("files[]")) {
            let found = &value[key.split('.').next().unwrap()];
            let found = key.split('.').nth(1).map_or(found, |inner| &found[inner]);
            let text = found.as_str().map_or_else(|| found.to_string().replace("null", "none"), str::to_owned);
            assert_eq!(&text, default, "{key}");
        }
    }
}
