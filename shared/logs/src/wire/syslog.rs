//! Syslog messages off the wire: RFC 5424, RFC 3164 with what devices make of it, and the frames of RFC 6587.
//!
//! ```text
//! RFC 5424   <34>1 2003-10-11T22:14:15.003Z host app 812 ID47 [id name="value"] text
//! RFC 3164   <34>Oct 11 22:14:15 host app[812]: text
//! variants   no host (`/dev/log`), a year, fractions, a zone, RFC 3339's time (rsyslog's forward format), Cisco's
//!            `<189>83: host: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: text`, no priority, nothing but text
//! ```
//!
//! Invariants:
//! - Any bytes are a message: what is not understood is its text.
//! - Parts are pieces of the input; nothing is kept beyond it.

mod frame;

pub use frame::{Framer, Next, TooLong};

use super::event::{field_name, push_field};
use skerry_model::{Level, UnixMillis};

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
/// Longest host, program, process id that is taken for one: RFC 5424 allows 255, 48 and 128.
const WORD_BYTES_MAX: usize = 255;

/// Which of the RFCs a source keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// By each message.
    #[default]
    Auto,
    /// RFC 3164 and its variants.
    Rfc3164,
    /// RFC 5424 alone; what is not is kept as text.
    Rfc5424,
}

/// When a message says it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// With its zone.
    Instant(UnixMillis),
    /// In the sender's own zone, which it does not name; milliseconds as if that were UTC.
    Local(UnixMillis),
    /// The same without a year, which counts as 1972 here: one with a leap day.
    Yearless(UnixMillis),
}

impl Stamp {
    /// The moment, for a sender whose clock is `offset_s` seconds ahead of UTC. Without a year the last one counts that
    /// puts it no more than a week after `now`: messages come late, a message of December in January.
    #[must_use]
    pub fn resolve(self, now: UnixMillis, offset_s: i32) -> UnixMillis {
        let ahead = i64::from(offset_s) * 1000;
        match self {
            Self::Instant(at) => at,
            Self::Local(at) => UnixMillis(at.0 - ahead),
            Self::Yearless(at) => {
                let (day, ms) = (at.0.div_euclid(DAY_MS), at.0.rem_euclid(DAY_MS));
                let (_, month, date) = civil(day);
                let (year, ..) = civil(now.0.div_euclid(DAY_MS));
                let moments = (year - 1..=year + 1).map(|year| days(year, month, date) * DAY_MS + ms - ahead);
                let latest = now.0.saturating_add(7 * DAY_MS);
                UnixMillis(moments.rev().find(|at| *at <= latest).unwrap_or(now.0))
            }
        }
    }
}

/// A message in parts. Texts are as they came, so need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility's name, where there is a priority.
    pub facility: Option<&'static str>,
    /// Severity, where there is a priority.
    pub severity: Option<u8>,
    /// When it was written, where it says.
    pub at: Option<Stamp>,
    /// The same as it stands in the message.
    pub time: &'a [u8],
    /// The machine that it names.
    pub host: &'a [u8],
    /// The program.
    pub app: &'a [u8],
    /// Its process.
    pub pid: &'a [u8],
    /// Kind of the message, RFC 5424 alone.
    pub id: &'a [u8],
    /// Structured data as fields: `ID_NAME`, without the ID's enterprise number.
    pub params: Vec<(String, String)>,
    /// Structured data did not fit into fields.
    pub is_cut: bool,
    /// The text, without line end or byte order mark.
    pub text: &'a [u8],
    /// Whether it is of the dialect that was asked for. Otherwise all of it is the text.
    pub is_valid: bool,
}

impl<'a> Message<'a> {
    /// Takes a message apart, without its frame.
    #[must_use]
    pub fn parse(bytes: &'a [u8], dialect: Dialect) -> Self {
        let bytes = without_end(bytes);
        let mut message = Self {
            facility: None,
            severity: None,
            at: None,
            time: b"",
            host: b"",
            app: b"",
            pid: b"",
            id: b"",
            params: Vec::new(),
            is_cut: false,
            text: bytes,
            is_valid: false,
        };
        let Some((priority, rest)) = priority(bytes) else {
            // Devices that leave out the priority still write the rest; of a bare text nothing is made.
            if dialect != Dialect::Rfc5424 && stamp(bytes).is_some() {
                message.read_3164(bytes);
            }
            message.is_valid = dialect == Dialect::Auto && message.at.is_some();
            return message;
        };
        message.facility = Some(FACILITIES[usize::from(priority >> 3)]);
        message.severity = Some(priority & 7);
        message.is_valid = true;
        let versioned = rest.strip_prefix(b"1 ").filter(|_| dialect != Dialect::Rfc3164);
        if versioned.and_then(|rest| message.read_5424(rest)).is_some() {
            return message;
        }
        (message.host, message.app, message.pid, message.id) = (b"", b"", b"", b"");
        (message.at, message.time) = (None, b"");
        message.params.clear();
        if dialect == Dialect::Rfc5424 {
            message.is_valid = false;
        } else {
            message.read_3164(rest);
        }
        message
    }

    /// Severity as a level: RFC 5424, table 2.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        self.severity.map(level)
    }

    fn read_5424(&mut self, rest: &'a [u8]) -> Option<()> {
        let (time, rest) = word(rest)?;
        self.at = match time {
            b"-" => None,
            time => Some(rfc3339(time).filter(|(_, rest)| rest.is_empty())?.0),
        };
        self.time = if self.at.is_some() { time } else { b"" };
        let mut rest = rest;
        for part in [&mut self.host, &mut self.app, &mut self.pid, &mut self.id] {
            let (value, behind) = word(rest).filter(|(value, _)| (1..=WORD_BYTES_MAX).contains(&value.len()))?;
            *part = if value == b"-" { b"" } else { value };
            rest = behind;
        }
        if let Some(behind) = rest.strip_prefix(b"-") {
            rest = behind;
        } else {
            rest.first().filter(|first| **first == b'[')?;
            while rest.first() == Some(&b'[') {
                rest = self.element(rest)?;
            }
        }
        let text = match rest.split_first() {
            None => rest,
            Some((b' ', text)) => text,
            Some(_) => return None,
        };
        self.text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Some(())
    }

    /// `[id name="value" …]`, RFC 5424 section 6.3; what is behind it.
    fn element(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let rest = text.strip_prefix(b"[")?;
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b']'))?;
        let (id, mut rest) = rest.split_at(end);
        let id = id.split(|byte| *byte == b'@').next().filter(|id| !id.is_empty())?;
        let id = field_name("", &String::from_utf8_lossy(id));
        loop {
            while let Some(behind) = rest.strip_prefix(b" ") {
                rest = behind;
            }
            if let Some(behind) = rest.strip_prefix(b"]") {
                return Some(behind);
            }
            let end = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b'"' | b']'))?;
            let (name, behind) = rest.split_at(end);
            let quoted = behind.strip_prefix(b"=\"")?;
            let (mut value, mut at) = (Vec::new(), 0);
            loop {
                match *quoted.get(at)? {
                    b'"' => break,
                    // Other characters behind a backslash keep it: section 6.3.3.
                    b'\\' if matches!(quoted.get(at + 1), Some(b'"' | b'\\' | b']')) => at += 1,
                    _ => {}
                }
                value.push(quoted[at]);
                at += 1;
            }
            rest = &quoted[at + 1..];
            let name = field_name(&id, &String::from_utf8_lossy(name));
            let value = String::from_utf8_lossy(&value).into_owned();
            self.is_cut |= !push_field(&mut self.params, name, value);
        }
    }

    fn read_3164(&mut self, rest: &'a [u8]) {
        // Cisco puts a sequence number and, where told to, its name before the time.
        let mut rest = rest;
        if let Some(behind) = numbered(rest) {
            rest = behind;
        }
        let mut is_named = false;
        if stamp(rest).is_none()
            && let Some((name, behind)) = word(rest)
            && let Some(name) = name.strip_suffix(b":").filter(|name| is_host(name))
            && stamp(behind).is_some()
        {
            (self.host, rest, is_named) = (name, behind, true);
        }
        if let Some((at, behind)) = stamp(rest) {
            self.at = Some(at);
            let time = &rest[..rest.len() - behind.len()];
            let time = time.strip_prefix(b"*").or_else(|| time.strip_prefix(b".")).unwrap_or(time).trim_ascii_end();
            self.time = time.strip_suffix(b":").unwrap_or(time);
            rest = behind;
            // A word that no colon or bracket ends is a host, if something follows it.
            if !is_named
                && let Some((host, behind)) = word(rest).filter(|(host, _)| is_host(host))
                && !behind.is_empty()
            {
                self.host = host;
                rest = behind;
            }
        }
        self.text = self.tag(rest).unwrap_or(rest);
    }

    /// `app[pid]: ` or `app: `; what is behind it.
    fn tag(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let end = text.iter().take(WORD_BYTES_MAX).position(|byte| matches!(byte, b'[' | b':' | b' '))?;
        let (app, rest) = text.split_at(end);
        let (pid, rest) = match rest.strip_prefix(b"[") {
            None => (&b""[..], rest),
            Some(inner) => {
                let end = inner.iter().take(WORD_BYTES_MAX).position(|byte| *byte == b']')?;
                (&inner[..end], &inner[end + 1..])
            }
        };
        let rest = rest.strip_prefix(b":")?;
        if app.is_empty() || rest.first().is_some_and(|byte| matches!(byte, b':' | b'/')) {
            return None;
        }
        (self.app, self.pid) = (app, pid);
        Some(rest.strip_prefix(b" ").unwrap_or(rest))
    }
}

/// A severity of RFC 5424 as a level.
#[must_use]
pub const fn level(severity: u8) -> Level {
    match severity & 7 {
        0..=2 => Level::Fatal,
        3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        _ => Level::Debug,
    }
}

/// Name of a severity, as syslog.conf has it.
#[must_use]
pub const fn severity(number: u8) -> &'static str {
    SEVERITIES[(number & 7) as usize]
}

/// Name of a facility, by its number.
#[must_use]
pub fn facility(number: u64) -> Option<&'static str> {
    FACILITIES.get(usize::try_from(number).ok()?).copied()
}

fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |at| at + 1);
    &bytes[..end]
}

/// `<34>`: facility times eight and severity, at most 191.
fn priority(text: &[u8]) -> Option<(u8, &[u8])> {
    let rest = text.strip_prefix(b"<")?;
    let (number, rest) = number(rest, 3)?;
    let rest = rest.strip_prefix(b">")?;
    u8::try_from(number).ok().filter(|number| *number <= 191).map(|number| (number, rest))
}

/// One to `digits_max` digits.
fn number(text: &[u8], digits_max: usize) -> Option<(i64, &[u8])> {
    let digits = text.iter().take(digits_max + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > digits_max {
        return None;
    }
    let value = text[..digits].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some((value, &text[digits..]))
}

/// Exactly this many digits.
fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let head = text.get(..count)?;
    number(head, count).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| (value, &text[count..]))
}

/// What is behind `83: `.
fn numbered(text: &[u8]) -> Option<&[u8]> {
    let (_, rest) = number(text, 10)?;
    rest.strip_prefix(b": ").map(<[u8]>::trim_ascii_start)
}

/// A word and what is behind its blank.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..end], &text[end + 1..]))
}

/// Whether a word may name a machine: letters, digits, and what addresses have.
fn is_host(word: &[u8]) -> bool {
    (1..=WORD_BYTES_MAX).contains(&word.len())
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%'))
        && !word.ends_with(b":")
        && word[0] != b'%'
}

/// A time at the begin of a message and what is behind it and its blank.
fn stamp(text: &[u8]) -> Option<(Stamp, &[u8])> {
    // Cisco marks times of a clock that is not set or not in step.
    let text = text.strip_prefix(b"*").or_else(|| text.strip_prefix(b".")).unwrap_or(text);
    let (stamp, rest) = rfc3339(text).or_else(|| bsd(text))?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    match rest.split_first() {
        None => Some((stamp, rest)),
        Some((b' ', behind)) => Some((stamp, behind)),
        Some(_) => None,
    }
}

/// `Oct 11 22:14:15`, with a year behind the day or the time, fractions and a zone where devices add them.
fn bsd(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let name = text.get(..3)?;
    let month = (1i64..).zip(MONTHS).find(|(_, month)| name.eq_ignore_ascii_case(*month))?.0;
    let rest = text[3..].strip_prefix(b" ")?;
    let (day, rest) = number(rest.strip_prefix(b" ").unwrap_or(rest), 2)?;
    let mut rest = rest.strip_prefix(b" ")?;
    let mut year = None;
    if let Some((value, behind)) = digits(rest, 4)
        && let Some(behind) = behind.strip_prefix(b" ")
    {
        (year, rest) = (Some(value), behind);
    }
    let (ms, mut rest) = clock(rest)?;
    if year.is_none()
        && let Some((value, behind)) = rest.strip_prefix(b" ").and_then(|rest| digits(rest, 4))
        && (1970..2200).contains(&value)
        && matches!(behind.first(), None | Some(b' ' | b':'))
    {
        (year, rest) = (Some(value), behind);
    }
    let of_year = |year| valid(year, month, day).then(|| UnixMillis(days(year, month, day) * DAY_MS + ms));
    // `UTC` and `GMT` are told; other names of zones mean different things in different places.
    for zone in [&b" UTC"[..], b" GMT"] {
        if let Some(behind) = rest.strip_prefix(zone).filter(|rest| matches!(rest.first(), None | Some(b' ' | b':'))) {
            return match year {
                Some(year) => Some((Stamp::Instant(of_year(year)?), behind)),
                None => Some((Stamp::Yearless(of_year(1972)?), behind)),
            };
        }
    }
    match year {
        Some(year) => Some((Stamp::Local(of_year(year)?), rest)),
        None => Some((Stamp::Yearless(of_year(1972)?), rest)),
    }
}

/// `2003-10-11T22:14:15.003Z`, with or without fractions and zone; the blank in place of the T is common.
fn rfc3339(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let (day, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let (separator, rest) = rest.split_first()?;
    if !matches!(separator, b'T' | b't' | b' ') || !valid(year, month, day) {
        return None;
    }
    let (ms, rest) = clock(rest)?;
    let at = days(year, month, day) * DAY_MS + ms;
    match rest.split_first() {
        Some((b'Z' | b'z', rest)) => Some((Stamp::Instant(UnixMillis(at)), rest)),
        Some((sign @ (b'+' | b'-'), zone)) => {
            let (hours, zone) = digits(zone, 2)?;
            let (minutes, rest) = digits(zone.strip_prefix(b":").unwrap_or(zone), 2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead = (hours * 60 + minutes) * 60_000 * if *sign == b'-' { -1 } else { 1 };
            Some((Stamp::Instant(UnixMillis(at - ahead)), rest))
        }
        _ => Some((Stamp::Local(UnixMillis(at)), rest)),
    }
}

/// `22:14:15` or `22:14:15.003` as milliseconds of a day; a leap second counts as the one before it.
fn clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut ms = ((hour * 60 + minute) * 60 + second.min(59)) * 1000;
    let Some(fraction) = rest.strip_prefix(b".").or_else(|| rest.strip_prefix(b",")) else { return Some((ms, rest)) };
    let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let mut scale = 100;
    for digit in &fraction[..count] {
        ms += i64::from(digit - b'0') * scale;
        scale /= 10;
    }
    Some((ms, &fraction[count..]))
}

const DAY_MS: i64 = 86_400_000;

fn valid(year: i64, month: i64, day: i64) -> bool {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=length).contains(&day)
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, years counted from March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day: the inverse of [`days`].
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests;
