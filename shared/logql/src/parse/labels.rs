//! Label filters.

use super::lex::Token;
use super::{DEPTH_MAX, Parsed, Parser};
use crate::ast::{Compare, LabelFilter, Unit};
use crate::units;
use skerry_promql::MatchOp;

/// Most conditions of a query: those of one filter nest, and are evaluated so.
const CONDITIONS_MAX: usize = 200;

impl Parser<'_> {
    /// Conditions joined by `and`, `,`, `or` or a blank, from left to right: as Loki documents it, none binds tighter.
    pub(super) fn label_filter(&mut self) -> Parsed<LabelFilter> {
        self.label_chain(0)
    }

    fn label_chain(&mut self, depth: usize) -> Parsed<LabelFilter> {
        let mut left = self.label_condition(depth)?;
        loop {
            let is_or = self.accept_word("or")?;
            let is_joined = is_or || self.accept_word("and")? || self.accept(",")?;
            if !is_joined && self.word().is_none_or(|word| word == "offset") && !self.is_mark("(") {
                return Ok(left);
            }
            let right = Box::new(self.label_condition(depth)?);
            let held = Box::new(left);
            left = if is_or { LabelFilter::Or(held, right) } else { LabelFilter::And(held, right) };
        }
    }

    fn label_condition(&mut self, depth: usize) -> Parsed<LabelFilter> {
        if self.is_mark("(") {
            if depth >= DEPTH_MAX {
                return Err(self.fail(format!("parentheses are nested more than {DEPTH_MAX} deep")));
            }
            self.take()?;
            let inner = self.label_chain(depth + 1)?;
            self.demand(")")?;
            return Ok(inner);
        }
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(self.fail(format!("more than {CONDITIONS_MAX} label filters in one query")));
        }
        let name = self.name("a parser, a format or a label filter")?;
        let op = match self.ahead.token {
            Token::Mark("=" | "==") => Compare::Equal,
            Token::Mark("!=") => Compare::NotEqual,
            Token::Mark(">") => Compare::Greater,
            Token::Mark(">=") => Compare::GreaterEqual,
            Token::Mark("<") => Compare::Less,
            Token::Mark("<=") => Compare::LessEqual,
            Token::Mark("=~") => {
                self.take()?;
                return self.matcher_of(&name, MatchOp::Regex).map(LabelFilter::Text);
            }
            Token::Mark("!~") => {
                self.take()?;
                return self.matcher_of(&name, MatchOp::NotRegex).map(LabelFilter::Text);
            }
            _ => {
                let expected =
                    format!("a comparison, because {name:?} is no stage and so a label: =, !=, =~, !~, >, >=, < or <=");
                return Err(self.unexpected(&expected));
            }
        };
        let is_equality = matches!(op, Compare::Equal | Compare::NotEqual);
        let of_match = if op == Compare::Equal { MatchOp::Equal } else { MatchOp::NotEqual };
        self.take()?;
        match self.ahead.token {
            Token::Text(_) if is_equality => self.matcher_of(&name, of_match).map(LabelFilter::Text),
            Token::Text(_) => {
                Err(self.fail("texts compare with =, !=, =~ and !~ alone; write a number without quotes"))
            }
            Token::Word("ip") if is_equality => {
                let (range, text) = self.ip()?;
                Ok(LabelFilter::Ip { name, is_not: op == Compare::NotEqual, range, text })
            }
            Token::Quantity(_) | Token::Mark("-" | "+") => self.quantity(name, op),
            _ => Err(self.unexpected("a string, a number, a duration, a size or ip(\"…\")")),
        }
    }

    fn quantity(&mut self, name: String, op: Compare) -> Parsed<LabelFilter> {
        let sign = if self.accept("-")? { "-" } else { "" };
        self.accept("+")?;
        let Token::Quantity(quantity) = self.ahead.token else {
            return Err(self.unexpected("a number, a duration or a size"));
        };
        let text = format!("{sign}{quantity}");
        #[expect(clippy::cast_precision_loss, reason = "exact for 104 days, and compared with the same loss")]
        let read = units::number(&text)
            .map(|value| (Unit::Number, value))
            .or_else(|| units::duration(&text).map(|nanos| (Unit::Duration, nanos as f64)))
            .or_else(|| units::bytes(&text).map(|value| (Unit::Bytes, value)));
        let Some((unit, value)) = read else {
            return Err(self.fail("no number, duration (250ms, 1h30m) or size (20KB, 1MiB)"));
        };
        self.take()?;
        Ok(LabelFilter::Quantity { name, op, unit, value, text })
    }
}
