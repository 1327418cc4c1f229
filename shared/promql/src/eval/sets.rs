//! `and`, `or`, `unless`.

use super::column::{Column, absent, is_absent};
use super::matching::Signature;
use super::{Evaluator, Steps};
use crate::error::QueryError;
use crate::parse::ast::{Matching, Op};
use skerry_model::Labels;
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
        let signature = Signature::of(matching);
        // Whether a side has anything of a signature, at each step.
        let present = |columns: &[Column]| {
            let mut present: HashMap<Labels, Vec<bool>> = HashMap::new();
            for column in columns {
                let held = present.entry(signature.labels(&column.labels)).or_insert_with(|| vec![false; steps.count]);
                for (held, value) in held.iter_mut().zip(&column.values) {
                    *held |= !is_absent(*value);
                }
            }
            present
        };
        let keep = |columns: &mut Vec<Column>, present: &HashMap<Labels, Vec<bool>>, wanted: bool| {
            for column in columns {
                let there = present.get(&signature.labels(&column.labels));
                for (step, value) in column.values.iter_mut().enumerate() {
                    if there.is_some_and(|there| there[step]) != wanted {
                        *value = absent();
                    }
                }
            }
        };
        match op {
            Op::And => keep(&mut left, &present(&right), true),
            Op::Unless => keep(&mut left, &present(&right), false),
            _ => {
                keep(&mut right, &present(&left), false);
                left.extend(right);
            }
        }
        self.charge(left.len().saturating_mul(steps.count))?;
        left.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
        Ok(left)
    }
}
