//! The grammar of one line.

use super::series::{Series, quoted, unescaped};
use super::{Entry, Format, LINE_LABELS_MAX, NORMAL_NAN_BITS, Problem, Sample};
use skerry_model::{MetricKind, UnixMillis};
use std::borrow::Cow;

/// A line, read.
pub(super) enum Line<'a> {
    Entry(Entry<'a>),
    /// An empty line or a comment.
    Nothing,
    /// `# EOF` of OpenMetrics.
    Eof,
}

/// Reads one line without its line break.
pub(super) fn parse(line: &str, format: Format) -> Result<Line<'_>, Problem> {
    match format {
        Format::Prometheus => {
            let text = blanks_cut(line);
            match text.as_bytes().first() {
                None => Ok(Line::Nothing),
                Some(b'#') => comment(&text[1..]),
                Some(_) => sample(text).map(|sample| Line::Entry(Entry::Sample(sample))),
            }
        }
        Format::OpenMetrics => match line.strip_prefix("# ") {
            Some("EOF") => Ok(Line::Eof),
            Some(rest) => open_comment(rest),
            None => open_sample(line).map(|sample| Line::Entry(Entry::Sample(sample))),
        },
    }
}

fn blanks_cut(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// What follows the `#` of the Prometheus format.
fn comment(text: &str) -> Result<Line<'_>, Problem> {
    let bare = blanks_cut(text);
    let keyword = |word| bare.strip_prefix(word).filter(|rest: &&str| rest.starts_with([' ', '\t'])).map(blanks_cut);
    // Without a blank after the # it is a comment, whatever it says.
    if bare.len() == text.len() {
        return Ok(Line::Nothing);
    }
    if let Some(rest) = keyword("HELP") {
        let (name, rest) = meta_name(rest)?;
        return Ok(Line::Entry(Entry::Help { name, help: unescaped(blanks_cut(rest), false) }));
    }
    if let Some(rest) = keyword("TYPE") {
        let (name, rest) = meta_name(rest)?;
        let kind = match blanks_cut(rest) {
            // What OpenMetrics added is not known to this format.
            "info" | "stateset" | "gaugehistogram" | "unknown" => None,
            kind => MetricKind::from_name(kind),
        };
        return Ok(Line::Entry(Entry::Type { name, kind: kind.ok_or(Problem::Type)? }));
    }
    Ok(Line::Nothing)
}

/// What follows the `# ` of OpenMetrics, where every blank counts.
fn open_comment(text: &str) -> Result<Line<'_>, Problem> {
    let (keyword, rest) = text.split_once(' ').ok_or(Problem::Unknown)?;
    let (name, rest) = match keyword {
        "HELP" | "TYPE" | "UNIT" => meta_name(rest)?,
        _ => return Err(Problem::Unknown),
    };
    let told = rest.strip_prefix(' ').ok_or(Problem::MetaText)?;
    let entry = match keyword {
        "HELP" => Entry::Help { name, help: unescaped(told, true) },
        "TYPE" => {
            let kind = if told == "untyped" { None } else { MetricKind::from_name(told) };
            Entry::Type { name, kind: kind.ok_or(Problem::Type)? }
        }
        _ => {
            let fits = told.is_empty() || name.strip_suffix(told).is_some_and(|begin| begin.ends_with('_'));
            if !fits {
                return Err(Problem::Unit);
            }
            Entry::Unit { name, unit: told }
        }
    };
    Ok(Line::Entry(entry))
}

/// A name, plain or in quotes, and what follows it.
fn meta_name(text: &str) -> Result<(Cow<'_, str>, &str), Problem> {
    if text.starts_with('"') {
        let end = quoted(text, 0).ok_or(Problem::OpenQuote)?;
        return Ok((unescaped(&text[1..end - 1], true), &text[end..]));
    }
    let end = name_end(text.as_bytes(), 0, METRIC);
    if end == 0 { Err(Problem::MetricName) } else { Ok((Cow::Borrowed(&text[..end]), &text[end..])) }
}

/// Classes of bytes in names.
const LABEL: u8 = 1;
const METRIC: u8 = 2;
const DIGIT: u8 = 4;
static CLASSES: [u8; 256] = {
    let mut classes = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphabetic() || b == b'_' {
            classes[byte] = LABEL | METRIC;
        } else if b == b':' {
            classes[byte] = METRIC;
        } else if b.is_ascii_digit() {
            classes[byte] = DIGIT;
        }
        byte += 1;
    }
    classes
};

/// End of the name that begins at `at`; `at` itself where none does.
pub(super) fn name_end(bytes: &[u8], at: usize, class: u8) -> usize {
    if bytes.get(at).is_none_or(|b| CLASSES[usize::from(*b)] & class == 0) {
        return at;
    }
    let more = bytes[at..].iter().take_while(|b| CLASSES[usize::from(**b)] & (class | DIGIT) != 0).count();
    at + more
}

/// End of a label's name.
pub(super) fn label_name_end(bytes: &[u8], at: usize) -> usize {
    name_end(bytes, at, LABEL)
}

/// End of a metric's name.
pub(super) fn metric_name_end(bytes: &[u8], at: usize) -> usize {
    name_end(bytes, at, METRIC)
}

pub(super) fn blanks_end(bytes: &[u8], at: usize) -> usize {
    let blanks = bytes[at.min(bytes.len())..].iter().take_while(|b| matches!(**b, b' ' | b'\t')).count();
    at + blanks
}

/// The series that a line begins with, and where it ends.
fn series(text: &str) -> Result<(Series<'_>, usize), Problem> {
    let bytes = text.as_bytes();
    let name = metric_name_end(bytes, 0);
    let open = blanks_end(bytes, name);
    if bytes.get(open) != Some(&b'{') {
        return if name == 0 { Err(Problem::MetricName) } else { Ok((Series::checked(&text[..name]), name)) };
    }
    let (end, inner) = labels_end(text, open + 1, true)?;
    match (name > 0, inner) {
        (false, false) => Err(Problem::NoMetricName),
        (true, true) => Err(Problem::TwoMetricNames),
        _ => Ok((Series::checked(&text[..end]), end)),
    }
}

/// End of labels behind their closing brace, and whether a metric's name stood among them.
fn labels_end(text: &str, mut at: usize, may_name: bool) -> Result<(usize, bool), Problem> {
    let bytes = text.as_bytes();
    let mut named = false;
    for count in 0..=LINE_LABELS_MAX {
        at = blanks_end(bytes, at);
        let (end, is_quoted) = match bytes.get(at) {
            Some(b'}') => return Ok((at + 1, named)),
            _ if count == LINE_LABELS_MAX => return Err(Problem::TooManyLabels),
            Some(b'"') => (quoted(text, at).ok_or(Problem::OpenQuote)?, true),
            _ => (label_name_end(bytes, at), false),
        };
        if end == at {
            return Err(Problem::LabelName);
        }
        at = blanks_end(bytes, end);
        match bytes.get(at) {
            Some(b'=') => {
                at = blanks_end(bytes, at + 1);
                if bytes.get(at) != Some(&b'"') {
                    return Err(Problem::LabelValue);
                }
                at = blanks_end(bytes, quoted(text, at).ok_or(Problem::OpenQuote)?);
            }
            Some(b',' | b'}') if is_quoted && may_name => {
                if named {
                    return Err(Problem::TwoMetricNames);
                }
                named = true;
            }
            _ => return Err(Problem::Equals),
        }
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => return Ok((at + 1, named)),
            _ => return Err(Problem::LabelEnd),
        }
    }
    Err(Problem::TooManyLabels)
}

/// A sample of the Prometheus format: blanks between its parts are free.
fn sample(text: &str) -> Result<Sample<'_>, Problem> {
    let (series, end) = series(text)?;
    let (value, rest) = word(&text[end..]);
    let value = number(value).ok_or(Problem::Value)?;
    let (time, rest) = word(rest);
    let at = if time.is_empty() { None } else { Some(UnixMillis(time.parse().map_err(|_| Problem::Timestamp)?)) };
    if blanks_cut(rest).is_empty() { Ok(Sample { series, value, at }) } else { Err(Problem::Trailing) }
}

/// The next word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = blanks_cut(text);
    let end = text.bytes().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(text.len());
    text.split_at(end)
}

/// A sample of OpenMetrics: one blank between its parts, and an exemplar may follow.
fn open_sample(text: &str) -> Result<Sample<'_>, Problem> {
    let (series, end) = series(text)?;
    let (value, rest) = open_word(&text[end..]).ok_or(Problem::Value)?;
    let value = number(value).ok_or(Problem::Value)?;
    let (at, rest) = match open_word(rest) {
        None | Some(("#", _)) => (None, rest),
        Some((time, rest)) => (Some(seconds(time).ok_or(Problem::Timestamp)?), rest),
    };
    match rest.strip_prefix(" # {") {
        Some(_) => exemplar(rest)?,
        None if rest.is_empty() => {}
        None => return Err(Problem::Trailing),
    }
    Ok(Sample { series, value, at })
}

/// The word behind exactly one blank, and what follows it.
fn open_word(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix(' ')?;
    Some(text.split_at(text.find(' ').unwrap_or(text.len())))
}

/// ` # {labels} value [time]`, checked and left out.
fn exemplar(text: &str) -> Result<(), Problem> {
    let (end, _) = labels_end(text, 4, false).map_err(|_| Problem::Exemplar)?;
    let (value, rest) = open_word(&text[end..]).ok_or(Problem::Exemplar)?;
    number(value).ok_or(Problem::Exemplar)?;
    let rest = match open_word(rest) {
        None => rest,
        Some((time, rest)) => {
            seconds(time).ok_or(Problem::Exemplar)?;
            rest
        }
    };
    if rest.is_empty() { Ok(()) } else { Err(Problem::Exemplar) }
}

/// A value. As in Go, from which the formats have their numbers, `Inf`, `Infinity` and `NaN` go in any case, a NaN has
/// no sign, and what is too large for a float is no number.
fn number(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if value.is_finite() {
        return Some(value);
    }
    let has_sign = text.starts_with(['+', '-']);
    if value.is_nan() {
        return (!has_sign).then_some(f64::from_bits(NORMAL_NAN_BITS));
    }
    let begins = text.as_bytes().get(usize::from(has_sign))?;
    begins.is_ascii_alphabetic().then_some(value)
}

/// A time of OpenMetrics: seconds with a fraction.
fn seconds(text: &str) -> Option<UnixMillis> {
    let seconds = number(text).filter(|seconds| seconds.is_finite())?;
    // Saturates; what is far away is refused later, by its distance.
    Some(UnixMillis((seconds * 1000.0) as i64))
}
