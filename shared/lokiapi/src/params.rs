//! Parameters of a request, as Loki reads them.

use crate::Refusal;
use skerry_model::UnixMillis;
use skerry_promapi::Params;
use std::time::Duration;

const NANOS_PER_MILLI: i128 = 1_000_000;
const NANOS_PER_SECOND: i128 = 1_000_000_000;
/// Entries where nothing is asked, and at most.
pub(crate) const LIMIT_DEFAULT: usize = 100;
pub(crate) const LIMIT_MAX: usize = 5000;

/// A moment in nanoseconds since 1970.
pub(crate) type Nanos = i128;

pub(crate) fn nanos(at: UnixMillis) -> Nanos {
    i128::from(at.0) * NANOS_PER_MILLI
}

/// The millisecond that a moment lies in.
pub(crate) fn millis(at: Nanos) -> UnixMillis {
    let floor = at.div_euclid(NANOS_PER_MILLI);
    UnixMillis(i64::try_from(floor).unwrap_or(if floor < 0 { i64::MIN } else { i64::MAX }))
}

pub(crate) fn bad(text: impl Into<String>) -> Refusal {
    Refusal { status: 400, text: text.into() }
}

/// Nanoseconds, seconds of at most ten digits, seconds with a fraction, or RFC 3339.
pub(crate) fn time(params: &Params, name: &'static str) -> Result<Option<Nanos>, Refusal> {
    let Some(text) = params.first(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let unreadable = || {
        bad(format!(
            "could not parse {name:?} parameter: {text:?} is no time: nanoseconds or seconds since 1970, or RFC 3339, are expected"
        ))
    };
    if let Ok(number) = text.parse::<i64>() {
        let scale = if text.len() <= 10 { NANOS_PER_SECOND } else { 1 };
        return Ok(Some(i128::from(number) * scale));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        if !seconds.is_finite() || seconds.abs() > 1e12 {
            return Err(unreadable());
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        return Ok(Some(i128::from((seconds * 1000.0).round() as i64) * NANOS_PER_MILLI));
    }
    let at = text.parse::<jiff::Timestamp>().map_err(|_| unreadable())?;
    Ok(Some(at.as_nanosecond()))
}

/// Seconds, or a duration as `1h30m`; `None` where absent.
pub(crate) fn duration(params: &Params, name: &'static str) -> Result<Option<Duration>, Refusal> {
    let Some(text) = params.first(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let unreadable = || bad(format!("could not parse {name:?} parameter: cannot parse {text:?} to a valid duration"));
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| unreadable()),
        Err(_) => text.parse::<skerry_model::Span>().map(|span| Some(span.0)).map_err(|_| unreadable()),
    }
}

/// From when to when is asked: the end is now where it is not said, and the start `span`, or `since`, before.
pub(crate) fn bounds(params: &Params, now: UnixMillis, span: Duration) -> Result<(Nanos, Nanos), Refusal> {
    let since = duration(params, "since")?.unwrap_or(span);
    let end = time(params, "end")?.unwrap_or(nanos(now));
    let back = i128::try_from(since.as_nanos()).unwrap_or(i128::MAX / 2);
    // Of an end in the future the past begins now.
    let start = time(params, "start")?.unwrap_or(end.min(nanos(now)) - back);
    Ok((start, end))
}

/// Distance of the moments of a range: `step`, else a 250th of the range in whole seconds.
pub(crate) fn step(params: &Params, start: Nanos, end: Nanos) -> Result<Duration, Refusal> {
    let step = match duration(params, "step")? {
        Some(step) => step,
        None => {
            let seconds = ((end - start) / NANOS_PER_SECOND / 250).max(1);
            Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
        }
    };
    if step.is_zero() {
        return Err(bad("zero or negative query resolution step widths are not accepted. Try a positive integer"));
    }
    Ok(step)
}

/// Most entries of the answer.
pub(crate) fn limit(params: &Params) -> Result<usize, Refusal> {
    let Some(text) = params.first("limit").filter(|text| !text.is_empty()) else { return Ok(LIMIT_DEFAULT) };
    match text.parse::<usize>() {
        Ok(0) => Err(bad("limit must be a positive value")),
        Ok(limit) if limit > LIMIT_MAX => Err(bad(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {LIMIT_MAX})"
        ))),
        Ok(limit) => Ok(limit),
        Err(_) if text.starts_with('-') => Err(bad("limit must be a positive value")),
        Err(_) => Err(bad(format!("could not parse \"limit\" parameter: {text:?} is no whole number"))),
    }
}

/// Whether the oldest entries are asked for, and first.
pub(crate) fn is_forward(params: &Params) -> Result<bool, Refusal> {
    let text = params.first("direction").unwrap_or_default();
    if text.is_empty() || text.eq_ignore_ascii_case("backward") {
        Ok(false)
    } else if text.eq_ignore_ascii_case("forward") {
        Ok(true)
    } else {
        Err(bad(format!("invalid direction '{text}'")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn times_have_lokis_forms() {
        for (text, expected) in [
            ("1588889221", 1_588_889_221_000_000_000),
            ("1588889221123456789", 1_588_889_221_123_456_789),
            ("1588889221.123", 1_588_889_221_123_000_000),
            ("2020-05-07T22:07:01Z", 1_588_889_221_000_000_000),
            ("2020-05-07T22:07:01.5+02:00", 1_588_882_021_500_000_000),
            ("0", 0),
            ("-5", -5_000_000_000),
        ] {
            assert_eq!(time(&params(&[("start", text)]), "start").unwrap(), Some(expected), "{text}");
        }
        assert_eq!(time(&params(&[("start", "")]), "start").unwrap(), None);
        for text in ["yesterday", "1e300", "NaN", "2020-05-07"] {
            let refused = time(&params(&[("start", text)]), "start").unwrap_err();
            assert!(refused.status == 400 && refused.text.contains("\"start\""), "{text}: {}", refused.text);
        }
    }

    #[test]
    fn bounds_are_counted_back_from_the_end_or_now() {
        let now = UnixMillis(10_000_000);
        let hour = Duration::from_secs(3600);
        let seconds = |pairs: &[(&str, &str)]| {
            let (start, end) = bounds(&params(pairs), now, hour).unwrap();
            (start / NANOS_PER_SECOND, end / NANOS_PER_SECOND)
        };
        assert_eq!(seconds(&[]), (6400, 10_000));
        assert_eq!(seconds(&[("since", "10m")]), (9400, 10_000));
        assert_eq!(seconds(&[("since", "10m"), ("start", "5")]), (5, 10_000));
        assert_eq!(seconds(&[("end", "5000")]), (1400, 5000));
        assert_eq!(seconds(&[("end", "20000")]), (6400, 20_000));
    }

    #[test]
    fn limits_and_directions_are_checked() {
        assert_eq!(limit(&params(&[])).unwrap(), 100);
        assert_eq!(limit(&params(&[("limit", "5000")])).unwrap(), 5000);
        for (text, words) in [("0", "positive"), ("-1", "positive"), ("5001", "(5001 > 5000)"), ("x", "whole number")] {
            assert!(limit(&params(&[("limit", text)])).unwrap_err().text.contains(words), "{text}");
        }
        assert!(is_forward(&params(&[("direction", "FORWARD")])).unwrap());
        assert!(!is_forward(&params(&[])).unwrap());
        assert_eq!(is_forward(&params(&[("direction", "up")])).unwrap_err().text, "invalid direction 'up'");
    }

    #[test]
    fn a_step_has_a_default_and_is_not_zero() {
        let secs = |pairs, range: i128| step(&params(pairs), 0, range * NANOS_PER_SECOND).map(|step| step.as_secs());
        assert_eq!(secs(&[], 3600).unwrap(), 14);
        assert_eq!(secs(&[], 10).unwrap(), 1);
        assert_eq!(secs(&[("step", "15s")], 10).unwrap(), 15);
        assert_eq!(secs(&[("step", "60")], 10).unwrap(), 60);
        assert!(secs(&[("step", "0")], 10).is_err() && secs(&[("step", "-5")], 10).is_err());
    }
}
