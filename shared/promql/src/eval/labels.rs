//! Functions that change labels: `label_replace`, `label_join`; and the sorting ones.

use super::aggregate::nan_last;
use super::column::{Column, merged, with};
use super::{Evaluator, Steps};
use crate::error::{QueryError, execution};
use crate::parse::ast::Expr;
use regex::RegexBuilder;
use std::cmp::Ordering;

/// Most memory a compiled expression may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Whether a text may name a label: Prometheus 3 takes any UTF-8 that is not empty. A parser that replaced bytes that
/// are no UTF-8 leaves the replacement character behind, which is refused for them.
pub(super) fn is_label_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('\u{fffd}') && !text.contains("\\x")
}

impl Evaluator<'_> {
    pub(super) fn label_replace(&mut self, args: &[Expr], steps: &Steps) -> Result<Vec<Column>, QueryError> {
        let [vector, destination, replacement, source, expression] = args else {
            return Err(QueryError::Parse("label_replace takes five arguments".into()));
        };
        let columns = self.vector(vector, steps)?;
        let destination = self.text(destination, steps)?;
        let (replacement, source) = (self.text(replacement, steps)?, self.text(source, steps)?);
        let expression = self.text(expression, steps)?;
        if !is_label_name(&destination) {
            return Err(execution(format!("invalid destination label name in label_replace(): {destination}")));
        }
        let build =
            |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dot_matches_new_line(true).build();
        let regex = build(&expression)
            .and_then(|_| build(&format!("^(?:{expression})$")))
            .map_err(|_| execution(format!("invalid regular expression in label_replace(): {expression}")))?;
        let mut output = Vec::with_capacity(columns.len());
        for mut column in columns {
            if let Some(found) = regex.captures(column.labels.value(&source)) {
                let mut value = String::new();
                found.expand(&replacement, &mut value);
                column.labels = with(&column.labels, &destination, &value)?;
                column.drop_name &= destination != "__name__";
            }
            output.push(column);
        }
        merged(output)
    }

    pub(super) fn label_join(&mut self, args: &[Expr], steps: &Steps) -> Result<Vec<Column>, QueryError> {
        let [vector, destination, separator, sources @ ..] = args else {
            return Err(QueryError::Parse("label_join takes at least three arguments".into()));
        };
        let columns = self.vector(vector, steps)?;
        let (destination, separator) = (self.text(destination, steps)?, self.text(separator, steps)?);
        let sources = sources.iter().map(|source| self.text(source, steps)).collect::<Result<Vec<_>, _>>()?;
        if !is_label_name(&destination) {
            return Err(execution(format!("invalid destination label name in label_join(): {destination}")));
        }
        let mut output = Vec::with_capacity(columns.len());
        for mut column in columns {
            let values: Vec<&str> = sources.iter().map(|source| column.labels.value(source)).collect();
            column.labels = with(&column.labels, &destination, &values.join(&separator))?;
            column.drop_name &= destination != "__name__";
            output.push(column);
        }
        merged(output)
    }

    /// `sort` and `sort_desc`: by the values of an instant query; a range query is sorted by labels in any case.
    pub(super) fn sort(&mut self, arg: &Expr, steps: &Steps, is_falling: bool) -> Result<Vec<Column>, QueryError> {
        let mut columns = self.vector(arg, steps)?;
        if steps.count == 1 {
            columns.sort_by(|a, b| {
                nan_last(a.values[0], b.values[0], |a, b| if is_falling { b.total_cmp(&a) } else { a.total_cmp(&b) })
            });
        }
        Ok(columns)
    }

    /// `sort_by_label` and `sort_by_label_desc`: in the natural order of the labels, then of all labels.
    pub(super) fn sort_by_label(
        &mut self,
        args: &[Expr],
        steps: &Steps,
        is_falling: bool,
    ) -> Result<Vec<Column>, QueryError> {
        let [vector, names @ ..] = args else { return Err(QueryError::Parse("a vector is expected".into())) };
        let mut columns = self.vector(vector, steps)?;
        let names = names.iter().map(|name| self.text(name, steps)).collect::<Result<Vec<_>, _>>()?;
        columns.sort_by(|a, b| {
            let by_names = names.iter().map(|name| natural(a.labels.value(name), b.labels.value(name)));
            let order = by_names.fold(Ordering::Equal, Ordering::then);
            let order = order.then_with(|| a.labels.cmp(&b.labels));
            if is_falling { order.reverse() } else { order }
        });
        Ok(columns)
    }
}

/// The order in which people count: runs of digits by their number, all else by its characters.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (of_a, of_b) = (digits(a), digits(b));
        if of_a > 0 && of_b > 0 {
            let (number_a, rest_a) = a.split_at(of_a);
            let (number_b, rest_b) = b.split_at(of_b);
            let (short_a, short_b) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
            let order = short_a.len().cmp(&short_b.len()).then_with(|| short_a.cmp(short_b));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (rest_a, rest_b);
            continue;
        }
        let (Some(char_a), Some(char_b)) = (a.chars().next(), b.chars().next()) else { break };
        if char_a != char_b {
            return char_a.cmp(&char_b);
        }
        (a, b) = (&a[char_a.len_utf8()..], &b[char_b.len_utf8()..]);
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_count_as_numbers() {
        let mut texts = ["4m1000", "4m5", "4m600", "10", "9", "a10", "a9"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["4m5", "4m600", "4m1000", "9", "10", "a9", "a10"]);
    }
}
