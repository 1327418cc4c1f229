//! Guesses the severity of a line from its first bytes.
//!
//! A guess must be cheap, for it runs on every line, and rather `Unknown` than wrong: a lower-case word in prose
//! ("no error found") tells nothing, so that only a leading, bracketed, upper-case or named word counts.

use skerry_model::Level;

/// How far a level word or a `level=` key may be from the line's begin.
const WORD_REACH: usize = 64;
const KEY_REACH: usize = 256;
/// How far a JSON key is looked for: loggers write the level among the first fields.
const JSON_REACH: usize = 1024;
const KEYS: [&[u8]; 3] = [b"level", b"lvl", b"severity"];

/// The severity that the line names, or `Unknown`.
pub(crate) fn guess(line: &[u8]) -> Level {
    let start = line.iter().take(WORD_REACH).position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
    let line = &line[start..];
    let found = if line.first() == Some(&b'{') {
        by_key(&line[..line.len().min(JSON_REACH)], b':')
    } else {
        by_word(line).or_else(|| by_key(&line[..line.len().min(KEY_REACH)], b'='))
    };
    found.unwrap_or(Level::Unknown)
}

/// Looks for one of [`KEYS`] followed by `separator`, with or without quotes and spaces.
fn by_key(text: &[u8], separator: u8) -> Option<Level> {
    for at in memchr::memchr_iter(separator, text) {
        let before = text[..at].trim_ascii_end();
        let before = before.strip_suffix(b"\"").unwrap_or(before);
        let Some(key) = KEYS.iter().find(|key| before.ends_with(key)) else { continue };
        let edge = before.len().checked_sub(key.len() + 1).map(|at| before[at]);
        if edge.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        let value = text[at + 1..].trim_ascii_start();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let word = &value[..value.iter().take(16).take_while(|b| b.is_ascii_alphanumeric()).count()];
        if let Some(level) = from_word(word).or_else(|| from_number(word)) {
            return Some(level);
        }
    }
    None
}

/// Looks for a word that stands as a level does: first, in brackets, before a colon, or in upper case.
fn by_word(line: &[u8]) -> Option<Level> {
    if let Some(level) = klog(line) {
        return Some(level);
    }
    let head = &line[..line.len().min(WORD_REACH)];
    let mut at = 0;
    while at < head.len() {
        if !head[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        // A word that reaches beyond the head is measured to its true end, or "inform" would pass for "info".
        let len = line[at..].iter().take(24).take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let word = &line[at..at + len];
        let before = at.checked_sub(1).map(|at| line[at]);
        let after = line.get(at + len).copied();
        let stands_alone = !before.is_some_and(|b| b.is_ascii_digit() || matches!(b, b'_' | b'/' | b'-' | b'.'))
            && !matches!(after, Some(b'/' | b'-' | b'.' | b'='));
        let marked = at == 0
            || matches!(before, Some(b'[' | b'<' | b'(' | b'|'))
            || after == Some(b':')
            || word.iter().all(u8::is_ascii_uppercase);
        if stands_alone
            && marked
            && let Some(level) = from_word(word)
        {
            return Some(level);
        }
        at += len;
    }
    None
}

/// klog's and glog's begin: a letter and the date, `E1120 …`.
fn klog(line: &[u8]) -> Option<Level> {
    let (letter, date) = line.get(..6)?.split_first()?;
    if !date[..4].iter().all(u8::is_ascii_digit) || date[4] != b' ' {
        return None;
    }
    match letter {
        b'I' => Some(Level::Info),
        b'W' => Some(Level::Warn),
        b'E' => Some(Level::Error),
        b'F' => Some(Level::Fatal),
        _ => None,
    }
}

fn from_word(word: &[u8]) -> Option<Level> {
    if !(3..=11).contains(&word.len()) {
        return None;
    }
    std::str::from_utf8(word).ok().and_then(Level::from_word)
}

/// bunyan's and pino's numbers.
fn from_number(word: &[u8]) -> Option<Level> {
    match word {
        b"10" => Some(Level::Trace),
        b"20" => Some(Level::Debug),
        b"30" => Some(Level::Info),
        b"40" => Some(Level::Warn),
        b"50" => Some(Level::Error),
        b"60" => Some(Level::Fatal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_common_loggers_write() {
        for (line, level) in [
            ("ERROR something", Level::Error),
            ("error: no such file", Level::Error),
            ("2026-11-20T10:00:00Z  WARN crate::module: text", Level::Warn),
            ("2026-11-20 10:00:00,123 [main] INFO  com.x.Y - text", Level::Info),
            ("[2026-11-20 10:00:00] [error] [client ::1] x", Level::Error),
            ("2026/11/20 10:00:00 [crit] 12#0: *1 x", Level::Fatal),
            ("<warning> low", Level::Warn),
            ("time=\"2026\" level=debug msg=\"x\"", Level::Debug),
            ("ts=1 caller=a.go lvl=\"eror\" severity=critical", Level::Fatal),
            (r#"{"time":"x","level":"info","msg":"error"}"#, Level::Info),
            (r#"{"time":1,"severity" : "ERROR"}"#, Level::Error),
            (r#"{"level":50,"msg":"x"}"#, Level::Error),
            ("I1120 22:18:00.1 1 main.go] x", Level::Info),
            ("E1120 22:18:00.1 1 main.go] x", Level::Error),
            ("  \tpanic: oh", Level::Fatal),
            ("[    0.000000] Linux version", Level::Unknown),
            ("no error found", Level::Unknown),
            ("GET /error/debug HTTP/1.1", Level::Unknown),
            ("information_schema", Level::Unknown),
            (r#"{"sublevel":"error"}"#, Level::Unknown),
            ("x error.log INFO.txt", Level::Unknown),
            ("", Level::Unknown),
            ("\0\u{ff}", Level::Unknown),
        ] {
            assert_eq!(guess(line.as_bytes()), level, "{line}");
        }
    }

    #[test]
    fn a_word_across_the_reach_is_not_misread() {
        let line = format!("{} [INFORMAL] x", "1".repeat(57));
        assert_eq!(guess(line.as_bytes()), Level::Unknown);
    }
}
