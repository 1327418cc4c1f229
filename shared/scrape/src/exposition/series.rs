//! What names a series on a line.

use super::line::{blanks_end, label_name_end, metric_name_end};
use skerry_model::{InvalidLabels, Labels};
use std::borrow::Cow;

/// The text of a series, `name{label="value"}` or `{"name",label="value"}`, known to be well formed.
///
/// The text itself is a fit key for what is known of the series: a target writes the same series the same way each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Series<'a>(&'a str);

impl<'a> Series<'a> {
    /// Of a text that the grammar took.
    pub(super) const fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// The text as it stands on the line.
    #[must_use]
    pub const fn text(self) -> &'a str {
        self.0
    }

    /// Its labels in the order of the line, the metric's name as `__name__`. A name may stand twice.
    pub fn labels(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        let (text, bytes) = (self.0, self.0.as_bytes());
        let end = metric_name_end(bytes, 0);
        let name = (end > 0).then(|| (Cow::Borrowed("__name__"), Cow::Borrowed(&text[..end])));
        let mut at = blanks_end(bytes, end) + 1;
        let inner = std::iter::from_fn(move || {
            at = blanks_end(bytes, at);
            let (key, end) = token(text, at)?;
            at = blanks_end(bytes, end);
            let pair = if bytes.get(at) == Some(&b'=') {
                let (value, end) = token(text, blanks_end(bytes, at + 1))?;
                at = blanks_end(bytes, end);
                (key, value)
            } else {
                (Cow::Borrowed("__name__"), key)
            };
            at += usize::from(bytes.get(at) == Some(&b','));
            Some(pair)
        });
        name.into_iter().chain(inner)
    }

    /// Its label set.
    ///
    /// # Errors
    /// [`InvalidLabels`] if a name stands twice or a bound is exceeded.
    pub fn to_labels(self) -> Result<Labels, InvalidLabels> {
        Labels::new(self.labels())
    }
}

/// The quoted text or the label name at `at`, and its end.
fn token(text: &str, at: usize) -> Option<(Cow<'_, str>, usize)> {
    if text.as_bytes().get(at) == Some(&b'"') {
        let end = quoted(text, at)?;
        return Some((unescaped(&text[at + 1..end - 1], true), end));
    }
    let end = label_name_end(text.as_bytes(), at);
    (end > at).then(|| (Cow::Borrowed(&text[at..end]), end))
}

/// End, behind the closing quote, of the quoted text that begins at `at`.
pub(super) fn quoted(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = at + 1;
    loop {
        let found = memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return Some(at);
        }
        at += 1;
    }
}

/// A text without its escapes: `\\`, `\n` and, in quotes, `\"`. Other escapes stay as they are.
pub(super) fn unescaped(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if quotes => out.push('"'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
