//! The grammar.

use super::ParseError;
use super::ast::{AggregateOp, At, Cardinality, Expr, Grouping, Kind, Matching, Op, Selector, Shift, Sign};
use super::build;
use super::lex::{Lexer, Placed, Token};
use crate::DEPTH_MAX;
use crate::matcher::{MatchOp, Matcher};

/// Parentheses, calls and signs that may stand within each other. In a program that is built without optimisation each
/// takes up to 15 KB of the stack, and threads have 2 MiB.
const NESTED_MAX: usize = 100;

type Parsed<T> = Result<T, ParseError>;

/// Reads an expression.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next word.
    ahead: Placed<'a>,
    /// Where the last word that was taken ends.
    end: usize,
    /// Calls of the grammar's rules that are open.
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let ahead = lexer.next(false)?;
        Ok(Self { lexer, ahead, end: 0, depth: 0 })
    }

    /// The whole text as one expression.
    pub(super) fn whole(mut self) -> Parsed<Expr> {
        if self.ahead.token == Token::End {
            return Err(self.fail("no expression found in input"));
        }
        let expr = self.expr(1)?;
        match self.ahead.token {
            Token::End => Ok(expr),
            _ => Err(self.unexpected("")),
        }
    }

    fn fail(&self, problem: impl Into<String>) -> ParseError {
        ParseError::new(self.ahead.start, problem.into())
    }

    fn unexpected(&self, context: &str) -> ParseError {
        let word = match &self.ahead.token {
            Token::End => "end of input".to_owned(),
            Token::Word(word) => format!("identifier {word:?}"),
            Token::Number(number) => format!("number \"{number}\""),
            Token::Duration(_) => "duration".to_owned(),
            Token::Text(text) => format!("string {text:?}"),
            Token::Mark(mark) => format!("{mark:?}"),
        };
        let context = if context.is_empty() { String::new() } else { format!(" in {context}") };
        self.fail(format!("unexpected {word}{context}"))
    }

    /// Takes the next word.
    fn take(&mut self) -> Parsed<Placed<'a>> {
        self.take_before(false)
    }

    /// Takes the next word, where `:` behind it is a mark.
    fn take_before(&mut self, colon_is_mark: bool) -> Parsed<Placed<'a>> {
        let next = self.lexer.next(colon_is_mark)?;
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

    fn demand(&mut self, mark: &str, context: &str) -> Parsed<()> {
        if self.accept(mark)? { Ok(()) } else { Err(self.unexpected(&format!("{context}, expected {mark:?}"))) }
    }

    /// The next word in lower case, if it is one.
    fn word(&self) -> Option<String> {
        match self.ahead.token {
            Token::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn accept_word(&mut self, word: &str) -> Parsed<bool> {
        let is_next = self.word().is_some_and(|ahead| ahead == word);
        if is_next {
            self.take()?;
        }
        Ok(is_next)
    }

    /// Runs a rule that may come round to itself.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= NESTED_MAX {
            return Err(ParseError::too_deep(self.ahead.start, NESTED_MAX));
        }
        self.depth += 1;
        let parsed = rule(self);
        self.depth -= 1;
        parsed
    }

    /// Operators that bind at least as tightly as `least`.
    fn expr(&mut self, least: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        while let Some(op) = self.operator().filter(|op| *op != Op::Pow && op.binds() >= least) {
            let at = self.take()?.start;
            let matching = self.matching(op, at)?;
            let right = self.nested(|this| this.expr(op.binds() + 1))?;
            left = build::binary(at, op, left, right, matching)?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<Op> {
        match &self.ahead.token {
            Token::Mark(mark) => Op::from_word(mark),
            Token::Word(_) => Op::from_word(&self.word()?),
            _ => None,
        }
    }

    /// Signs bind looser than `^` and tighter than everything else.
    fn unary(&mut self) -> Parsed<Expr> {
        let sign = match self.ahead.token {
            Token::Mark("-") => Sign::Minus,
            Token::Mark("+") => Sign::Plus,
            _ => return self.power(),
        };
        let start = self.take()?.start;
        let operand = self.nested(Self::unary)?;
        build::unary(start, sign, operand)
    }

    fn power(&mut self) -> Parsed<Expr> {
        let base = self.postfix()?;
        if !self.is_mark("^") {
            return Ok(base);
        }
        let at = self.take()?.start;
        let matching = self.matching(Op::Pow, at)?;
        let exponent = self.nested(Self::unary)?;
        build::binary(at, Op::Pow, base, exponent, matching)
    }

    /// `bool`, `on`, `group_left` and their like.
    fn matching(&mut self, op: Op, at_op: usize) -> Parsed<Matching> {
        let card = if op.is_set() { Cardinality::ManyToMany } else { Cardinality::OneToOne };
        let is_bool = self.accept_word("bool")?;
        let mut matching = Matching { is_bool, grouping: None, card, fill_left: None, fill_right: None };
        if self.accept_word("on")? {
            matching.grouping = Some(Grouping::Only(self.label_names()?));
        } else if self.accept_word("ignoring")? {
            matching.grouping = Some(Grouping::Without(self.label_names()?));
        } else {
            return self.fills(matching);
        }
        for (word, is_left) in [("group_left", true), ("group_right", false)] {
            let at = self.ahead.start;
            if self.accept_word(word)? {
                let include = if self.is_mark("(") { self.label_names()? } else { Vec::new() };
                if op.is_set() {
                    return Err(ParseError::new(at, format!("no grouping allowed for {:?} operation", op.as_str())));
                }
                if let Some(Grouping::Only(on)) = &matching.grouping
                    && let Some(both) = include.iter().find(|label| on.contains(label))
                {
                    let problem = format!("label {both:?} must not occur in ON and GROUP clause at once");
                    return Err(ParseError::new(at_op, problem));
                }
                matching.card = if is_left { Cardinality::ManyToOne(include) } else { Cardinality::OneToMany(include) };
                break;
            }
        }
        self.fills(matching)
    }

    /// `fill(0)`, `fill_left(0)`, `fill_right(0)`
    fn fills(&mut self, mut matching: Matching) -> Parsed<Matching> {
        while let Some(word) = self.word().filter(|word| matches!(&**word, "fill" | "fill_left" | "fill_right")) {
            // A metric of that name is the right side.
            let mut behind = self.lexer.clone();
            if behind.next(false)?.token != Token::Mark("(") {
                break;
            }
            self.take()?;
            self.demand("(", "fill modifier")?;
            let value = self.signed_number("fill modifier")?;
            self.demand(")", "fill modifier")?;
            if word != "fill_right" {
                matching.fill_left = Some(value);
            }
            if word != "fill_left" {
                matching.fill_right = Some(value);
            }
        }
        Ok(matching)
    }

    fn signed_number(&mut self, context: &str) -> Parsed<f64> {
        let sign = if self.accept("-")? {
            -1.0
        } else {
            self.accept("+")?;
            1.0
        };
        let value = match self.ahead.token {
            Token::Number(value) => value,
            Token::Duration(millis) => build::seconds(millis),
            Token::Word(word) => match build::special(word) {
                Some(value) => value,
                None => return Err(self.unexpected(context)),
            },
            _ => return Err(self.unexpected(context)),
        };
        self.take()?;
        Ok(sign * value)
    }

    /// What stands behind an expression: ranges, `@`, `offset`.
    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            let at = self.ahead.start;
            if self.is_mark("[") {
                expr = self.range(expr)?;
            } else if self.accept("@")? {
                let moment = self.moment()?;
                expr = build::shifted(at, expr, self.end, Shift { at: Some(moment), offset: None })?;
            } else if self.accept_word("offset")? {
                let is_back = !self.accept("-")?;
                let millis = self.duration("offset")?;
                let offset = if is_back { millis } else { millis.saturating_neg() };
                expr = build::shifted(at, expr, self.end, Shift { at: None, offset: Some(offset) })?;
            } else {
                return Ok(expr);
            }
            if expr.depth > DEPTH_MAX {
                return Err(ParseError::too_deep(at, DEPTH_MAX));
            }
        }
    }

    fn moment(&mut self) -> Parsed<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.accept_word(word)? {
                self.demand("(", "@ modifier")?;
                self.demand(")", "@ modifier")?;
                return Ok(at);
            }
        }
        let at = self.ahead.start;
        let seconds = self.signed_number("@ modifier")?;
        build::millis(seconds)
            .map(At::Time)
            .ok_or_else(|| ParseError::new(at, format!("timestamp out of bounds for @ modifier: {seconds}")))
    }

    /// A duration, or a number of seconds. In milliseconds.
    fn duration(&mut self, context: &str) -> Parsed<i64> {
        let millis = match self.ahead.token {
            Token::Duration(millis) => millis,
            Token::Number(seconds) => build::millis(seconds).ok_or_else(|| self.fail("duration out of range"))?,
            _ => return Err(self.unexpected(context)),
        };
        self.take_before(true)?;
        Ok(millis)
    }

    fn positive_duration(&mut self, context: &str) -> Parsed<i64> {
        let at = self.ahead.start;
        match self.duration(context)? {
            millis @ 1.. => Ok(millis),
            _ => Err(ParseError::new(at, "duration must be greater than 0".into())),
        }
    }

    /// `[5m]`, `[5m:1m]`
    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let start = self.take_before(true)?.start;
        let range = self.positive_duration("subquery or range")?;
        if self.is_mark("]") {
            self.take()?;
            return build::matrix(start, expr, range, self.end);
        }
        if !self.is_mark(":") {
            return Err(self.unexpected("subquery or range, expected \":\" or \"]\""));
        }
        self.take_before(true)?;
        let step = if self.is_mark("]") { None } else { Some(self.positive_duration("subquery selector")?) };
        self.demand("]", "subquery selector")?;
        build::subquery(start, expr, range, step, self.end)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let start = self.ahead.start;
        match &self.ahead.token {
            Token::Number(value) => {
                let value = *value;
                self.take()?;
                Ok(build::leaf(start, self.end, Kind::Number(value, false)))
            }
            Token::Duration(millis) => {
                let value = build::seconds(*millis);
                self.take()?;
                Ok(build::leaf(start, self.end, Kind::Number(value, true)))
            }
            Token::Text(text) => {
                let text = text.clone();
                self.take()?;
                Ok(build::leaf(start, self.end, Kind::Text(text)))
            }
            Token::Mark("(") => {
                self.take()?;
                let inner = self.nested(|this| this.expr(1))?;
                self.demand(")", "paren expression")?;
                build::around(start, self.end, inner, Kind::Paren)
            }
            Token::Mark("{") => self.selector(None, start, true),
            Token::Word(word) => {
                let word = *word;
                self.named(word, start)
            }
            _ => Err(self.unexpected("")),
        }
    }

    /// What begins with a name: a number, an aggregation, a call or a selector.
    fn named(&mut self, word: &str, start: usize) -> Parsed<Expr> {
        let aggregation = AggregateOp::from_word(&word.to_ascii_lowercase());
        self.take()?;
        let groups = self.word().is_some_and(|next| matches!(&*next, "by" | "without"));
        match aggregation {
            Some(op) if groups || self.is_mark("(") => return self.aggregate(op, start),
            _ => {}
        }
        if self.is_mark("(") {
            return self.call(word, start);
        }
        if let Some(value) = build::special(word) {
            return Ok(build::leaf(start, self.end, Kind::Number(value, false)));
        }
        self.selector(Some(word), start, true)
    }

    fn aggregate(&mut self, op: AggregateOp, start: usize) -> Parsed<Expr> {
        let mut grouping = self.grouping()?;
        let mut args = self.args("aggregation", false)?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let wanted = if op.param().is_some() { 2 } else { 1 };
        if args.len() != wanted {
            let name = op.as_str();
            let problem = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {} in call to {name:?}",
                args.len()
            );
            return Err(ParseError::new(start, problem));
        }
        let expr = args.pop();
        build::aggregate(start, self.end, op, args.pop(), expr, grouping)
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        if self.accept_word("by")? {
            return self.label_names().map(|names| Some(Grouping::Only(names)));
        }
        if self.accept_word("without")? {
            return self.label_names().map(|names| Some(Grouping::Without(names)));
        }
        Ok(None)
    }

    fn call(&mut self, name: &str, start: usize) -> Parsed<Expr> {
        let function = build::function(name, start)?;
        let args = self.args("function call", function.name == "info")?;
        build::call(start, self.end, function, args)
    }

    /// Arguments in parentheses. The second one of `info()` may select everything.
    fn args(&mut self, context: &str, second_is_free: bool) -> Parsed<Vec<Expr>> {
        self.demand("(", context)?;
        let mut args = Vec::new();
        if self.accept(")")? {
            return Ok(args);
        }
        loop {
            let start = self.ahead.start;
            let is_free = second_is_free && args.len() == 1 && self.is_mark("{");
            let arg = if is_free { self.selector(None, start, false)? } else { self.nested(|this| this.expr(1))? };
            args.push(arg);
            if self.accept(")")? {
                return Ok(args);
            }
            self.demand(",", context)?;
            if self.is_mark(")") {
                return Err(self.fail(format!("trailing commas not allowed in {context} args")));
            }
        }
    }

    /// `(a, b)`
    fn label_names(&mut self) -> Parsed<Vec<String>> {
        self.demand("(", "grouping opts")?;
        let mut names = Vec::new();
        while !self.is_mark(")") {
            match &self.ahead.token {
                Token::Word(name) if !name.contains(':') => names.push((*name).to_owned()),
                Token::Text(name) if !name.is_empty() => names.push(name.clone()),
                _ => return Err(self.unexpected("grouping opts, expected label")),
            }
            self.take()?;
            if !self.accept(",")? {
                break;
            }
        }
        self.demand(")", "grouping opts")?;
        Ok(names)
    }

    /// `name{…}`; the name has been taken. `must_select`: a selector of everything is refused.
    fn selector(&mut self, name: Option<&str>, start: usize, must_select: bool) -> Parsed<Expr> {
        let mut matchers: Vec<Matcher> = name.iter().map(|name| Matcher::equal("__name__", name)).collect();
        let mut shown = name.map(str::to_owned);
        if self.is_mark("{") {
            self.take_before(true)?;
            while !self.is_mark("}") {
                self.matcher(&mut matchers, &mut shown)?;
                if !self.is_mark(",") {
                    break;
                }
                self.take_before(true)?;
            }
            self.demand("}", "label matching")?;
        }
        if must_select && matchers.iter().all(|matcher| matcher.matches("")) {
            return Err(ParseError::new(start, "vector selector must contain at least one non-empty matcher".into()));
        }
        let twice = matchers.iter().filter(|m| m.label() == "__name__" && m.op() == MatchOp::Equal);
        if let (Some(name), Some(other)) = (name, twice.skip(1).find(|_| name.is_some())) {
            let problem = format!("metric name must not be set twice: {name:?} or {:?}", other.value());
            return Err(ParseError::new(start, problem));
        }
        let selector = Selector { name: shown, matchers, shift: Shift::default() };
        Ok(build::leaf(start, self.end, Kind::Vector(selector)))
    }

    /// `label="value"`, or a metric's name in quotes.
    fn matcher(&mut self, matchers: &mut Vec<Matcher>, shown: &mut Option<String>) -> Parsed<()> {
        let start = self.ahead.start;
        let (label, is_quoted) = match &self.ahead.token {
            Token::Word(label) => ((*label).to_owned(), false),
            Token::Text(label) => (label.clone(), true),
            _ => return Err(self.unexpected("label matching, expected identifier or \"}\"")),
        };
        self.take_before(true)?;
        let op = match self.ahead.token {
            Token::Mark("=") => MatchOp::Equal,
            Token::Mark("!=") => MatchOp::NotEqual,
            Token::Mark("=~") => MatchOp::Regex,
            Token::Mark("!~") => MatchOp::NotRegex,
            Token::Mark("," | "}") if is_quoted => {
                if let Some(name) = shown {
                    let problem = format!("metric name must not be set twice: {name:?} or {label:?}");
                    return Err(ParseError::new(start, problem));
                }
                matchers.insert(0, Matcher::equal("__name__", &label));
                *shown = Some(label);
                return Ok(());
            }
            _ => return Err(self.unexpected("label matching, expected label matching operator")),
        };
        self.take_before(true)?;
        let Token::Text(value) = &self.ahead.token else {
            return Err(self.unexpected("label matching, expected string"));
        };
        let at = self.ahead.start;
        let matcher = Matcher::new(&label, op, value).map_err(|error| ParseError::new(at, error.to_string()))?;
        matchers.push(matcher);
        self.take_before(true)?;
        Ok(())
    }
}
