//! Binary operators on numbers and on a vector with a number; on two vectors they are in `matching` and `sets`.

use super::column::{Column, absent, is_absent};
use super::{Evaluated, Evaluator, Steps};
use crate::error::QueryError;
use promql_parser::parser::BinaryExpr;
use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL, T_NEQ, T_POW,
    T_SUB,
};

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

impl Op {
    fn of(binary: &BinaryExpr) -> Result<Self, QueryError> {
        Ok(match binary.op.id() {
            T_ADD => Self::Add,
            T_SUB => Self::Sub,
            T_MUL => Self::Mul,
            T_DIV => Self::Div,
            T_MOD => Self::Mod,
            T_POW => Self::Pow,
            T_ATAN2 => Self::Atan2,
            T_EQLC => Self::Equal,
            T_NEQ => Self::NotEqual,
            T_GTR => Self::Greater,
            T_LSS => Self::Less,
            T_GTE => Self::GreaterEqual,
            T_LTE => Self::LessEqual,
            T_LAND => Self::And,
            T_LOR => Self::Or,
            T_LUNLESS => Self::Unless,
            _ => return Err(QueryError::Unsupported(format!("operator {}", binary.op))),
        })
    }

    pub(super) const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    pub(super) const fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::GreaterEqual | Self::LessEqual)
    }

    /// Whether a comparison holds.
    #[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::Less => left < right,
            Self::GreaterEqual => left >= right,
            Self::LessEqual => left <= right,
            _ => false,
        }
    }

    /// The result of arithmetic.
    pub(super) fn compute(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Mod => left % right,
            Self::Pow => left.powf(right),
            Self::Atan2 => left.atan2(right),
            _ => f64::NAN,
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn binary(&mut self, binary: &BinaryExpr, steps: &Steps) -> Result<Evaluated, QueryError> {
        let op = Op::of(binary)?;
        let left = self.eval(&binary.lhs, steps)?;
        let right = self.eval(&binary.rhs, steps)?;
        let is_bool = binary.return_bool();
        match (left, right) {
            (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
                let pairs = left.into_iter().zip(right);
                Ok(Evaluated::Scalar(pairs.map(|(left, right)| number(op, left, right)).collect()))
            }
            (Evaluated::Vector(columns), Evaluated::Scalar(numbers)) => {
                let columns = columns.into_iter().map(|c| with_number(op, is_bool, c, &numbers, Side::Left));
                Ok(Evaluated::Vector(columns.collect()))
            }
            (Evaluated::Scalar(numbers), Evaluated::Vector(columns)) => {
                let columns = columns.into_iter().map(|c| with_number(op, is_bool, c, &numbers, Side::Right));
                Ok(Evaluated::Vector(columns.collect()))
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) if op.is_set() => {
                self.set(op, binary.modifier.as_ref(), left, right, steps).map(Evaluated::Vector)
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) => {
                self.matched(op, binary.modifier.as_ref(), left, right, steps).map(Evaluated::Vector)
            }
            _ => Err(QueryError::Parse("a binary operator takes scalars and instant vectors".into())),
        }
    }
}

/// An operator on two numbers; a comparison gives 1 or 0.
fn number(op: Op, left: f64, right: f64) -> f64 {
    if op.is_comparison() { f64::from(u8::from(op.holds(left, right))) } else { op.compute(left, right) }
}

/// On which side the vector stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

fn with_number(op: Op, is_bool: bool, mut column: Column, numbers: &[f64], side: Side) -> Column {
    for (value, number) in column.values.iter_mut().zip(numbers).filter(|(value, _)| !is_absent(**value)) {
        let (left, right) = if side == Side::Left { (*value, *number) } else { (*number, *value) };
        *value = match (op.is_comparison(), is_bool) {
            (true, true) => f64::from(u8::from(op.holds(left, right))),
            // A filter gives the vector's own value, on whichever side it stands.
            (true, false) if op.holds(left, right) => *value,
            (true, false) => absent(),
            (false, _) => op.compute(left, right),
        };
    }
    column.drop_name |= is_bool || !op.is_comparison();
    column
}
