//! Metrics that programs on the node leave in files: each `*.prom` of a folder is an exposition in text format.
//!
//! A file counts whole or not at all, and says in its problem why not. It is left out when it is malformed, too large,
//! has timestamps of its own (it would be read again and again with the same time), has a series that stands in another
//! file or twice, has a metric that the agent measures itself, or one to which an earlier file gave another type.
//! Files are taken in the order of their names. What vanishes with a file ends like any other series.
//!
//! Invariants: at most [`FILES_MAX`] files, [`FILE_BYTES_MAX`] bytes of each and [`SERIES_MAX`] series of all.

use super::sink::{Metas, gauge};
use super::source::{CollectError, entries};
use super::{Collect, Round, Sink};
use skerry_model::{Labels, Meta, MetricKind, MetricMeta, Observation};
use skerry_scrape::exposition::{Entry, Format, Parser};
use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FILES_MAX: usize = 128;
const FILE_BYTES_MAX: u64 = 512 << 10;
const SERIES_MAX: usize = 4096;
/// Names that the agent uses for itself, also where it measures nothing of that name just now.
const RESERVED: [&str; 4] = ["skerry_", "node_scrape_collector_", "node_textfile_", "container_"];

static MTIME: MetricMeta = gauge("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read.");
static ERROR: MetricMeta =
    gauge("node_textfile_scrape_error", "1 if there was an error opening or reading a file, 0 otherwise");

/// The files of a folder; a folder that is not there has none.
pub(super) struct Textfiles {
    pub(super) folder: PathBuf,
    pub(super) metas: Metas,
}

/// What files before this one gave.
#[derive(Default)]
struct Taken {
    series: HashSet<Labels>,
    kinds: BTreeMap<String, MetricKind>,
    observations: Vec<Observation>,
}

impl Collect for Textfiles {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        if self.folder.as_os_str().is_empty() {
            return Ok(());
        }
        let mut paths = entries(&self.folder)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "prom"));
        let (mut taken, mut times, mut failed) = (Taken::default(), Vec::new(), false);
        for (at, path) in paths.iter().enumerate() {
            let read = if at < FILES_MAX {
                self.file(path, round, &mut taken)
            } else {
                Err(format!("there are more than {FILES_MAX} files").into())
            };
            match read {
                Ok(time) => times.push((path, time)),
                // It was there when the folder was listed; a program that puts its file into place anew does that.
                Err(Problem::Gone) => {}
                Err(Problem::Bad(problem)) => {
                    sink.problem(format!("{}: {problem}; the file is left out", path.display()));
                    failed = true;
                }
            }
        }
        for (path, time) in times {
            sink.push(&MTIME, &[("file", &path.to_string_lossy())], time);
        }
        sink.push(&ERROR, &[], f64::from(u8::from(failed)));
        // Files may share a metric.
        taken.observations.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        sink.extend(taken.observations);
        Ok(())
    }
}

enum Problem {
    Gone,
    Bad(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Bad(problem)
    }
}

impl From<&str> for Problem {
    fn from(problem: &str) -> Self {
        Self::Bad(problem.to_owned())
    }
}

/// What a file says, as it stands there.
#[derive(Default)]
struct Content {
    kinds: BTreeMap<String, MetricKind>,
    helps: BTreeMap<String, String>,
    samples: Vec<(Labels, f64)>,
}

impl Textfiles {
    /// Takes a file over and gives the time of its last change, in seconds since 1970.
    fn file(&mut self, path: &Path, round: &Round, taken: &mut Taken) -> Result<f64, Problem> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Problem::Gone,
            _ => Problem::Bad(error.to_string()),
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err("this is no file".into());
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("more than {} KiB", FILE_BYTES_MAX >> 10).into());
        }
        let content = Content::parse(&bytes)?;
        let free = SERIES_MAX - taken.observations.len();
        if content.samples.len() > free {
            return Err(format!("{} series, and {free} of {SERIES_MAX} are free", content.samples.len()).into());
        }
        let mut own = HashSet::with_capacity(content.samples.len());
        let mut observations = Vec::with_capacity(content.samples.len());
        for (labels, value) in &content.samples {
            if taken.series.contains(labels) || !own.insert(labels.clone()) {
                return Err(format!("{labels} stands twice, in this file or with one before it").into());
            }
            let (family, kind) = content.family(labels.metric());
            if round.taken.contains(family) || RESERVED.iter().any(|prefix| family.starts_with(prefix)) {
                return Err(format!("{family} is a metric of the agent's own; choose another name").into());
            }
            if let Some(other) = taken.kinds.get(family).filter(|other| **other != kind) {
                let (kind, other) = (kind.as_str(), other.as_str());
                return Err(format!("{family} is a {kind} here and a {other} in a file before it").into());
            }
            let meta = self.meta(family, kind, content.helps.get(family), path);
            observations.push(Observation { meta, labels: labels.clone(), value: *value });
        }
        for observation in &observations {
            taken.kinds.insert(observation.meta.name.to_string(), observation.meta.kind);
        }
        taken.series.extend(own);
        taken.observations.extend(observations);
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        Ok(about.mtime() as f64)
    }

    fn meta(&mut self, family: &str, kind: MetricKind, help: Option<&String>, path: &Path) -> Meta {
        let told = || help.cloned().unwrap_or_else(|| format!("Metric read from {}", path.display()));
        let meta = self.metas.of(family.to_owned(), kind, told);
        if meta.kind == kind {
            return meta;
        }
        // The file has told another type since.
        self.metas.forget(family);
        self.metas.of(family.to_owned(), kind, told)
    }
}

impl Content {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let (mut content, mut problem) = (Self::default(), None);
        let mut each = |entry: Entry<'_>| match entry {
            _ if problem.is_some() => {}
            Entry::Type { name, kind } => drop(content.kinds.insert(name.into_owned(), kind)),
            Entry::Help { name, help } => drop(content.helps.insert(name.into_owned(), help.into_owned())),
            Entry::Unit { .. } => {}
            Entry::Sample(sample) if sample.at.is_some() => {
                problem = Some(format!("{} has a timestamp, which is not allowed here", sample.series.text()));
            }
            Entry::Sample(sample) => match sample.series.to_labels() {
                Ok(labels) => content.samples.push((labels, sample.value)),
                Err(error) => problem = Some(error.to_string()),
            },
        };
        let mut parser = Parser::new(Format::Prometheus);
        parser.feed(bytes, &mut each).map_err(|error| error.to_string())?;
        parser.finish(&mut each).map_err(|error| error.to_string())?;
        match problem {
            Some(problem) => Err(problem.into()),
            None => Ok(content),
        }
    }

    /// The metric that a series belongs to, and its type: histograms and summaries have series of several names.
    fn family<'a>(&self, name: &'a str) -> (&'a str, MetricKind) {
        if let Some(kind) = self.kinds.get(name) {
            return (name, *kind);
        }
        for suffix in ["_bucket", "_sum", "_count"] {
            let Some(base) = name.strip_suffix(suffix) else { continue };
            match self.kinds.get(base) {
                Some(MetricKind::Histogram) => return (base, MetricKind::Histogram),
                Some(MetricKind::Summary) if suffix != "_bucket" => return (base, MetricKind::Summary),
                _ => {}
            }
        }
        (name, MetricKind::Untyped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Roots, tests::value};
    use super::*;
    use crate::clock::Clock;
    use crate::collect::{Collector, Config};
    use crate::data::Collected;
    use skerry_model::UnixMillis;
    use std::sync::Arc;

    fn collect(folder: &Path, files: &[(&str, &str)]) -> Collected {
        for (name, content) in files {
            std::fs::write(folder.join(name), content).unwrap();
        }
        let config = Config { textfile_directory: folder.into(), ..Config::default() };
        let roots = Roots { proc: folder.join("none"), sys: folder.join("none"), rootfs: folder.join("none") };
        let mut collector = Collector::new(&config, roots, Clock::system()).unwrap();
        let mut collected = collector.collect(UnixMillis(1), &Arc::default());
        collected.failures.retain(|failure| failure.collector == "textfile");
        collected
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why_and_the_others_count() {
        let good = "# TYPE good gauge\ngood 1\n";
        for (content, expected) in [
            ("x{ 1\n", "line 1: a label name or } is expected"),
            ("x 1\nx 2\n", "x stands twice"),
            ("good 3\n", "good stands twice"),
            ("good{a=\"b\"} 3\n", "good is a unknown here and a gauge in a file before it"),
            ("x 1 1700000000000\n", "x has a timestamp"),
            ("node_time_seconds{a=\"b\"} 1\n", "node_time_seconds is a metric of the agent's own"),
            ("skerry_x 1\n", "skerry_x is a metric of the agent's own"),
            (&"x".repeat(600 << 10), "more than 512 KiB"),
            (&(0..5000).map(|n| format!("x{n} 1\n")).collect::<String>(), "5000 series, and 4095 of 4096 are free"),
            ("\u{0}\n", "line 1: a metric name is expected"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let collected = collect(folder.path(), &[("a.prom", good), ("b.prom", content), ("c.txt", "x{")]);
            let [failure] = collected.failures.as_slice() else { panic!("{expected}: {:?}", collected.failures) };
            assert!(failure.error.contains("b.prom: "), "{}", failure.error);
            assert!(failure.error.contains(expected), "{} is not {expected}", failure.error);
            assert_eq!(value(&collected, "good"), Some(1.0));
            assert_eq!(value(&collected, "node_textfile_scrape_error"), Some(1.0));
            assert_eq!(value(&collected, "node_scrape_collector_success{collector=\"textfile\"}"), Some(1.0));
        }
    }

    #[test]
    fn files_share_metrics_and_keep_types() {
        let folder = tempfile::tempdir().unwrap();
        let histogram = "# HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n";
        let files = [("a.prom", "m{f=\"a\"} 1\nz 1\n"), ("b.prom", histogram), ("c.prom", "m{f=\"c\"} 2")];
        let collected = collect(folder.path(), &files);
        assert_eq!(collected.failures, []);
        let of = |name: &str| collected.observations.iter().position(|o| o.labels.to_string() == name).unwrap();
        assert_eq!(of("m{f=\"a\"}") + 1, of("m{f=\"c\"}"));
        let sum = &collected.observations[of("h_sum")];
        assert_eq!((&*sum.meta.name, sum.meta.kind, &*sum.meta.help), ("h", MetricKind::Histogram, "Help."));
        std::fs::remove_file(folder.path().join("a.prom")).unwrap();
        let collected = collect(folder.path(), &[("c.prom", "# TYPE m counter\nm{f=\"c\"} 3\n")]);
        assert_eq!(collected.failures, []);
        assert_eq!(value(&collected, "z"), None);
        assert_eq!(value(&collected, "m{f=\"c\"}"), Some(3.0));
    }
}
