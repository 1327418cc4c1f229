//! The stage `parser`: takes a line apart and makes of its fields the record's time, level, line, labels and metadata.

use super::fields::Mark;
use super::promote::Promoter;
use super::reader::{Faults, Reader, quoted, scalar};
use super::work::{FieldName, Work, field, fields};
use super::{Counts, Now};
use crate::parse::{self, COLUMNS_MAX, Emit, Pattern, Regexp};
use crate::time::{ReadZone, TimeReader, zone};
use jiff::tz::TimeZone;
use serde_json::Value;
use skerry_model::{Level, OutputStream, UnixMillis};

/// A time before this is not believed: 2001-01-01T00:00:00Z. Clocks without a battery begin in 1970 or 2000.
const EARLIEST: UnixMillis = UnixMillis(978_307_200_000);
/// Nor is one that is further ahead than this. A day, since some programs write local time without a zone.
const AHEAD_MS_MAX: i64 = 86_400_000;

const FORMATS: &str = "json, logfmt, regex, pattern, csv, docker, cri, syslog, nginx or apache";

#[derive(Debug)]
enum Format {
    Json,
    Logfmt,
    Regex(Regexp),
    Pattern(Pattern),
    Csv { columns: Vec<String>, separator: u8 },
    Docker,
    Cri,
    Syslog,
    Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnError {
    Keep,
    Drop,
}

#[derive(Debug)]
enum KeepFields {
    All,
    None,
    These(Vec<FieldName>),
}

/// A checked `parser`.
#[derive(Debug)]
pub(super) struct Parser {
    format: Format,
    from: Option<FieldName>,
    time: Option<(FieldName, TimeReader)>,
    level: Vec<FieldName>,
    message: Option<FieldName>,
    labels: Vec<(String, FieldName)>,
    keep: KeepFields,
    on_error: OnError,
    promoter: Promoter,
}

/// Whether the record goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    GoesOn,
    Dropped,
}

impl Parser {
    /// Reads the stage: a format's name alone, or a mapping.
    pub(super) fn read(value: &Value, key: &str, zones: ReadZone<'_>, faults: &mut Faults) -> Option<Self> {
        let short;
        let value = match value {
            Value::String(_) => {
                short = serde_json::json!({ "format": value });
                &short
            }
            other => other,
        };
        let mut reader = Reader::new(value, key, faults)?;
        let format = format(&mut reader, faults);
        let name = |text: &str| FieldName::new(text.to_owned());
        let told_time = time(&mut reader, zones, faults);
        let utc = |format: &str| TimeReader::new(format, TimeZone::UTC).ok();
        let (time, message) = match &format {
            Some(Format::Docker | Format::Cri) => (utc("rfc3339"), Some(name("log"))),
            Some(Format::Syslog) => (utc("syslog"), Some(name("message"))),
            Some(Format::Access) => (utc("auto"), None),
            _ => (None, None),
        };
        let message = field(&mut reader, "message", faults).or(message);
        let level = match (field(&mut reader, "level", faults), &format) {
            (Some(level), _) => vec![level],
            (None, Some(Format::Syslog)) => vec![name("severity")],
            (None, _) => Vec::new(),
        };
        let labels = labels(&mut reader, faults);
        let keep = match reader.value("keep_fields") {
            None if message.is_some() => KeepFields::All,
            None => KeepFields::None,
            Some(Value::String(word)) if word == "all" => KeepFields::All,
            Some(Value::String(word)) if word == "none" => KeepFields::None,
            Some(_) => KeepFields::These(fields(&mut reader, "keep_fields", faults)),
        };
        let words = [("keep", OnError::Keep), ("drop", OnError::Drop)];
        let on_error = reader.word("on_error", &words, faults).unwrap_or(OnError::Keep);
        let from = field(&mut reader, "from", faults);
        reader.finish(faults);
        let time = told_time.or_else(|| Some((name("time"), time?)));
        let promoter = Promoter::default();
        Some(Self { format: format?, from, time, level, message, labels, keep, on_error, promoter })
    }

    /// Parses the record's line, or its field `from`.
    pub(super) fn run(&mut self, work: &mut Work<'_>, now: Now, counts: &mut Counts) -> Parsed {
        let since = work.fields.len();
        let good = match &self.from {
            None => self.format.parse(&work.record.line, &mut |name, value| work.fields.add(since, name, value)),
            Some(from) => {
                let Some(text) = work.value(from).map(|text| zeroize::Zeroizing::new(text.to_string())) else {
                    return self.failed(counts);
                };
                self.format.parse(text.as_bytes(), &mut |name, value| work.fields.add(since, name, value))
            }
        };
        if !good {
            work.fields.forget(since);
            return self.failed(counts);
        }
        match &self.keep {
            KeepFields::All => work.fields.mark_from(since, Mark::Kept),
            KeepFields::None => {}
            KeepFields::These(names) => names.iter().for_each(|name| work.fields.mark(name.as_str(), Mark::Kept)),
        }
        work.fields.settle(since);
        self.apply(work, now, counts);
        Parsed::GoesOn
    }

    fn failed(&self, counts: &mut Counts) -> Parsed {
        counts.parse_failures += 1;
        if self.on_error == OnError::Drop { Parsed::Dropped } else { Parsed::GoesOn }
    }

    /// Makes of the fields what the config says.
    fn apply(&mut self, work: &mut Work<'_>, now: Now, counts: &mut Counts) {
        if let Some((name, reader)) = &self.time
            && let Some(found) = work.value(name).map(|text| reader.read(&text, now.wall))
        {
            match found.filter(|at| *at >= EARLIEST && at.0 <= now.wall.0.saturating_add(AHEAD_MS_MAX)) {
                Some(at) => {
                    work.record.at = at;
                    self.used(work, name);
                }
                // The record keeps the time it has, and the text is kept beside it.
                None => {
                    counts.time_failures += 1;
                    work.fields.mark(name.as_str(), Mark::Kept);
                }
            }
        }
        self.level(work);
        if matches!(self.format, Format::Docker | Format::Cri) {
            let output = match work.fields.find("stream").map(|field| field.value) {
                Some("stdout") => OutputStream::Stdout,
                Some("stderr") => OutputStream::Stderr,
                _ => work.record.output,
            };
            work.record.output = output;
            work.fields.mark("stream", Mark::Seen);
            if work.fields.find("flags").is_some_and(|field| field.value == "F") {
                work.fields.mark("flags", Mark::Seen);
            }
        }
        self.promote(work, now, counts);
        if let Some(name) = &self.message
            && let Some(text) = work.fields.find(name.as_str())
        {
            let line = text.value.as_bytes().to_vec();
            work.replace_line(line);
            work.fields.mark(name.as_str(), Mark::Gone);
        }
    }

    /// A field that became part of the record is not stored again, unless it was asked for by name.
    fn used(&self, work: &mut Work<'_>, name: &FieldName) {
        if !matches!(&self.keep, KeepFields::These(names) if names.contains(name)) {
            work.fields.mark(name.as_str(), Mark::Seen);
        }
    }

    fn level(&self, work: &mut Work<'_>) {
        for name in &self.level {
            if let Some(level) = work.value(name).and_then(|text| level_of(&text)) {
                work.record.level = level;
                // Syslog's severities are finer than levels, and stay.
                if !matches!(self.format, Format::Syslog) {
                    self.used(work, name);
                }
                return;
            }
        }
        if self.level.is_empty() && work.record.level == Level::Unknown {
            let found = ["level", "lvl", "severity"].iter().find_map(|name| level_of(work.fields.find(name)?.value));
            work.record.level = found.unwrap_or(Level::Unknown);
        }
    }

    fn promote(&mut self, work: &mut Work<'_>, now: Now, counts: &mut Counts) {
        if self.labels.is_empty() {
            return;
        }
        let added: Vec<(&str, String)> = self
            .labels
            .iter()
            .filter_map(|(label, name)| Some((label.as_str(), work.value(name)?.to_string())))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        if added.is_empty() {
            return;
        }
        let made = self.promoter.set(work, &added, now.mono);
        counts.labels_refused += u64::from(!made);
        for (_, name) in &self.labels {
            if made {
                self.used(work, name);
            } else {
                work.fields.mark(name.as_str(), Mark::Kept);
            }
        }
    }
}

impl Format {
    fn parse(&self, line: &[u8], emit: Emit<'_>) -> bool {
        match self {
            Self::Json => parse::json_strict(line, emit).is_ok(),
            Self::Logfmt => parse::logfmt(line, emit).pairs > 0,
            Self::Regex(regexp) => regexp.captures(line, emit),
            Self::Pattern(pattern) => pattern.captures(line, emit),
            Self::Csv { columns, separator } => parse::csv(line, *separator, columns, emit).is_ok(),
            Self::Docker => parse::docker(line, emit).is_ok(),
            Self::Cri => parse::cri(line, emit).is_ok(),
            Self::Syslog => parse::syslog(line, emit).is_ok(),
            Self::Access => parse::access(line, emit).is_ok(),
        }
    }
}

/// The level that a field says, in words, as bunyan's and pino's numbers, or as syslog's severities.
pub(super) fn level_of(text: &str) -> Option<Level> {
    let text = text.trim();
    match text {
        "10" => Some(Level::Trace),
        "20" => Some(Level::Debug),
        "30" => Some(Level::Info),
        "40" => Some(Level::Warn),
        "50" => Some(Level::Error),
        "60" => Some(Level::Fatal),
        _ if text.eq_ignore_ascii_case("emerg") || text.eq_ignore_ascii_case("emergency") => Some(Level::Fatal),
        _ => Level::from_word(text),
    }
}

fn format(reader: &mut Reader<'_>, faults: &mut Faults) -> Option<Format> {
    let name = reader.text("format", faults);
    let regex = reader.text("regex", faults);
    let pattern = reader.text("pattern", faults);
    let csv = reader.value("csv");
    let told = [name.is_some(), regex.is_some(), pattern.is_some(), csv.is_some()].iter().filter(|told| **told).count();
    if told != 1 {
        let problem = format!("{told} formats are told: one of format, regex, pattern and csv is expected");
        faults.push((reader.key().to_owned(), problem));
        return None;
    }
    if let Some(text) = regex {
        let made = Regexp::new(&text).map(Format::Regex);
        return made.map_err(|problem| reader.fault("regex", format_args!("{} {problem}", quoted(&text)), faults)).ok();
    }
    if let Some(text) = pattern {
        let made = Pattern::parse(&text).map(Format::Pattern);
        return made
            .map_err(|problem| reader.fault("pattern", format_args!("{} {problem}", quoted(&text)), faults))
            .ok();
    }
    if let Some(value) = csv {
        return read_csv(value, &reader.at("csv"), faults);
    }
    match name.as_deref() {
        Some("json") => Some(Format::Json),
        Some("logfmt") => Some(Format::Logfmt),
        Some("docker") => Some(Format::Docker),
        Some("cri") => Some(Format::Cri),
        Some("syslog") => Some(Format::Syslog),
        Some("nginx" | "apache") => Some(Format::Access),
        Some(name @ ("regex" | "pattern" | "csv")) => {
            reader.fault(
                "format",
                format_args!("needs more: `{name}: …` is expected instead of `format: {name}`"),
                faults,
            );
            None
        }
        other => {
            let other = quoted(other.unwrap_or_default());
            reader.fault("format", format_args!("{other} is no format: {FORMATS} is expected"), faults);
            None
        }
    }
}

fn read_csv(value: &Value, key: &str, faults: &mut Faults) -> Option<Format> {
    let mut reader = Reader::new(value, key, faults)?;
    let columns = reader.texts("columns", faults);
    if columns.is_empty() || columns.len() > COLUMNS_MAX {
        reader.fault("columns", format_args!("{} names: 1 to {COLUMNS_MAX} are expected", columns.len()), faults);
    }
    let separator = reader.text("separator", faults).unwrap_or_else(|| ",".to_owned());
    let separator = match separator.as_bytes() {
        [b] if *b != b'"' && b.is_ascii() => *b,
        _ if separator == "\\t" => b'\t',
        _ => {
            reader.fault(
                "separator",
                format_args!("{} is not one ASCII character other than '\"'", quoted(&separator)),
                faults,
            );
            b','
        }
    };
    reader.finish(faults);
    let columns = columns.iter().map(|name| parse::field_name(name).into_owned()).collect();
    Some(Format::Csv { columns, separator })
}

/// `time: ts` or `time: {field: ts, format: …, zone: …}`.
fn time(reader: &mut Reader<'_>, zones: ReadZone<'_>, faults: &mut Faults) -> Option<(FieldName, TimeReader)> {
    let value = reader.value("time")?;
    if let Some(name) = scalar(value) {
        let time = TimeReader::new("auto", TimeZone::UTC).ok()?;
        return Some((FieldName::new(name), time));
    }
    let mut inner = Reader::new(value, &reader.at("time"), faults)?;
    let field = field(&mut inner, "field", faults).unwrap_or_else(|| FieldName::new("time".to_owned()));
    let place = match inner.text("zone", faults).map(|name| zone(&name, zones)) {
        Some(Err(problem)) => {
            inner.fault("zone", problem, faults);
            TimeZone::UTC
        }
        Some(Ok(zone)) => zone,
        None => TimeZone::UTC,
    };
    let format = inner.text("format", faults).unwrap_or_else(|| "auto".to_owned());
    let made = TimeReader::new(&format, place);
    let made = made.map_err(|problem| inner.fault("format", problem, faults)).ok();
    inner.finish(faults);
    Some((field, made?))
}

/// A list of fields, or labels and the fields they come from.
fn labels(reader: &mut Reader<'_>, faults: &mut Faults) -> Vec<(String, FieldName)> {
    let mapped = matches!(reader.value("labels"), Some(Value::Object(_)));
    let pairs = if mapped {
        reader.pairs("labels", faults).into_iter().map(|(label, name)| (label, FieldName::new(name))).collect()
    } else {
        let names = fields(reader, "labels", faults);
        names.into_iter().map(|name| (name.as_str().to_owned(), name)).collect::<Vec<_>>()
    };
    for (label, _) in &pairs {
        check_label(label, &reader.at("labels"), faults);
    }
    pairs
}

/// Whether a label of that name may be made; a fault if not.
pub(super) fn check_label(label: &str, key: &str, faults: &mut Faults) {
    if parse::field_name(label) != label || label.is_empty() {
        let problem = format!("{} is no label name: letters, digits and '_' are expected", quoted(label));
        faults.push((key.to_owned(), problem));
    } else if label == "source" || label.starts_with("__") {
        faults
            .push((key.to_owned(), format!("{} is set by the agent itself: another name is expected", quoted(label))));
    }
}
