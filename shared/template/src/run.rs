//! Running a template: blocks and what is written.

use crate::error::RunError;
use crate::node::{Branches, Command, Kind, Node, Operand, Pipe};
use crate::set::{Block, Templates};
use crate::value::Value;
use crate::write::Cited;
use regex::Regex;
use std::sync::Arc;

/// Deepest nesting of blocks, parentheses and templates that call each other.
const DEPTH_MAX: usize = 100;
/// What functions may make, in sizes of the longest output.
const MADE_FACTOR: usize = 8;

/// How much one run may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Actions, commands and turns of `range`.
    pub steps: usize,
    /// Bytes that are written; one function may make as many, all of them together eight times that.
    pub bytes: usize,
    /// Whether what actions write is escaped for HTML, as `html/template` does between tags and within quotes.
    pub escapes_html: bool,
}

/// What a template is run over.
pub trait Root {
    /// What `.` and `$` are at the outset.
    fn dot(&self) -> Value;

    /// A field of it; what is dear to put together as a whole may give its fields one by one.
    ///
    /// # Errors
    /// Where there is none of that name and no value stands for that.
    fn field(&self, name: &str) -> Result<Value, String> {
        crate::methods::field(&self.dot(), name)
    }

    /// Writes a field behind `out` as an action does, if that is cheaper than to make a value of it; says whether it did.
    fn write_field(&self, name: &str, out: &mut String) -> bool {
        let _ = (name, out);
        false
    }

    /// What a function needs that is not in its arguments: a query's answer, the line at hand.
    ///
    /// # Errors
    /// Whatever the one who is asked cannot do.
    fn ask(&self, what: &str, args: &[Value]) -> Result<Value, String> {
        let _ = args;
        Err(format!("{what} is not known here"))
    }
}

impl Root for Value {
    fn dot(&self) -> Value {
        self.clone()
    }
}

/// A function of templates.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// As templates call it.
    pub name: &'static str,
    /// The types of its arguments, as [`Value::type_name`] gives them; `any` takes every value, and a last one with
    /// `...` before it may come any number of times.
    pub params: &'static [&'static str],
    /// What it does, with arguments of those types.
    pub call: fn(&[Value], &mut Ctx<'_>) -> Result<Value, String>,
}

/// The functions that texts may use: tables that are looked through in order, then Go's own.
#[derive(Debug, Clone, Copy)]
pub struct Functions(&'static [&'static [Function]]);

impl Functions {
    /// Of tables.
    #[must_use]
    pub const fn new(tables: &'static [&'static [Function]]) -> Self {
        Self(tables)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Function> {
        let all = self.0.iter().copied().chain([crate::builtins::FUNCTIONS]);
        all.flatten().find(|function| function.name == name).copied()
    }
}

/// What functions see of a run.
pub struct Ctx<'a> {
    root: &'a dyn Root,
    templates: &'a Templates,
    limits: Limits,
    /// Steps done.
    work: usize,
    /// Bytes that functions made.
    made: usize,
    depth: usize,
}

impl<'a> Ctx<'a> {
    /// What the template is run over.
    #[must_use]
    pub fn root(&self) -> &'a dyn Root {
        self.root
    }

    /// Counts steps.
    ///
    /// # Errors
    /// If the run has done all that it may.
    pub fn charge(&mut self, steps: usize) -> Result<(), String> {
        self.work = self.work.saturating_add(steps);
        let most = self.limits.steps;
        if self.work > most { Err(format!("template takes more than {most} steps")) } else { Ok(()) }
    }

    /// The most bytes that a function may make.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.limits.bytes
    }

    /// Says whether a function may make that many bytes, before it does.
    ///
    /// # Errors
    /// If it may not.
    pub fn bounded(&self, name: &str, bytes: usize) -> Result<(), String> {
        let most = self.limits.bytes;
        if bytes > most { Err(format!("{name} makes more than {most} bytes")) } else { Ok(()) }
    }

    /// An expression, compiled.
    ///
    /// # Errors
    /// If it is none, or takes too much memory.
    pub fn regex(&self, text: &str) -> Result<Arc<Regex>, String> {
        self.templates.regexes().compiled(text)
    }

    /// What a template of that name writes over `dot`.
    ///
    /// # Errors
    /// If there is none, or it fails.
    pub fn template(&mut self, name: &str, dot: Value) -> Result<String, String> {
        let block = self.templates.block(name).ok_or_else(|| format!("template {name:?} not defined"))?;
        let mut out = String::new();
        let limit = self.limits.bytes;
        Run::new(self, block, Dot::Value(dot)).template(limit, &mut out).map_err(|error| error.text)?;
        Ok(out)
    }

    /// Counts what a function made.
    pub(crate) fn made(&mut self, value: &Value) -> Result<(), String> {
        if let Some(text) = value.as_text() {
            self.bounded("function", text.len())?;
            self.made = self.made.saturating_add(text.len());
            let most = self.limits.bytes.saturating_mul(MADE_FACTOR);
            if self.made > most {
                return Err(format!("template makes more than {most} bytes"));
            }
        }
        Ok(())
    }

    /// One level deeper; `surface` comes back.
    pub(crate) fn dive(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(format!("template is nested more than {DEPTH_MAX} deep")) } else { Ok(()) }
    }

    pub(crate) fn surface(&mut self) {
        self.depth -= 1;
    }
}

/// Runs the template of that name.
pub(crate) fn run(
    templates: &Templates,
    name: &str,
    root: &dyn Root,
    limits: Limits,
    out: &mut String,
) -> Result<(), RunError> {
    let mut ctx = Ctx { root, templates, limits, work: 0, made: 0, depth: 0 };
    let Some(block) = templates.block(name) else {
        let problem = format!("template: {name:?} is not defined");
        return Err(RunError { text: problem.clone(), problem });
    };
    let limit = out.len().saturating_add(limits.bytes);
    Run::new(&mut ctx, block, Dot::Root).template(limit, out)
}

/// What `.` is.
#[derive(Debug, Clone)]
pub(crate) enum Dot {
    /// What the template is run over.
    Root,
    Value(Value),
}

/// Why a run ends early.
pub(crate) enum Fault {
    /// Something is wrong with what the run is at.
    Here(String),
    /// A function of that name cannot do what it is asked.
    Call(&'static str, String),
    /// Another template, called from here, failed.
    There(RunError),
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self::Here(problem)
    }
}

/// What comes after a node.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// A run of one template.
pub(crate) struct Run<'a, 'c> {
    pub(crate) ctx: &'c mut Ctx<'a>,
    /// The innermost last.
    pub(crate) variables: Vec<(Arc<str>, Value)>,
    /// What `$` is.
    pub(crate) data: Dot,
    /// What a fault would be about.
    pub(crate) at: Option<&'a dyn Cited>,
    block: &'a Block,
    /// Longest output.
    limit: usize,
}

impl<'a, 'c> Run<'a, 'c> {
    fn new(ctx: &'c mut Ctx<'a>, block: &'a Block, data: Dot) -> Self {
        Self { ctx, variables: Vec::new(), data, at: None, block, limit: 0 }
    }

    fn template(mut self, limit: usize, out: &mut String) -> Result<(), RunError> {
        self.limit = limit;
        let dot = self.data.clone();
        let depth = self.ctx.depth;
        let result = self.nodes(&self.block.nodes, &dot, out);
        self.ctx.depth = depth;
        match result {
            Ok(_) => Ok(()),
            Err(fault) => {
                let Block { name, file, .. } = self.block;
                let (problem, told) = match fault {
                    Fault::There(error) => return Err(error),
                    Fault::Here(problem) => (problem.clone(), problem),
                    Fault::Call(function, problem) => {
                        let told = format!("error calling {function}: {problem}");
                        (problem, told)
                    }
                };
                let text = match self.at {
                    Some(at) => {
                        let place = at.place();
                        let name = crate::print::quoted(name);
                        format!("template: {file}:{}:{}: executing {name} at <{at}>: {told}", place.line, place.column)
                    }
                    None => format!("template: {name}: {told}"),
                };
                Err(RunError { text, problem })
            }
        }
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Dot, out: &mut String) -> Result<Flow, Fault> {
        self.ctx.dive()?;
        let held = self.variables.len();
        let mut flow = Flow::Next;
        for node in nodes {
            self.ctx.charge(1)?;
            flow = self.node(node, dot, out)?;
            if out.len() > self.limit {
                return Err(Fault::Here(format!("template writes more than {} bytes", self.ctx.limits.bytes)));
            }
            if flow != Flow::Next {
                break;
            }
        }
        self.variables.truncate(held);
        self.ctx.surface();
        Ok(flow)
    }

    fn node(&mut self, node: &'a Node, dot: &Dot, out: &mut String) -> Result<Flow, Fault> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Action(pipe) if self.wrote_field(pipe, dot, out) => {}
            Node::Action(pipe) => {
                self.at = Some(node);
                let value = self.pipe(pipe, dot)?;
                if pipe.names.is_empty() {
                    match &value {
                        Value::Html(_) => value.write(out),
                        _ if self.ctx.limits.escapes_html => crate::builtins::escaped(&value.text(), out),
                        _ => value.write(out),
                    }
                }
            }
            Node::If(branches) => return self.branches(branches, dot, false, out),
            Node::With(branches) => return self.branches(branches, dot, true, out),
            Node::Range(branches) => return self.range(branches, dot, out),
            Node::Template(_, name, pipe) => {
                self.at = Some(node);
                let block = self.ctx.templates.block(name);
                let block = block.ok_or_else(|| format!("template {} not defined", crate::print::quoted(name)))?;
                let data = match pipe {
                    Some(pipe) => self.pipe(pipe, dot)?,
                    None => Value::Nil,
                };
                self.ctx.dive()?;
                Run::new(self.ctx, block, Dot::Value(data)).template(self.limit, out).map_err(Fault::There)?;
                self.ctx.surface();
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// Whether the pipe is a field of what the template is run over, and that wrote it itself.
    fn wrote_field(&self, pipe: &Pipe, dot: &Dot, out: &mut String) -> bool {
        if !matches!(dot, Dot::Root) || !pipe.names.is_empty() || self.ctx.limits.escapes_html {
            return false;
        }
        let [Command { head: Operand { kind: Kind::Field(names), .. }, args, .. }] = pipe.commands.as_slice() else {
            return false;
        };
        let ([name], true) = (names.as_slice(), args.is_empty()) else { return false };
        self.ctx.root.write_field(name, out)
    }

    /// `if`, and `with`, which makes the condition's value the dot.
    fn branches(&mut self, branches: &'a Branches, dot: &Dot, is_with: bool, out: &mut String) -> Result<Flow, Fault> {
        // Variables of a condition are known in its body and in those behind it.
        let held = self.variables.len();
        for (condition, body) in &branches.arms {
            let value = self.pipe(condition, dot)?;
            if value.is_true() {
                let flow = match is_with {
                    true => self.nodes(body, &Dot::Value(value), out),
                    false => self.nodes(body, dot, out),
                };
                self.variables.truncate(held);
                return flow;
            }
        }
        let flow = self.nodes(&branches.otherwise, dot, out);
        self.variables.truncate(held);
        flow
    }

    fn range(&mut self, branches: &'a Branches, dot: &Dot, out: &mut String) -> Result<Flow, Fault> {
        let Some((pipe, body)) = branches.arms.first() else { return Ok(Flow::Next) };
        let held = self.variables.len();
        let value = self.pipe(pipe, dot)?.plain();
        let count = match &value {
            Value::Nil => 0,
            Value::List(items) => items.len(),
            Value::Map(map) => map.len(),
            Value::Int(count) => usize::try_from(*count).unwrap_or(0),
            other => {
                return Err(Fault::Here(format!(
                    "range can't iterate over {}",
                    crate::print::print(std::slice::from_ref(other))
                )));
            }
        };
        for at in 0..count {
            self.ctx.charge(1)?;
            let number = Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
            let (key, item) = match &value {
                Value::List(items) => (number, items[at].clone()),
                Value::Map(map) => map.nth(at),
                _ => (number.clone(), number),
            };
            let start = self.variables.len();
            match pipe.names.as_slice() {
                [one] => self.declare(pipe, one, item.clone())?,
                [first, second] => {
                    self.declare(pipe, first, key)?;
                    self.declare(pipe, second, item.clone())?;
                }
                _ => {}
            }
            let flow = self.nodes(body, &Dot::Value(item), out)?;
            self.variables.truncate(start);
            if flow == Flow::Break {
                break;
            }
        }
        let flow = match count {
            0 => self.nodes(&branches.otherwise, dot, out)?,
            _ => Flow::Next,
        };
        self.variables.truncate(held);
        Ok(flow)
    }

    /// Gives a variable its value: a new one, or with `=` the one there is.
    pub(crate) fn declare(&mut self, pipe: &Pipe, name: &Arc<str>, value: Value) -> Result<(), Fault> {
        if !pipe.assigns {
            self.variables.push((name.clone(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(held, _)| held == name) {
            Some((_, held)) => *held = value,
            None => return Err(Fault::Here(format!("undefined variable: {name}"))),
        }
        Ok(())
    }
}
