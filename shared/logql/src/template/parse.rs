//! Templates: text in, nodes out.

use super::functions::{self, Function};
use super::lex::{Token, tokens};

/// Deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 32;

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    /// Branches with their conditions, then what is done without any.
    If(Vec<(Pipe, Vec<Node>)>, Vec<Node>),
    Range {
        names: Vec<String>,
        over: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// `$x := a b | c`
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) declares: Option<String>,
    pub(super) commands: Vec<Command>,
}

/// A function with its arguments, or an operand alone.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) function: Option<&'static Function>,
    pub(super) args: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    /// A pipe in parentheses, and fields of what it gives.
    Group(Box<Pipe>, Vec<String>),
}

/// What ends a block.
#[derive(PartialEq, Eq)]
enum Ends {
    Text,
    End,
    Else,
    /// `else if`, with its condition.
    ElseIf,
}

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { rest: text, trim_next: false, condition: Vec::new() };
    let (nodes, ends) = parser.block(0)?;
    match ends {
        Ends::Text => Ok(nodes),
        _ => Err("{{end}} or {{else}} without a block".into()),
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// The last action ended with `-}}`.
    trim_next: bool,
    /// Words behind the last `else if`.
    condition: Vec<(Token, bool)>,
}

impl Parser<'_> {
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, Ends), String> {
        if depth > DEPTH_MAX {
            return Err(format!("blocks are nested more than {DEPTH_MAX} deep"));
        }
        let mut nodes = Vec::new();
        loop {
            let open = self.rest.find("{{");
            let mut text = &self.rest[..open.unwrap_or(self.rest.len())];
            if std::mem::take(&mut self.trim_next) {
                text = text.trim_start();
            }
            let Some(open) = open else {
                push_text(&mut nodes, text);
                self.rest = "";
                return Ok((nodes, Ends::Text));
            };
            let inner = &self.rest[open + 2..];
            let is_trimmed = inner.starts_with("- ") || inner.starts_with("-\n");
            let inner = if is_trimmed { &inner[1..] } else { inner };
            push_text(&mut nodes, if is_trimmed { text.trim_end() } else { text });
            let close = closing(inner).ok_or("{{ without }}")?;
            let mut action = &inner[..close];
            self.rest = &inner[close + 2..];
            if let Some(before) = action.strip_suffix('-').filter(|before| before.ends_with(char::is_whitespace)) {
                (action, self.trim_next) = (before, true);
            }
            let action = action.trim();
            if action.starts_with("/*") {
                continue;
            }
            let mut words = tokens(action)?;
            let keyword = match words.first() {
                Some((Token::Word(word), _)) => word.clone(),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" => return Ok((nodes, Ends::End)),
                "else" => {
                    words.remove(0);
                    if words.is_empty() {
                        return Ok((nodes, Ends::Else));
                    }
                    if words.remove(0).0 != Token::Word("if".into()) {
                        return Err("{{else}} takes an if alone".into());
                    }
                    self.condition = words;
                    return Ok((nodes, Ends::ElseIf));
                }
                "if" => nodes.push(self.branches(&words[1..], depth)?),
                "range" | "with" => nodes.push(self.one_block(&keyword, &words[1..], depth)?),
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(format!("{{{{{keyword}}}}} is not known here"));
                }
                _ => nodes.push(Node::Action(pipe(&words)?)),
            }
        }
    }

    fn branches(&mut self, condition: &[(Token, bool)], depth: usize) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut condition = pipe(condition)?;
        loop {
            let (body, ends) = self.block(depth + 1)?;
            branches.push((condition, body));
            match ends {
                Ends::End => return Ok(Node::If(branches, Vec::new())),
                Ends::Else => return Ok(Node::If(branches, self.otherwise(depth)?)),
                Ends::ElseIf => condition = pipe(&std::mem::take(&mut self.condition))?,
                Ends::Text => return Err("{{if}} without {{end}}".into()),
            }
        }
    }

    fn otherwise(&mut self, depth: usize) -> Result<Vec<Node>, String> {
        match self.block(depth + 1)? {
            (nodes, Ends::End) => Ok(nodes),
            _ => Err("{{else}} without {{end}}".into()),
        }
    }

    fn one_block(&mut self, keyword: &str, words: &[(Token, bool)], depth: usize) -> Result<Node, String> {
        // range $index, $element := …
        let mut names = Vec::new();
        let mut words = words;
        if keyword == "range"
            && let Some(at) = words.iter().position(|(token, _)| *token == Token::Mark(":="))
        {
            for (token, _) in &words[..at] {
                match token {
                    Token::Variable(name, fields) if fields.is_empty() && names.len() < 2 => names.push(name.clone()),
                    Token::Mark(",") => {}
                    _ => return Err("{{range}} takes one or two variables before :=".into()),
                }
            }
            words = &words[at + 1..];
        }
        let over = pipe(words)?;
        let (body, ends) = self.block(depth + 1)?;
        let otherwise = match ends {
            Ends::End => Vec::new(),
            Ends::Else => self.otherwise(depth)?,
            _ => return Err(format!("{{{{{keyword}}}}} without {{{{end}}}}")),
        };
        Ok(match keyword {
            "range" => Node::Range { names, over, body, otherwise },
            _ => Node::With { pipe: over, body, otherwise },
        })
    }
}

/// Where the action ends that this text begins in: `}}` outside of strings.
fn closing(text: &str) -> Option<usize> {
    if text.trim_start().starts_with("/*") {
        let end = text.find("*/")?;
        return text[end..].find("}}").map(|at| end + at);
    }
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            None if text[at..].starts_with("}}") => return Some(at),
            None if matches!(c, '"' | '`' | '\'') => quote = Some(c),
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    if !text.is_empty() {
        nodes.push(Node::Text(text.to_owned()));
    }
}

/// Words as a pipeline.
fn pipe(words: &[(Token, bool)]) -> Result<Pipe, String> {
    let mut at = 0;
    let pipe = pipe_at(words, &mut at, 0)?;
    if at == words.len() { Ok(pipe) } else { Err("unexpected \")\"".into()) }
}

fn pipe_at(words: &[(Token, bool)], at: &mut usize, depth: usize) -> Result<Pipe, String> {
    if depth > DEPTH_MAX {
        return Err(format!("parentheses are nested more than {DEPTH_MAX} deep"));
    }
    let mut declares = None;
    if let (Some((Token::Variable(name, fields), _)), Some((Token::Mark(":=" | "="), _))) =
        (words.get(*at), words.get(*at + 1))
        && fields.is_empty()
    {
        declares = Some(name.clone());
        *at += 2;
    }
    let mut commands = Vec::new();
    loop {
        let mut command = Command { function: None, args: Vec::new() };
        let mut is_first = true;
        while let Some((token, _)) = words.get(*at) {
            let operand = match token {
                Token::Mark("|" | ")") => break,
                Token::Mark("(") => {
                    *at += 1;
                    let inner = pipe_at(words, at, depth + 1)?;
                    if words.get(*at).map(|(token, _)| token) != Some(&Token::Mark(")")) {
                        return Err("\"(\" without \")\"".into());
                    }
                    let fields = match words.get(*at + 1) {
                        Some((Token::Field(fields), false)) if !fields.is_empty() => {
                            *at += 1;
                            fields.clone()
                        }
                        _ => Vec::new(),
                    };
                    Operand::Group(Box::new(inner), fields)
                }
                Token::Mark(mark) => return Err(format!("unexpected {mark:?}")),
                Token::Word(word) => match word.as_str() {
                    "true" => Operand::Bool(true),
                    "false" => Operand::Bool(false),
                    "nil" => Operand::Nil,
                    name => {
                        let function = functions::find(name).ok_or_else(|| format!("function {name:?} not defined"))?;
                        *at += 1;
                        if is_first {
                            command.function = Some(function);
                            is_first = false;
                            continue;
                        }
                        // A function as an argument is called without any, as `__line__` is.
                        let call = Command { function: Some(function), args: Vec::new() };
                        command
                            .args
                            .push(Operand::Group(Box::new(Pipe { declares: None, commands: vec![call] }), Vec::new()));
                        continue;
                    }
                },
                Token::Field(fields) => Operand::Field(fields.clone()),
                Token::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
                Token::Text(text) => Operand::Text(text.clone()),
                Token::Int(whole) => Operand::Int(*whole),
                Token::Float(number) => Operand::Float(*number),
            };
            command.args.push(operand);
            is_first = false;
            *at += 1;
        }
        match &command {
            Command { function: None, args } if args.is_empty() => return Err("missing value for command".into()),
            Command { function: None, args } if args.len() > 1 => {
                return Err("a value that is no function has arguments".into());
            }
            Command { function: None, .. } if !commands.is_empty() => {
                return Err("a value that is no function stands behind \"|\"".into());
            }
            _ => commands.push(command),
        }
        match words.get(*at) {
            Some((Token::Mark("|"), _)) => *at += 1,
            _ => return Ok(Pipe { declares, commands }),
        }
    }
}
