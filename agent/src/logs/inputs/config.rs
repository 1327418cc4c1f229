//! Settings of the inputs beside files and containers: the keys `journal`, `syslog`, `kmsg`, `forward` and `stdin` of
//! section `logs`.
//!
//! Two raw types stand for five inputs, because each costs the program code to read and write it; which keys an input
//! has is checked here, and what the inputs get are types of their own.

use crate::logs::{Start, intake};
use serde::{Deserialize, Serialize};
use skerry_logs::pipeline::Stages;
use skerry_logs::wire::syslog::Dialect;
use skerry_model::{Bytes, Labels};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most listeners of a kind, labels of one input, units and matches of the journal.
const LISTENERS_MAX: usize = 32;
const LABELS_MAX: usize = 32;
const WORDS_MAX: usize = 64;
/// Longest unit, match, label value, shared key.
const WORD_BYTES_MAX: usize = 1024;
/// Labels that inputs set themselves.
const RESERVED: [&str; 9] =
    ["source", "host", "app", "facility", "unit", "tag", "container", "container_id", "filename"];
/// Longest message of Fluentd's forward protocol: Fluent Bit's chunks have 2 MB and the record that made them full.
const FRAME_BYTES: Bytes = Bytes(4 << 20);

/// An input that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenInput {
    /// Unique name; becomes the label `source`.
    pub name: String,
    /// Where, as a URL.
    pub listen: String,
    /// Syslog's dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Forward's shared key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_key: Option<String>,
    /// Forward's longest message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_bytes_max: Option<Bytes>,
    /// Labels for each record.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Stages that its records pass through.
    #[serde(default)]
    pub pipeline: Stages,
}

/// An input that reads something of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalInput {
    /// Whether it is read at all.
    pub enabled: bool,
    /// The label `source`; the input's own key where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Units of the journal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    /// Matches of the journal, `FIELD=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
    /// Least urgent priority of the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Folder of the journal; device of the kernel's messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Where the journal begins when it is first read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Labels for each record.
    pub labels: BTreeMap<String, String>,
    /// Stages that its records pass through.
    pub pipeline: Stages,
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("journal.enabled", "false", "read systemd's journal, by the program journalctl, which runs beside the agent"),
    ("journal.units", "[]", "units whose records are read; empty: all"),
    ("journal.matches", "[]", "matches as journalctl takes them, FIELD=value: those of one field are alternatives"),
    (
        "journal.priority",
        "none",
        "least urgent priority that is read: emerg, alert, crit, err, warning, notice, info, debug",
    ),
    ("journal.path", "none", "folder of the journal's files; without it the machine's own journal"),
    ("journal.start", "beginning", "beginning or end: where to begin when the journal is first read"),
    ("journal.labels", "{}", "labels for each record; journal.name changes the label source"),
    ("journal.pipeline", "[]", "as files[].pipeline"),
    ("syslog[].name", "required", "unique name of the input; becomes the label source"),
    (
        "syslog[].listen",
        "required",
        "udp://ADDRESS:PORT, tcp://ADDRESS:PORT, unix:///PATH (datagrams, as /dev/log takes them) or unix-stream:///PATH; whoever reaches it may write",
    ),
    ("syslog[].format", "auto", "rfc3164, rfc5424, or auto: by each message; what is not understood is kept as text"),
    ("syslog[].labels", "{}", "labels for each record"),
    ("syslog[].pipeline", "[]", "as files[].pipeline"),
    ("kmsg.enabled", "false", "read the kernel's messages"),
    ("kmsg.path", "/dev/kmsg", "the device"),
    ("kmsg.labels", "{}", "labels for each record; kmsg.name changes the label source"),
    ("kmsg.pipeline", "[]", "as files[].pipeline"),
    ("forward[].name", "required", "unique name of the input; becomes the label source"),
    (
        "forward[].listen",
        "required",
        "tcp://ADDRESS:PORT or unix:///PATH: takes what Fluentd, Fluent Bit and Docker's fluentd driver send",
    ),
    ("forward[].shared_key", "none", "key that senders have to know; without it whoever reaches it may write"),
    (
        "forward[].frame_bytes_max",
        "4MiB",
        "longest message of a sender, which is a chunk of its buffer; 64KiB to 16MiB",
    ),
    ("forward[].labels", "{}", "labels for each record"),
    ("forward[].pipeline", "[]", "as files[].pipeline"),
    ("stdin.enabled", "false", "read the agent's standard input, a pipe or a file, line by line"),
    ("stdin.name", "stdin", "the label source"),
    ("stdin.labels", "{}", "labels for each record"),
    ("stdin.pipeline", "[]", "as files[].pipeline"),
];

/// Where an input listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listen {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    /// Datagrams.
    UnixDatagram(PathBuf),
    UnixStream(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::UnixDatagram(path) => write!(f, "unix://{}", path.display()),
            Self::UnixStream(path) => write!(f, "unix-stream://{}", path.display()),
        }
    }
}

/// What every input has.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) name: String,
    /// `source` and the labels of the config.
    pub(super) labels: Labels,
    pub(super) pipeline: Stages,
}

#[derive(Debug, Clone)]
pub(super) struct Journal {
    pub(super) common: Common,
    pub(super) units: Vec<String>,
    pub(super) matches: Vec<String>,
    pub(super) priority: Option<u8>,
    pub(super) path: Option<PathBuf>,
    pub(super) start: Start,
}

#[derive(Debug, Clone)]
pub(super) struct Syslog {
    pub(super) common: Common,
    pub(super) listen: Listen,
    pub(super) dialect: Dialect,
}

#[derive(Debug, Clone)]
pub(super) struct Forward {
    pub(super) common: Common,
    pub(super) listen: Listen,
    pub(super) shared_key: Option<String>,
    pub(super) frame_bytes_max: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Kmsg {
    pub(super) common: Common,
    pub(super) path: PathBuf,
}

/// The inputs of a config whose bounds hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Checked {
    pub(super) journal: Option<Journal>,
    pub(super) syslog: Vec<Syslog>,
    pub(super) kmsg: Option<Kmsg>,
    pub(super) forward: Vec<Forward>,
    pub(super) stdin: Option<Common>,
}

type Faults = Vec<(String, String)>;

impl Checked {
    /// The checked form, or every fault as key below `logs` and what was expected.
    pub(super) fn parse(config: &crate::logs::Config) -> Result<Self, Faults> {
        let mut check = Check { faults: Vec::new(), names: BTreeSet::new(), places: BTreeSet::new() };
        check.names.extend(config.files.iter().map(|input| input.name.clone()));
        check.names.insert("containers".to_owned());
        let checked = Self {
            journal: check.journal(&config.journal),
            syslog: check.each("syslog", &config.syslog, Check::syslog),
            kmsg: check.kmsg(&config.kmsg),
            forward: check.each("forward", &config.forward, Check::forward),
            stdin: check.stdin(&config.stdin),
        };
        if check.faults.is_empty() { Ok(checked) } else { Err(check.faults) }
    }
}

struct Check {
    faults: Faults,
    names: BTreeSet<String>,
    places: BTreeSet<Listen>,
}

impl Check {
    fn fault(&mut self, key: &str, problem: impl Into<String>) {
        self.faults.push((key.to_owned(), problem.into()));
    }

    fn each<T>(
        &mut self,
        key: &str,
        inputs: &[ListenInput],
        one: fn(&mut Self, &str, &ListenInput) -> Option<T>,
    ) -> Vec<T> {
        if inputs.len() > LISTENERS_MAX {
            self.fault(key, format!("{} inputs, at most {LISTENERS_MAX} are taken", inputs.len()));
        }
        let checked = inputs.iter().take(LISTENERS_MAX).enumerate();
        checked.filter_map(|(at, input)| one(self, &format!("{key}[{at}]"), input)).collect()
    }

    fn common(&mut self, key: &str, name: &str, labels: &BTreeMap<String, String>, pipeline: &Stages) -> Common {
        let good = (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !good {
            self.fault(
                &format!("{key}.name"),
                format!("{name:?} is no name: 1 to 63 letters, digits, '.', '_' or '-' are expected"),
            );
        } else if !self.names.insert(name.to_owned()) {
            self.fault(&format!("{key}.name"), format!("{name:?} is the name of another input: each needs its own"));
        }
        if labels.len() > LABELS_MAX {
            self.fault(&format!("{key}.labels"), format!("{} labels, at most {LABELS_MAX} are taken", labels.len()));
        }
        for (label, value) in labels {
            let well_formed = (1..=128).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !label.as_bytes()[0].is_ascii_digit();
            let problem = if !well_formed {
                "is no label name: letters, digits and '_' are expected, not beginning with a digit"
            } else if RESERVED.contains(&&**label) || label.starts_with("__") {
                "is set by the agent itself: another name is expected"
            } else if value.len() > WORD_BYTES_MAX {
                "has a value of more than 1024 bytes"
            } else {
                continue;
            };
            self.fault(&format!("{key}.labels.{label}"), problem);
        }
        self.faults.extend(intake::faults(&format!("{key}.pipeline"), pipeline));
        let pairs = labels.iter().map(|(name, value)| (&**name, &**value)).take(LABELS_MAX);
        // What is wrong with them stands in the faults already.
        let labels = Labels::new(pairs.chain([("source", name)])).unwrap_or_default();
        Common { name: name.to_owned(), labels, pipeline: pipeline.clone() }
    }

    /// The common part of an input that is read from this machine; `None` where it is off. `has`: which of the keys
    /// units, matches, priority, path, start it has.
    fn local(&mut self, key: &str, input: &LocalInput, has: [bool; 5]) -> Option<Common> {
        let set = [
            !input.units.is_empty(),
            !input.matches.is_empty(),
            input.priority.is_some(),
            input.path.is_some(),
            input.start.is_some(),
        ];
        for ((name, has), set) in ["units", "matches", "priority", "path", "start"].iter().zip(has).zip(set) {
            if set && !has {
                self.fault(&format!("{key}.{name}"), "is no setting of this input");
            }
        }
        let name = input.name.as_deref().unwrap_or(key);
        let common = self.common(key, name, &input.labels, &input.pipeline);
        input.enabled.then_some(common)
    }

    fn journal(&mut self, input: &LocalInput) -> Option<Journal> {
        let common = self.local("journal", input, [true; 5]);
        for (key, words) in [("journal.units", &input.units), ("journal.matches", &input.matches)] {
            if words.len() > WORDS_MAX {
                self.fault(key, format!("{} entries, at most {WORDS_MAX} are taken", words.len()));
            }
            for (at, word) in words.iter().enumerate().take(WORDS_MAX) {
                let bad = !(1..=WORD_BYTES_MAX).contains(&word.len()) || word.contains(['\0', '\n']);
                let field = word.split_once('=').map(|(field, _)| field);
                let is_field = |field: &str| {
                    !field.is_empty()
                        && field.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                };
                if bad || (key == "journal.matches" && !field.is_some_and(is_field)) {
                    let expected = if key == "journal.matches" { "FIELD=value" } else { "the name of a unit" };
                    self.fault(&format!("{key}[{at}]"), format!("{word:?} is not taken: {expected} is expected"));
                }
            }
        }
        let names = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
        let priority = input.priority.as_deref().and_then(|word| {
            let found = names.iter().position(|name| *name == word).and_then(|at| u8::try_from(at).ok());
            if found.is_none() {
                self.fault(
                    "journal.priority",
                    format!("{word:?} is no priority: one of {} is expected", names.join(", ")),
                );
            }
            found
        });
        self.absolute("journal.path", input.path.as_ref());
        Some(Journal {
            common: common?,
            units: input.units.clone(),
            matches: input.matches.clone(),
            priority,
            path: input.path.clone(),
            start: input.start.unwrap_or_default(),
        })
    }

    fn kmsg(&mut self, input: &LocalInput) -> Option<Kmsg> {
        let common = self.local("kmsg", input, [false, false, false, true, false]);
        self.absolute("kmsg.path", input.path.as_ref());
        Some(Kmsg { common: common?, path: input.path.clone().unwrap_or_else(|| "/dev/kmsg".into()) })
    }

    fn stdin(&mut self, input: &LocalInput) -> Option<Common> {
        self.local("stdin", input, [false; 5])
    }

    fn absolute(&mut self, key: &str, path: Option<&PathBuf>) {
        if let Some(path) = path.filter(|path| !path.is_absolute()) {
            self.fault(key, format!("{} is not absolute: a path that begins with / is expected", path.display()));
        }
    }

    fn listen(&mut self, key: &str, text: &str, schemes: &str, unix_is_stream: bool) -> Option<Listen> {
        let key = format!("{key}.listen");
        let path = |path: &str| {
            let fits = path.starts_with('/') && path.len() < 108 && !path.contains('\0');
            fits.then(|| PathBuf::from(path))
        };
        let parsed = match text.split_once("://") {
            Some(("udp", address)) if !unix_is_stream => address.parse().ok().map(Listen::Udp),
            Some(("tcp", address)) => address.parse().ok().map(Listen::Tcp),
            Some(("unix", file)) if unix_is_stream => path(file).map(Listen::UnixStream),
            Some(("unix", file)) => path(file).map(Listen::UnixDatagram),
            Some(("unix-stream", file)) if !unix_is_stream => path(file).map(Listen::UnixStream),
            _ => None,
        };
        let Some(listen) = parsed else {
            self.fault(
                &key,
                format!("{text:?} is no place to listen: {schemes} is expected, addresses in digits, paths absolute and below 108 bytes"),
            );
            return None;
        };
        let is_shared = matches!(&listen, Listen::Udp(address) | Listen::Tcp(address) if address.port() == 0);
        if !is_shared && !self.places.insert(listen.clone()) {
            self.fault(&key, format!("{text:?} is where another input listens"));
        }
        Some(listen)
    }

    fn syslog(&mut self, key: &str, input: &ListenInput) -> Option<Syslog> {
        let common = self.common(key, &input.name, &input.labels, &input.pipeline);
        for (name, set) in
            [("shared_key", input.shared_key.is_some()), ("frame_bytes_max", input.frame_bytes_max.is_some())]
        {
            if set {
                self.fault(&format!("{key}.{name}"), "is no setting of this input");
            }
        }
        let schemes = "udp://ADDRESS:PORT, tcp://ADDRESS:PORT, unix:///PATH or unix-stream:///PATH";
        let listen = self.listen(key, &input.listen, schemes, false);
        let dialect = match input.format.as_deref().unwrap_or("auto") {
            "auto" => Dialect::Auto,
            "rfc3164" => Dialect::Rfc3164,
            "rfc5424" => Dialect::Rfc5424,
            other => {
                self.fault(
                    &format!("{key}.format"),
                    format!("{other:?} is not known: auto, rfc3164 or rfc5424 is expected"),
                );
                Dialect::Auto
            }
        };
        Some(Syslog { common, listen: listen?, dialect })
    }

    fn forward(&mut self, key: &str, input: &ListenInput) -> Option<Forward> {
        let common = self.common(key, &input.name, &input.labels, &input.pipeline);
        if input.format.is_some() {
            self.fault(&format!("{key}.format"), "is no setting of this input");
        }
        let listen = self.listen(key, &input.listen, "tcp://ADDRESS:PORT or unix:///PATH", true);
        if let Some(secret) = &input.shared_key
            && !(1..=WORD_BYTES_MAX).contains(&secret.len())
        {
            self.fault(&format!("{key}.shared_key"), "is empty or longer than 1024 bytes");
        }
        let bytes = input.frame_bytes_max.unwrap_or(FRAME_BYTES);
        if !(Bytes(64 << 10)..=Bytes(16 << 20)).contains(&bytes) {
            self.fault(
                &format!("{key}.frame_bytes_max"),
                format!("{bytes} is out of range: 64KiB to 16MiB is expected"),
            );
        }
        Some(Forward {
            common,
            listen: listen?,
            shared_key: input.shared_key.clone(),
            frame_bytes_max: usize::try_from(bytes.0).unwrap_or(16 << 20),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Vec<String> {
        let config: crate::logs::Config = serde_json::from_str(json).unwrap();
        let found = Checked::parse(&config).err().unwrap_or_default();
        // The section's own check tells the same.
        let own: BTreeSet<String> = config.faults().into_iter().map(|(key, _)| key).collect();
        assert!(found.iter().all(|(key, _)| own.contains(key)));
        found.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn every_fault_has_its_key() {
        let json = r#"{
            "files": [{"name": "app", "paths": ["/x"]}],
            "journal": {"enabled": true, "priority": "loud", "matches": ["a=b", "X=1"], "path": "here"},
            "syslog": [{"name": "app", "listen": "udp://localhost:514"},
                       {"name": "b c", "listen": "unix://relative", "format": "x", "labels": {"host": "y"}},
                       {"name": "s", "listen": "tcp://127.0.0.1:514", "shared_key": "k"},
                       {"name": "t", "listen": "tcp://127.0.0.1:514"}],
            "kmsg": {"units": ["x"]},
            "forward": [{"name": "f", "listen": "udp://127.0.0.1:1", "frame_bytes_max": "1B", "shared_key": ""}],
            "stdin": {"path": "/x", "name": "s"}}"#;
        let expected = [
            "journal.matches[0]",
            "journal.priority",
            "journal.path",
            "syslog[0].name",
            "syslog[0].listen",
            "syslog[1].name",
            "syslog[1].labels.host",
            "syslog[1].listen",
            "syslog[1].format",
            "syslog[2].shared_key",
            "syslog[3].listen",
            "kmsg.units",
            "forward[0].listen",
            "forward[0].shared_key",
            "forward[0].frame_bytes_max",
            "stdin.path",
            "stdin.name",
        ];
        assert_eq!(faults(json), expected);
        assert!(serde_json::from_str::<crate::logs::Config>(r#"{"kmsg": {"unit": 1}}"#).is_err());
    }

    #[test]
    fn a_good_config_becomes_types() {
        let json = r#"{"syslog": [{"name": "s", "listen": "unix:///run/s", "labels": {"site": "north"}}],
                       "forward": [{"name": "f", "listen": "unix:///run/f"}], "stdin": {"enabled": true}}"#;
        let config: crate::logs::Config = serde_json::from_str(json).unwrap();
        let checked = Checked::parse(&config).unwrap();
        assert_eq!(checked.syslog[0].listen, Listen::UnixDatagram("/run/s".into()));
        assert_eq!(checked.syslog[0].common.labels.value("site"), "north");
        assert_eq!(checked.forward[0].listen, Listen::UnixStream("/run/f".into()));
        assert_eq!(checked.stdin.unwrap().labels.value("source"), "stdin");
        assert!(checked.journal.is_none() && checked.kmsg.is_none());
    }
}
