//! Joins lines that make one record: by a pattern of the user, or by what stack traces look like.
//!
//! ```text
//! line -> rules (does it go on, begin, or stand alone?) -> assembler (one per output) -> record
//! ```
//!
//! Invariants:
//! - Every line is in exactly one record, in the order they came.
//! - A record that waits has at most `max_lines` lines and as many bytes as the caller allows; what goes beyond becomes
//!   a record of its own.
//! - What waits is the same after a restart, if the lines since the begin of the waiting record are given to
//!   [`Assembler::restore`].

mod builtin;

pub use builtin::Builtin;
use builtin::State;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use skerry_model::{Mono, Span};

/// Most bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Bounds of `max_lines` and `timeout`.
const LINES_MAX: u32 = 10_000;
const TIMEOUT_MAX: Span = Span::secs(60);

/// How lines are joined, as it stands in the config: one of `start`, `continuation` and `builtin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A line that matches begins a record; others go on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// A line that matches goes on with the record before it; others begin one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuation: Option<String>,
    /// Stack traces of these languages are joined; other lines stand alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builtin: Vec<Builtin>,
    /// Most lines of a record.
    pub max_lines: u32,
    /// How long the last line of a record may wait for another one.
    pub timeout: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { start: None, continuation: None, builtin: Vec::new(), max_lines: 1000, timeout: Span::secs(1) }
    }
}

/// How lines are joined, checked.
#[derive(Debug)]
pub struct Rules {
    kind: Kind,
    lines_max: u32,
    timeout_ms: u64,
}

#[derive(Debug)]
enum Kind {
    Start(Regex),
    Continuation(Regex),
    Builtin(Vec<Builtin>),
}

/// What a line is to the record that waits.
enum Step {
    Joins(State),
    Begins(State),
    Alone,
}

impl Rules {
    /// The checked form.
    ///
    /// # Errors
    /// Every fault, as the key below the settings (`start`) and what was expected; the key is empty where it is their
    /// combination.
    pub fn new(settings: &Settings) -> Result<Self, Vec<(String, String)>> {
        let mut faults = Vec::new();
        let mut pattern = |key: &str, text: &str| {
            let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
            built.map_err(|error| faults.push((key.to_owned(), format!("{text:?} is no pattern: {error}")))).ok()
        };
        let start = settings.start.as_deref().and_then(|text| pattern("start", text)).map(Kind::Start);
        let go_on = settings.continuation.as_deref();
        let go_on = go_on.and_then(|text| pattern("continuation", text)).map(Kind::Continuation);
        let builtin = (!settings.builtin.is_empty()).then(|| Kind::Builtin(settings.builtin.clone()));
        let given = [settings.start.is_some(), settings.continuation.is_some(), !settings.builtin.is_empty()];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let problem = "one of start, continuation and builtin is expected";
            faults.push((String::new(), problem.to_owned()));
        }
        if !(2..=LINES_MAX).contains(&settings.max_lines) {
            let problem = format!("{} is out of range: 2 to {LINES_MAX} is expected", settings.max_lines);
            faults.push(("max_lines".to_owned(), problem));
        }
        if settings.timeout < Span::millis(10) || settings.timeout > TIMEOUT_MAX {
            let problem = format!("{} is out of range: 10ms to {TIMEOUT_MAX} is expected", settings.timeout);
            faults.push(("timeout".to_owned(), problem));
        }
        match start.or(go_on).or(builtin) {
            Some(kind) if faults.is_empty() => Ok(Self {
                kind,
                lines_max: settings.max_lines,
                timeout_ms: u64::try_from(settings.timeout.0.as_millis()).unwrap_or(u64::MAX),
            }),
            _ => Err(faults),
        }
    }

    fn step(&self, state: State, line: &[u8]) -> Step {
        match &self.kind {
            Kind::Start(start) if start.is_match(line) => Step::Begins(State::Open),
            Kind::Continuation(go_on) if !go_on.is_match(line) => Step::Begins(State::Open),
            Kind::Start(_) | Kind::Continuation(_) => Step::Joins(State::Open),
            Kind::Builtin(languages) => match builtin::follow(state, line) {
                Some(next) => Step::Joins(next),
                None => builtin::begin(languages, line).map_or(Step::Alone, Step::Begins),
            },
        }
    }
}

/// A record that is complete, with what was noted at its first line.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole<M> {
    /// What the caller noted of its first line.
    pub begun: M,
    /// Its lines, with `\n` between them.
    pub text: Vec<u8>,
    /// It reached a bound and goes on in the next record.
    pub split: bool,
}

#[derive(Debug)]
struct Waiting<M> {
    begun: M,
    text: Vec<u8>,
    lines: u32,
    touched: Mono,
}

/// Joins the lines of one output. `M` is what the caller keeps of a record's first line, such as its time and place.
#[derive(Debug)]
pub struct Assembler<M> {
    state: State,
    waiting: Option<Waiting<M>>,
}

impl<M> Default for Assembler<M> {
    fn default() -> Self {
        Self { state: State::Idle, waiting: None }
    }
}

impl<M> Assembler<M> {
    /// Takes the next line; the records that are complete by it, in order. `bytes_max` is the longest record.
    pub fn take(
        &mut self,
        line: Vec<u8>,
        begun: M,
        now: Mono,
        rules: &Rules,
        bytes_max: usize,
    ) -> [Option<Whole<M>>; 2] {
        match rules.step(self.state, &line) {
            Step::Joins(state) => {
                self.state = state;
                let split = match &mut self.waiting {
                    Some(waiting) if waiting.lines < rules.lines_max && waiting.text.len() + line.len() < bytes_max => {
                        waiting.add(&line, now);
                        return [None, None];
                    }
                    waiting => waiting.take().map(|waiting| waiting.whole(true)),
                };
                self.begin(line, begun, now);
                [split, None]
            }
            Step::Begins(state) => {
                let before = self.flush();
                self.state = state;
                self.begin(line, begun, now);
                [before, None]
            }
            Step::Alone => [self.flush(), Some(Whole { begun, text: line, split: false })],
        }
    }

    /// Takes a line again of which is known that it belongs to the record that waits, after a restart.
    pub fn restore(&mut self, line: Vec<u8>, begun: M, now: Mono, rules: &Rules) {
        self.state = match (rules.step(self.state, &line), &rules.kind) {
            (Step::Joins(state) | Step::Begins(state), _) => state,
            (Step::Alone, Kind::Builtin(languages)) => builtin::resume(languages, &line),
            (Step::Alone, _) => State::Open,
        };
        match &mut self.waiting {
            Some(waiting) => waiting.add(&line, now),
            None => self.begin(line, begun, now),
        }
    }

    fn begin(&mut self, text: Vec<u8>, begun: M, now: Mono) {
        self.waiting = Some(Waiting { begun, text, lines: 1, touched: now });
    }

    /// Ends the record that waits: nothing goes on with it any more.
    pub fn flush(&mut self) -> Option<Whole<M>> {
        self.state = State::Idle;
        self.waiting.take().map(|waiting| waiting.whole(false))
    }

    /// Ends the record that waits, if no line came for the time-out.
    pub fn flush_due(&mut self, now: Mono, rules: &Rules) -> Option<Whole<M>> {
        let due = |waiting: &Waiting<M>| now.0.saturating_sub(waiting.touched.0) >= rules.timeout_ms;
        if self.waiting.as_ref().is_some_and(due) { self.flush() } else { None }
    }

    /// What was noted of the first line of the record that waits.
    #[must_use]
    pub fn begun(&self) -> Option<&M> {
        self.waiting.as_ref().map(|waiting| &waiting.begun)
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.text.len())
    }
}

impl<M> Waiting<M> {
    fn add(&mut self, line: &[u8], now: Mono) {
        self.text.push(b'\n');
        self.text.extend_from_slice(line);
        self.lines += 1;
        self.touched = now;
    }

    fn whole(self, split: bool) -> Whole<M> {
        Whole { begun: self.begun, text: self.text, split }
    }
}

#[cfg(test)]
mod tests;
