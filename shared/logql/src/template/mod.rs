//! Templates of `| line_format` and `| label_format`: Go's text/template, as far as Loki documents it.
//!
//! A small interpreter: fields, variables, pipelines, `if`, `range`, `with`, and the functions of [`functions`]. Templates
//! cannot define or include others.
//!
//! Invariants:
//! - Nesting is bounded when a template is parsed; nodes evaluated and bytes written are bounded when it is run, so that
//!   no line and no template takes long or much.
//! - A function that cannot do what it is asked is an error of the line, not of the query.

mod eval;
mod functions;
mod layout;
mod lex;
mod parse;
mod text;
mod value;

pub(crate) use eval::Data;
use parse::Node;
use text::Regexes;

/// A template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    text: String,
    nodes: Vec<Node>,
    regexes: Regexes,
}

impl Template {
    /// Of a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), nodes: parse::parse(text)?, regexes: Regexes::default() })
    }

    /// As it is written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Writes what comes of it behind `out`.
    ///
    /// # Errors
    /// Why it cannot be evaluated.
    pub(crate) fn run(&self, data: &dyn Data, out: &mut String) -> Result<(), String> {
        eval::run(&self.nodes, data, &self.regexes, out)
    }
}
