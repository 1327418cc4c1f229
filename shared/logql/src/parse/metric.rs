//! Metric queries: range aggregations, and PromQL around them.
//!
//! Each range aggregation is replaced in the text by a PromQL selector `{_="N"}` of the same length, and what comes of that
//! is parsed by PromQL's parser: its vector aggregations, operators and functions are the same, types are checked there,
//! and the places that it tells are those of the query. Words that PromQL knows and LogQL does not are refused before.

use super::lex::Token;
use super::{DEPTH_MAX, Parsed, Parser};
use crate::ast::{Grouping, LogExpr, RangeExpr, RangeOp, Unwrap};
use crate::error::ParseError;
use crate::units;
use skerry_model::Span;
use std::time::Duration;

/// Most range aggregations of one query; each reads the store.
const RANGES_MAX: usize = 32;
/// The label that stands for a range aggregation, by its number.
pub(crate) const PLACEHOLDER: &str = "_";

/// A metric query.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) ranges: Vec<RangeExpr>,
    /// The rest, with selectors for the ranges.
    pub(crate) rest: skerry_promql::Query,
}

/// A range aggregation's parts, as far as they are read.
struct Parts {
    log: LogExpr,
    unwrap: Option<Unwrap>,
    range_ms: Option<i64>,
    offset_ms: Option<i64>,
}

impl Parser<'_> {
    /// The whole text as a metric query.
    pub(super) fn metric(mut self) -> Parsed<Metric> {
        let source = self.lexer.text;
        let mut text = source.to_owned();
        // Pieces are replaced from the last one on, so that places before stay.
        let mut pieces: Vec<(usize, usize, String)> = Vec::new();
        let mut ranges = Vec::new();
        loop {
            let (start, token) = (self.ahead.start, self.ahead.token.clone());
            match token {
                Token::End => break,
                Token::Word(word) => {
                    if let Some(op) = RangeOp::from_word(word) {
                        let range = self.range(op)?;
                        Self::keep(&mut ranges, &mut pieces, range, (start, self.end))
                            .map_err(|p| self.fail_at(start, p))?;
                        continue;
                    }
                    self.take()?;
                    match word {
                        "sum" | "min" | "max" => self.aggregation(word, &mut ranges, &mut pieces)?,
                        "approx_topk" => pieces.push((start, self.end, "topk".into())),
                        "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => self.skip_names()?,
                        "avg" | "count" | "stddev" | "stdvar" | "topk" | "bottomk" | "sort" | "sort_desc" | "and"
                        | "or" | "unless" | "bool" | "vector" | "label_replace" => {}
                        _ if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") => {}
                        _ => return Err(self.fail_at(start, format!("unknown function or word {word:?}"))),
                    }
                }
                Token::Text(_) => {
                    self.take()?;
                }
                Token::Quantity(quantity) => {
                    if units::number(quantity).is_none() {
                        return Err(self.fail(format!("{quantity:?} is no number")));
                    }
                    self.take()?;
                }
                Token::Mark(
                    "(" | ")" | "," | "+" | "-" | "*" | "/" | "%" | "^" | "==" | "!=" | ">" | ">=" | "<" | "<=",
                ) => {
                    self.take()?;
                }
                Token::Mark("{") => {
                    return Err(self.fail(
                        "a log selector stands where a number is expected; count_over_time({…}[5m]) makes numbers",
                    ));
                }
                Token::Mark(_) => return Err(self.unexpected("a metric expression")),
            }
        }
        for (start, end, piece) in pieces.into_iter().rev() {
            text.replace_range(start..end, &padded(&piece, &source[start..end]));
        }
        let rest = skerry_promql::Query::parse(&text).map_err(|error| placed(source, &text, &error))?;
        Ok(Metric { ranges, rest })
    }

    fn keep(
        ranges: &mut Vec<RangeExpr>,
        pieces: &mut Vec<(usize, usize, String)>,
        range: RangeExpr,
        (start, end): (usize, usize),
    ) -> Result<(), String> {
        if ranges.len() >= RANGES_MAX {
            return Err(format!("more than {RANGES_MAX} range aggregations in one query"));
        }
        pieces.push((start, end, placeholder(&range, ranges.len())));
        ranges.push(range);
        Ok(())
    }

    /// `sum by (a) (rate(…))`, whose `sum` has been taken: where grouping before the range aggregation gives the same, it
    /// is told to it. What is not of this form is left for the caller.
    fn aggregation(
        &mut self,
        word: &str,
        ranges: &mut Vec<RangeExpr>,
        pieces: &mut Vec<(usize, usize, String)>,
    ) -> Parsed<()> {
        let before = self.grouping()?;
        if !self.accept("(")? {
            return Ok(());
        }
        let start = self.ahead.start;
        let Some(op) = self.word().and_then(RangeOp::from_word) else { return Ok(()) };
        let mut range = self.range(op)?;
        let end = self.end;
        if self.accept(")")? {
            let around = match before {
                Some(grouping) => grouping,
                None => self.grouping()?.unwrap_or(Grouping { is_by: true, names: Vec::new() }),
            };
            let is_same = match word {
                "sum" => {
                    matches!(op, RangeOp::Count | RangeOp::Rate | RangeOp::Bytes | RangeOp::BytesRate | RangeOp::Sum)
                }
                "min" => op == RangeOp::Min,
                _ => op == RangeOp::Max,
            };
            range.around = (is_same && range.grouping.is_none()).then_some(around);
        }
        Self::keep(ranges, pieces, range, (start, end)).map_err(|problem| self.fail_at(start, problem))
    }

    /// `(a, b)`, if there are any.
    fn skip_names(&mut self) -> Parsed<()> {
        if !self.accept("(")? {
            return Ok(());
        }
        while !self.is_mark(")") {
            self.name("a label's name")?;
            if !self.accept(",")? {
                break;
            }
        }
        self.demand(")")
    }

    /// `rate({…} | … [5m]) by (…)`
    fn range(&mut self, op: RangeOp) -> Parsed<RangeExpr> {
        let start = self.take()?.start;
        let name = op.as_str();
        self.demand("(")?;
        let param = match (&self.ahead.token, op) {
            (Token::Quantity(quantity), RangeOp::Quantile) => {
                if units::number(quantity).is_none() {
                    return Err(self.fail(format!("{quantity:?} is no number")));
                }
                let param = (*quantity).to_owned();
                self.take()?;
                self.demand(",")?;
                Some(param)
            }
            (_, RangeOp::Quantile) => return Err(self.unexpected("a quantile, such as quantile_over_time(0.99, …)")),
            (Token::Quantity(_), _) => return Err(self.fail(format!("{name} takes no parameter"))),
            _ => None,
        };
        let parts = self.parts(0)?;
        let Some(range_ms) = parts.range_ms else {
            return Err(self.unexpected(&format!("a range for {name}, such as [5m]")));
        };
        self.demand(")")?;
        let at = self.ahead.start;
        let grouping = self.grouping()?;
        let fail = |at, problem| Err(self.fail_at(at, problem));
        match op.wants_unwrap() {
            Some(true) if parts.unwrap.is_none() => {
                return fail(start, format!("invalid aggregation {name} without unwrap"));
            }
            Some(false) if parts.unwrap.is_some() => {
                return fail(start, format!("invalid aggregation {name} with unwrap"));
            }
            _ => {}
        }
        if grouping.is_some() && !op.may_group() {
            return fail(at, format!("grouping not allowed for {name} aggregation; put sum by (…) around it"));
        }
        let (log, unwrap, offset_ms) = (parts.log, parts.unwrap, parts.offset_ms.unwrap_or(0));
        Ok(RangeExpr { op, param, log, unwrap, range_ms, offset_ms, grouping, around: None })
    }

    /// A log expression with its range, which may stand before or behind the pipeline.
    fn parts(&mut self, depth: usize) -> Parsed<Parts> {
        let mut parts = if self.is_mark("(") {
            if depth >= DEPTH_MAX {
                return Err(self.fail(format!("parentheses are nested more than {DEPTH_MAX} deep")));
            }
            self.take()?;
            let parts = self.parts(depth + 1)?;
            self.demand(")")?;
            parts
        } else {
            let matchers = self.selector()?;
            let log = LogExpr { matchers, stages: Vec::new() };
            let mut parts = Parts { log, unwrap: None, range_ms: None, offset_ms: None };
            self.range_of(&mut parts)?;
            parts.log.stages = self.stages()?;
            parts.unwrap = self.unwrap()?;
            parts
        };
        self.range_of(&mut parts)?;
        Ok(parts)
    }

    /// `[5m] offset 1h`, where it is next.
    fn range_of(&mut self, parts: &mut Parts) -> Parsed<()> {
        if self.is_mark("[") {
            if parts.range_ms.is_some() {
                return Err(self.fail("a second range"));
            }
            self.take()?;
            let at = self.ahead.start;
            let millis = self.duration_ms("a range, such as 5m")?;
            if millis <= 0 {
                return Err(self.fail_at(at, "a range of at least 1ms is expected"));
            }
            parts.range_ms = Some(millis);
            self.demand("]")?;
        }
        let at = self.ahead.start;
        if self.accept_word("offset")? {
            if parts.offset_ms.is_some() {
                return Err(self.fail_at(at, "a second offset"));
            }
            let is_ahead = self.accept("-")?;
            let millis = self.duration_ms("a time, such as 1h")?;
            parts.offset_ms = Some(if is_ahead { millis.saturating_neg() } else { millis });
        }
        Ok(())
    }

    fn duration_ms(&mut self, what: &str) -> Parsed<i64> {
        let read = match self.ahead.token {
            Token::Quantity(quantity) => units::duration(quantity),
            _ => None,
        };
        let nanos = read.ok_or_else(|| self.unexpected(what))?;
        self.take()?;
        Ok(nanos / 1_000_000)
    }
}

/// What stands for a range aggregation in PromQL: its values at the steps; or, where PromQL's own function does what is
/// asked, its samples with that function.
fn placeholder(range: &RangeExpr, number: usize) -> String {
    let span = Span(Duration::from_millis(range.range_ms.unsigned_abs()));
    match (range.op, &range.param) {
        (RangeOp::Quantile, Some(param)) => {
            format!("quantile_over_time({param},{{{PLACEHOLDER}=\"{number}\"}}[{span}])")
        }
        (RangeOp::RateCounter, _) => format!("rate({{{PLACEHOLDER}=\"{number}\"}}[{span}])"),
        _ => format!("{{{PLACEHOLDER}=\"{number}\"}}"),
    }
}

/// A piece with blanks behind it, as long as what it replaces, lines included where it can be.
fn padded(piece: &str, original: &str) -> String {
    let rest = original.get(original.ceil_char_boundary(piece.len())..).unwrap_or_default();
    let blanks = original.len().saturating_sub(piece.len() + rest.len());
    let rest = rest.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' });
    piece.chars().chain(std::iter::repeat_n(' ', blanks)).chain(rest).collect()
}

/// An error of PromQL's parser, at its place in the query.
fn placed(source: &str, text: &str, error: &skerry_promql::QueryError) -> ParseError {
    let told = error.to_string();
    let found = told.split_once(": parse error: ").and_then(|(place, problem)| {
        let (line, column) = place.split_once(':')?;
        let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
        let line_start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
        Some((line_start + column.checked_sub(1)?, problem))
    });
    match found {
        Some((at, problem)) => ParseError::at(source, at.min(source.len()), problem),
        None => ParseError::at(source, 0, told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_length_and_lines() {
        assert_eq!(padded("ab", "abcd\nf"), "ab  \n ");
        assert_eq!(padded("a", "éé").len(), 4);
        assert_eq!(padded("abc", "é"), "abc");
    }
}
