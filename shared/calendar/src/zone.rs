//! Time zones by name.

use jiff::tz::TimeZone;

/// Gives the content of a zone's file of the time zone database by its name, such as `Europe/Berlin`.
pub type ReadZone<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// A zone: `UTC`, `Local` (UTC where the machine says nothing), a name of the database, or a POSIX rule such as
/// `CET-1CEST,M3.5.0,M10.5.0/3`, which needs no database.
///
/// # Errors
/// That it is not known, in Alertmanager's words.
pub fn zone(name: &str, read: ReadZone<'_>) -> Result<TimeZone, String> {
    let unknown = || format!("unknown time zone {name}");
    match name {
        "" | "UTC" => return Ok(TimeZone::UTC),
        "Local" => {
            let file = read("localtime").and_then(|data| TimeZone::tzif("Local", &data).ok());
            return Ok(file.unwrap_or(TimeZone::UTC));
        }
        _ => {}
    }
    let is_plain = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/+-".contains(&b));
    if is_plain
        && name.split('/').all(|part| !part.is_empty())
        && let Some(data) = read(name)
    {
        return TimeZone::tzif(name, &data).map_err(|_| unknown());
    }
    let is_rule = name.len() <= 64 && name.contains(|c: char| c.is_ascii_digit());
    is_rule.then(|| TimeZone::posix(name).ok()).flatten().ok_or_else(unknown)
}
