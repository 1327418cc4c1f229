//! Syslog messages: RFC 5424, RFC 3164, and the lines that syslog daemons write to files, which have no priority.

use super::{Coding, Emit, ParseError, Value, as_text};

/// Severity of a priority, RFC 5424 section 6.2.1: 0 emergency to 7 debug.
pub type Severity = u8;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Longest tag of RFC 3164 that is taken for one; the RFC allows 32, programs write longer names.
const TAG_BYTES_MAX: usize = 128;

/// Tells `facility`, `severity`, `time`, `hostname`, `app_name`, `proc_id`, `msg_id`, structured data as `ID_NAME`, and
/// `message`, each where it stands. Returns the severity, where there is a priority.
///
/// # Errors
/// [`ParseError`] if the line has neither a priority nor a time at its begin.
pub fn syslog(line: &[u8], emit: Emit<'_>) -> Result<Option<Severity>, ParseError> {
    let text = as_text(line);
    let (priority, rest) = priority(&text);
    let severity = priority.map(|number| (number & 7) as u8);
    let rest = match rest.strip_prefix("1 ").filter(|_| priority.is_some()) {
        Some(rest) => {
            tell_priority(priority, emit);
            rfc5424(rest, text.len(), emit)?;
            return Ok(severity);
        }
        None => rest,
    };
    let Some((time, rest)) = time(rest) else {
        if priority.is_none() {
            return Err(ParseError::Unexpected { at: 0, expected: "a priority or a time" });
        }
        // RFC 3164 section 4.3.2: without a time all of it is the message.
        tell_priority(priority, emit);
        message(rest, emit);
        return Ok(severity);
    };
    tell_priority(priority, emit);
    emit("time", Value::plain(time));
    if let Some((host, rest)) = rest.split_once(' ').filter(|(host, _)| !host.is_empty() && !host.ends_with(':')) {
        emit("hostname", Value::plain(host));
        message(rest, emit);
    } else {
        message(rest, emit);
    }
    Ok(severity)
}

fn tell_priority(priority: Option<usize>, emit: Emit<'_>) {
    if let Some(number) = priority {
        emit("facility", Value::plain(FACILITIES[number >> 3]));
        emit("severity", Value::plain(SEVERITIES[number & 7]));
    }
}

/// `<34>`: facility times eight and severity, at most 191.
fn priority(text: &str) -> (Option<usize>, &str) {
    let found = text.strip_prefix('<').and_then(|rest| rest.split_once('>')).and_then(|(digits, rest)| {
        let good = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let number: usize = digits.parse().ok().filter(|number| good && *number <= 191)?;
        Some((number, rest))
    });
    found.map_or((None, text), |(number, rest)| (Some(number), rest))
}

/// `Nov 20 22:18:00 ` or a time of RFC 3339, and what is behind its blank.
fn time(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    if bytes.first().is_some_and(u8::is_ascii_digit) {
        let (time, rest) = text.split_once(' ')?;
        let good = time.len() >= 19 && matches!(time.as_bytes()[10], b'T' | b't') && time.as_bytes()[4] == b'-';
        return good.then_some((time, rest));
    }
    let good = MONTHS.iter().any(|month| text.starts_with(month))
        && bytes.len() >= 15
        && bytes[3] == b' '
        && bytes[6] == b' '
        && bytes[9] == b':'
        && bytes[12] == b':'
        && bytes[13..15].iter().all(u8::is_ascii_digit);
    if !good {
        return None;
    }
    // Some devices add fractions or a colon behind the time.
    let end = 15 + bytes[15..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let rest = text[end..].strip_prefix(':').unwrap_or(&text[end..]);
    Some((&text[..end], rest.strip_prefix(' ').unwrap_or(rest)))
}

/// `tag[pid]: text`, or text alone.
fn message(text: &str, emit: Emit<'_>) {
    let tag = text.bytes().take(TAG_BYTES_MAX).take_while(|b| !matches!(b, b' ' | b'[' | b':')).count();
    let (name, behind) = text.split_at(if text.is_char_boundary(tag) { tag } else { 0 });
    let pid =
        behind.strip_prefix('[').and_then(|rest| rest.split_once(']')).filter(|(pid, _)| pid.len() <= TAG_BYTES_MAX);
    let rest = pid.map_or(behind, |(_, rest)| rest);
    let Some(rest) = rest.strip_prefix(':').filter(|_| !name.is_empty()) else {
        return emit("message", Value::plain(text));
    };
    emit("app_name", Value::plain(name));
    if let Some((pid, _)) = pid {
        emit("proc_id", Value::plain(pid));
    }
    emit("message", Value::plain(rest.strip_prefix(' ').unwrap_or(rest)));
}

/// What stands behind `<34>1 `.
fn rfc5424(text: &str, whole: usize, emit: Emit<'_>) -> Result<(), ParseError> {
    let mut rest = text;
    for name in ["time", "hostname", "app_name", "proc_id", "msg_id"] {
        let Some((value, behind)) = rest.split_once(' ') else {
            return Err(ParseError::Unexpected { at: whole - rest.len(), expected: "six parts of RFC 5424" });
        };
        if value != "-" && !value.is_empty() {
            emit(name, Value::plain(value));
        }
        rest = behind;
    }
    if let Some(behind) = rest.strip_prefix('-') {
        rest = behind;
    } else {
        while rest.starts_with('[') {
            rest = element(rest, whole, emit)?;
        }
    }
    let text = rest.strip_prefix(' ').unwrap_or(rest);
    emit("message", Value::plain(text.strip_prefix('\u{feff}').unwrap_or(text)));
    Ok(())
}

/// `[id name="value" …]`, RFC 5424 section 6.3; what is behind it.
fn element<'a>(text: &'a str, whole: usize, emit: Emit<'_>) -> Result<&'a str, ParseError> {
    let fail =
        |rest: &str| Err(ParseError::Unexpected { at: whole - rest.len(), expected: "structured data of RFC 5424" });
    let inner = &text[1..];
    let len = inner.bytes().take_while(|b| !matches!(b, b' ' | b']')).count();
    let (id, mut rest) = inner.split_at(len);
    // The enterprise number tells nobody anything: `exampleSDID@32473` is `exampleSDID`.
    let id = id.split('@').next().unwrap_or_default();
    let mut prefix = super::name::Prefix::default();
    prefix.enter(id)?;
    loop {
        rest = rest.trim_start_matches(' ');
        if let Some(behind) = rest.strip_prefix(']') {
            return Ok(behind);
        }
        let Some((name, behind)) = rest.split_once("=\"") else { return fail(rest) };
        if name.len() > TAG_BYTES_MAX || name.contains([' ', ']', '"']) {
            return fail(rest);
        }
        let (mut end, bytes, mut coding) = (0, behind.as_bytes(), Coding::Plain);
        loop {
            match memchr::memchr2(b'"', b'\\', bytes.get(end..).unwrap_or_default()) {
                Some(found) if bytes[end + found] == b'"' => {
                    end += found;
                    break;
                }
                Some(found) => {
                    coding = Coding::Escaped;
                    end += found + 2;
                }
                None => return fail(behind),
            }
        }
        prefix.with(name, |name| emit(name, Value::coded(&behind[..end], coding)))?;
        rest = &behind[end + 1..];
    }
}
