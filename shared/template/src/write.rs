//! Nodes as Go writes them where it cites them: one blank between words, texts as they were quoted.

use crate::node::{Command, Kind, Node, Operand, Pipe, Place};
use std::fmt;

/// What a fault can point at.
pub(crate) trait Cited: fmt::Display {
    fn place(&self) -> Place;
}

impl Cited for Operand {
    fn place(&self) -> Place {
        self.place
    }
}

impl Cited for Command {
    fn place(&self) -> Place {
        self.place
    }
}

impl Cited for Pipe {
    fn place(&self) -> Place {
        self.place
    }
}

impl Cited for Node {
    fn place(&self) -> Place {
        match self {
            Self::Action(pipe) => pipe.place,
            Self::If(branches) | Self::With(branches) | Self::Range(branches) => {
                branches.arms.first().map_or_else(Place::default, |(pipe, _)| pipe.place)
            }
            Self::Template(place, ..) => *place,
            _ => Place::default(),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |f: &mut fmt::Formatter<'_>, fields: &[std::sync::Arc<str>]| {
            fields.iter().try_for_each(|field| write!(f, ".{field}"))
        };
        match &self.kind {
            Kind::Dot => f.write_str("."),
            Kind::Nil => f.write_str("nil"),
            Kind::Constant(_, raw) | Kind::TooLarge(raw) => f.write_str(raw),
            Kind::Field(names) => fields(f, names),
            Kind::Variable(name, names) => f.write_str(name).and_then(|()| fields(f, names)),
            Kind::Function(callee) => f.write_str(callee.function.name),
            Kind::Group(pipe) => write!(f, "({pipe})"),
            Kind::Chain(inner, names) => write!(f, "{inner}").and_then(|()| fields(f, names)),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.names.is_empty() {
            f.write_str(&self.names.join(", "))?;
            f.write_str(if self.assigns { " = " } else { " := " })?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            if at > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(pipe) => write!(f, "{{{{{pipe}}}}}"),
            Self::Template(_, name, None) => write!(f, "{{{{template {}}}}}", crate::print::quoted(name)),
            Self::Template(_, name, Some(pipe)) => {
                write!(f, "{{{{template {} {pipe}}}}}", crate::print::quoted(name))
            }
            // Faults cite the pipe of a block, not the whole block.
            Self::If(branches) | Self::With(branches) | Self::Range(branches) => {
                branches.arms.first().map_or(Ok(()), |(pipe, _)| write!(f, "{pipe}"))
            }
            Self::Text(_) => f.write_str("text"),
            Self::Break => f.write_str("{{break}}"),
            Self::Continue => f.write_str("{{continue}}"),
        }
    }
}
