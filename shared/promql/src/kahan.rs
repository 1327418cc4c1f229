//! Sums that keep what plain addition loses: Kahan's algorithm in Neumaier's form, with the mean that Prometheus builds
//! on it.

/// A running sum with its compensation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        let next = self.sum + value;
        if next.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - next) + value;
        } else {
            self.lost += (value - next) + self.sum;
        }
        self.sum = next;
    }

    pub(crate) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// A running mean: the sum divided by the count while the sum can be held, and afterwards a mean that each value moves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    count: f64,
    sum: Sum,
    /// Set once the sum overflowed.
    moving: Option<Sum>,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.moving.is_none() {
            let mut sum = self.sum;
            sum.add(value);
            if self.count == 1.0 || !sum.value().is_infinite() {
                self.sum = sum;
                return;
            }
            let before = self.count - 1.0;
            self.moving = Some(Sum { sum: self.sum.sum / before, lost: self.sum.lost / before });
        }
        let (count, Some(mean)) = (self.count, &mut self.moving) else { return };
        if mean.sum.is_infinite() {
            // A mean that is infinite stays so, unless the other infinity or no number comes.
            if value.is_infinite() && (mean.sum > 0.0) == (value > 0.0) {
                return;
            }
            if !value.is_infinite() && !value.is_nan() {
                return;
            }
        }
        let keep = (count - 1.0) / count;
        let mut next = Sum { sum: mean.sum * keep, lost: mean.lost * keep };
        next.add(value / count);
        *mean = next;
    }

    pub(crate) fn value(self) -> f64 {
        match self.moving {
            Some(mean) => mean.value(),
            None if self.sum.sum.is_infinite() => self.sum.sum,
            None => self.sum.sum / self.count + self.sum.lost / self.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_is_small() {
        let mut sum = Sum::default();
        [1.0, 1e100, 1.0, -1e100].into_iter().for_each(|value| sum.add(value));
        assert!((sum.value() - 2.0).abs() < f64::EPSILON);
        let mut mean = Mean::default();
        [9.988_465_674_311_58e307; 2].into_iter().for_each(|value| mean.add(value));
        assert!((mean.value() / 9.988_465_674_311_58e307 - 1.0).abs() < 1e-12);
    }
}
