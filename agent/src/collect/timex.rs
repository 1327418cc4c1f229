//! The kernel's clock discipline, `adjtimex(2)`, and the machine's time zone: the two things that only a call tells.

use super::sink::{counter, gauge};
use super::source::CollectError;
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

/// What the call returns while no reliable server sets the clock.
const TIME_ERROR: i32 = 5;
/// Status bit: offsets are in nanoseconds and not in microseconds.
const STA_NANO: i32 = 0x2000;
const MICRO: f64 = 1e6;
/// Frequencies are in parts per million with sixteen binary digits behind the point.
const PPM_65536: f64 = 65_536e6;

static METAS: [MetricMeta; 17] = [
    gauge("node_timex_estimated_error_seconds", "Estimated error in seconds."),
    gauge("node_timex_frequency_adjustment_ratio", "Local clock frequency adjustment."),
    gauge("node_timex_loop_time_constant", "Phase-locked loop time constant."),
    gauge("node_timex_maxerror_seconds", "Maximum error in seconds."),
    gauge("node_timex_offset_seconds", "Time offset in between local system and reference clock."),
    counter("node_timex_pps_calibration_total", "Pulse per second count of calibration intervals."),
    counter("node_timex_pps_error_total", "Pulse per second count of calibration errors."),
    gauge("node_timex_pps_frequency_hertz", "Pulse per second frequency."),
    gauge("node_timex_pps_jitter_seconds", "Pulse per second jitter."),
    counter("node_timex_pps_jitter_total", "Pulse per second count of jitter limit exceeded events."),
    gauge("node_timex_pps_shift_seconds", "Pulse per second interval duration."),
    counter("node_timex_pps_stability_exceeded_total", "Pulse per second count of stability limit exceeded events."),
    gauge("node_timex_pps_stability_hertz", "Pulse per second stability, average of recent frequency changes."),
    gauge("node_timex_status", "Value of the status array bits."),
    gauge("node_timex_sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no)."),
    gauge("node_timex_tai_offset_seconds", "International Atomic Time (TAI) offset."),
    gauge("node_timex_tick_seconds", "Seconds between clock ticks."),
];

/// The clock discipline.
pub(super) struct Timex;

impl Collect for Timex {
    fn collect(&mut self, _: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let (state, clock) = match discipline() {
            Ok(read) => read,
            // A container's filter of system calls may forbid it. That is no failure that somebody could mend each time.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
            Err(source) => return Err(CollectError::Call { call: "adjtimex", source }),
        };
        let unit = if clock.status & STA_NANO == 0 { MICRO } else { 1e9 };
        let values = [
            float(clock.esterror) / MICRO,
            1.0 + float(clock.freq) / PPM_65536,
            float(clock.constant),
            float(clock.maxerror) / MICRO,
            float(clock.offset) / unit,
            float(clock.calcnt),
            float(clock.errcnt),
            float(clock.ppsfreq) / PPM_65536,
            float(clock.jitter) / unit,
            float(clock.jitcnt),
            f64::from(clock.shift),
            float(clock.stbcnt),
            float(clock.stabil) / PPM_65536,
            f64::from(clock.status),
            f64::from(u8::from(state != TIME_ERROR)),
            f64::from(clock.tai),
            float(clock.tick) / MICRO,
        ];
        for (meta, value) in METAS.iter().zip(values) {
            sink.push(meta, &[], value);
        }
        Ok(())
    }
}

/// What the kernel counts in words of its own size.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53 in practice, and a float is what a metric is")]
fn float(number: impl Into<i64>) -> f64 {
    number.into() as f64
}

/// The state of the clock and what steers it. With no mode set the call changes nothing and everybody may make it.
#[expect(unsafe_code, reason = "no safe wrapper of the call is in the tree")]
fn discipline() -> std::io::Result<(i32, libc::timex)> {
    // SAFETY: the type is plain numbers, for which all zeros are valid.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value of the type that the call fills.
    match unsafe { libc::adjtimex(&raw mut clock) } {
        -1 => Err(std::io::Error::last_os_error()),
        state => Ok((state, clock)),
    }
}

/// The time zone's short name and how many seconds it is ahead of UTC, at that second of Unix time.
#[expect(unsafe_code, reason = "no safe wrapper of the call is in the tree")]
pub(super) fn zone(seconds: i64) -> Option<(String, f64)> {
    // Its type differs between C libraries, so it is not named, and on some this converts nothing.
    #[expect(clippy::useless_conversion, reason = "where a time has 32 bits, it is one")]
    let time = seconds.try_into().ok()?;
    // SAFETY: the type is plain numbers and a pointer that may be null, for which all zeros are valid.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values; the call writes the second alone.
    let done = unsafe { libc::localtime_r(&raw const time, &raw mut parts) };
    if done.is_null() || parts.tm_zone.is_null() {
        return None;
    }
    // SAFETY: the C library keeps the names of zones, ended by a zero, for as long as the process lives.
    let name = unsafe { std::ffi::CStr::from_ptr(parts.tm_zone) };
    #[expect(clippy::cast_precision_loss, reason = "at most a day's seconds")]
    let offset = parts.tm_gmtoff as f64;
    Some((name.to_string_lossy().into_owned(), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unprivileged_reader_sees_the_clock() {
        let (state, clock) = discipline().unwrap();
        assert!((0..=TIME_ERROR).contains(&state), "{state}");
        assert!(clock.tick > 0);
    }

    #[test]
    fn a_zone_is_at_most_a_day_from_utc() {
        let (name, offset) = zone(1_700_000_000).unwrap();
        assert!(!name.is_empty() && offset.abs() <= 86_400.0, "{name} {offset}");
    }
}
