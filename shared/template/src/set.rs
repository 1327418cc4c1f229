//! Templates with names, and those that look them up.

use crate::error::{ParseError, RunError};
use crate::node::Node;
use crate::parse;
use crate::regexes::Regexes;
use crate::run::{self, Functions, Limits, Root};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A template's nodes.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: Arc<str>,
    /// Of the file it stands in: faults cite places there.
    pub(crate) file: Arc<str>,
    pub(crate) nodes: Vec<Node>,
}

impl Block {
    /// Whether it writes nothing: such a definition does not replace another.
    fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
    }
}

/// Templates that call each other by name; cheap to copy.
#[derive(Debug, Clone)]
pub struct Templates {
    functions: Functions,
    blocks: Arc<BTreeMap<Arc<str>, Arc<Block>>>,
    regexes: Regexes,
}

impl Templates {
    /// None yet; texts may use these functions besides Go's own.
    #[must_use]
    pub fn new(functions: Functions) -> Self {
        Self { functions, blocks: Arc::default(), regexes: Regexes::default() }
    }

    /// Adds a file's text under `name`, and what it defines; a later definition replaces an earlier one of its name.
    ///
    /// # Errors
    /// What is wrong with the text; then nothing is added.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        let parsed = parse::parse(name, text, &self.functions)?;
        let blocks = Arc::make_mut(&mut self.blocks);
        for block in parsed {
            let holds = blocks.get(&block.name).is_some_and(|held| !held.is_empty());
            if !(holds && block.is_empty()) {
                blocks.insert(block.name.clone(), Arc::new(block));
            }
        }
        Ok(())
    }

    /// A text that may call these templates, and define more for itself.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(&self, name: &str, text: &str) -> Result<Template, ParseError> {
        let mut templates = self.clone();
        templates.add(name, text)?;
        Ok(Template { name: name.into(), templates })
    }

    /// The names of all of them, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks.keys().map(|name| &**name)
    }

    pub(crate) fn block(&self, name: &str) -> Option<&Arc<Block>> {
        self.blocks.get(name)
    }

    pub(crate) fn regexes(&self) -> &Regexes {
        &self.regexes
    }
}

/// A text that can be run, with the templates it may call.
#[derive(Debug, Clone)]
pub struct Template {
    name: Arc<str>,
    templates: Templates,
}

impl Template {
    /// Of a text; `name` is cited in faults.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(name: &str, text: &str, functions: &Functions) -> Result<Self, ParseError> {
        Templates::new(*functions).parse(name, text)
    }

    /// Writes what comes of it behind `out`; where it fails, `out` holds what came before.
    ///
    /// # Errors
    /// Why it cannot be run to its end.
    pub fn run(&self, root: &dyn Root, limits: Limits, out: &mut String) -> Result<(), RunError> {
        run::run(&self.templates, &self.name, root, limits, out)
    }

    /// What comes of it.
    ///
    /// # Errors
    /// Why it cannot be run to its end.
    pub fn text(&self, root: &dyn Root, limits: Limits) -> Result<String, RunError> {
        let mut out = String::new();
        self.run(root, limits, &mut out).map(|()| out)
    }
}
