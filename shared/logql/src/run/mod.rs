//! Pipelines at work: one line after the other goes through the stages of a query.
//!
//! Line filters that look at the line as it was read run first, wherever they stand, because they are cheap and decide
//! most: labels are only looked at for lines that pass them. Texts and lists that a line needs are used again for the next.

mod filter;
mod needles;
mod work;

use crate::ast::{Extract, FormatFrom, LabelFilter, LineFilter, LogExpr, Pick, Stage};
use crate::template::Data;
use memchr::memmem::{self, Finder};
pub(crate) use needles::needles;
use skerry_logs::parse::{json, json_at, logfmt, unpack};
use skerry_model::{Labels, RecordRef};
use std::borrow::Cow;
pub(crate) use work::{ERROR, Kind, Work, errors};

/// A pipeline at work.
#[derive(Debug)]
pub(crate) struct Run<'q> {
    /// Filters of the line as it was read.
    lead: Vec<&'q LineFilter>,
    /// Values that must stand in the line because a label filter behind a parser demands them, unless the stream or the
    /// record has a label of that name.
    demanded: Vec<(&'q str, Finder<'q>)>,
    /// The other stages.
    stages: Vec<&'q Stage>,
    /// Parsers do nothing, because nobody looks at what they give.
    skips_parsers: bool,
    pub(crate) work: Work,
    /// The line, once a stage wrote it anew.
    line: Vec<u8>,
    is_own: bool,
    text: String,
}

impl<'q> Run<'q> {
    /// Of a pipeline. `wanted`: labels that are looked at behind it, where those are not all.
    pub(crate) fn new(log: &'q LogExpr, wanted: Option<Vec<String>>) -> Self {
        let (mut lead, mut stages, mut is_raw) = (Vec::new(), Vec::new(), true);
        for stage in &log.stages {
            is_raw &= !writes_line(stage);
            match stage {
                Stage::Line(filter) if is_raw => lead.push(filter),
                other => stages.push(other),
            }
        }
        let wanted = wanted.and_then(|wanted| with_stages(wanted, &log.stages));
        let demanded = needles::demanded(&log.stages).into_iter().map(|(n, value)| (n, Finder::new(value))).collect();
        Self {
            lead,
            demanded,
            stages,
            skips_parsers: wanted.as_ref().is_some_and(Vec::is_empty),
            work: Work::new(wanted),
            line: Vec::new(),
            is_own: false,
            text: String::new(),
        }
    }

    /// Whether a record passes. Its labels are in `work` then, and its line in [`line`](Self::line).
    pub(crate) fn passes(&mut self, base: &Labels, record: &RecordRef<'_>) -> bool {
        if !self.lead.iter().all(|filter| filter.passes(record.line)) {
            return false;
        }
        let has_demanded = |(name, finder): &(&str, Finder<'_>)| {
            finder.find(record.line).is_some()
                || !base.value(name).is_empty()
                || !record.fields.value(name).is_empty()
                || memmem::find(record.line, b"\\u").is_some()
        };
        if !self.demanded.iter().all(has_demanded) {
            return false;
        }
        self.is_own = false;
        self.work.begin(base, record.fields);
        (0..self.stages.len()).all(|at| self.stage(self.stages[at], record))
    }

    /// The line as the stages left it.
    pub(crate) fn line<'a>(&'a self, record: &RecordRef<'a>) -> &'a [u8] {
        if self.is_own { &self.line } else { record.line }
    }

    /// Whether the line passes.
    fn stage(&mut self, stage: &Stage, record: &RecordRef<'_>) -> bool {
        let is_parser = matches!(stage, Stage::Json(_) | Stage::Logfmt { .. } | Stage::Regexp(..) | Stage::Pattern(..));
        if is_parser && self.skips_parsers {
            return true;
        }
        let line = if self.is_own { &self.line } else { record.line };
        let work = &mut self.work;
        match stage {
            Stage::Line(filter) => return filter.passes(line),
            Stage::Labels(filter) => return filter.passes(work),
            Stage::Json(extracts) if extracts.is_empty() => {
                if let Err(error) = json(line, &mut |name, value| work.extract(name, value, false)) {
                    work.fail(errors::JSON, error);
                }
            }
            Stage::Json(extracts) => paths(line, extracts, work),
            Stage::Logfmt { strict, keep_empty, extracts } => {
                let found = logfmt(line, &mut |name, value| {
                    if extracts.is_empty() {
                        work.extract(name, value, *keep_empty);
                    } else {
                        let wanted = extracts.iter().filter(|extract| extract.text == name);
                        // What is asked for by name is shown even where it is empty.
                        wanted.for_each(|extract| work.extract(&extract.name, value, true));
                    }
                });
                if let Some(fault) = found.fault.filter(|_| *strict) {
                    work.fail(errors::LOGFMT, fault);
                }
            }
            Stage::Regexp(regexp, _) => {
                regexp.captures(line, &mut |name, value| work.extract(name, value, false));
            }
            Stage::Pattern(pattern, _) => {
                pattern.captures(line, &mut |name, value| work.extract(name, value, false));
            }
            Stage::Unpack => match unpack(line) {
                Ok(Some(packed)) => {
                    for (name, value) in &packed.labels {
                        work.extract(name, skerry_logs::parse::Value::plain(value), false);
                    }
                    self.line.clear();
                    self.line.extend_from_slice(packed.entry.as_bytes());
                    self.is_own = true;
                }
                Ok(None) => {}
                Err(error) => work.fail(errors::JSON, error),
            },
            Stage::Decolorize => {
                if memchr::memchr(0x1b, line).is_some() {
                    self.line = decolorized(line);
                    self.is_own = true;
                }
            }
            Stage::LineFormat(template) => {
                self.text.clear();
                let view = View { work, line, at_ms: record.at.0 };
                match template.run(&view, &mut self.text) {
                    Ok(()) => {
                        self.line.clear();
                        self.line.extend_from_slice(self.text.as_bytes());
                        self.is_own = true;
                    }
                    Err(details) => work.fail(errors::TEMPLATE, details),
                }
            }
            Stage::LabelFormat(formats) => {
                for format in formats {
                    match &format.from {
                        FormatFrom::Label(from) => {
                            if let Some(kind) = work.kind(from) {
                                let value = work.value(from).to_owned();
                                work.set(&format.name, kind, &value);
                                if *from != format.name {
                                    work.remove(from);
                                }
                            }
                        }
                        FormatFrom::Template(template) => {
                            self.text.clear();
                            let view = View { work, line, at_ms: record.at.0 };
                            match template.run(&view, &mut self.text) {
                                Ok(()) => work.set(&format.name, Kind::Parsed, &self.text),
                                Err(details) => work.fail(errors::TEMPLATE, details),
                            }
                        }
                    }
                }
            }
            Stage::Drop(picks) => {
                for pick in picks {
                    let is_met = match pick {
                        Pick::Name(_) => true,
                        Pick::Matching(matcher) => matcher.matches(work.value(matcher.label())),
                    };
                    if is_met {
                        work.remove(pick.name());
                    }
                }
            }
            Stage::Keep(picks) => work.retain(|name, value| {
                picks.iter().any(|pick| match pick {
                    Pick::Name(kept) => kept == name,
                    Pick::Matching(matcher) => matcher.label() == name && matcher.matches(value),
                })
            }),
        }
        true
    }
}

/// Whether the lines behind a stage are not those before it.
fn writes_line(stage: &Stage) -> bool {
    matches!(stage, Stage::Unpack | Stage::Decolorize | Stage::LineFormat(_))
}

/// The labels of the line that stages look at, added to those looked at behind them; `None` where they may look at all.
fn with_stages(mut wanted: Vec<String>, stages: &[Stage]) -> Option<Vec<String>> {
    let mut add = |name: &str| {
        if !wanted.iter().any(|held| held == name) {
            wanted.push(name.to_owned());
        }
    };
    for stage in stages {
        match stage {
            Stage::Labels(filter) => filter.names(&mut add),
            Stage::Drop(picks) | Stage::Keep(picks) => {
                picks.iter().filter(|pick| matches!(pick, Pick::Matching(_))).for_each(|pick| add(pick.name()));
            }
            Stage::LineFormat(_) => return None,
            Stage::LabelFormat(formats) => {
                for format in formats {
                    match &format.from {
                        FormatFrom::Label(from) => add(from),
                        FormatFrom::Template(_) => return None,
                    }
                }
            }
            _ => {}
        }
    }
    Some(wanted)
}

fn paths(line: &[u8], extracts: &[Extract], work: &mut Work) {
    for extract in extracts {
        let Some(path) = &extract.path else { continue };
        if let Err(error) = json_at(line, path, &mut |value| work.extract(&extract.name, value, false)) {
            work.fail(errors::JSON, error);
            return;
        }
    }
}

/// A line without ANSI's colours: `ESC [ … letter`.
fn decolorized(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr(0x1b, rest) {
        out.extend_from_slice(&rest[..at]);
        let behind = &rest[at + 1..];
        let Some(codes) = behind.strip_prefix(b"[") else {
            out.push(0x1b);
            rest = behind;
            continue;
        };
        let length = codes.iter().take_while(|b| matches!(b, 0x20..=0x3f)).count();
        // A sequence that does not end is left out with the rest of the line.
        rest = codes.get(length + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// What templates see of a line.
struct View<'a> {
    work: &'a Work,
    line: &'a [u8],
    at_ms: i64,
}

impl Data for View<'_> {
    fn label(&self, name: &str) -> &str {
        self.work.value(name)
    }

    fn labels(&self) -> Vec<(&str, &str)> {
        let own = self.work.pairs().map(|(name, value, _)| (name, value));
        self.work.base_left().chain(own).collect()
    }

    fn line(&self) -> String {
        match String::from_utf8_lossy(self.line) {
            Cow::Borrowed(text) => text.to_owned(),
            Cow::Owned(text) => text,
        }
    }

    fn at_nanos(&self) -> i64 {
        self.at_ms.saturating_mul(1_000_000)
    }
}

/// Whether all of `filters` let a line pass.
pub(crate) fn all_pass(filters: &[LabelFilter], work: &mut Work) -> bool {
    filters.iter().all(|filter| filter.passes(work))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Either, query};
    use proptest::prelude::*;
    use skerry_model::{Level, LogRecord, OutputStream, UnixMillis};

    impl<'q> Run<'q> {
        /// Stage by stage, without any short cut.
        fn plain(log: &'q LogExpr) -> Self {
            let mut run = Self::new(log, None);
            (run.lead, run.demanded, run.stages) = (Vec::new(), Vec::new(), log.stages.iter().collect());
            run
        }
    }

    proptest! {
        #[test]
        fn short_cuts_change_nothing(
            stages in proptest::collection::vec(prop_oneof![
                Just("| json"), Just("| json x=\"a\""), Just("| logfmt"), Just("| regexp \"(?P<a>\\\\d+)\""), Just("| unpack"),
                Just("| pattern \"a=<b> <_>\""), Just("| a=\"1\""), Just("| a=\"1\" and b=\"x-y\""), Just("| a=\"1\" or b=\"2\""),
                Just("| a_extracted=\"1\""), Just("| a!=\"1\""), Just("|= \"1\""), Just("!= \"2\""), Just("|~ \"a.1\""),
                Just("| line_format \"{{.a}} a=2\""), Just("| label_format a=b"), Just("| drop a"), Just("| keep b"), Just("| decolorize"),
                Just("| a > 0"), Just("| __error__=\"\""),
            ], 0..6),
            line in prop_oneof![
                Just(r#"{"a":"1","b":"x-y"}"#), Just(r#"{"a":1,"b":{"a":"2"}}"#), Just(r#"{"a":"\u0031"}"#), Just("a=1 b=x-y"),
                Just("b=2 a=\"1\""), Just("a=2"), Just(r#"{"_entry":"a=1","b":"2"}"#), Just("1"), Just(""), Just("a=x-y 2"),
            ],
            base in prop_oneof![Just(""), Just("1"), Just("2")],
            field in prop_oneof![Just(""), Just("1"), Just("x-y")],
        ) {
            let text = format!("{{app=\"p\"}} {}", stages.join(" "));
            let Ok(Either::Log(log)) = query(&text) else { panic!("{text}") };
            let labels = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied()).unwrap();
            let record = LogRecord {
                at: UnixMillis(1),
                labels: labels(&[("app", "p"), ("a", base)]),
                output: OutputStream::None,
                level: Level::Unknown,
                fields: labels(&[("b", field)]),
                line: line.into(),
            };
            let result = |mut run: Run<'_>| {
                let passes = run.passes(&record.labels, &record.as_ref());
                passes.then(|| (run.work.split(), run.line(&record.as_ref()).to_vec()))
            };
            let expected = result(Run::plain(&log));
            prop_assert_eq!(result(Run::new(&log, None)), expected.clone(), "{} {}", text, line);
            let has = |needle: &Vec<u8>| memmem::find(&record.line, needle).is_some();
            prop_assert!(expected.is_none() || needles(&log).iter().all(has), "{}", text);
        }
    }
}
