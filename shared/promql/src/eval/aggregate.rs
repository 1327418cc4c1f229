//! Aggregations over the series of a vector.

use super::column::{Choice, Chosen, Column, RESERVED, absent, is_absent, with};
use super::simple::quantile;
use super::{Evaluator, Steps};
use crate::error::{QueryError, execution};
use crate::kahan::{Mean, Sum};
use crate::parse::ast::{Aggregate, AggregateOp, Expr, Grouping};
use crate::value::number_text;
use skerry_model::Labels;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Members of one group, by their places, in the order of the vector.
struct Group {
    labels: Labels,
    members: Vec<usize>,
    drop_name: bool,
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, steps: &Steps) -> Result<Vec<Column>, QueryError> {
        let columns = self.vector(&aggregate.expr, steps)?;
        let groups = groups(&columns, aggregate.grouping.as_ref());
        self.charge(groups.len().saturating_mul(steps.count))?;
        let parameter = aggregate.param.as_deref();
        match aggregate.op {
            AggregateOp::Sum => Ok(folded(&columns, groups, steps, |values| {
                let mut sum = Sum::default();
                values.iter().for_each(|value| sum.add(*value));
                sum.value()
            })),
            AggregateOp::Avg => Ok(folded(&columns, groups, steps, |values| {
                let mut mean = Mean::default();
                values.iter().for_each(|value| mean.add(*value));
                mean.value()
            })),
            #[expect(clippy::cast_precision_loss, reason = "a count of series")]
            AggregateOp::Count => Ok(folded(&columns, groups, steps, |values| values.len() as f64)),
            AggregateOp::Group => Ok(folded(&columns, groups, steps, |_| 1.0)),
            AggregateOp::Min => {
                Ok(folded(&columns, groups, steps, |values| extreme(values, |value, held| value < held)))
            }
            AggregateOp::Max => {
                Ok(folded(&columns, groups, steps, |values| extreme(values, |value, held| value > held)))
            }
            AggregateOp::Stddev => Ok(folded(&columns, groups, steps, |values| variance(values).sqrt())),
            AggregateOp::Stdvar => Ok(folded(&columns, groups, steps, variance)),
            AggregateOp::Quantile => {
                let phis = self.parameter(parameter, steps)?;
                self.check_quantiles(&phis, parameter.unwrap_or(&aggregate.expr));
                Ok(folded_at(&columns, groups, steps, |step, values| quantile(phis[step], values)))
            }
            AggregateOp::Topk => {
                self.top(parameter, &columns, groups, steps, |a, b| nan_last(a, b, |a, b| b.total_cmp(&a)))
            }
            AggregateOp::Bottomk => {
                self.top(parameter, &columns, groups, steps, |a, b| nan_last(a, b, |a, b| a.total_cmp(&b)))
            }
            AggregateOp::Limitk => self.limit(parameter, &columns, groups, steps),
            AggregateOp::LimitRatio => self.limit_ratio(parameter, columns, steps),
            AggregateOp::CountValues => self.count_values(aggregate, &columns, steps),
        }
    }

    fn parameter(&mut self, parameter: Option<&Expr>, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        let expr = parameter.ok_or_else(|| QueryError::Parse("the aggregation needs a parameter".into()))?;
        self.scalar(expr, steps)
    }

    /// Warns of those that are no quantiles; they come of `expr`.
    pub(super) fn check_quantiles(&mut self, phis: &[f64], expr: &Expr) {
        for phi in phis.iter().filter(|phi| !(0.0..=1.0).contains(*phi)) {
            self.warn(&format!("quantile value should be between 0 and 1, got {}", number_text(*phi)), expr);
        }
    }

    /// The number of series to take at each step.
    fn counts(&mut self, parameter: Option<&Expr>, steps: &Steps) -> Result<Vec<usize>, QueryError> {
        self.parameter(parameter, steps)?
            .into_iter()
            .map(|value| {
                if value.is_nan() {
                    return Err(execution("Parameter value is NaN"));
                }
                if value.abs() >= 9.3e18 {
                    return Err(execution(format!("Scalar value {} overflows int64", number_text(value))));
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "negative ones are none")]
                Ok(value.max(0.0) as usize)
            })
            .collect()
    }

    fn top(
        &mut self,
        parameter: Option<&Expr>,
        columns: &[Column],
        groups: Vec<Group>,
        steps: &Steps,
        order: impl Fn(f64, f64) -> Ordering,
    ) -> Result<Vec<Column>, QueryError> {
        let counts = self.counts(parameter, steps)?;
        let mut kept: HashMap<usize, Column> = HashMap::new();
        let mut sequence: Vec<usize> = Vec::new();
        for group in groups {
            for (step, count) in counts.iter().enumerate() {
                let present = group.members.iter().copied().filter(|place| !is_absent(columns[*place].values[step]));
                let mut best: Vec<usize> = present.collect();
                best.sort_by(|a, b| order(columns[*a].values[step], columns[*b].values[step]));
                for place in best.into_iter().take(*count) {
                    let column = kept.entry(place).or_insert_with(|| {
                        sequence.push(place);
                        Column { values: vec![absent(); steps.count], ..columns[place].clone() }
                    });
                    column.values[step] = columns[place].values[step];
                }
            }
        }
        self.charge(sequence.len().saturating_mul(steps.count))?;
        Ok(sequence.iter().filter_map(|place| kept.remove(place)).collect())
    }

    fn limit(
        &mut self,
        parameter: Option<&Expr>,
        columns: &[Column],
        groups: Vec<Group>,
        steps: &Steps,
    ) -> Result<Vec<Column>, QueryError> {
        let counts = self.counts(parameter, steps)?;
        let mut output = Vec::new();
        for group in groups {
            let mut taken = vec![0; steps.count];
            for place in group.members {
                let mut column = columns[place].clone();
                for (step, value) in column.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
                    taken[step] += 1;
                    if taken[step] > counts[step] {
                        *value = absent();
                    }
                }
                output.push(column);
            }
        }
        Ok(output)
    }

    /// Takes the same share of series at each step and in each query: by a hash of their labels.
    fn limit_ratio(
        &mut self,
        parameter: Option<&Expr>,
        mut columns: Vec<Column>,
        steps: &Steps,
    ) -> Result<Vec<Column>, QueryError> {
        let ratios = self.parameter(parameter, steps)?;
        if ratios.iter().any(|ratio| ratio.is_nan()) {
            return Err(execution("Ratio value is NaN"));
        }
        for ratio in &ratios {
            if ratio.abs() > 1.0 {
                let bound = if *ratio > 0.0 { "1" } else { "-1" };
                let text = number_text(*ratio);
                let text = format!("ratio value should be between -1 and 1, got {text}, capping to {bound}");
                if let Some(expr) = parameter {
                    self.warn(&text, expr);
                }
            }
        }
        for column in &mut columns {
            let mut hasher = DefaultHasher::new();
            column.labels.hash(&mut hasher);
            #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
            let place = hasher.finish() as f64 / u64::MAX as f64;
            for (value, ratio) in column.values.iter_mut().zip(&ratios) {
                let ratio = ratio.clamp(-1.0, 1.0);
                let is_in = if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio };
                if !is_in {
                    *value = absent();
                }
            }
        }
        Ok(columns)
    }

    fn count_values(
        &mut self,
        aggregate: &Aggregate,
        columns: &[Column],
        steps: &Steps,
    ) -> Result<Vec<Column>, QueryError> {
        let parameter = aggregate.param.as_deref();
        let parameter = parameter.ok_or_else(|| QueryError::Parse("count_values needs a label name".into()))?;
        let label = self.text(parameter, steps)?;
        if !super::labels::is_label_name(&label) {
            return Err(execution(format!("invalid label name {label:?}")));
        }
        let choice = choice(aggregate.grouping.as_ref());
        let mut output: Vec<Column> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for column in columns {
            for (step, value) in column.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                let named = with(&column.labels, &label, &number_text(*value))?;
                let mut labels = choice.of(&named).labels();
                // Grouping may leave the label out; what counts is in it all the same.
                labels = with(&labels, &label, named.value(&label))?;
                let next = output.len();
                let place = *places.entry(labels.clone()).or_insert(next);
                if place == next {
                    self.charge(steps.count)?;
                    output.push(Column::new(labels, steps.count));
                }
                let held = &mut output[place].values[step];
                *held = if is_absent(*held) { 1.0 } else { *held + 1.0 };
            }
        }
        Ok(output)
    }
}

/// The labels that make a group.
fn choice(modifier: Option<&Grouping>) -> Choice<'_> {
    match modifier {
        None => Choice::only([]),
        Some(Grouping::Only(names)) => Choice::only(names.iter().map(String::as_str)),
        Some(Grouping::Without(names)) => Choice::without(names.iter().map(String::as_str).chain(RESERVED)),
    }
}

fn groups(columns: &[Column], modifier: Option<&Grouping>) -> Vec<Group> {
    let choice = choice(modifier);
    let mut places: HashMap<Chosen<'_>, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let key = choice.of(&column.labels);
        let group = *places.entry(key).or_insert_with(|| {
            groups.push(Group { labels: key.labels(), members: Vec::new(), drop_name: false });
            groups.len() - 1
        });
        groups[group].members.push(place);
        groups[group].drop_name |= column.drop_name;
    }
    groups
}

fn folded(columns: &[Column], groups: Vec<Group>, steps: &Steps, fold: impl Fn(&mut Vec<f64>) -> f64) -> Vec<Column> {
    folded_at(columns, groups, steps, |_, values| fold(values))
}

/// One value per group and step, from those that are present; nothing where none is.
fn folded_at(
    columns: &[Column],
    groups: Vec<Group>,
    steps: &Steps,
    fold: impl Fn(usize, &mut Vec<f64>) -> f64,
) -> Vec<Column> {
    let mut values = Vec::new();
    let mut output = Vec::with_capacity(groups.len());
    for group in groups {
        let mut column = Column { drop_name: group.drop_name, ..Column::new(group.labels, steps.count) };
        for (step, result) in column.values.iter_mut().enumerate() {
            values.clear();
            let all = group.members.iter().map(|place| columns[*place].values[step]);
            values.extend(all.filter(|value| !is_absent(*value)));
            if !values.is_empty() {
                *result = fold(step, &mut values);
            }
        }
        output.push(column);
    }
    output
}

/// The least or greatest value; no number counts only where there is nothing else.
pub(super) fn extreme(values: &[f64], is_better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut held = f64::NAN;
    for value in values {
        if is_better(*value, held) || held.is_nan() {
            held = *value;
        }
    }
    held
}

/// Variance of a population, by Welford's algorithm.
#[expect(clippy::ptr_arg, reason = "the shape that folding has")]
fn variance(values: &mut Vec<f64>) -> f64 {
    let (mut count, mut mean, mut sum) = (0.0, 0.0, 0.0);
    for value in values.iter() {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        sum += delta * (value - mean);
    }
    sum / count
}

/// An order of numbers with NaN behind all of them, whichever way the rest is sorted.
pub(super) fn nan_last(a: f64, b: f64, order: impl Fn(f64, f64) -> Ordering) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => order(a, b),
        (a, b) => a.cmp(&b),
    }
}
