//! Parameters of a request, from its query string and its form.

use skerry_model::UnixMillis;
use std::time::Duration;

/// A parameter that cannot be used.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) parameter: &'static str,
    pub(crate) problem: String,
}

/// Names and values; a name may stand several times.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// From pairs, already decoded.
    #[must_use]
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// From a query string and a form, both percent-encoded. What is no UTF-8 is replaced.
    #[must_use]
    pub fn decode(query: &[u8], form: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(query).chain(form_urlencoded::parse(form));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A query string of these pairs.
    #[must_use]
    pub fn encode(pairs: &[(&str, String)]) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// The first value of that name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// Unix seconds with fractions, or RFC 3339.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<UnixMillis>, Bad> {
        let Some(text) = self.first(name) else { return Ok(None) };
        let bad = || Bad {
            parameter: name,
            problem: format!("Invalid time value for '{name}': cannot parse {text:?} to a valid timestamp"),
        };
        if let Ok(seconds) = text.parse::<f64>() {
            if !seconds.is_finite() || seconds.abs() > 1e14 {
                return Err(bad());
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            return Ok(Some(UnixMillis((seconds * 1000.0).round() as i64)));
        }
        let at = text.parse::<jiff::Timestamp>().map_err(|_| bad())?;
        Ok(Some(UnixMillis(at.as_millisecond())))
    }

    /// Seconds with fractions, or `1m30s`.
    pub(crate) fn duration(&self, name: &'static str) -> Result<Option<Duration>, Bad> {
        let Some(text) = self.first(name) else { return Ok(None) };
        let bad = || Bad { parameter: name, problem: format!("cannot parse {text:?} to a valid duration") };
        let span = match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| bad())?,
            Err(_) => text.parse::<skerry_model::Span>().map_err(|_| bad())?.0,
        };
        if span.is_zero() {
            let what = if name == "step" { "query resolution step widths" } else { "durations" };
            let problem = format!("zero or negative {what} are not accepted. Try a positive integer");
            return Err(Bad { parameter: name, problem });
        }
        Ok(Some(span))
    }

    /// Most items in the answer; zero is no limit.
    pub(crate) fn limit(&self) -> Result<Option<usize>, Bad> {
        self.count("limit")
    }

    /// A whole number, of which zero is the same as none.
    pub(crate) fn count(&self, name: &'static str) -> Result<Option<usize>, Bad> {
        let Some(text) = self.first(name) else { return Ok(None) };
        match text.parse::<usize>() {
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(Bad { parameter: name, problem: format!("{text:?} is no whole number") }),
        }
    }
}
