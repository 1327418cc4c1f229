//! Names of objects, which stand in paths and queries.

use std::fmt::Write as _;

/// Whether a namespace may have that name (RFC 1123, section 2.1: a label).
pub(super) fn is_label(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_subdomain(name)
}

/// Whether an object may have that name: labels with dots between.
pub(super) fn is_subdomain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_part =
        |part: &str| part.chars().all(fits) && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-');
    name.len() <= 253 && name.split('.').all(is_part)
}

/// A text as a value in a query (RFC 3986, section 2.3).
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_leave_their_place() {
        for name in ["web", "a-1", "a.b-c.d", "0"] {
            assert!(is_subdomain(name), "{name}");
        }
        for name in
            ["", ".", "..", "a/b", "../x", "a%2fb", "A", "-a", "a-", "a..b", "a b", "a?b", "ä", &"a".repeat(254)]
        {
            assert!(!is_subdomain(name), "{name}");
        }
        assert!(is_label("kube-system") && !is_label("a.b") && !is_label(&"a".repeat(64)));
        assert_eq!(escaped("app=web,tier in (a, b)&x"), "app%3Dweb%2Ctier%20in%20%28a%2C%20b%29%26x");
    }
}
