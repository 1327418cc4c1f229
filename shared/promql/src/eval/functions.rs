//! Functions, by name.

use super::buckets::fraction;
use super::column::{Column, absent, is_absent};
use super::rates::{Change, change, instant_change, regression, smoothed};
use super::select::{Take, Window};
use super::simple::{quantile, round};
use super::{Evaluated, Evaluator, Steps, over_time, seconds, simple};
use crate::error::{QueryError, execution};
use crate::matcher::MatchOp;
use crate::parse::ast::{Call, Expr, Kind};
use skerry_model::Labels;

impl Evaluator<'_> {
    pub(super) fn call(&mut self, call: &Call, steps: &Steps) -> Result<Evaluated, QueryError> {
        let (name, args) = (call.name, call.args.as_slice());
        if let Some(numbers) = self.scalar_call(name, args, steps)? {
            self.charge(steps.count)?;
            return Ok(Evaluated::Scalar(numbers));
        }
        self.vector_call(name, args, steps).map(Evaluated::Vector)
    }

    /// Functions that give a scalar.
    fn scalar_call(&mut self, name: &str, args: &[Expr], steps: &Steps) -> Result<Option<Vec<f64>>, QueryError> {
        let constant = |value: f64| Ok(Some(vec![value; steps.count]));
        match (name, args) {
            ("time", []) => Ok(Some(steps.each().map(seconds).collect())),
            ("pi", []) => constant(std::f64::consts::PI),
            ("start", []) => constant(seconds(self.span.start)),
            ("end", []) => constant(seconds(self.span.end)),
            ("step", []) => constant(seconds(self.span.step)),
            ("range", []) => constant(seconds(self.span.end - self.span.start)),
            ("min_of" | "max_of", [left, right]) => {
                let (left, right) = (self.scalar(left, steps)?, self.scalar(right, steps)?);
                let pick = |(a, b): (f64, f64)| {
                    if a.is_nan() || b.is_nan() {
                        f64::NAN
                    } else if name == "min_of" {
                        a.min(b)
                    } else {
                        a.max(b)
                    }
                };
                Ok(Some(left.into_iter().zip(right).map(pick).collect()))
            }
            ("scalar", [vector]) => {
                let columns = self.vector(vector, steps)?;
                let mut numbers = vec![f64::NAN; steps.count];
                for (step, number) in numbers.iter_mut().enumerate() {
                    let mut present = columns.iter().map(|c| c.values[step]).filter(|value| !is_absent(*value));
                    if let (Some(only), None) = (present.next(), present.next()) {
                        *number = only;
                    }
                }
                Ok(Some(numbers))
            }
            _ => Ok(None),
        }
    }

    /// Functions that give a vector.
    fn vector_call(&mut self, name: &str, args: &[Expr], steps: &Steps) -> Result<Vec<Column>, QueryError> {
        if let (Some(function), [arg]) = (simple::function(name), args) {
            let columns = self.vector(arg, steps)?;
            return Ok(columns.into_iter().map(|column| column.mapped(function)).collect());
        }
        if let (Some(function), []) = (simple::function(name).filter(|_| simple::is_of_date(name)), args) {
            let values = steps.each().map(|at| function(seconds(at))).collect();
            return Ok(vec![Column { labels: Labels::default(), drop_name: false, values }]);
        }
        if let (Some(function), [arg]) = (over_time::function(name), args) {
            return self.over(arg, steps, over_time::keeps_name(name), |_, window| function(window));
        }
        match (name, args) {
            ("vector", [arg]) => {
                let values = self.scalar(arg, steps)?;
                Ok(vec![Column { labels: Labels::default(), drop_name: false, values }])
            }
            ("rate", [arg]) => self.counter(arg, steps, |window| change(window, Change::Rate)),
            ("increase", [arg]) => self.counter(arg, steps, |window| change(window, Change::Increase)),
            ("delta", [arg]) => self.over(arg, steps, false, |_, window| change(window, Change::Delta)),
            ("irate", [arg]) => self.over(arg, steps, false, |_, window| instant_change(window, true)),
            ("idelta", [arg]) => self.over(arg, steps, false, |_, window| instant_change(window, false)),
            ("deriv", [arg]) => self.over(arg, steps, false, |_, window| {
                let origin = *window.times.first()?;
                regression(window, origin).map(|(slope, _)| slope)
            }),
            ("predict_linear", [arg, ahead]) => {
                let ahead = self.scalar(ahead, steps)?;
                self.over(arg, steps, false, |step, window| {
                    regression(window, window.now).map(|(slope, intercept)| slope * ahead[step] + intercept)
                })
            }
            ("double_exponential_smoothing", [arg, smoothing, trend]) => {
                let (smoothing, trend) = (self.scalar(smoothing, steps)?, self.scalar(trend, steps)?);
                for (what, factors) in [("smoothing", &smoothing), ("trend", &trend)] {
                    if let Some(bad) = factors.iter().find(|factor| !(0.0 < **factor && **factor < 1.0)) {
                        return Err(execution(format!("invalid {what} factor. Expected: 0 < tf < 1, got: {bad}")));
                    }
                }
                self.over(arg, steps, false, |step, window| smoothed(window, smoothing[step], trend[step]))
            }
            ("quantile_over_time", [phi, arg]) => {
                let phis = self.scalar(phi, steps)?;
                self.check_quantiles(&phis, phi);
                self.over(arg, steps, false, |step, window| {
                    (!window.values.is_empty()).then(|| quantile(phis[step], &mut window.values.to_vec()))
                })
            }
            ("timestamp", [arg]) => {
                let columns = match &*arg.bare().kind {
                    Kind::Vector(selector) => self.instant(selector, steps, Take::Time)?,
                    _ => {
                        let mut columns = self.vector(arg, steps)?;
                        for column in &mut columns {
                            let present = column.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value));
                            present.for_each(|(step, value)| *value = seconds(steps.at(step)));
                        }
                        columns
                    }
                };
                Ok(columns.into_iter().map(|column| column.mapped(|value| value)).collect())
            }
            ("absent", [arg]) => {
                let columns = self.vector(arg, steps)?;
                let mut output = Column::new(labels_of_absent(arg)?, steps.count);
                for (step, value) in output.values.iter_mut().enumerate() {
                    if columns.iter().all(|column| is_absent(column.values[step])) {
                        *value = 1.0;
                    }
                }
                Ok(vec![output])
            }
            ("absent_over_time", [arg]) => {
                let columns = self.over(arg, steps, false, |_, window| (!window.values.is_empty()).then_some(1.0))?;
                let mut output = Column::new(labels_of_absent(arg)?, steps.count);
                for (step, value) in output.values.iter_mut().enumerate() {
                    if columns.iter().all(|column| is_absent(column.values[step])) {
                        *value = 1.0;
                    }
                }
                Ok(vec![output])
            }
            ("clamp", [arg, least, most]) => {
                let (least, most) = (self.scalar(least, steps)?, self.scalar(most, steps)?);
                self.each(arg, steps, |step, value| {
                    let (least, most) = (least[step], most[step]);
                    if most < least {
                        return None;
                    }
                    Some(if least.is_nan() || most.is_nan() { f64::NAN } else { clamp(value, least, most) })
                })
            }
            ("clamp_min", [arg, least]) => {
                let least = self.scalar(least, steps)?;
                self.each(arg, steps, |step, value| {
                    Some(if least[step].is_nan() { f64::NAN } else { clamp(value, least[step], f64::INFINITY) })
                })
            }
            ("clamp_max", [arg, most]) => {
                let most = self.scalar(most, steps)?;
                self.each(arg, steps, |step, value| {
                    Some(if most[step].is_nan() { f64::NAN } else { clamp(value, f64::NEG_INFINITY, most[step]) })
                })
            }
            ("round", [arg]) => self.each(arg, steps, |_, value| Some(round(value, 1.0))),
            ("round", [arg, nearest]) => {
                let nearest = self.scalar(nearest, steps)?;
                self.each(arg, steps, |step, value| Some(round(value, nearest[step])))
            }
            ("label_replace", _) => self.label_replace(args, steps),
            ("label_join", _) => self.label_join(args, steps),
            ("sort", [arg]) => self.sort(arg, steps, false),
            ("sort_desc", [arg]) => self.sort(arg, steps, true),
            ("sort_by_label", _) => self.sort_by_label(args, steps, false),
            ("sort_by_label_desc", _) => self.sort_by_label(args, steps, true),
            ("histogram_quantile", [phi, arg]) => {
                let phis = self.scalar(phi, steps)?;
                self.check_quantiles(&phis, phi);
                self.per_histogram(arg, steps, |this, step, buckets| Ok(this.bucket_quantile(phis[step], buckets, arg)))
            }
            ("histogram_quantiles", [arg, label, phis @ ..]) => self.histogram_quantiles(arg, label, phis, steps),
            ("histogram_fraction", [lower, upper, arg]) => {
                let (lower, upper) = (self.scalar(lower, steps)?, self.scalar(upper, steps)?);
                self.per_histogram(arg, steps, |_, step, buckets| Ok(fraction(lower[step], upper[step], buckets)))
            }
            // Of native histograms alone, which no source of floats has.
            (
                "histogram_count" | "histogram_sum" | "histogram_avg" | "histogram_stddev" | "histogram_stdvar",
                [arg],
            ) => self.vector(arg, steps).map(|_| Vec::new()),
            ("info", _) => self.info(args, steps),
            _ => Err(QueryError::Unsupported(format!("function {name}() with {} arguments", args.len()))),
        }
    }

    fn histogram_quantiles(
        &mut self,
        arg: &Expr,
        label: &Expr,
        phis: &[Expr],
        steps: &Steps,
    ) -> Result<Vec<Column>, QueryError> {
        let label = self.text(label, steps)?;
        let mut output = Vec::new();
        for phi in phis {
            let phis = self.scalar(phi, steps)?;
            self.check_quantiles(&phis, phi);
            let columns = self
                .per_histogram(arg, steps, |this, step, buckets| Ok(this.bucket_quantile(phis[step], buckets, arg)))?;
            for mut column in columns {
                if !column.labels.value(&label).is_empty() {
                    return Err(execution(format!("conflicting label {label:?} in histogram_quantiles()")));
                }
                let phi = phis.first().copied().unwrap_or_default();
                #[expect(clippy::float_cmp, reason = "whole numbers are written with a decimal")]
                let text =
                    if phi == phi.trunc() && phi.is_finite() { format!("{phi:.1}") } else { crate::number_text(phi) };
                column.labels = super::column::with(&column.labels, &label, &text)?;
                output.push(column);
            }
        }
        Ok(output)
    }

    /// A function of each value by itself; the name goes.
    fn each(
        &mut self,
        arg: &Expr,
        steps: &Steps,
        mut function: impl FnMut(usize, f64) -> Option<f64>,
    ) -> Result<Vec<Column>, QueryError> {
        let mut columns = self.vector(arg, steps)?;
        for column in &mut columns {
            for (step, value) in column.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
                *value = function(step, *value).unwrap_or_else(absent);
            }
            column.drop_name = true;
        }
        Ok(columns)
    }

    /// A function of counters: whoever gives it something else is told.
    fn counter(
        &mut self,
        arg: &Expr,
        steps: &Steps,
        function: impl Fn(&Window<'_>) -> Option<f64>,
    ) -> Result<Vec<Column>, QueryError> {
        let columns = self.over(arg, steps, false, |_, window| function(window))?;
        for column in &columns {
            let metric = column.labels.metric();
            let is_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end));
            let has_values = column.values.iter().any(|value| !is_absent(*value));
            if !metric.is_empty() && !is_counter && has_values {
                let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
                self.remark(&format!("{text}: {metric:?}"), arg);
            }
        }
        Ok(columns)
    }

    /// A function of each series' window at each step.
    fn over(
        &mut self,
        arg: &Expr,
        steps: &Steps,
        keeps_name: bool,
        mut function: impl FnMut(usize, &Window<'_>) -> Option<f64>,
    ) -> Result<Vec<Column>, QueryError> {
        let vector = self.range(arg, steps)?;
        self.charge(vector.series.len().saturating_mul(steps.count))?;
        let mut columns = Vec::with_capacity(vector.series.len());
        for series in &vector.series {
            let mut column = Column::new(series.labels.clone(), steps.count);
            column.drop_name = series.drop_name || !keeps_name;
            vector.windows(series, steps, |step, window| {
                if let Some(value) = function(step, &window) {
                    column.values[step] = value;
                }
            });
            columns.push(column);
        }
        Ok(columns)
    }
}

/// Labels of what is absent: those that the selector demands to be equal to something, once each.
fn labels_of_absent(arg: &Expr) -> Result<Labels, QueryError> {
    let (Kind::Vector(selector) | Kind::Matrix(selector, _)) = &*arg.bare().kind else {
        return Ok(Labels::default());
    };
    let all = &selector.matchers;
    let once = |label: &str| all.iter().filter(|matcher| matcher.label() == label).count() == 1;
    let demanded = all.iter().filter(|m| m.op() == MatchOp::Equal && m.label() != "__name__" && once(m.label()));
    Labels::new(demanded.map(|matcher| (matcher.label(), matcher.value())))
        .map_err(|error| execution(error.to_string()))
}

/// As Go's `math.Max` and `math.Min`: NaN stays NaN.
fn clamp(value: f64, least: f64, most: f64) -> f64 {
    if value.is_nan() { value } else { value.max(least).min(most) }
}
