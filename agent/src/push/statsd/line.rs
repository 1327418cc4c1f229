//! Lines of StatsD, with DogStatsD's tags and packed values.
//!
//! ```text
//! name:VALUE|TYPE[|@RATE][|#tag:value,…][:VALUE|TYPE…]
//! name:VALUE:VALUE|TYPE|#…
//! ```
//! Fields of DogStatsD beyond those (`|c:`, `|T`) are read over.

/// Most values of one line, and most tags.
const VALUES_MAX: usize = 64;
const TAGS_MAX: usize = 32;
/// Longest name, and longest tag with its value, in bytes.
const NAME_BYTES_MAX: usize = 256;
const TAG_BYTES_MAX: usize = 512;
/// Smallest sample rate: a line that stands for more than a million is none.
const RATE_MIN: f64 = 1e-6;

/// Why a line is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// No line of StatsD.
    Malformed,
    /// An event or a service check.
    Unsupported,
    /// A name, tag or list over its limit.
    Oversize,
    /// The name is another type's already.
    Conflict,
    /// More series than there may be.
    SeriesLimit,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Malformed, Self::Unsupported, Self::Oversize, Self::Conflict, Self::SeriesLimit];

    /// Lower-case name, for labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::Oversize => "oversize",
            Self::Conflict => "conflict",
            Self::SeriesLimit => "series_limit",
        }
    }
}

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Milliseconds.
    Timer,
    /// Histogram or distribution, in whatever unit.
    Distribution,
    Set,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Value<'a> {
    pub(super) kind: Kind,
    pub(super) number: f64,
    /// Whether a gauge's value has a sign, and so changes it rather than sets it.
    pub(super) is_relative: bool,
    /// Sample rate; more than 0, at most 1.
    pub(super) rate: f64,
    /// The value as it stands there, for sets.
    pub(super) text: &'a str,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) values: Vec<Value<'a>>,
    pub(super) tags: Vec<(&'a str, &'a str)>,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Line<'_>, DropReason> {
    let line = std::str::from_utf8(line).map_err(|_| DropReason::Malformed)?;
    if line.starts_with("_e{") || line.starts_with("_sc|") {
        return Err(DropReason::Unsupported);
    }
    // Tags hold colons of their own, so what is behind them is cut off first.
    let (head, tail) = line.split_once("|#").map_or((line, None), |(head, tail)| (head, Some(tail)));
    let (name, rest) = head.split_once(':').ok_or(DropReason::Malformed)?;
    if name.is_empty() {
        return Err(DropReason::Malformed);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(DropReason::Oversize);
    }
    let (mut values, mut packed): (Vec<Value<'_>>, Vec<&str>) = (Vec::new(), Vec::new());
    for part in rest.split(':') {
        let mut fields = part.split('|');
        packed.push(fields.next().unwrap_or_default());
        if values.len() + packed.len() > VALUES_MAX {
            return Err(DropReason::Oversize);
        }
        let Some(kind) = fields.next() else { continue };
        let kind = kind_of(kind)?;
        let mut rate = 1.0;
        for field in fields {
            match field.as_bytes().first() {
                Some(b'@') => rate = field[1..].parse().map_err(|_| DropReason::Malformed)?,
                Some(b'c' | b'T') => {}
                _ => return Err(DropReason::Malformed),
            }
        }
        if !(RATE_MIN..=1.0).contains(&rate) {
            return Err(DropReason::Malformed);
        }
        for text in packed.drain(..) {
            values.push(value(kind, text, rate)?);
        }
    }
    if !packed.is_empty() || values.is_empty() {
        return Err(DropReason::Malformed);
    }
    Ok(Line { name, values, tags: tags(tail)? })
}

fn kind_of(text: &str) -> Result<Kind, DropReason> {
    match text {
        "c" => Ok(Kind::Counter),
        "g" => Ok(Kind::Gauge),
        "ms" => Ok(Kind::Timer),
        "h" | "d" => Ok(Kind::Distribution),
        "s" => Ok(Kind::Set),
        _ => Err(DropReason::Malformed),
    }
}

fn value(kind: Kind, text: &str, rate: f64) -> Result<Value<'_>, DropReason> {
    let is_relative = kind == Kind::Gauge && text.starts_with(['+', '-']);
    let number = match kind {
        Kind::Set if text.is_empty() || text.len() > NAME_BYTES_MAX => return Err(DropReason::Malformed),
        Kind::Set => 0.0,
        _ => text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or(DropReason::Malformed)?,
    };
    if kind == Kind::Counter && number < 0.0 {
        return Err(DropReason::Malformed);
    }
    Ok(Value { kind, number, is_relative, rate, text })
}

/// `tag:value` and `tag`, parted by commas; other fields may follow. A tag without a value is left out, as a label
/// without one is none.
fn tags(tail: Option<&str>) -> Result<Vec<(&str, &str)>, DropReason> {
    let mut tags = Vec::new();
    for tag in tail.and_then(|tail| tail.split('|').next()).unwrap_or_default().split(',') {
        let Some((name, value)) = tag.split_once(':').filter(|(name, value)| !name.is_empty() && !value.is_empty())
        else {
            continue;
        };
        if tag.len() > TAG_BYTES_MAX || tags.len() == TAGS_MAX {
            return Err(DropReason::Oversize);
        }
        tags.push((name, value));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(line: &str) -> Result<String, DropReason> {
        let Line { name, values, tags } = parse(line.as_bytes())?;
        let values: Vec<String> = values
            .iter()
            .map(|v| format!("{:?} {}{} @{}", v.kind, if v.is_relative { "±" } else { "" }, v.number, v.rate))
            .collect();
        Ok(format!("{name} [{}] {tags:?}", values.join(", ")))
    }

    #[test]
    fn lines_of_all_kinds() {
        for (line, expected) in [
            ("a.b:1|c", "a.b [Counter 1 @1] []"),
            ("a:0.5|c|@0.1", "a [Counter 0.5 @0.1] []"),
            ("a:-3|g", "a [Gauge ±-3 @1] []"),
            ("a:+3|g", "a [Gauge ±3 @1] []"),
            ("a:1|c:2|c:7|ms", "a [Counter 1 @1, Counter 2 @1, Timer 7 @1] []"),
            (
                "a:1:2:3|h|@0.5|#x:y:z,flag,e:",
                "a [Distribution 1 @0.5, Distribution 2 @0.5, Distribution 3 @0.5] [(\"x\", \"y:z\")]",
            ),
            ("a:1|d|#x:y|c:abc|T123", "a [Distribution 1 @1] [(\"x\", \"y\")]"),
            ("a:u1|s", "a [Set 0 @1] []"),
        ] {
            assert_eq!(short(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_has_its_reason() {
        for line in [
            "", "a", "a:", ":1|c", "a:1", "a:1|", "a:1|x", "a:x|c", "a:NaN|g", "a:-1|c", "a:1|c|@0", "a:1|c|@2",
            "a:1|c|?", "a:|s", "a:1|c:2",
        ] {
            assert_eq!(short(line), Err(DropReason::Malformed), "{line}");
        }
        assert_eq!(short("_e{1,1}:a|b"), Err(DropReason::Unsupported));
        assert_eq!(short("_sc|a|0"), Err(DropReason::Unsupported));
        assert_eq!(short(&format!("{}:1|c", "x".repeat(300))), Err(DropReason::Oversize));
        assert_eq!(short(&format!("a{}|c", ":1".repeat(100))), Err(DropReason::Oversize));
        assert_eq!(parse(b"a\xff:1|c"), Err(DropReason::Malformed));
    }
}
