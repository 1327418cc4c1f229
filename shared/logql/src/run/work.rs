//! The labels of one line while it goes through a pipeline.

use crate::answer::Pairs;
use skerry_logs::parse::Value;
use skerry_model::Labels;

/// Most labels that a line may have beside its stream's; further ones are left out.
const PAIRS_MAX: usize = 256;
/// Name of the label that tells what went wrong.
pub(crate) const ERROR: &str = "__error__";
/// Name of the label that tells why.
pub(crate) const DETAILS: &str = "__error_details__";
/// What stands behind the name of a label of the line that the stream has too.
const EXTRACTED: &str = "_extracted";

/// What can go wrong with a line, as Loki calls it.
pub(crate) mod errors {
    pub(crate) const JSON: &str = "JSONParserErr";
    pub(crate) const LOGFMT: &str = "LogfmtParserErr";
    pub(crate) const LABEL_FILTER: &str = "LabelFilterErr";
    pub(crate) const TEMPLATE: &str = "TemplateFormatErr";
    pub(crate) const SAMPLE: &str = "SampleExtractionErr";
}

/// Where a label comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The stream, changed by the query.
    Stream,
    /// The record's structured metadata.
    Metadata,
    /// The line, or the query itself.
    Parsed,
}

/// A label. Its texts are used again for the next line.
#[derive(Debug)]
struct Pair {
    name: String,
    value: String,
    kind: Kind,
    /// Shown although it is empty, by `logfmt --keep-empty`.
    keeps_empty: bool,
}

/// The labels of one line.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Those of the stream.
    base: Labels,
    /// Those beside it; the first `used` count.
    pairs: Vec<Pair>,
    used: usize,
    /// Labels of the stream that the query took away.
    gone: Vec<String>,
    error: Option<&'static str>,
    details: String,
    /// Names that the query looks at, where it does not look at all.
    wanted: Option<Vec<String>>,
    /// A name is put together here.
    name: String,
}

/// The labels of a line when it is through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) stream: Labels,
    pub(crate) metadata: Pairs,
    pub(crate) parsed: Pairs,
}

impl Work {
    /// Of a query that looks at these labels of the line alone.
    pub(crate) fn new(wanted: Option<Vec<String>>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Begins the next line.
    pub(crate) fn begin(&mut self, base: &Labels, fields: &Labels) {
        if !self.base.is_same(base) {
            self.base = base.clone();
        }
        self.used = 0;
        self.gone.clear();
        self.error = None;
        self.details.clear();
        for (name, value) in fields.iter() {
            self.push(name, Kind::Metadata).push_str(value);
        }
    }

    /// Whether its labels are those of the stream.
    pub(crate) fn is_plain(&self) -> bool {
        self.used == 0 && self.gone.is_empty() && self.error.is_none()
    }

    /// What went wrong first.
    pub(crate) fn error(&self) -> Option<&'static str> {
        self.error
    }

    /// Notes what went wrong; the last error counts, as in Loki.
    pub(crate) fn fail(&mut self, error: &'static str, details: impl std::fmt::Display) {
        use std::fmt::Write;
        self.error = Some(error);
        self.details.clear();
        // Writing to a string does not fail.
        let _ = write!(self.details, "{details}");
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.pairs[..self.used].iter().position(|pair| pair.name == name)
    }

    /// Value of a label; empty where there is none.
    pub(crate) fn value(&self, name: &str) -> &str {
        if name.starts_with("__error") {
            match name {
                ERROR => return self.error.unwrap_or_default(),
                DETAILS => return &self.details,
                _ => {}
            }
        }
        match self.place(name) {
            Some(place) => &self.pairs[place].value,
            None if self.gone.iter().any(|gone| gone == name) => "",
            None => self.base.value(name),
        }
    }

    /// Where a label comes from; `None` where there is none.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        match self.place(name) {
            Some(place) => Some(self.pairs[place].kind),
            None => (!self.value(name).is_empty()).then_some(Kind::Stream),
        }
    }

    /// A new pair's value, empty. Past the bound it is a pair that does not count.
    fn push(&mut self, name: &str, kind: Kind) -> &mut String {
        if self.used == self.pairs.len() {
            self.pairs.push(Pair { name: String::new(), value: String::new(), kind, keeps_empty: false });
        }
        let pair = &mut self.pairs[self.used];
        pair.name.clear();
        pair.name.push_str(name);
        pair.value.clear();
        pair.kind = kind;
        pair.keeps_empty = false;
        if self.used < PAIRS_MAX {
            self.used += 1;
        }
        &mut pair.value
    }

    /// Sets a label.
    pub(crate) fn set(&mut self, name: &str, kind: Kind, value: &str) {
        match name {
            DETAILS => {
                self.details.clear();
                self.details.push_str(value);
            }
            _ => match self.place(name) {
                Some(place) => {
                    let pair = &mut self.pairs[place];
                    pair.value.clear();
                    pair.value.push_str(value);
                    (pair.kind, pair.keeps_empty) = (kind, false);
                }
                None => self.push(name, kind).push_str(value),
            },
        }
    }

    /// Takes a label away.
    pub(crate) fn remove(&mut self, name: &str) {
        match name {
            ERROR => self.error = None,
            DETAILS => self.details.clear(),
            _ => {
                if let Some(place) = self.place(name) {
                    self.used -= 1;
                    self.pairs.swap(place, self.used);
                    // Its texts serve again; the order of the others does not matter.
                }
                if !self.base.value(name).is_empty() && !self.gone.iter().any(|gone| gone == name) {
                    self.gone.push(name.to_owned());
                }
            }
        }
    }

    /// Keeps only labels for which `is_kept` says so, by name and value.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&str, &str) -> bool) {
        let mut at = 0;
        while at < self.used {
            if is_kept(&self.pairs[at].name, &self.pairs[at].value) {
                at += 1;
            } else {
                let name = std::mem::take(&mut self.pairs[at].name);
                self.used -= 1;
                self.pairs.swap(at, self.used);
                // A label of the stream below it does not come back.
                if !self.base.value(&name).is_empty() {
                    self.gone.push(name);
                }
            }
        }
        for (name, value) in self.base.iter() {
            let is_over = self.pairs[..self.used].iter().any(|pair| pair.name == name);
            if !is_over && !is_kept(name, value) && !self.gone.iter().any(|gone| gone == name) {
                self.gone.push(name.to_owned());
            }
        }
    }

    /// Takes a label of the line. One that the stream or the metadata have too gets a suffix; of one that is
    /// taken or made twice the first counts, by whichever parser.
    pub(crate) fn extract(&mut self, name: &str, value: Value<'_>, keeps_empty: bool) {
        let is_taken = !self.base.value(name).is_empty()
            || self.pairs[..self.used].iter().any(|pair| pair.name == name && pair.kind == Kind::Metadata);
        let mut held = std::mem::take(&mut self.name);
        held.clear();
        held.push_str(name);
        if is_taken {
            held.push_str(EXTRACTED);
        }
        self.put(&held, value, keeps_empty);
        self.name = held;
    }

    fn put(&mut self, name: &str, value: Value<'_>, keeps_empty: bool) {
        // What went wrong is for the query to say.
        if matches!(name, ERROR | DETAILS) {
            return;
        }
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.iter().any(|wanted| wanted == name)) {
            return;
        }
        match self.place(name) {
            Some(place) if self.pairs[place].kind == Kind::Parsed => {}
            Some(place) => {
                let pair = &mut self.pairs[place];
                pair.value.clear();
                value.append_to(&mut pair.value);
                (pair.kind, pair.keeps_empty) = (Kind::Parsed, keeps_empty);
            }
            None => {
                let used = self.used;
                value.append_to(self.push(name, Kind::Parsed));
                if self.used > used {
                    self.pairs[used].keeps_empty = keeps_empty;
                }
            }
        }
    }

    /// Labels that the query put beside those of the stream or over them, in no order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str, Kind)> {
        let shown = self.pairs[..self.used].iter().filter(|pair| !pair.value.is_empty() || pair.keeps_empty);
        shown.map(|pair| (pair.name.as_str(), pair.value.as_str(), pair.kind))
    }

    /// Labels of the stream that are neither gone nor have another value.
    pub(crate) fn base_left(&self) -> impl Iterator<Item = (&str, &str)> {
        self.base.iter().filter(|(name, _)| !self.gone.iter().any(|gone| gone == name) && self.place(name).is_none())
    }

    /// The labels as they are now.
    pub(crate) fn split(&self) -> Split {
        let mut split = Split { stream: self.base.clone(), metadata: Vec::new(), parsed: Vec::new() };
        for (name, value, kind) in self.pairs() {
            let pair = (name.to_owned(), value.to_owned());
            match kind {
                Kind::Stream => {}
                Kind::Metadata => split.metadata.push(pair),
                Kind::Parsed => split.parsed.push(pair),
            }
        }
        let touches_base = self.pairs[..self.used]
            .iter()
            .any(|pair| pair.kind == Kind::Stream || !self.base.value(&pair.name).is_empty());
        if touches_base || !self.gone.is_empty() {
            let own = self.pairs().filter(|(_, _, kind)| *kind == Kind::Stream).map(|(name, value, _)| (name, value));
            split.stream = Labels::new(self.base_left().chain(own)).unwrap_or_else(|_| self.base.clone());
        }
        if let Some(error) = self.error {
            split.parsed.push((ERROR.into(), error.into()));
        }
        if !self.details.is_empty() {
            split.parsed.push((DETAILS.into(), self.details.clone()));
        }
        split.metadata.sort_unstable();
        split.parsed.sort_unstable();
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn labels_of_the_line_do_not_hide_those_of_the_stream() {
        let mut work = Work::default();
        work.begin(&labels(&[("app", "a"), ("level", "info")]), &labels(&[("pid", "1")]));
        assert!(!work.is_plain());
        work.extract("level", Value::plain("warn"), false);
        work.extract("pid", Value::plain("2"), false);
        work.extract("x", Value::plain("1"), false);
        work.extract("x", Value::plain("2"), false);
        work.extract("empty", Value::plain(""), false);
        work.extract("kept", Value::plain(""), true);
        assert_eq!(
            ["level", "level_extracted", "pid", "pid_extracted", "x"].map(|n| work.value(n)),
            ["info", "warn", "1", "2", "1"]
        );
        work.set("app", Kind::Parsed, "b");
        work.remove("pid");
        work.fail(errors::JSON, "why");
        let split = work.split();
        assert_eq!(split.stream, labels(&[("level", "info")]));
        assert_eq!(split.metadata, []);
        let names: Vec<&str> = split.parsed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [ERROR, DETAILS, "app", "kept", "level_extracted", "pid_extracted", "x"]);
        work.retain(|name, _| name == "x");
        work.remove(ERROR);
        work.remove(DETAILS);
        let split = work.split();
        assert_eq!((split.stream.len(), split.parsed.len()), (0, 1));
        work.begin(&labels(&[("app", "a")]), &Labels::default());
        assert!(work.is_plain() && work.split().stream.len() == 1);
    }

    #[test]
    fn more_labels_than_the_bound_are_left_out() {
        let mut work = Work::default();
        work.begin(&Labels::default(), &Labels::default());
        for at in 0..1000 {
            work.extract(&format!("l{at}"), Value::plain("v"), false);
        }
        assert_eq!(work.pairs().count(), PAIRS_MAX);
    }

    #[test]
    fn what_is_not_wanted_is_not_taken() {
        let mut work = Work::new(Some(vec!["a".into(), "b_extracted".into()]));
        work.begin(&labels(&[("b", "1")]), &Labels::default());
        for name in ["a", "b", "c"] {
            work.extract(name, Value::plain("v"), false);
        }
        let mut names: Vec<&str> = work.pairs().map(|(name, _, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b_extracted"]);
    }
}
