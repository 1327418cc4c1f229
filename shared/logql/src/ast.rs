//! What a parsed query is made of. Whatever can be compiled is.

use crate::ip::IpRange;
use crate::pattern::LinePattern;
use crate::template::Template;
use memchr::memmem::Finder;
use skerry_logs::parse::{JsonPath, Pattern, Regexp};
use skerry_promql::Matcher;

/// `{…} | …`
#[derive(Debug, Clone)]
pub(crate) struct LogExpr {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) stages: Vec<Stage>,
}

/// What is done to each line, in order.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Line(LineFilter),
    Json(Vec<Extract>),
    Logfmt { strict: bool, keep_empty: bool, extracts: Vec<Extract> },
    Regexp(Regexp, String),
    Pattern(Pattern, String),
    Unpack,
    Decolorize,
    Labels(LabelFilter),
    LineFormat(Template),
    LabelFormat(Vec<Format>),
    Drop(Vec<Pick>),
    Keep(Vec<Pick>),
}

/// `|= "a" or "b"`
#[derive(Debug, Clone)]
pub(crate) struct LineFilter {
    pub(crate) op: LineOp,
    /// One of them, or with a negated operator none.
    pub(crate) alternatives: Vec<Sought>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineOp {
    Contains,
    NotContains,
    Regex,
    NotRegex,
    Pattern,
    NotPattern,
}

/// What a line filter looks for.
#[derive(Debug, Clone)]
pub(crate) enum Sought {
    Text(Box<Finder<'static>>, String),
    Regex(regex::bytes::Regex),
    Pattern(LinePattern, String),
    Ip(IpRange, String),
}

/// `name="path"` of `| json` and `| logfmt`
#[derive(Debug, Clone)]
pub(crate) struct Extract {
    pub(crate) name: String,
    /// As it is written.
    pub(crate) text: String,
    /// Of `| json`.
    pub(crate) path: Option<JsonPath>,
}

/// A condition on labels.
#[derive(Debug, Clone)]
pub(crate) enum LabelFilter {
    And(Box<LabelFilter>, Box<LabelFilter>),
    Or(Box<LabelFilter>, Box<LabelFilter>),
    Text(Matcher),
    /// The quantity as it is written, and in units of the label's value: numbers, nanoseconds or bytes.
    Quantity {
        name: String,
        op: Compare,
        unit: Unit,
        value: f64,
        text: String,
    },
    Ip {
        name: String,
        is_not: bool,
        range: IpRange,
        text: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Number,
    /// Compared in nanoseconds; unwrapped in seconds.
    Duration,
    Bytes,
}

/// Part of `| label_format`.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pub(crate) name: String,
    pub(crate) from: FormatFrom,
}

#[derive(Debug, Clone)]
pub(crate) enum FormatFrom {
    /// Takes the place of that label.
    Label(String),
    Template(Template),
}

/// Part of `| drop` and `| keep`: labels of a name, or only with certain values.
#[derive(Debug, Clone)]
pub(crate) enum Pick {
    Name(String),
    Matching(Matcher),
}

impl Pick {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Matching(matcher) => matcher.label(),
        }
    }
}

/// `| unwrap duration(label) | filter`
#[derive(Debug, Clone)]
pub(crate) struct Unwrap {
    pub(crate) label: String,
    /// The function around the label: `duration`, `duration_seconds`, `bytes`, or none.
    pub(crate) function: Option<&'static str>,
    pub(crate) unit: Unit,
    pub(crate) filters: Vec<LabelFilter>,
}

/// `by (a, b)`, `without (a, b)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grouping {
    pub(crate) is_by: bool,
    pub(crate) names: Vec<String>,
}

/// `op(param, {…} | … | unwrap … [range] offset …) by (…)`
#[derive(Debug, Clone)]
pub(crate) struct RangeExpr {
    pub(crate) op: RangeOp,
    /// Of `quantile_over_time`, as it is written.
    pub(crate) param: Option<String>,
    pub(crate) log: LogExpr,
    pub(crate) unwrap: Option<Unwrap>,
    /// More than 0.
    pub(crate) range_ms: i64,
    /// Back in time.
    pub(crate) offset_ms: i64,
    pub(crate) grouping: Option<Grouping>,
    /// What the aggregation around it keeps, where grouping before it gives the same.
    pub(crate) around: Option<Grouping>,
}

macro_rules! range_ops {
    ($($variant:ident $word:literal,)*) => {
        /// A function of a range.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum RangeOp { $($variant),* }

        impl RangeOp {
            /// As it is written.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// By its word.
            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

range_ops! {
    Rate "rate", RateCounter "rate_counter", Count "count_over_time", BytesRate "bytes_rate",
    Bytes "bytes_over_time", Absent "absent_over_time", Sum "sum_over_time", Avg "avg_over_time", Min "min_over_time",
    Max "max_over_time", Stddev "stddev_over_time", Stdvar "stdvar_over_time", First "first_over_time",
    Last "last_over_time", Quantile "quantile_over_time",
}

impl RangeOp {
    /// Whether it works on the numbers of a label, on lines, or (`None`) on either.
    pub(crate) const fn wants_unwrap(self) -> Option<bool> {
        match self {
            Self::Rate | Self::Absent => None,
            Self::Count | Self::BytesRate | Self::Bytes => Some(false),
            _ => Some(true),
        }
    }

    /// Whether it may be grouped by itself.
    pub(crate) const fn may_group(self) -> bool {
        matches!(
            self,
            Self::Avg | Self::Min | Self::Max | Self::Stddev | Self::Stdvar | Self::First | Self::Last | Self::Quantile
        )
    }
}
