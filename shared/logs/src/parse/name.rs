//! Names of fields: what is no letter, digit or `_` becomes `_`, as in Loki.

use super::{NAME_BYTES_MAX, ParseError};
use std::borrow::Cow;

/// The name that a field called `raw` gets: blanks around it are gone, every character but ASCII letters, digits and `_`
/// is `_`, and a digit in front gets a `_` before it. So `http.status` is `http_status`, as for nested objects.
#[must_use]
pub fn field_name(raw: &str) -> Cow<'_, str> {
    let raw = raw.trim();
    if is_clean(raw) {
        return Cow::Borrowed(raw);
    }
    let mut name = String::with_capacity(raw.len() + 1);
    append(raw, &mut name);
    Cow::Owned(name)
}

fn is_clean(raw: &str) -> bool {
    raw.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !raw.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

fn append(raw: &str, name: &mut String) {
    if name.is_empty() && raw.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        name.push('_');
    }
    name.extend(raw.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
}

/// The names of the objects around the one that is read, joined.
#[derive(Debug, Default)]
pub(super) struct Prefix(String);

impl Prefix {
    /// Goes into an object of that name; what it returns is to be given to [`leave`](Self::leave).
    pub(super) fn enter(&mut self, raw: &str) -> Result<usize, ParseError> {
        let before = self.0.len();
        self.join(raw)?;
        Ok(before)
    }

    pub(super) fn leave(&mut self, before: usize) {
        self.0.truncate(before);
    }

    fn join(&mut self, raw: &str) -> Result<(), ParseError> {
        let raw = raw.trim();
        if raw.len() + self.0.len() + 2 > NAME_BYTES_MAX {
            return Err(ParseError::NameTooLong);
        }
        if !raw.is_empty() {
            if !self.0.is_empty() {
                self.0.push('_');
            }
            append(raw, &mut self.0);
        }
        Ok(())
    }

    /// Calls back with the full name of a field; not at all where it is empty.
    pub(super) fn with(&mut self, raw: &str, tell: impl FnOnce(&str)) -> Result<(), ParseError> {
        if self.0.is_empty() && raw.len() <= NAME_BYTES_MAX && is_clean(raw) {
            if !raw.is_empty() {
                tell(raw);
            }
            return Ok(());
        }
        let before = self.0.len();
        self.join(raw)?;
        // A blank key below an object has no name of its own in Loki either.
        if self.0.len() > before {
            tell(&self.0);
        }
        self.0.truncate(before);
        Ok(())
    }
}
