//! `and`, `or`, `unless`.

use super::column::{Chosen, Column, absent, is_absent};
use super::matching::signature;
use super::{Evaluator, Steps};
use crate::error::QueryError;
use crate::parse::ast::{Matching, Op};
use std::collections::HashMap;

impl Evaluator<'_> {
    pub(super) fn set(
        &mut self,
        op: Op,
        matching: &Matching,
        mut left: Vec<Column>,
        mut right: Vec<Column>,
        steps: &Steps,
    ) -> Result<Vec<Column>, QueryError> {
        let signature = signature(matching);
        // Only where the others have something of the same signature, or only where they have not, at each step.
        let keep = |columns: &mut Vec<Column>, others: &[Column], wanted: bool| {
            let mut places: HashMap<Chosen<'_>, usize> = HashMap::with_capacity(others.len());
            let mut present: Vec<bool> = Vec::with_capacity(others.len().saturating_mul(steps.count));
            for column in others {
                let place = *places.entry(signature.of(&column.labels)).or_insert_with(|| {
                    present.resize(present.len() + steps.count, false);
                    present.len() - steps.count
                });
                for (held, value) in present[place..].iter_mut().zip(&column.values) {
                    *held |= !is_absent(*value);
                }
            }
            for column in columns {
                let there = places.get(&signature.of(&column.labels));
                for (step, value) in column.values.iter_mut().enumerate() {
                    if there.is_some_and(|there| present[there + step]) != wanted {
                        *value = absent();
                    }
                }
            }
        };
        match op {
            Op::And => keep(&mut left, &right, true),
            Op::Unless => keep(&mut left, &right, false),
            _ => {
                keep(&mut right, &left, false);
                left.extend(right);
            }
        }
        self.charge(left.len().saturating_mul(steps.count))?;
        left.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
        Ok(left)
    }
}
