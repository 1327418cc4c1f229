//! Templates of `| line_format` and `| label_format`: Go's text/template with Loki's functions.
//!
//! The language is [`skerry_template`]'s; here are the functions that Loki documents, and how a template sees a line:
//! `.` is its labels, an absent one is empty.
//!
//! Invariants:
//! - Nodes evaluated and bytes written are bounded for each line, so that no line and no template takes long or much.
//! - A function that cannot do what it is asked is an error of the line, not of the query.

mod convert;
mod functions;
mod text;

#[cfg(test)]
mod tests;

use skerry_template::{Functions, Limits, Map, Root, Value};

/// Nodes that are evaluated for one line, `range` in `range` would take long otherwise; and bytes that are written for
/// one line, which is also the longest text that a function may make.
const LIMITS: Limits = Limits { steps: 20_000, bytes: 1 << 20, escapes_html: false };

/// What a template looks at.
pub(crate) trait Data {
    /// Value of a label; empty where it is absent.
    fn label(&self, name: &str) -> &str;
    /// Names and values of all labels.
    fn labels(&self) -> Vec<(&str, &str)>;
    /// The line as it is so far.
    fn line(&self) -> String;
    /// The line's time, in nanoseconds since 1970.
    fn at_nanos(&self) -> i64;
}

/// A template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    text: String,
    parsed: skerry_template::Template,
}

impl Template {
    /// Of a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let functions = Functions::new(&[functions::FUNCTIONS]);
        let parsed = skerry_template::Template::parse("line", text, &functions).map_err(|error| error.problem)?;
        Ok(Self { text: text.to_owned(), parsed })
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
        self.parsed.run(&Line(data), LIMITS, out).map_err(|error| error.problem)
    }
}

/// A line as what a template is run over.
struct Line<'a>(&'a dyn Data);

impl Root for Line<'_> {
    fn dot(&self) -> Value {
        Map::of_texts(self.0.labels().into_iter()).into()
    }

    fn field(&self, name: &str) -> Result<Value, String> {
        Ok(self.0.label(name).into())
    }

    fn write_field(&self, name: &str, out: &mut String) -> bool {
        out.push_str(self.0.label(name));
        true
    }

    fn ask(&self, what: &str, _: &[Value]) -> Result<Value, String> {
        Ok(match what {
            "line" => self.0.line().into(),
            _ => Value::Time(skerry_template::Time::of_nanos(self.0.at_nanos())),
        })
    }
}
