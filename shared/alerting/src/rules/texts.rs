//! Templates of rules: what an expansion is given, and bounds on what it makes.

use crate::expand::{self, ExpandError, Expansion, Text};
use skerry_model::{Labels, UnixMillis};
use skerry_promql::{Limits, Query, Source, Span, Value};

/// What faults call the template of an alert.
fn title(alert: &str) -> String {
    format!("__alert_{alert}")
}

/// Whether a text of that alert can be expanded.
///
/// # Errors
/// Why not.
pub(super) fn check(alert: &str, text: &str) -> Result<(), String> {
    if !text.contains("{{") {
        return Ok(());
    }
    expand::check(&title(alert), text).map_err(|error| error.to_string())
}

/// A text of an alert, read once for all results of an evaluation; or what is wrong with it.
pub(super) type Prepared = Result<Text, String>;

/// Reads a text of that alert.
pub(super) fn prepared(alert: &str, text: &str) -> Prepared {
    Text::parse(&title(alert), text).map_err(|error| ExpandError::Parse(error).to_string())
}

/// What all templates of an evaluation are given.
pub(super) struct Texts<'a> {
    pub(super) external_labels: &'a Labels,
    pub(super) external_url: &'a str,
    /// The group's slot: the `query` of templates knows no offset.
    pub(super) at: UnixMillis,
    pub(super) limits: Limits,
    pub(super) bytes_max: usize,
    pub(super) source: &'a dyn Source,
}

impl Texts<'_> {
    /// The text of a template of that alert for one result, cut where it is too long.
    ///
    /// # Errors
    /// What goes wrong in it.
    pub(super) fn expand(&self, alert: &str, text: &Prepared, labels: &Labels, value: f64) -> Result<String, String> {
        let text = text.as_ref().map_err(String::clone)?;
        if text.is_plain() {
            return Ok(cut(text.as_str().to_owned(), self.bytes_max));
        }
        let expansion = Expansion {
            name: &title(alert),
            labels,
            value,
            external_labels: self.external_labels,
            external_url: self.external_url,
            now: self.at,
            query: &|expr| self.query(expr),
        };
        let text = text.expand(&expansion).map_err(|error| error.to_string())?;
        Ok(cut(text, self.bytes_max))
    }

    fn query(&self, expr: &str) -> Result<Vec<(Labels, f64)>, String> {
        let query = Query::parse(expr).map_err(|error| error.to_string())?;
        let answer = query.evaluate(self.source, Span::instant(self.at), self.limits).map_err(|e| e.to_string())?;
        let first = |points: &[skerry_promql::Point]| points.first().map_or(f64::NAN, |point| point.value);
        match answer.value {
            Value::Vector(all) => Ok(all.into_iter().map(|series| (series.labels, first(&series.points))).collect()),
            Value::Scalar(points) => Ok(vec![(Labels::default(), first(&points))]),
            Value::String(_) | Value::Matrix(_) => Err("query result is not a vector or scalar".into()),
        }
    }
}

/// A text of at most `bytes_max` bytes, cut at a character.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
