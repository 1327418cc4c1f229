//! Which time of a rule's samples is to be released.

use skerry_model::{TimeRange, UnixMillis};

/// One rule's state.
#[derive(Debug)]
pub(super) struct Watch {
    around_ms: i64,
    /// Last moment with an alert.
    alert: Option<UnixMillis>,
    /// Up to when samples are released.
    through: UnixMillis,
    /// How long after its time something may come.
    late_ms: i64,
    /// Where the time around this alert began.
    from: UnixMillis,
    has_looked: bool,
}

/// How often the first look looks back.
const LOOKS_BACK: i64 = 20;

impl Watch {
    /// `late_ms` says by how much what is released may come later than its own time; the last such stretch is then
    /// released with every look, and for as long after the time around an alert.
    pub(super) const fn new(around_ms: i64, late_ms: i64) -> Self {
        let never = UnixMillis(i64::MIN);
        Self { around_ms, alert: None, through: never, late_ms, from: never, has_looked: false }
    }

    /// Moments at which to look: `now`, and at the first time others before it, in whose time around it now would be.
    pub(super) fn moments(&mut self, now: UnixMillis) -> impl Iterator<Item = UnixMillis> + use<> {
        let back = if std::mem::replace(&mut self.has_looked, true) { 0 } else { LOOKS_BACK };
        let step_ms = self.around_ms / LOOKS_BACK;
        (0..=back).rev().map(move |n| UnixMillis(now.0.saturating_sub(n * step_ms)))
    }

    /// Looks at `now`; what is to be released, both ends included.
    pub(super) fn look(&mut self, is_alert: bool, now: UnixMillis) -> Option<TimeRange> {
        if is_alert && self.alert.replace(now).is_none() {
            self.from = UnixMillis(now.0.saturating_sub(self.around_ms));
        }
        let alert = self.alert?;
        let until = UnixMillis(alert.0.saturating_add(self.around_ms));
        // A clock that was set back begins anew.
        if now < self.through {
            self.through = UnixMillis(i64::MIN);
            self.from = UnixMillis(alert.0.saturating_sub(self.around_ms));
        }
        let from = UnixMillis(self.through.0.saturating_add(1).saturating_sub(self.late_ms).max(self.from.0));
        let to = now.min(until);
        if now.0 > until.0.saturating_add(self.late_ms) {
            self.alert = None;
        }
        if from > to {
            return None;
        }
        self.through = to;
        Some(TimeRange { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_around_an_alert_is_released_once() {
        let mut watch = Watch::new(300_000, 0);
        let mut look = |is_alert, at_s: i64| {
            let range = watch.look(is_alert, UnixMillis(at_s * 1000));
            range.map(|range| (range.from.0, range.to.0))
        };
        assert_eq!(look(false, 1000), None);
        assert_eq!(look(true, 1015), Some((715_000, 1_015_000)), "what was before it");
        assert_eq!(look(true, 1030), Some((1_015_001, 1_030_000)));
        assert_eq!(look(false, 1320), Some((1_030_001, 1_320_000)));
        assert_eq!(look(false, 1350), Some((1_320_001, 1_330_000)), "no longer than the time after it");
        assert_eq!(look(false, 1365), None);
        assert_eq!(look(true, 1380), Some((1_330_001, 1_380_000)), "nothing twice");
        assert_eq!(look(true, 500), Some((200_000, 500_000)), "a clock that was set back");
    }

    #[test]
    fn what_comes_late_is_released_too() {
        let mut watch = Watch::new(300_000, 60_000);
        let mut look = |is_alert, at_s: i64| {
            let range = watch.look(is_alert, UnixMillis(at_s * 1000));
            range.map(|range| (range.from.0, range.to.0))
        };
        assert_eq!(look(true, 1000), Some((700_000, 1_000_000)));
        assert_eq!(look(false, 1015), Some((940_001, 1_015_000)));
        assert_eq!(look(false, 1300), Some((955_001, 1_300_000)));
        assert_eq!(look(false, 1330), Some((1_240_001, 1_300_000)), "what was written in time and came late");
        assert_eq!(look(false, 1361), Some((1_240_001, 1_300_000)));
        assert_eq!(look(false, 1376), None);
        assert_eq!(look(true, 1390), Some((1_240_001, 1_390_000)));
    }

    #[test]
    fn the_first_look_looks_back_and_an_alert_before_the_start_is_not_forgotten() {
        let mut watch = Watch::new(300_000, 0);
        let moments: Vec<i64> = watch.moments(UnixMillis(1_000_000)).map(|at| at.0).collect();
        assert_eq!((moments.len(), moments[0], moments[20]), (21, 700_000, 1_000_000));
        // It fired from 730 s to 760 s, and the agent began at 1000 s.
        let mut shipped = Vec::new();
        for at in moments {
            shipped.extend(watch.look((730_000..=760_000).contains(&at), UnixMillis(at)));
        }
        assert_eq!((shipped[0].from.0, shipped.last().unwrap().to.0), (430_000, 1_000_000));
        assert!(shipped.windows(2).all(|pair| pair[0].to.0 + 1 == pair[1].from.0));
        assert_eq!(watch.moments(UnixMillis(1_015_000)).collect::<Vec<_>>(), [UnixMillis(1_015_000)]);
        assert_eq!(watch.look(false, UnixMillis(1_090_000)).unwrap().to.0, 1_060_000);
    }
}
