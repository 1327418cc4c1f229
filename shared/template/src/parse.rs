//! Words into nodes.

use crate::error::ParseError;
use crate::lex::{Lexer, Token, Word};
use crate::node::{Branches, Callee, Command, Kind, Node, Operand, Pipe, Place};
use crate::number;
use crate::run::Functions;
use crate::set::Block;
use crate::value::Value;
use std::sync::Arc;

/// Deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 32;
/// Most nodes and operands of one text.
const NODES_MAX: usize = 100_000;

const KEYWORDS: [&str; 11] =
    ["if", "else", "end", "range", "with", "template", "define", "block", "break", "continue", "nil"];

/// The templates of a text: what it defines, and itself under `name`, last.
pub(crate) fn parse(name: &str, text: &str, functions: &Functions) -> Result<Vec<Block>, ParseError> {
    let name: Arc<str> = name.into();
    let mut parser = Parser {
        text,
        lexer: Lexer::new(text),
        held: None,
        place: (0, Place { line: 1, column: 0 }),
        functions,
        file: name.clone(),
        blocks: Vec::new(),
        variables: vec!["$".into()],
        depth: 0,
        loops: 0,
        nodes: 0,
    };
    let parsed = parser.list(Inside::Nothing);
    match parsed {
        Ok((nodes, _)) => {
            let mut blocks = parser.blocks;
            blocks.push(Block { name: name.clone(), file: name, nodes });
            Ok(blocks)
        }
        Err(problem) => Err(ParseError { name, line: parser.place.1.line, problem }),
    }
}

type Parsed<T> = Result<T, String>;

/// What a list of nodes stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// The text itself.
    Nothing,
    Define,
    If,
    With,
    Range,
    /// Behind `else`.
    Otherwise,
}

/// What ended a list of nodes.
enum Ends {
    Text,
    End,
    Else,
    /// `else if` and `else with`, whose condition follows.
    ElseAgain,
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    /// A word that was looked at already.
    held: Option<Word<'t>>,
    /// Bytes up to the last word taken, and its place.
    place: (usize, Place),
    functions: &'t Functions,
    file: Arc<str>,
    blocks: Vec<Block>,
    /// Variables that are known here, with their `$`.
    variables: Vec<Arc<str>>,
    depth: usize,
    /// `range`s around.
    loops: usize,
    nodes: usize,
}

impl<'t> Parser<'t> {
    fn peek(&mut self) -> &Word<'t> {
        let lexer = &mut self.lexer;
        self.held.get_or_insert_with(|| lexer.next())
    }

    fn next(&mut self) -> Word<'t> {
        let word = self.held.take().unwrap_or_else(|| self.lexer.next());
        // Words come in order, so lines are counted once over the text.
        let (from, mut place) = self.place;
        let passed = &self.text[from..word.at.max(from)];
        match passed.rfind('\n') {
            Some(last) => {
                place.line += u32::try_from(passed.matches('\n').count()).unwrap_or(u32::MAX);
                place.column = u32::try_from(passed.len() - last - 1).unwrap_or(u32::MAX);
            }
            None => place.column += u32::try_from(passed.len()).unwrap_or(u32::MAX),
        }
        self.place = (word.at.max(from), place);
        word
    }

    fn at(&self) -> Place {
        self.place.1
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(format!("nested more than {DEPTH_MAX} deep")) } else { Ok(()) }
    }

    fn count(&mut self) -> Parsed<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX { Err(format!("more than {NODES_MAX} nodes")) } else { Ok(()) }
    }

    fn list(&mut self, inside: Inside) -> Parsed<(Vec<Node>, Ends)> {
        self.deeper()?;
        let known = self.variables.len();
        let mut nodes = Vec::new();
        let ends = loop {
            self.count()?;
            let word = self.next();
            match word.token {
                Token::Text(text) if text.is_empty() => {}
                Token::Text(text) => nodes.push(Node::Text(text)),
                Token::Open => match self.action(inside)? {
                    Action::Node(Some(node)) => nodes.push(node),
                    Action::Node(None) => {}
                    Action::Ends(ends) => break ends,
                },
                Token::End if inside == Inside::Nothing => break Ends::Text,
                Token::End => return Err("unexpected EOF".into()),
                Token::Bad(problem) => return Err(problem),
                _ => return Err(unexpected(&word, "input")),
            }
        };
        self.variables.truncate(known);
        self.depth -= 1;
        Ok((nodes, ends))
    }

    /// What follows `{{`.
    fn action(&mut self, inside: Inside) -> Parsed<Action> {
        let keyword = match self.peek() {
            Word { token: Token::Word, raw, .. } if KEYWORDS.contains(raw) && *raw != "nil" => *raw,
            _ => "",
        };
        if !keyword.is_empty() {
            self.next();
        }
        let node = match keyword {
            "if" => Some(Node::If(self.branches(Inside::If)?)),
            "with" => Some(Node::With(self.branches(Inside::With)?)),
            "range" => Some(Node::Range(self.branches(Inside::Range)?)),
            "template" => Some(self.template()?),
            "block" => Some(self.block()?),
            "define" if inside != Inside::Nothing => return Err("unexpected <define> in command".into()),
            "define" => {
                self.define()?;
                None
            }
            "break" | "continue" => {
                self.close(&format!("{{{{{keyword}}}}}"))?;
                if self.loops == 0 {
                    return Err(format!("{{{{{keyword}}}}} outside {{{{range}}}}"));
                }
                Some(if keyword == "break" { Node::Break } else { Node::Continue })
            }
            "end" => {
                self.close("end")?;
                return match inside {
                    Inside::Nothing => Err("unexpected {{end}}".into()),
                    _ => Ok(Action::Ends(Ends::End)),
                };
            }
            "else" => return self.otherwise(inside).map(Action::Ends),
            _ => Some(Node::Action(self.pipe("command", false, Token::Close)?)),
        };
        Ok(Action::Node(node))
    }

    fn otherwise(&mut self, inside: Inside) -> Parsed<Ends> {
        let again = match (inside, self.peek()) {
            (Inside::If, Word { token: Token::Word, raw: "if", .. })
            | (Inside::With, Word { token: Token::Word, raw: "with", .. }) => true,
            (Inside::Nothing | Inside::Define, _) => return Err("unexpected {{else}}".into()),
            (Inside::Otherwise, _) => return Err("expected end; found {{else}}".into()),
            _ => false,
        };
        if again {
            self.next();
            return Ok(Ends::ElseAgain);
        }
        self.close("else")?;
        Ok(Ends::Else)
    }

    /// The end of an action.
    fn close(&mut self, context: &str) -> Parsed<()> {
        let word = self.next();
        match word.token {
            Token::Close => Ok(()),
            Token::Bad(problem) => Err(problem),
            _ => Err(unexpected(&word, context)),
        }
    }

    /// `if`, `with` and `range` to their end.
    fn branches(&mut self, inside: Inside) -> Parsed<Branches> {
        let context = match inside {
            Inside::If => "if",
            Inside::With => "with",
            _ => "range",
        };
        let known = self.variables.len();
        let mut arms = Vec::new();
        loop {
            self.count()?;
            let pipe = self.pipe(context, inside == Inside::Range, Token::Close)?;
            self.loops += usize::from(inside == Inside::Range);
            let (body, ends) = self.list(inside)?;
            self.loops -= usize::from(inside == Inside::Range);
            arms.push((pipe, body));
            let otherwise = match ends {
                Ends::ElseAgain => continue,
                Ends::Else => self.list(Inside::Otherwise)?.0,
                _ => Vec::new(),
            };
            self.variables.truncate(known);
            return Ok(Branches { arms, otherwise });
        }
    }

    /// A name in quotes.
    fn name(&mut self, context: &str) -> Parsed<Arc<str>> {
        let word = self.next();
        match word.token {
            Token::Quoted(name) => Ok(name.into()),
            Token::Bad(problem) => Err(problem),
            _ => Err(unexpected(&word, context)),
        }
    }

    fn template(&mut self) -> Parsed<Node> {
        let name = self.name("template clause")?;
        let place = self.at();
        let pipe = match self.peek().token {
            Token::Close => {
                self.next();
                None
            }
            _ => Some(self.pipe("template clause", false, Token::Close)?),
        };
        Ok(Node::Template(place, name, pipe))
    }

    /// The nodes of a template of its own: only `$` is known in it.
    fn body(&mut self, name: Arc<str>) -> Parsed<()> {
        let outer = (std::mem::replace(&mut self.variables, vec!["$".into()]), std::mem::take(&mut self.loops));
        match self.list(Inside::Define)? {
            (nodes, Ends::End) => self.blocks.push(Block { name, file: self.file.clone(), nodes }),
            _ => return Err("unexpected {{else}} in define clause".into()),
        }
        (self.variables, self.loops) = outer;
        Ok(())
    }

    fn define(&mut self) -> Parsed<()> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.body(name)
    }

    fn block(&mut self) -> Parsed<Node> {
        let name = self.name("block clause")?;
        let place = self.at();
        let pipe = self.pipe("block clause", false, Token::Close)?;
        self.body(name.clone())?;
        Ok(Node::Template(place, name, Some(pipe)))
    }

    /// A pipe with the word behind it, which is `end`.
    fn pipe(&mut self, context: &str, is_range: bool, end: Token) -> Parsed<Pipe> {
        self.peek();
        let mut pipe =
            Pipe { place: self.next_place(), names: Vec::new(), assigns: false, is_range, commands: Vec::new() };
        let mut first = None;
        if self.peek().token == Token::Variable {
            let variable = self.next();
            let place = self.at();
            match self.peek() {
                Word { token: Token::Mark(mark @ (":=" | "=")), .. } => {
                    pipe.assigns = *mark == "=";
                    self.next();
                    self.declare(&mut pipe, variable.raw);
                }
                Word { token: Token::Mark(","), .. } if is_range => {
                    self.next();
                    let second = self.next();
                    if second.token != Token::Variable {
                        return Err("range can only initialize variables".into());
                    }
                    let mark = self.next();
                    match mark.token {
                        Token::Mark(mark @ (":=" | "=")) => pipe.assigns = mark == "=",
                        Token::Bad(problem) => return Err(problem),
                        Token::Mark(",") => return Err(format!("too many declarations in {context}")),
                        _ => return Err(unexpected(&mark, context)),
                    }
                    self.declare(&mut pipe, variable.raw);
                    self.declare(&mut pipe, second.raw);
                }
                Word { token: Token::Mark(","), .. } => {
                    return Err(format!("too many declarations in {context}"));
                }
                _ => first = Some((variable, place)),
            }
        }
        loop {
            let word = self.peek();
            if first.is_none() && word.token == end {
                self.next();
                return self.checked(pipe, context);
            }
            match &word.token {
                _ if first.is_some() => {}
                Token::Word | Token::Field | Token::Dot | Token::Variable | Token::Quoted(_) => {}
                Token::Char(_) | Token::Number | Token::Mark("(") => {}
                Token::Bad(_) => {
                    let Word { token: Token::Bad(problem), .. } = self.next() else { continue };
                    return Err(problem);
                }
                _ => {
                    let word = self.next();
                    return Err(unexpected(&word, context));
                }
            }
            let command = self.command(first.take())?;
            pipe.commands.push(command);
        }
    }

    fn declare(&mut self, pipe: &mut Pipe, name: &str) {
        let name: Arc<str> = name.into();
        self.variables.push(name.clone());
        pipe.names.push(name);
    }

    /// What Go demands of a pipe once it is read.
    fn checked(&self, pipe: Pipe, context: &str) -> Parsed<Pipe> {
        if pipe.commands.is_empty() {
            return Err(format!("missing value for {context}"));
        }
        for (at, command) in pipe.commands.iter().enumerate().skip(1) {
            if let Kind::Dot | Kind::Nil | Kind::Constant(..) | Kind::TooLarge(_) = command.head.kind {
                return Err(format!("non executable command in pipeline stage {}", at + 1));
            }
        }
        Ok(pipe)
    }

    /// Where the word that is looked at stands; it counts as taken.
    fn next_place(&mut self) -> Place {
        let word = self.next();
        let place = self.at();
        self.held = Some(word);
        place
    }

    /// Operands up to `|`, or to what ends the pipe, which stays.
    fn command(&mut self, first: Option<(Word<'t>, Place)>) -> Parsed<Command> {
        let place = first.as_ref().map(|(_, place)| *place);
        let place = place.unwrap_or_else(|| self.next_place());
        let mut operands = Vec::new();
        let mut first = first;
        loop {
            self.count()?;
            let operand = match first.take() {
                Some((word, place)) => Some(self.behind(Operand { place, kind: self.variable(word.raw)? })?),
                None => self.operand()?,
            };
            operands.extend(operand);
            // Operands have blanks between them.
            let word = self.peek();
            let is_apart = word.is_apart;
            match &word.token {
                Token::Mark("|") => {
                    self.next();
                    break;
                }
                Token::Close | Token::Mark(")") => break,
                Token::Bad(_) => {
                    let Word { token: Token::Bad(problem), .. } = self.next() else { continue };
                    return Err(problem);
                }
                Token::Mark("(") if is_apart => {}
                Token::Mark(_) | Token::Other | Token::End | Token::Text(_) | Token::Open => {
                    let word = self.next();
                    return Err(unexpected(&word, "operand"));
                }
                _ if !is_apart && !operands.is_empty() => {
                    let word = self.next();
                    return Err(unexpected(&word, "operand"));
                }
                _ => {}
            }
        }
        let mut operands = operands.into_iter();
        let head = operands.next().ok_or("empty command")?;
        Ok(Command { place, head, args: operands.collect() })
    }

    fn variable(&self, name: &str) -> Parsed<Kind> {
        match self.variables.iter().rev().find(|held| ***held == *name) {
            Some(held) => Ok(Kind::Variable(held.clone(), Vec::new())),
            None => Err(format!("undefined variable \"{name}\"")),
        }
    }

    /// One operand with the fields behind it; `None` where none stands here.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        match self.peek().token {
            Token::Close | Token::Mark("|" | ")" | "," | ":=" | "=") | Token::End | Token::Bad(_) => return Ok(None),
            _ => {}
        }
        let word = self.next();
        let place = self.at();
        let kind = match word.token {
            Token::Dot => Kind::Dot,
            Token::Field => Kind::Field(vec![word.raw[1..].into()]),
            Token::Variable => self.variable(word.raw)?,
            Token::Quoted(text) => Kind::Constant(text.into(), word.raw.into()),
            Token::Char(c) => Kind::Constant(Value::Int(u32::from(c).into()), word.raw.into()),
            Token::Number => constant(word.raw)?,
            Token::Word => match word.raw {
                "true" | "false" => Kind::Constant(Value::Bool(word.raw == "true"), word.raw.into()),
                "nil" => Kind::Nil,
                name if KEYWORDS.contains(&name) => return Err(unexpected(&word, "operand")),
                name => {
                    let found = self.functions.find(name);
                    Kind::Function(Callee::of(found.ok_or_else(|| format!("function \"{name}\" not defined"))?))
                }
            },
            Token::Mark("(") => {
                self.deeper()?;
                let pipe = self.pipe("parenthesized pipeline", false, Token::Mark(")"))?;
                self.depth -= 1;
                Kind::Group(Box::new(pipe))
            }
            _ => return Err(unexpected(&word, "operand")),
        };
        self.behind(Operand { place, kind }).map(Some)
    }

    /// Fields right behind an operand.
    fn behind(&mut self, mut operand: Operand) -> Parsed<Operand> {
        let mut names: Vec<Arc<str>> = Vec::new();
        while let Word { token: Token::Field, is_apart: false, raw, .. } = self.peek() {
            let name = raw[1..].into();
            self.next();
            self.count()?;
            // Go cites a chain of fields by its first one.
            if names.is_empty() {
                operand.place = self.at();
            }
            names.push(name);
        }
        if let Word { token: Token::Dot, is_apart: false, .. } = self.peek() {
            let word = self.next();
            return Err(unexpected(&word, "operand"));
        }
        if names.is_empty() {
            return Ok(operand);
        }
        match &mut operand.kind {
            Kind::Field(held) | Kind::Variable(_, held) => held.extend(names),
            Kind::Dot => operand.kind = Kind::Field(names),
            Kind::Constant(..) | Kind::TooLarge(_) | Kind::Nil => {
                let term = crate::print::quoted(&operand.to_string());
                return Err(format!("unexpected . after term {term}"));
            }
            _ => {
                let place = operand.place;
                operand = Operand { place, kind: Kind::Chain(Box::new(operand), names) };
            }
        }
        Ok(operand)
    }
}

enum Action {
    /// `None` for a definition.
    Node(Option<Node>),
    Ends(Ends),
}

/// A number as it is written: whole ones by Go's prefixes, others as floats.
fn constant(raw: &str) -> Parsed<Kind> {
    let fault = |what: &str| format!("{what}: {}", crate::print::quoted(raw));
    let illegal = || fault("illegal number syntax");
    let plain = number::without_bars(raw).ok_or_else(illegal)?;
    let (is_negative, digits) = match plain.strip_prefix(['-', '+']) {
        Some(digits) => (plain.starts_with('-'), digits),
        None => (false, &*plain),
    };
    let lower = digits.to_ascii_lowercase();
    let is_decimal = lower.bytes().all(|byte| byte.is_ascii_digit());
    let whole = match lower.get(..2) {
        Some("0x") if !lower.contains('p') => Some(u64::from_str_radix(&lower[2..], 16)),
        Some("0b") => Some(u64::from_str_radix(&lower[2..], 2)),
        Some("0o") => Some(u64::from_str_radix(&lower[2..], 8)),
        Some(_) if is_decimal && lower.starts_with('0') => Some(u64::from_str_radix(&lower, 8)),
        _ if is_decimal => Some(lower.parse()),
        _ => None,
    };
    let Some(whole) = whole else {
        let number = number::literal(raw).filter(|number| number.is_finite()).ok_or_else(illegal)?;
        return Ok(Kind::Constant(Value::Float(number), raw.into()));
    };
    let size = match whole {
        Ok(size) => size,
        Err(_) if is_decimal => return Err(fault("integer overflow")),
        Err(_) => return Err(illegal()),
    };
    let value = if is_negative { 0i64.checked_sub_unsigned(size) } else { i64::try_from(size).ok() };
    Ok(value.map_or_else(|| Kind::TooLarge(raw.into()), |whole| Kind::Constant(Value::Int(whole), raw.into())))
}

/// A word where it does not belong.
fn unexpected(word: &Word<'_>, context: &str) -> String {
    let shown = match &word.token {
        Token::Bad(problem) => return problem.clone(),
        Token::End => "EOF".into(),
        Token::Dot => "<.>".into(),
        Token::Word if KEYWORDS.contains(&word.raw) => format!("<{}>", word.raw),
        _ if word.raw.chars().count() > 10 => {
            format!("{}...", crate::print::quoted(&word.raw.chars().take(10).collect::<String>()))
        }
        _ => crate::print::quoted(word.raw),
    };
    format!("unexpected {shown} in {context}")
}
