//! Arithmetic and comparison between two vectors: which series goes with which, and what comes of it.

use super::column::{Choice, Chosen, Column, RESERVED, absent, is_absent, only, with, without};
use super::{Evaluator, Steps};
use crate::error::{QueryError, execution};
use crate::parse::ast::{Cardinality, Grouping, Matching, Op};
use skerry_model::Labels;
use std::collections::HashMap;

/// The labels by which series match. A series' name never counts but where `on` names it.
pub(super) fn signature(matching: &Matching) -> Choice<'_> {
    match &matching.grouping {
        Some(Grouping::Only(labels)) => Choice::only(labels.iter().map(String::as_str)),
        Some(Grouping::Without(labels)) => Choice::without(labels.iter().map(String::as_str).chain(["__name__"])),
        None => Choice::without(["__name__"]),
    }
}

/// The series of both sides with one signature, by their places.
#[derive(Default)]
struct Group {
    many: Vec<usize>,
    one: Vec<usize>,
}

/// The groups of both sides, by rising signature.
fn groups<'a>(signature: &'a Choice<'a>, many: &'a [Column], one: &'a [Column]) -> Vec<(Chosen<'a>, Group)> {
    let mut places: HashMap<Chosen<'a>, usize> = HashMap::with_capacity(many.len().max(one.len()));
    let mut groups: Vec<(Chosen<'a>, Group)> = Vec::with_capacity(many.len().max(one.len()));
    let mut group = |labels: &'a Labels, join: &dyn Fn(&mut Group)| {
        let key = signature.of(labels);
        let place = *places.entry(key).or_insert_with(|| {
            groups.push((key, Group::default()));
            groups.len() - 1
        });
        join(&mut groups[place].1);
    };
    many.iter().enumerate().for_each(|(place, column)| group(&column.labels, &|group| group.many.push(place)));
    one.iter().enumerate().for_each(|(place, column)| group(&column.labels, &|group| group.one.push(place)));
    // Series come sorted, so that they mostly are.
    if !groups.is_sorted_by(|(a, _), (b, _)| a <= b) {
        groups.sort_by_key(|(signature, _)| *signature);
    }
    groups
}

/// How a pair becomes a value, and what is put for a side that is missing.
struct Rule<'a> {
    op: Op,
    is_bool: bool,
    /// The right side is the one with many series.
    swapped: bool,
    one_to_one: bool,
    grouping: Option<&'a Grouping>,
    include: &'a [String],
    fill_many: Option<f64>,
    fill_one: Option<f64>,
}

impl Evaluator<'_> {
    pub(super) fn matched(
        &mut self,
        op: Op,
        matching: &Matching,
        left: Vec<Column>,
        right: Vec<Column>,
        steps: &Steps,
    ) -> Result<Vec<Column>, QueryError> {
        let signature = signature(matching);
        let none: Vec<String> = Vec::new();
        let (swapped, one_to_one, include) = match &matching.card {
            Cardinality::ManyToOne(labels) => (false, false, labels),
            Cardinality::OneToMany(labels) => (true, false, labels),
            Cardinality::OneToOne | Cardinality::ManyToMany => (false, true, &none),
        };
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        // Prometheus swaps the sides of `group_right` and leaves the fills where they are: `fill_left` is for the side
        // with many series whichever that is.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let is_bool = matching.is_bool;
        let grouping = matching.grouping.as_ref();
        let rule = Rule { op, is_bool, swapped, one_to_one, grouping, include, fill_many, fill_one };
        let groups = groups(&signature, &many, &one);
        let is_empty = |columns: &[Column], step: usize| columns.iter().all(|column| is_absent(column.values[step]));
        // Where a side has nothing at all at a step there is nothing to match, and so nothing that matches twice.
        let has_fill = fill_many.is_some() || fill_one.is_some();
        let idle: Vec<bool> =
            (0..steps.count).map(|step| !has_fill && (is_empty(&many, step) || is_empty(&one, step))).collect();
        let mut output = Output::new(steps.count);
        for (key, group) in &groups {
            self.charge(group.many.len().max(1).saturating_mul(steps.count))?;
            rule.join(*key, group, &many, &one, &idle, &mut output)?;
        }
        Ok(output.columns)
    }
}

impl Rule<'_> {
    /// All pairs of one group.
    fn join(
        &self,
        key: Chosen<'_>,
        group: &Group,
        many: &[Column],
        one: &[Column],
        idle: &[bool],
        output: &mut Output,
    ) -> Result<(), QueryError> {
        // Result labels per pair of places, made when first needed, for the steps that follow.
        let mut places: HashMap<(Option<usize>, Option<usize>), usize> = HashMap::new();
        for (step, is_idle) in idle.iter().enumerate() {
            if *is_idle {
                continue;
            }
            let mut ones = group.one.iter().copied().filter(|place| !is_absent(one[*place].values[step]));
            let single = ones.next();
            if let (Some(first), Some(second)) = (single, ones.next()) {
                return Err(self.duplicate(&key.labels(), &one[first].labels, &one[second].labels));
            }
            let present = || group.many.iter().filter(|place| !is_absent(many[**place].values[step]));
            if self.one_to_one && (single.is_some() || self.fill_one.is_some()) && present().count() > 1 {
                return Err(execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
            let mut is_matched = false;
            for place in group.many.iter().copied().filter(|place| !is_absent(many[*place].values[step])) {
                let other = match (single, self.fill_one) {
                    (Some(single), _) => one[single].values[step],
                    (None, Some(fill)) => fill,
                    (None, None) => continue,
                };
                let Some(value) = self.value(many[place].values[step], other) else {
                    is_matched = true;
                    continue;
                };
                is_matched = true;
                let slot = match places.get(&(Some(place), single)) {
                    Some(slot) => *slot,
                    None => {
                        let partner = single.map(|single| &one[single].labels);
                        let labels = self.labels(&many[place].labels, partner)?;
                        let slot = output.slot(labels, self.drops_name() || many[place].drop_name);
                        if idle.len() > 1 {
                            places.insert((Some(place), single), slot);
                        }
                        slot
                    }
                };
                if !output.put(slot, step, value) {
                    return Err(execution(if self.one_to_one {
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                    } else {
                        "multiple matches for labels: grouping labels must ensure unique matches"
                    }));
                }
            }
            if let (false, Some(single), Some(fill)) = (is_matched, single, self.fill_many) {
                let Some(value) = self.value(fill, one[single].values[step]) else { continue };
                let slot = match places.get(&(None, Some(single))) {
                    Some(slot) => *slot,
                    None => {
                        let labels = self.labels(&key.labels(), Some(&one[single].labels))?;
                        let slot = output.slot(labels, self.drops_name());
                        places.insert((None, Some(single)), slot);
                        slot
                    }
                };
                output.put(slot, step, value);
            }
        }
        Ok(())
    }

    /// The result of a pair, where it has one.
    fn value(&self, many: f64, one: f64) -> Option<f64> {
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        match (self.op.is_comparison(), self.is_bool) {
            (true, true) => Some(f64::from(u8::from(self.op.holds(left, right)))),
            (true, false) => self.op.holds(left, right).then_some(left),
            (false, _) => Some(self.op.compute(left, right)),
        }
    }

    fn drops_name(&self) -> bool {
        self.is_bool || !self.op.is_comparison()
    }

    /// Labels of a pair's result.
    fn labels(&self, many: &Labels, one: Option<&Labels>) -> Result<Labels, QueryError> {
        let mut labels = if self.op.is_comparison() { many.clone() } else { without(many, &RESERVED) };
        if self.one_to_one {
            labels = match self.grouping {
                Some(Grouping::Only(names)) => only(&labels, names),
                Some(Grouping::Without(names)) => without(&labels, names),
                None => labels,
            };
        }
        if let Some(one) = one {
            for name in self.include {
                labels = with(&labels, name, one.value(name))?;
            }
        }
        Ok(labels)
    }

    fn duplicate(&self, key: &Labels, first: &Labels, second: &Labels) -> QueryError {
        let (first, second) = if first < second { (first, second) } else { (second, first) };
        let side = if self.swapped { "left" } else { "right" };
        execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
             many-to-many matching not allowed: matching labels must be unique on one side",
            braces(key),
            braces(first),
            braces(second)
        ))
    }
}

/// A label set as Prometheus writes it in errors: the name among the labels.
fn braces(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Result columns, one per label set.
struct Output {
    columns: Vec<Column>,
    places: HashMap<(Labels, bool), usize>,
    steps: usize,
}

impl Output {
    fn new(steps: usize) -> Self {
        Self { columns: Vec::new(), places: HashMap::new(), steps }
    }

    fn slot(&mut self, labels: Labels, drop_name: bool) -> usize {
        let next = self.columns.len();
        let slot = *self.places.entry((labels.clone(), drop_name)).or_insert(next);
        if slot == next {
            let values = vec![absent(); self.steps];
            self.columns.push(Column { labels, drop_name, values });
        }
        slot
    }

    /// Whether the place was free.
    fn put(&mut self, slot: usize, step: usize, value: f64) -> bool {
        let held = &mut self.columns[slot].values[step];
        let is_free = is_absent(*held);
        *held = value;
        is_free
    }
}
