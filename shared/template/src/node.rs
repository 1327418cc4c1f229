//! What a template is made of.

use crate::run::Function;
use crate::value::Value;
use std::sync::Arc;

/// Where something stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: u32,
    /// Bytes of the line before it.
    pub(crate) column: u32,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    If(Branches),
    With(Branches),
    Range(Branches),
    /// `{{template "name" pipe}}`
    Template(Place, Arc<str>, Option<Pipe>),
    Break,
    Continue,
}

/// Conditions with what is done under each, then what is done under none; `range` has one of them.
#[derive(Debug, Clone)]
pub(crate) struct Branches {
    pub(crate) arms: Vec<(Pipe, Vec<Node>)>,
    pub(crate) otherwise: Vec<Node>,
}

/// `$x := a b | c`
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub(crate) place: Place,
    /// Variables with their `$`; at most two in `range`, one else.
    pub(crate) names: Vec<Arc<str>>,
    /// `=` instead of `:=`.
    pub(crate) assigns: bool,
    /// Of `range`, which gives its variables their values itself.
    pub(crate) is_range: bool,
    /// At least one.
    pub(crate) commands: Vec<Command>,
}

/// An operand, with arguments where it is a function or method.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) place: Place,
    pub(crate) head: Operand,
    pub(crate) args: Vec<Operand>,
}

/// A word of a command.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Dot,
    Nil,
    /// A number, character, truth value or text, and how it is written.
    Constant(Value, Box<str>),
    /// A whole number that no `int` holds, as it is written.
    TooLarge(Box<str>),
    /// `.a.b`
    Field(Vec<Arc<str>>),
    /// `$x.a.b`
    Variable(Arc<str>, Vec<Arc<str>>),
    Function(Callee),
    /// `(pipe)`
    Group(Box<Pipe>),
    /// `(pipe).a.b`
    Chain(Box<Operand>, Vec<Arc<str>>),
}

/// A function, and what its parameters demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callee {
    pub(crate) function: Function,
    /// Parameters that have to be there.
    pub(crate) fixed: usize,
    /// The type of those beyond, where there may be some.
    pub(crate) variadic: Option<&'static str>,
    /// Every parameter takes every value.
    pub(crate) is_plain: bool,
    /// `and` and `or`: arguments are evaluated one by one.
    pub(crate) is_lazy: bool,
}

impl Callee {
    pub(crate) fn of(function: Function) -> Self {
        let variadic = function.params.last().and_then(|param| param.strip_prefix("..."));
        let fixed = function.params.len() - usize::from(variadic.is_some());
        let is_any = |param: &&str| matches!(*param, "any" | "...any");
        let is_plain = function.params.iter().all(is_any);
        Self { function, fixed, variadic, is_plain, is_lazy: matches!(function.name, "and" | "or") }
    }
}
