//! Templates of rules: Prometheus's functions and variables.
//!
//! A label or annotation of a rule is a template over the alert: `$labels`, `$value`, `$externalLabels`, `$externalURL`,
//! and the same as `.Labels`, `.Value`, `.ExternalLabels`, `.ExternalURL`. [`functions`] are Prometheus's, [`vector`] is
//! what `query` gives, [`humanize`] turns numbers into what people read.
//!
//! Invariants:
//! - A text without `{{` is copied, not parsed.
//! - What fails becomes part of the text that was wanted ([`annotation`]): an alert goes out in any case.
//! - Steps, bytes and queries of one text are bounded.

mod functions;
mod humanize;
mod link;
mod vector;

use skerry_model::{Labels, UnixMillis};
use skerry_template::{Functions, Limits, ParseError, Root, RunError, Template, Value};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

pub use functions::FUNCTIONS;

/// How much one text may do.
const LIMITS: Limits = Limits { steps: 20_000, bytes: 1 << 18, escapes_html: false };
/// Most queries of one text.
const QUERIES_MAX: u32 = 100;
/// What the variables are before any text.
const VARIABLES: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// Answers a query at the time of the evaluation: samples with their labels, in the order of the answer.
pub type Query<'a> = &'a dyn Fn(&str) -> Result<Vec<(Labels, f64)>, String>;

/// What a template sees.
#[derive(Clone, Copy)]
pub struct Expansion<'a> {
    /// The name of the template in faults: `__alert_NAME` for rules.
    pub name: &'a str,
    /// Labels of the result, with the metric's name where it has one.
    pub labels: &'a Labels,
    /// The result's value.
    pub value: f64,
    /// Labels of this place.
    pub external_labels: &'a Labels,
    /// Where this place is reached; its path is `pathPrefix`.
    pub external_url: &'a str,
    /// The time of the evaluation: `now`.
    pub now: UnixMillis,
    /// What `query` asks.
    pub query: Query<'a>,
}

/// A text could not be expanded; reads as Prometheus says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpandError {
    /// It is no template.
    Parse(ParseError),
    /// It failed while it was run.
    Run(String, RunError),
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => write!(f, "error parsing template {}: {error}", error.name),
            Self::Run(name, error) => write!(f, "error executing template {name}: {error}"),
        }
    }
}

impl std::error::Error for ExpandError {}

/// A text of a rule, read once: parsing costs more than most expansions.
#[derive(Debug, Clone)]
pub struct Text {
    text: Arc<str>,
    /// `None` where nothing in it is to be expanded.
    template: Option<Arc<Template>>,
}

impl Text {
    /// Of a text; `name` is what faults call it: `__alert_NAME` for rules.
    ///
    /// # Errors
    /// What is wrong with it, as rule files are told.
    pub fn parse(name: &str, text: &str) -> Result<Self, ParseError> {
        let template = match text.contains("{{") {
            true => Some(Arc::new(parsed(name, &format!("{VARIABLES}{text}"))?)),
            false => None,
        };
        Ok(Self { text: text.into(), template })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it says the same of every alert.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.template.is_none()
    }

    /// The text with what its actions give; the expansion's name is cited.
    ///
    /// # Errors
    /// [`ExpandError::Run`] where it fails.
    pub fn expand(&self, expansion: &Expansion<'_>) -> Result<String, ExpandError> {
        let Some(template) = &self.template else { return Ok(self.text.to_string()) };
        let root = Alert { expansion, queries: Cell::new(0) };
        template.text(&root, LIMITS).map_err(|error| ExpandError::Run(expansion.name.to_owned(), error))
    }
}

/// A text with what its actions give.
///
/// # Errors
/// [`ExpandError`] where it is no template, or fails.
pub fn expand(text: &str, expansion: &Expansion<'_>) -> Result<String, ExpandError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    Text::parse(expansion.name, text).map_err(ExpandError::Parse)?.expand(expansion)
}

/// As [`expand`], with the fault as Prometheus writes it in the text's place: `<error expanding template: …>`.
#[must_use]
pub fn annotation(text: &str, expansion: &Expansion<'_>) -> String {
    expand(text, expansion).unwrap_or_else(|error| format!("<error expanding template: {error}>"))
}

/// A text with what its actions give over any data, without the variables of alerts: Prometheus's expander itself.
///
/// # Errors
/// [`ExpandError`] where it is no template, or fails.
pub fn expand_over(text: &str, data: Value, expansion: &Expansion<'_>) -> Result<String, ExpandError> {
    let template = parsed(expansion.name, text).map_err(ExpandError::Parse)?;
    let root = Over { data, alert: Alert { expansion, queries: Cell::new(0) } };
    template.text(&root, LIMITS).map_err(|error| ExpandError::Run(expansion.name.to_owned(), error))
}

/// Says whether a text of a rule is a template, as rule files are checked; `name` is `__alert_` and the alert's name.
///
/// # Errors
/// What is wrong with it.
pub fn check(name: &str, text: &str) -> Result<(), ParseError> {
    Text::parse(name, text).map(|_| ())
}

fn parsed(name: &str, text: &str) -> Result<Template, ParseError> {
    Template::parse(name, text, &Functions::new(&[FUNCTIONS]))
}

/// An alert as what a template is run over.
struct Alert<'a> {
    expansion: &'a Expansion<'a>,
    queries: Cell<u32>,
}

/// Its type as Prometheus's faults name it.
const TYPE: &str =
    "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }";

impl Root for Alert<'_> {
    fn dot(&self) -> Value {
        let fields = ["Labels", "ExternalLabels", "ExternalURL", "Value"];
        let values = fields.map(|name| self.field(name).unwrap_or(Value::Nil));
        Value::Object(Arc::new(vector::Struct {
            type_name: TYPE,
            fields: &["Labels", "ExternalLabels", "ExternalURL", "Value"],
            values: values.into(),
        }))
    }

    fn field(&self, name: &str) -> Result<Value, String> {
        Ok(match name {
            "Labels" => vector::labels(self.expansion.labels),
            "ExternalLabels" => vector::labels(self.expansion.external_labels),
            "ExternalURL" => self.expansion.external_url.into(),
            "Value" => Value::Float(self.expansion.value),
            _ => return Err(format!("can't evaluate field {name} in type {TYPE}")),
        })
    }

    fn ask(&self, what: &str, args: &[Value]) -> Result<Value, String> {
        match (what, args) {
            ("query", [Value::Text(query)]) => {
                self.queries.set(self.queries.get() + 1);
                if self.queries.get() > QUERIES_MAX {
                    return Err(format!("more than {QUERIES_MAX} queries in one template"));
                }
                (self.expansion.query)(query).map(vector::value)
            }
            ("externalURL", _) => Ok(self.expansion.external_url.into()),
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact")]
            ("now", _) => Ok(Value::Float(self.expansion.now.0 as f64 / 1e3)),
            _ => Err(format!("{what} is not known here")),
        }
    }
}

/// Any data with the outside of an alert.
struct Over<'a> {
    data: Value,
    alert: Alert<'a>,
}

impl Root for Over<'_> {
    fn dot(&self) -> Value {
        self.data.clone()
    }

    fn ask(&self, what: &str, args: &[Value]) -> Result<Value, String> {
        self.alert.ask(what, args)
    }
}

#[cfg(test)]
mod tests;
