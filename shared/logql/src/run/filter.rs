//! Whether lines and labels meet conditions.

use super::work::{Work, errors};
use crate::ast::{Compare, LabelFilter, LineFilter, LineOp, Sought, Unit};
use crate::units;

impl LineFilter {
    pub(crate) fn passes(&self, line: &[u8]) -> bool {
        let found = self.alternatives.iter().any(|sought| match sought {
            Sought::Text(finder, _) => finder.find(line).is_some(),
            Sought::Regex(regex) => regex.is_match(line),
            Sought::Pattern(pattern, _) => pattern.matches(line),
            Sought::Ip(range, _) => range.is_in(line),
        });
        found == matches!(self.op, LineOp::Contains | LineOp::Regex | LineOp::Pattern)
    }
}

impl Compare {
    #[expect(clippy::float_cmp, reason = "LogQL compares exactly")]
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
            Self::Less => left < right,
            Self::LessEqual => left <= right,
        }
    }
}

impl Unit {
    /// A value as a number: as it is, in nanoseconds, or in bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    #[expect(clippy::cast_precision_loss, reason = "exact for 104 days")]
    pub(crate) fn read(self, value: &str) -> Result<f64, String> {
        let shown = || value.chars().take(80).collect::<String>();
        match self {
            Self::Number => units::number(value).ok_or_else(|| format!("{:?} is no number", shown())),
            Self::Duration => units::duration(value)
                .map(|nanos| nanos as f64)
                .ok_or_else(|| format!("time: invalid duration {:?}", shown())),
            Self::Bytes => units::bytes(value).ok_or_else(|| format!("{:?} is no size", shown())),
        }
    }
}

impl LabelFilter {
    /// Whether a line's labels meet the condition. A value that cannot be compared notes an error and lets the line pass,
    /// and so does every condition but those on texts once there is an error, as in Loki: `__error__` is for filtering it.
    pub(crate) fn passes(&self, work: &mut Work) -> bool {
        match self {
            Self::And(left, right) => left.passes(work) && right.passes(work),
            Self::Or(left, right) => left.passes(work) || right.passes(work),
            Self::Text(matcher) => matcher.matches(work.value(matcher.label())),
            _ if work.error().is_some() => true,
            Self::Ip { name, is_not, range, .. } => {
                let value = work.value(name);
                !value.is_empty() && range.is_in(value.as_bytes()) != *is_not
            }
            Self::Quantity { name, op, unit, value, .. } => {
                let held = work.value(name);
                if held.is_empty() {
                    return false;
                }
                match unit.read(held) {
                    Ok(number) => op.holds(number, *value),
                    Err(details) => {
                        work.fail(errors::LABEL_FILTER, details);
                        true
                    }
                }
            }
        }
    }

    /// Calls `each` with the name of every label that is looked at.
    pub(crate) fn names<'a>(&'a self, each: &mut dyn FnMut(&'a str)) {
        match self {
            Self::And(left, right) | Self::Or(left, right) => {
                left.names(each);
                right.names(each);
            }
            Self::Text(matcher) => each(matcher.label()),
            Self::Quantity { name, .. } | Self::Ip { name, .. } => each(name),
        }
    }
}
