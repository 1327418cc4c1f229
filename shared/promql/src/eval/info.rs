//! `info()`: labels of info metrics, such as `target_info`, put on the series that describe the same thing.

use super::column::{Column, RESERVED, absent, is_absent, only, with};
use super::select::{Take, When};
use super::{Evaluator, Steps};
use crate::error::{QueryError, execution};
use crate::matcher::{MatchOp, Matcher};
use crate::parse::ast::{Expr, Kind, Shift};
use skerry_model::Labels;
use std::collections::{BTreeMap, HashMap};

/// The labels by which a series and an info series belong together.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What the second argument asks for.
struct Wanted {
    /// Conditions on the names of info metrics.
    names: Vec<Matcher>,
    /// Whether a condition says what such a name is, and not only what it is not.
    is_positive: bool,
    /// Conditions on their other labels; those labels alone are taken over. Without any, all are.
    data: Vec<Matcher>,
}

impl Wanted {
    fn of(args: &[Expr]) -> Result<Self, QueryError> {
        let mut all = match args.first().map(|arg| &*arg.bare().kind) {
            None => Vec::new(),
            Some(Kind::Vector(selector)) => selector.matchers.clone(),
            Some(_) => return Err(QueryError::Parse("info() takes a label selector as second argument".into())),
        };
        let data = all.extract_if(.., |matcher| matcher.label() != "__name__").collect();
        let mut names = all;
        let is_positive = names.iter().any(|matcher| matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex));
        if names.is_empty() {
            names.push(Matcher::equal("__name__", "target_info"));
        } else if !is_positive {
            names.push(Matcher::new("__name__", MatchOp::Regex, ".+_info")?);
        }
        Ok(Self { is_positive: is_positive || names.len() == 1, names, data })
    }

    /// Whether a series is an info series itself, and is left as it is.
    fn is_info(&self, labels: &Labels) -> bool {
        self.is_positive && self.names.iter().all(|matcher| matcher.matches(labels.metric()))
    }

    fn takes(&self, label: &str) -> bool {
        let is_own = IDENTIFYING.contains(&label) || RESERVED.contains(&label);
        !is_own && (self.data.is_empty() || self.data.iter().any(|matcher| matcher.label() == label))
    }
}

/// The conditions on the info series that the arguments behind the vector ask for.
pub(crate) fn conditions(rest: &[Expr]) -> Result<Vec<Matcher>, QueryError> {
    Wanted::of(rest).map(|wanted| wanted.names.into_iter().chain(wanted.data).collect())
}

impl Evaluator<'_> {
    pub(super) fn info(&mut self, args: &[Expr], steps: &Steps) -> Result<Vec<Column>, QueryError> {
        let [vector, rest @ ..] = args else { return Err(QueryError::Parse("info() takes a vector".into())) };
        let base = self.vector(vector, steps)?;
        let wanted = Wanted::of(rest)?;
        let when = self.info_time(vector).unwrap_or_else(|| self.when(Shift::default()));
        let conditions: Vec<Matcher> = wanted.names.iter().chain(&wanted.data).cloned().collect();
        // Columns of the times of their newest samples: of two that conflict, the later one counts.
        let infos = self.newest(&conditions, when, steps, Take::Time)?;
        let mut by_identity: HashMap<Labels, Vec<&Column>> = HashMap::new();
        for info in &infos {
            by_identity.entry(only(&info.labels, &IDENTIFYING)).or_default().push(info);
        }
        let must_match = wanted.data.iter().any(|matcher| !matcher.matches(""));
        let mut output: Vec<Column> = Vec::new();
        for column in base {
            if wanted.is_info(&column.labels) {
                output.push(column);
                continue;
            }
            let none = Vec::new();
            let candidates = by_identity.get(&only(&column.labels, &IDENTIFYING)).unwrap_or(&none);
            let mut places: HashMap<Labels, usize> = HashMap::new();
            for (step, value) in column.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                let chosen = newest_per_metric(candidates, step)?;
                if chosen.is_empty() && must_match {
                    continue;
                }
                let mut labels = column.labels.clone();
                for info in chosen.values() {
                    for (name, value) in info.labels.iter().filter(|(name, _)| wanted.takes(name)) {
                        let held = labels.value(name);
                        if held.is_empty() {
                            labels = with(&labels, name, value)?;
                        } else if column.labels.value(name).is_empty() && held != value {
                            return Err(execution(format!("conflicting label: {name}")));
                        }
                    }
                }
                let place = *places.entry(labels.clone()).or_insert_with(|| {
                    let values = vec![absent(); steps.count];
                    output.push(Column { labels, drop_name: column.drop_name, values });
                    output.len() - 1
                });
                output[place].values[step] = *value;
            }
        }
        self.charge(output.len().saturating_mul(steps.count))?;
        Ok(output)
    }

    /// When the info series are looked at: as the first selector of the vector is, through the subqueries around it.
    fn info_time(&self, expr: &Expr) -> Option<When> {
        match &*expr.bare().kind {
            Kind::Vector(selector) | Kind::Matrix(selector, _) => Some(self.when(selector.shift)),
            Kind::Subquery(subquery) => {
                let outer = self.when(subquery.shift);
                Some(self.info_time(&subquery.expr).map_or(outer, |inner| inner.within(outer)))
            }
            Kind::Call(call) => call.args.iter().find_map(|arg| self.info_time(arg)),
            Kind::Aggregate(aggregate) => self.info_time(&aggregate.expr),
            Kind::Unary(_, inner) | Kind::Paren(inner) => self.info_time(inner),
            Kind::Binary(binary) => self.info_time(&binary.left).or_else(|| self.info_time(&binary.right)),
            Kind::Number(..) | Kind::Text(_) => None,
        }
    }
}

/// Of each info metric the series whose sample is the newest at a step.
fn newest_per_metric<'a>(candidates: &[&'a Column], step: usize) -> Result<BTreeMap<&'a str, &'a Column>, QueryError> {
    let mut chosen: BTreeMap<&str, &Column> = BTreeMap::new();
    for info in candidates.iter().filter(|info| !is_absent(info.values[step])) {
        let metric = info.labels.metric();
        match chosen.get(metric) {
            #[expect(clippy::float_cmp, reason = "times of samples, compared as they are")]
            Some(held) if held.values[step] == info.values[step] => {
                return Err(execution(format!("found duplicate series for info metric {metric}")));
            }
            Some(held) if held.values[step] > info.values[step] => {}
            _ => drop(chosen.insert(metric, info)),
        }
    }
    Ok(chosen)
}
