//! What a parsed expression is made of.

use crate::matcher::Matcher;
use std::fmt;

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    Vector,
    Matrix,
    Text,
}

/// Prometheus's words.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Text => "string",
        })
    }
}

/// An expression and where it stands in the text. Small, because the parser's frames hold several.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) kind: Box<Kind>,
    /// First byte.
    pub(crate) start: usize,
    /// The byte behind the last one.
    pub(crate) end: usize,
    /// How many expressions are nested here, itself included.
    pub(crate) depth: usize,
}

/// The forms of an expression.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A number; whether it was written as a duration.
    Number(f64, bool),
    Text(String),
    Paren(Box<Expr>),
    Unary(Sign, Box<Expr>),
    Vector(Selector),
    Matrix(Selector, i64),
    Subquery(Subquery),
    Call(Call),
    Aggregate(Aggregate),
    Binary(Binary),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

/// What `@` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Start,
    End,
    /// Milliseconds since 1970.
    Time(i64),
}

/// `@` and `offset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) at: Option<At>,
    /// Milliseconds back in time; negative: ahead.
    pub(crate) offset: Option<i64>,
}

/// `name{label="value"} @ 1 offset 5m`
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    /// The name before the braces; it stands among the matchers too.
    pub(crate) name: Option<String>,
    /// All conditions, the name's first.
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) shift: Shift,
}

/// `expr[range:step] @ 1 offset 5m`
#[derive(Debug, Clone)]
pub(crate) struct Subquery {
    pub(crate) expr: Box<Expr>,
    pub(crate) range_ms: i64,
    pub(crate) step_ms: Option<i64>,
    pub(crate) shift: Shift,
}

/// `name(args)`
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) returns: Type,
    pub(crate) args: Vec<Expr>,
}

/// Which labels count: for groups of aggregations and for pairs of operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// `by`, `on`
    Only(Vec<String>),
    /// `without`, `ignoring`
    Without(Vec<String>),
}

/// `op by (labels) (param, expr)`
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) expr: Box<Expr>,
    pub(crate) param: Option<Box<Expr>>,
    pub(crate) grouping: Option<Grouping>,
}

/// How many series of each side may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    /// `group_left`, with the labels taken from the other side.
    ManyToOne(Vec<String>),
    /// `group_right`, likewise.
    OneToMany(Vec<String>),
    /// Of set operators.
    ManyToMany,
}

/// What stands between an operator and its right side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matching {
    pub(crate) is_bool: bool,
    pub(crate) grouping: Option<Grouping>,
    pub(crate) card: Cardinality,
    /// Values for series without a partner.
    pub(crate) fill_left: Option<f64>,
    pub(crate) fill_right: Option<f64>,
}

/// `left op right`
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) op: Op,
    pub(crate) left: Box<Expr>,
    pub(crate) right: Box<Expr>,
    pub(crate) matching: Matching,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),* }

        impl $name {
            /// As it is written.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// By its word, in lower case.
            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// An aggregation.
    AggregateOp {
        Sum "sum", Avg "avg", Count "count", Group "group", Min "min", Max "max", Stddev "stddev", Stdvar "stdvar",
        Quantile "quantile", Topk "topk", Bottomk "bottomk", Limitk "limitk", LimitRatio "limit_ratio",
        CountValues "count_values",
    }
}

words! {
    /// A binary operator.
    Op {
        Add "+", Sub "-", Mul "*", Div "/", Mod "%", Pow "^", Atan2 "atan2", Equal "==", NotEqual "!=", Greater ">",
        Less "<", GreaterEqual ">=", LessEqual "<=", And "and", Or "or", Unless "unless",
    }
}

impl AggregateOp {
    /// Type of its parameter, where it has one.
    pub(crate) const fn param(self) -> Option<Type> {
        match self {
            Self::Quantile | Self::Topk | Self::Bottomk | Self::Limitk | Self::LimitRatio => Some(Type::Scalar),
            Self::CountValues => Some(Type::Text),
            _ => None,
        }
    }
}

impl Op {
    pub(crate) const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    pub(crate) const fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::GreaterEqual | Self::LessEqual)
    }

    /// How tightly it binds; `^` is above all of these and has a rule of its own.
    pub(crate) const fn binds(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::GreaterEqual | Self::LessEqual => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}

impl Expr {
    /// What it evaluates to.
    pub(crate) fn kind_of_value(&self) -> Type {
        match &*self.kind {
            Kind::Number(..) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Paren(inner) | Kind::Unary(_, inner) => inner.kind_of_value(),
            Kind::Vector(_) | Kind::Aggregate(_) => Type::Vector,
            Kind::Matrix(..) | Kind::Subquery(_) => Type::Matrix,
            Kind::Call(call) => call.returns,
            Kind::Binary(binary) => match (binary.left.kind_of_value(), binary.right.kind_of_value()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
        }
    }

    /// It without the parentheses around it.
    pub(crate) fn bare(&self) -> &Self {
        let mut expr = self;
        while let Kind::Paren(inner) = &*expr.kind {
            expr = inner;
        }
        expr
    }
}
