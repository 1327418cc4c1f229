//! Fields of values, and the methods that times and durations have.

use crate::time::{Time, day_name, month_name};
use crate::value::Value;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Methods of times with one argument.
const TAKING_ONE: [&str; 8] = ["Format", "Add", "Truncate", "Sub", "Before", "After", "Equal", "Compare"];

/// A field, or what a method without arguments gives.
///
/// # Errors
/// Go's words where there is none of that name.
pub(crate) fn field(value: &Value, name: &str) -> Result<Value, String> {
    let found = match value {
        // As Go has it: nothing below nothing.
        Value::Nil => Some(Value::Nil),
        Value::Map(map) => Some(map.at(name)),
        Value::Object(object) => match object.field(name) {
            Some(found) => Some(found),
            // A map with methods: what is no method is a key.
            None => match object.plain() {
                Some(Value::Map(map)) => Some(map.at(name)),
                _ => None,
            },
        },
        Value::Time(time) => of_time(time, name),
        Value::Duration(nanos) => of_duration(*nanos, name),
        _ => None,
    };
    if found.is_none() && matches!(value, Value::Time(_)) && TAKING_ONE.contains(&name) {
        return Err(format!("wrong number of args for {name}: want 1 got 0"));
    }
    found.ok_or_else(|| format!("can't evaluate field {name} in type {}", value.type_name()))
}

/// What a method with arguments gives.
///
/// # Errors
/// Go's words where there is none of that name, or what the method says.
pub(crate) fn call(value: &Value, name: &str, args: &[Value]) -> Result<Value, String> {
    let called = match value {
        Value::Object(object) => object.call(name, args),
        Value::Time(time) => time_call(time, name, args),
        Value::Duration(nanos) => duration_call(*nanos, name, args),
        Value::Map(_) => return Err(format!("{name} is not a method but has arguments")),
        Value::Nil => return Err(format!("nil data; no entry for key {}", crate::print::quoted(name))),
        _ => None,
    };
    match called {
        Some(result) => result,
        None if matches!(value.plain(), Value::Map(_)) => Err(format!("{name} is not a method but has arguments")),
        None if field(value, name).is_ok() => Err(format!("{name} has arguments but cannot be invoked as function")),
        None => Err(format!("can't evaluate field {name} in type {}", value.type_name())),
    }
}

fn of_time(time: &Time, name: &str) -> Option<Value> {
    let there = time.zone.to_datetime(time.at);
    Some(match name {
        "UTC" | "Local" => Value::Time(Time { at: time.at, zone: TimeZone::UTC }),
        "Unix" => Value::Int(time.at.as_nanosecond().div_euclid(1_000_000_000).try_into().unwrap_or(0)),
        "UnixMilli" => Value::Int(time.at.as_nanosecond().div_euclid(1_000_000).try_into().unwrap_or(0)),
        "UnixMicro" => Value::Int(time.at.as_nanosecond().div_euclid(1_000).try_into().unwrap_or(0)),
        "UnixNano" => Value::Int(time.nanos()),
        "Year" => Value::Int(there.year().into()),
        "Month" => Value::from(month_name(there.month())),
        "Day" => Value::Int(there.day().into()),
        "YearDay" => Value::Int(there.day_of_year().into()),
        "Weekday" => Value::from(day_name(there.weekday().to_sunday_zero_offset())),
        "Hour" => Value::Int(there.hour().into()),
        "Minute" => Value::Int(there.minute().into()),
        "Second" => Value::Int(there.second().into()),
        "Nanosecond" => Value::Int(there.subsec_nanosecond().into()),
        "String" => Value::from(time.to_string()),
        // The year 1, which Go's empty time is.
        "IsZero" => Value::Bool(time.at.as_second() == -62_135_596_800 && time.at.subsec_nanosecond() == 0),
        _ => return None,
    })
}

fn time_call(time: &Time, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let moved = |nanos: i64| {
        let at = time.at.checked_add(SignedDuration::from_nanos(nanos)).unwrap_or(if nanos < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        Value::Time(Time { at, zone: time.zone.clone() })
    };
    Some(Ok(match (name, args) {
        ("Format", [Value::Text(layout)]) if layout.len() > 1000 => return Some(Err("layout is too long".into())),
        ("Format", [Value::Text(layout)]) => Value::from(time.format(layout)),
        ("Add", [Value::Duration(nanos) | Value::Int(nanos)]) => moved(*nanos),
        ("Truncate", [Value::Duration(unit) | Value::Int(unit)]) if *unit > 0 => moved(-time.nanos().rem_euclid(*unit)),
        ("Sub", [Value::Time(other)]) => Value::Duration(time.nanos().saturating_sub(other.nanos())),
        ("Before", [Value::Time(other)]) => Value::Bool(time.at < other.at),
        ("After", [Value::Time(other)]) => Value::Bool(time.at > other.at),
        ("Equal", [Value::Time(other)]) => Value::Bool(time.at == other.at),
        ("Compare", [Value::Time(other)]) => Value::Int(time.at.cmp(&other.at) as i64),
        (name, _) if TAKING_ONE.contains(&name) => return Some(Err(format!("wrong arguments for {name}"))),
        _ => return None,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
fn of_duration(nanos: i64, name: &str) -> Option<Value> {
    let parts = |unit: i64| Value::Float((nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64);
    Some(match name {
        "Hours" => parts(3_600_000_000_000),
        "Minutes" => parts(60_000_000_000),
        "Seconds" => parts(1_000_000_000),
        "Milliseconds" => Value::Int(nanos / 1_000_000),
        "Microseconds" => Value::Int(nanos / 1_000),
        "Nanoseconds" => Value::Int(nanos),
        "Abs" => Value::Duration(nanos.saturating_abs()),
        "String" => Value::from(crate::time::duration_text(nanos)),
        _ => return None,
    })
}

fn duration_call(nanos: i64, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let [Value::Duration(unit) | Value::Int(unit)] = args else { return None };
    let unit = (*unit).max(1);
    let rest = nanos % unit;
    Some(Ok(Value::Duration(match name {
        "Truncate" => nanos - rest,
        // Half away from zero.
        "Round" if rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2) => {
            (nanos - rest).saturating_add(if nanos < 0 { -unit } else { unit })
        }
        "Round" => nanos - rest,
        _ => return None,
    })))
}
