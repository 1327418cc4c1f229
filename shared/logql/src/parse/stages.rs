//! Stages of a pipeline.

use super::lex::Token;
use super::{Parsed, Parser};
use crate::ast::{Extract, Format, FormatFrom, LineFilter, LineOp, Pick, Sought, Stage, Unit, Unwrap};
use crate::ip::IpRange;
use crate::pattern::LinePattern;
use crate::template::Template;
use memchr::memmem::Finder;
use skerry_logs::parse::{JsonPath, Pattern, Regexp, compile};

/// Most alternatives of a line filter; each is work for every line.
const ALTERNATIVES_MAX: usize = 64;

impl Parser<'_> {
    /// The next stage; `None` where none is next. Stops before `unwrap`, whose `|` it takes.
    pub(super) fn stage(&mut self) -> Parsed<Option<Stage>> {
        let op = match self.ahead.token {
            Token::Mark("|=") => LineOp::Contains,
            Token::Mark("!=") => LineOp::NotContains,
            Token::Mark("|~") => LineOp::Regex,
            Token::Mark("!~") => LineOp::NotRegex,
            Token::Mark("|>") => LineOp::Pattern,
            Token::Mark("!>") => LineOp::NotPattern,
            Token::Mark("|") => {
                self.take()?;
                return self.stage_behind_bar();
            }
            _ => return Ok(None),
        };
        self.take()?;
        let mut alternatives = vec![self.sought(op)?];
        while self.accept_word("or")? {
            if alternatives.len() >= ALTERNATIVES_MAX {
                return Err(self.fail(format!("more than {ALTERNATIVES_MAX} alternatives; use one expression with |~")));
            }
            alternatives.push(self.sought(op)?);
        }
        Ok(Some(Stage::Line(LineFilter { op, alternatives })))
    }

    fn sought(&mut self, op: LineOp) -> Parsed<Sought> {
        let at = self.ahead.start;
        if self.word() == Some("ip") {
            if !matches!(op, LineOp::Contains | LineOp::NotContains) {
                return Err(self.fail("ip() goes with |= and != alone"));
            }
            let (range, text) = self.ip()?;
            return Ok(Sought::Ip(range, text));
        }
        let text = self.text("a string or ip(\"…\")")?;
        match op {
            LineOp::Contains | LineOp::NotContains => Ok(Sought::Text(Box::new(Finder::new(&text).into_owned()), text)),
            LineOp::Regex | LineOp::NotRegex => compile(&text)
                .map(Sought::Regex)
                .map_err(|problem| self.fail_at(at, format!("the expression {problem}"))),
            LineOp::Pattern | LineOp::NotPattern => {
                let pattern = LinePattern::parse(&text).map_err(|problem| self.fail_at(at, problem))?;
                Ok(Sought::Pattern(pattern, text))
            }
        }
    }

    /// `ip("10.0.0.0/8")`
    pub(super) fn ip(&mut self) -> Parsed<(IpRange, String)> {
        self.take()?;
        self.demand("(")?;
        let at = self.ahead.start;
        let text = self.text("an address as a string")?;
        self.demand(")")?;
        let problem = "an IP address, a range (10.0.0.1-10.0.0.9) or a network (10.0.0.0/8) is expected";
        let range = IpRange::parse(&text).ok_or_else(|| self.fail_at(at, problem))?;
        Ok((range, text))
    }

    fn stage_behind_bar(&mut self) -> Parsed<Option<Stage>> {
        let Some(word) = self.word() else {
            if self.is_mark("(") {
                return self.label_filter().map(|filter| Some(Stage::Labels(filter)));
            }
            return Err(self.unexpected("a parser, a format or a label filter"));
        };
        if word == "unwrap" {
            return Ok(None);
        }
        let known = matches!(
            word,
            "json"
                | "logfmt"
                | "regexp"
                | "pattern"
                | "unpack"
                | "decolorize"
                | "line_format"
                | "label_format"
                | "drop"
                | "keep"
        );
        if !known {
            return self.label_filter().map(|filter| Some(Stage::Labels(filter)));
        }
        self.take()?;
        let at = self.ahead.start;
        Ok(Some(match word {
            "json" => Stage::Json(self.extracts(true)?),
            "logfmt" => self.logfmt()?,
            "regexp" => {
                let text = self.text("an expression with named groups as a string")?;
                let regexp =
                    Regexp::new(&text).map_err(|problem| self.fail_at(at, format!("the expression {problem}")))?;
                Stage::Regexp(regexp, text)
            }
            "pattern" => {
                let text = self.text("a pattern as a string")?;
                let pattern =
                    Pattern::parse(&text).map_err(|problem| self.fail_at(at, format!("the pattern {problem}")))?;
                Stage::Pattern(pattern, text)
            }
            "unpack" => Stage::Unpack,
            "decolorize" => Stage::Decolorize,
            "line_format" => {
                let text = self.text("a template as a string")?;
                Stage::LineFormat(self.template(at, &text)?)
            }
            "label_format" => Stage::LabelFormat(self.formats()?),
            "drop" => Stage::Drop(self.picks()?),
            _ => Stage::Keep(self.picks()?),
        }))
    }

    fn template(&self, at: usize, text: &str) -> Parsed<Template> {
        Template::parse(text).map_err(|problem| self.fail_at(at, format!("template: {problem}")))
    }

    fn logfmt(&mut self) -> Parsed<Stage> {
        let (mut strict, mut keep_empty) = (false, false);
        while self.is_mark("-") {
            let at = self.ahead.start;
            let rest = &self.lexer.text[at..];
            let flag = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next().unwrap_or_default();
            match flag {
                "--strict" => strict = true,
                "--keep-empty" => keep_empty = true,
                _ => return Err(self.fail("unknown flag of logfmt; --strict and --keep-empty are known")),
            }
            while self.end < at + flag.len() {
                self.take()?;
            }
        }
        Ok(Stage::Logfmt { strict, keep_empty, extracts: self.extracts(false)? })
    }

    /// `a="b.c", d`
    fn extracts(&mut self, is_json: bool) -> Parsed<Vec<Extract>> {
        let mut extracts = Vec::new();
        while self.word().is_some() {
            let at = self.ahead.start;
            let name = self.name("a label's name")?;
            let text = if self.accept("=")? { self.text("an expression as a string")? } else { name.clone() };
            let path = match is_json {
                true => Some(JsonPath::parse(&text).map_err(|error| {
                    self.fail_at(at, format!("{text:?} is no path into JSON, such as servers[0].name: {error}"))
                })?),
                false if text.is_empty() => return Err(self.fail_at(at, "the expression is empty")),
                false => None,
            };
            extracts.push(Extract { name, text, path });
            if !self.accept(",")? {
                break;
            }
            if self.word().is_none() {
                return Err(self.unexpected("a label's name"));
            }
        }
        Ok(extracts)
    }

    /// `a=b, c="{{.d}}"`
    fn formats(&mut self) -> Parsed<Vec<Format>> {
        let mut formats: Vec<Format> = Vec::new();
        loop {
            let start = self.ahead.start;
            let name = self.name("a label's name")?;
            if formats.iter().any(|format| format.name == name) {
                return Err(self.fail_at(start, format!("multiple label_format operations on label {name:?}")));
            }
            if name == "__error__" {
                return Err(self.fail_at(start, "__error__ cannot be formatted"));
            }
            self.demand("=")?;
            let at = self.ahead.start;
            let from = match self.word() {
                Some(label) => {
                    self.take()?;
                    FormatFrom::Label(label.to_owned())
                }
                None => {
                    let text = self.text("a label's name or a template as a string")?;
                    FormatFrom::Template(self.template(at, &text)?)
                }
            };
            formats.push(Format { name, from });
            if !self.accept(",")? {
                return Ok(formats);
            }
        }
    }

    /// `a, b="c"`
    fn picks(&mut self) -> Parsed<Vec<Pick>> {
        let mut picks = Vec::new();
        loop {
            let name = self.name("a label's name")?;
            picks.push(match self.match_op() {
                Some(op) => {
                    self.take()?;
                    Pick::Matching(self.matcher_of(&name, op)?)
                }
                None => Pick::Name(name),
            });
            if !self.accept(",")? {
                return Ok(picks);
            }
        }
    }

    /// `unwrap duration(a) | filter`, whose `|` has been taken.
    pub(super) fn unwrap(&mut self) -> Parsed<Option<Unwrap>> {
        if !self.accept_word("unwrap")? {
            return Ok(None);
        }
        let at = self.ahead.start;
        let word = self.name("a label's name")?;
        let (mut label, mut function, mut unit) = (word, None, Unit::Number);
        if self.accept("(")? {
            (function, unit) = match &*label {
                "duration" => (Some("duration"), Unit::Duration),
                "duration_seconds" => (Some("duration_seconds"), Unit::Duration),
                "bytes" => (Some("bytes"), Unit::Bytes),
                other => {
                    let problem =
                        format!("unknown conversion {other:?}; duration, duration_seconds and bytes are known");
                    return Err(self.fail_at(at, problem));
                }
            };
            label = self.name("a label's name")?;
            self.demand(")")?;
        }
        let mut filters = Vec::new();
        while self.accept("|")? {
            filters.push(self.label_filter()?);
        }
        Ok(Some(Unwrap { label, function, unit, filters }))
    }
}
