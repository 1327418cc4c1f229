//! Syslog messages in lines: what the inputs read off the wire, and the lines that syslog daemons write to files, which
//! have no priority.

use super::{Emit, ParseError, Value, as_text};
use crate::wire::syslog::{Dialect, Message, severity};

/// Severity of a priority, RFC 5424 section 6.2.1: 0 emergency to 7 debug.
pub type Severity = u8;

/// Tells `facility`, `severity`, `time`, `hostname`, `app_name`, `proc_id`, `msg_id`, structured data as `ID_NAME`, and
/// `message`, each where it stands. Returns the severity, where there is a priority.
///
/// # Errors
/// [`ParseError`] if the line has neither a priority nor a time at its begin.
pub fn syslog(line: &[u8], emit: Emit<'_>) -> Result<Option<Severity>, ParseError> {
    let text = as_text(line);
    let message = Message::parse(text.as_bytes(), Dialect::Auto);
    if !message.is_valid {
        return Err(ParseError::Unexpected { at: 0, expected: "a priority or a time" });
    }
    if let Some((facility, number)) = message.facility.zip(message.severity) {
        emit("facility", Value::plain(facility));
        emit("severity", Value::plain(severity(number)));
    }
    // Parts end at blanks and signs of ASCII, so what was text is text in its parts.
    let part = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    for (name, value) in [
        ("time", message.time),
        ("hostname", message.host),
        ("app_name", message.app),
        ("proc_id", message.pid),
        ("msg_id", message.id),
    ] {
        if !value.is_empty() {
            emit(name, Value::plain(part(value)));
        }
    }
    for (name, value) in &message.params {
        emit(name, Value::plain(value));
    }
    emit("message", Value::plain(part(message.text)));
    Ok(message.severity)
}
