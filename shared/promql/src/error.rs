//! Why a query has no answer.

use crate::matcher::InvalidMatcher;
use crate::source::{SourceError, TooMuch};

/// Why a query has no answer, for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is no expression.
    #[error("{0}")]
    Parse(String),
    /// A matcher's regular expression cannot be used.
    #[error(transparent)]
    Matcher(#[from] InvalidMatcher),
    /// Evaluation went wrong, in the words that Prometheus has for it.
    #[error("{0}")]
    Execution(String),
    /// The query touches more than it may.
    #[error("the query touches more than {0} values; narrow the selectors, the time range or the step")]
    TooMuch(u64),
    /// The expression is nested too deep.
    #[error("the expression is nested more than {0} deep")]
    TooDeep(usize),
    /// Something that is not known here.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The samples cannot be read.
    #[error("read samples")]
    Source(#[from] SourceError),
}

impl QueryError {
    /// `errorType` of Prometheus's HTTP API.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Parse(_) | Self::Matcher(_) | Self::TooDeep(_) => "bad_data",
            Self::Execution(_) | Self::TooMuch(_) | Self::Unsupported(_) => "execution",
            Self::Source(source) if source.0.is::<TooMuch>() => "execution",
            Self::Source(_) => "internal",
        }
    }
}

/// An evaluation error.
pub(crate) fn execution(text: impl Into<String>) -> QueryError {
    QueryError::Execution(text.into())
}
