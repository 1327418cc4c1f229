//! Binary operators on numbers and on a vector with a number; on two vectors they are in `matching` and `sets`.

use super::column::{Column, absent, is_absent};
use super::{Evaluated, Evaluator, Steps};
use crate::error::QueryError;
use crate::parse::ast::{Binary, Op};

impl Op {
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
    pub(super) fn binary(&mut self, binary: &Binary, steps: &Steps) -> Result<Evaluated, QueryError> {
        let op = binary.op;
        let left = self.eval(&binary.left, steps)?;
        let right = self.eval(&binary.right, steps)?;
        let is_bool = binary.matching.is_bool;
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
                self.set(op, &binary.matching, left, right, steps).map(Evaluated::Vector)
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) => {
                self.matched(op, &binary.matching, left, right, steps).map(Evaluated::Vector)
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
