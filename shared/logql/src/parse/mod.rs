//! LogQL's grammar: text in, a checked query out.
//!
//! Log expressions and range aggregations are read here. Everything that stands around range aggregations (vector
//! aggregations, operators, `label_replace`, `vector`) is PromQL's grammar too, so it is left to PromQL's parser: see
//! [`metric`].
//!
//! Invariants:
//! - No text makes it panic or recurse without bound.
//! - A query that exists is compiled: its expressions, templates and matchers are usable.

mod labels;
mod lex;
mod metric;
mod stages;
#[cfg(test)]
mod tests;

use crate::ast::{Grouping, LogExpr, Stage};
use crate::error::ParseError;
use lex::{Lexer, Placed, Token};
pub(crate) use metric::{Metric, PLACEHOLDER};
use skerry_promql::{MatchOp, Matcher};

/// Longest text, in bytes.
pub(crate) const QUERY_BYTES_MAX: usize = 32 * 1024;
/// Most stages of a pipeline; each is work for every line.
const STAGES_MAX: usize = 200;
/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 64;

type Parsed<T> = Result<T, ParseError>;

/// Either kind of query.
pub(crate) enum Either {
    Log(LogExpr),
    Metric(Metric),
}

/// Reads a whole query.
pub(crate) fn query(text: &str) -> Parsed<Either> {
    let mut parser = Parser::new(text)?;
    if parser.ahead.token == Token::End {
        return Err(parser.fail("the query is empty; a selector is expected, such as {app=\"x\"}"));
    }
    let mut behind = parser.lexer.clone();
    let mut first = parser.ahead.token.clone();
    while first == Token::Mark("(") {
        first = behind.next()?.token;
    }
    if first != Token::Mark("{") {
        return parser.metric().map(Either::Metric);
    }
    let log = parser.log_expr(0)?;
    match &parser.ahead.token {
        Token::End => Ok(Either::Log(log)),
        Token::Mark("[") => Err(parser.fail("a range needs a function around it, such as rate({…}[5m])")),
        _ => Err(parser.unexpected("a stage of the pipeline, such as |= \"text\" or | json")),
    }
}

/// Reads a selector that stands alone.
pub(crate) fn selector(text: &str) -> Parsed<Vec<Matcher>> {
    let mut parser = Parser::new(text)?;
    let matchers = parser.selector()?;
    match parser.ahead.token {
        Token::End => Ok(matchers),
        _ => Err(parser.unexpected("the end of the selector")),
    }
}

/// Reads queries.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next word.
    ahead: Placed<'a>,
    /// Where the last word that was taken ends.
    end: usize,
    /// Conditions on labels that have been read.
    conditions: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parsed<Self> {
        if text.len() > QUERY_BYTES_MAX {
            let problem = format!("the query has {} bytes, at most {QUERY_BYTES_MAX} are taken", text.len());
            return Err(ParseError::at(text, 0, problem));
        }
        let mut lexer = Lexer::new(text);
        let ahead = lexer.next()?;
        Ok(Self { lexer, ahead, end: 0, conditions: 0 })
    }

    fn fail_at(&self, at: usize, problem: impl Into<String>) -> ParseError {
        ParseError::at(self.lexer.text, at, problem)
    }

    fn fail(&self, problem: impl Into<String>) -> ParseError {
        self.fail_at(self.ahead.start, problem)
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        let word = match &self.ahead.token {
            Token::End => "end of the query".to_owned(),
            Token::Word(word) => format!("word {word:?}"),
            Token::Quantity(quantity) => format!("{quantity:?}"),
            Token::Text(_) => "string".to_owned(),
            Token::Mark(mark) => format!("{mark:?}"),
        };
        self.fail(format!("unexpected {word}, expected {expected}"))
    }

    /// Takes the next word.
    fn take(&mut self) -> Parsed<Placed<'a>> {
        let next = self.lexer.next()?;
        let taken = std::mem::replace(&mut self.ahead, next);
        self.end = taken.end;
        Ok(taken)
    }

    fn is_mark(&self, mark: &str) -> bool {
        matches!(self.ahead.token, Token::Mark(ahead) if ahead == mark)
    }

    /// Takes a mark if it is next.
    fn accept(&mut self, mark: &str) -> Parsed<bool> {
        let is_next = self.is_mark(mark);
        if is_next {
            self.take()?;
        }
        Ok(is_next)
    }

    fn demand(&mut self, mark: &str) -> Parsed<()> {
        if self.accept(mark)? { Ok(()) } else { Err(self.unexpected(&format!("{mark:?}"))) }
    }

    fn word(&self) -> Option<&'a str> {
        match self.ahead.token {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    fn accept_word(&mut self, word: &str) -> Parsed<bool> {
        let is_next = self.word() == Some(word);
        if is_next {
            self.take()?;
        }
        Ok(is_next)
    }

    fn name(&mut self, what: &str) -> Parsed<String> {
        let Some(name) = self.word() else { return Err(self.unexpected(what)) };
        self.take()?;
        Ok(name.to_owned())
    }

    fn text(&mut self, what: &str) -> Parsed<String> {
        let Token::Text(text) = &mut self.ahead.token else { return Err(self.unexpected(what)) };
        let text = std::mem::take(text);
        self.take()?;
        Ok(text)
    }

    /// `{…} | …`, perhaps in parentheses.
    fn log_expr(&mut self, depth: usize) -> Parsed<LogExpr> {
        if self.is_mark("(") {
            if depth >= DEPTH_MAX {
                return Err(self.fail(format!("parentheses are nested more than {DEPTH_MAX} deep")));
            }
            self.take()?;
            let log = self.log_expr(depth + 1)?;
            self.demand(")")?;
            return Ok(log);
        }
        let matchers = self.selector()?;
        let stages = self.stages()?;
        if self.word() == Some("unwrap") {
            return Err(self.fail(
                "unwrap makes numbers of a label: it needs a function around it, such as sum_over_time(… [5m])",
            ));
        }
        Ok(LogExpr { matchers, stages })
    }

    fn stages(&mut self) -> Parsed<Vec<Stage>> {
        let mut stages = Vec::new();
        while let Some(stage) = self.stage()? {
            if stages.len() >= STAGES_MAX {
                return Err(self.fail(format!("more than {STAGES_MAX} stages in one pipeline")));
            }
            stages.push(stage);
        }
        Ok(stages)
    }

    /// `{a="b", c=~"d"}`
    fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        let start = self.ahead.start;
        if !self.is_mark("{") {
            return Err(self.unexpected("a selector, such as {app=\"x\"}"));
        }
        self.take()?;
        let mut matchers = Vec::new();
        while !self.is_mark("}") {
            matchers.push(self.matcher()?);
            if !self.accept(",")? {
                break;
            }
        }
        if !self.is_mark("}") {
            return Err(self.unexpected("\",\" or \"}\""));
        }
        self.take()?;
        if matchers.iter().all(|matcher: &Matcher| matcher.matches("")) {
            let problem = "queries require at least one regexp or equality matcher that does not have an empty-compatible \
                           value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";
            return Err(self.fail_at(start, problem));
        }
        Ok(matchers)
    }

    /// `a="b"`
    fn matcher(&mut self) -> Parsed<Matcher> {
        let name = self.name("a label's name")?;
        let op = self.match_op().ok_or_else(|| self.unexpected("=, !=, =~ or !~"))?;
        self.take()?;
        self.matcher_of(&name, op)
    }

    fn match_op(&self) -> Option<MatchOp> {
        Some(match self.ahead.token {
            Token::Mark("=") => MatchOp::Equal,
            Token::Mark("!=") => MatchOp::NotEqual,
            Token::Mark("=~") => MatchOp::Regex,
            Token::Mark("!~") => MatchOp::NotRegex,
            _ => return None,
        })
    }

    fn matcher_of(&mut self, name: &str, op: MatchOp) -> Parsed<Matcher> {
        let at = self.ahead.start;
        let value = self.text("a string")?;
        Matcher::new(name, op, &value).map_err(|error| self.fail_at(at, error.to_string()))
    }

    /// `by (a, b)`, `without (a, b)`
    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let is_by = match self.word() {
            Some("by") => true,
            Some("without") => false,
            _ => return Ok(None),
        };
        self.take()?;
        self.demand("(")?;
        let mut names = Vec::new();
        while !self.is_mark(")") {
            names.push(self.name("a label's name")?);
            if !self.accept(",")? {
                break;
            }
        }
        self.demand(")")?;
        Ok(Some(Grouping { is_by, names }))
    }
}
