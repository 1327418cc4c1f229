//! What mails are made of: headers, encoded words, addresses, quoted-printable (RFC 5322, 2045, 2047).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a text that one encoded word holds: base64 makes 4 of 3, and a line may have 76 with the header's name (RFC
/// 2047, section 2).
const WORD_BYTES: usize = 36;
/// Column after which a header is folded, and a line of quoted-printable is broken.
const COLUMN: usize = 76;
/// Longest header, so that no template fills a mail with one.
const HEADER_BYTES_MAX: usize = 8 << 10;
/// Most addresses of one mail.
const ADDRESSES_MAX: usize = 100;

/// An address with its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// Without quotes; may be empty.
    pub(super) name: String,
    /// `user@host`.
    pub(super) address: String,
}

/// Addresses, separated by commas: `a@b`, `<a@b>`, `Name <a@b>`, `"Name, odd" <a@b>`.
pub(super) fn mailboxes(text: &str) -> Result<Vec<Mailbox>, String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for c in text.chars() {
        match c {
            ',' if !is_quoted => parts.push(std::mem::take(&mut part)),
            c => {
                is_quoted ^= c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                part.push(c);
            }
        }
    }
    parts.push(part);
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    let found: Result<Vec<Mailbox>, String> = parts.map(mailbox).collect();
    let found = found?;
    if found.is_empty() || found.len() > ADDRESSES_MAX {
        return Err(format!("{} addresses; 1 to {ADDRESSES_MAX} are expected", found.len()));
    }
    Ok(found)
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let (name, address) = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(at), Some(inner)) => (text[..at].trim(), inner[at + 1..].trim()),
        _ => ("", text),
    };
    let is_address = address.rsplit_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if !is_address || address.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"')) {
        return Err(format!("{text:?} is no mail address"));
    }
    let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => name.to_owned(),
    };
    Ok(Mailbox { name, address: address.to_owned() })
}

/// Adds `Name: value`, folded, with what is not ASCII as encoded words. Line breaks become spaces.
pub(super) fn header(out: &mut String, name: &str, value: &str) {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value = super::cut_bytes(value.trim().to_owned(), HEADER_BYTES_MAX);
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    let words = if value.is_ascii() { plain(&value) } else { encoded(&value) };
    for (at, word) in words.iter().enumerate() {
        if at > 0 && column + 1 + word.len() > COLUMN {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.len();
    }
    out.push_str("\r\n");
}

/// A header of addresses, whose names alone are encoded.
pub(super) fn addresses(out: &mut String, name: &str, boxes: &[Mailbox]) {
    let mut words = Vec::new();
    for (at, one) in boxes.iter().enumerate() {
        let comma = if at + 1 < boxes.len() { "," } else { "" };
        let name = match one.name.as_str() {
            "" => String::new(),
            name if name.is_ascii() => format!("\"{}\" ", name.replace('\\', "\\\\").replace('"', "\\\"")),
            name => encoded(name).join(" ") + " ",
        };
        words.push(format!("{name}<{}>{comma}", one.address));
    }
    out.push_str(&format!("{name}: {}\r\n", words.join("\r\n ")));
}

fn plain(value: &str) -> Vec<String> {
    value.split_ascii_whitespace().map(str::to_owned).collect()
}

fn encoded(value: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), value);
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(&rest[..end])));
        rest = &rest[end..];
    }
    words
}

/// Text as quoted-printable with CR LF at line ends (RFC 2045, 6.7).
pub(super) fn quoted_printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line).as_bytes();
        let mut column = 0;
        for (at, byte) in line.iter().enumerate() {
            let is_last = at + 1 == line.len();
            let is_plain = match byte {
                b' ' | b'\t' => !is_last,
                b'=' => false,
                byte => byte.is_ascii_graphic(),
            };
            let width = if is_plain { 1 } else { 3 };
            if column + width > COLUMN - 1 {
                out.push_str("=\r\n");
                column = 0;
            }
            if is_plain {
                out.push(char::from(*byte));
            } else {
                out.push_str(&format!("={byte:02X}"));
            }
            column += width;
        }
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let read =
            |text: &str| mailboxes(text).map(|all| all.into_iter().map(|m| (m.name, m.address)).collect::<Vec<_>>());
        let pair = |name: &str, address: &str| (name.to_owned(), address.to_owned());
        assert_eq!(read("a@b, c@d").unwrap(), [pair("", "a@b"), pair("", "c@d")]);
        assert_eq!(read("\"On, Call \\\"x\\\"\" <a@b>,").unwrap(), [pair("On, Call \"x\"", "a@b")]);
        assert_eq!(read("Jörg <j@b>").unwrap(), [pair("Jörg", "j@b")]);
        for bad in ["", "a", "a@", "@b", "a@b c@d", "a@b\r\nDATA", "<a@b", "a@<b>", "x <a@b> y"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn headers_are_folded_and_encoded_and_cannot_be_broken_out_of() {
        let write = |value: &str| {
            let mut out = String::new();
            header(&mut out, "Subject", value);
            out
        };
        assert_eq!(write("plain  text"), "Subject: plain text\r\n");
        assert_eq!(write("a\r\nBcc: x@y"), "Subject: a Bcc: x@y\r\n");
        assert_eq!(write("ü"), "Subject: =?utf-8?B?w7w=?=\r\n");
        let long = write(&"wort ü ".repeat(40));
        assert!(long.lines().all(|line| line.len() <= COLUMN), "{long}");
        let mut out = String::new();
        addresses(&mut out, "To", &mailboxes("Jörg <j@b>, \"a b\" <c@d>").unwrap());
        assert_eq!(out, "To: =?utf-8?B?SsO2cmc=?= <j@b>,\r\n \"a b\" <c@d>\r\n");
    }

    #[test]
    fn quoted_printable_is_that_of_others() {
        assert_eq!(quoted_printable("a=b \nü\t"), "a=3Db=20\r\n=C3=BC=09\r\n");
        let long = quoted_printable(&"x".repeat(200));
        assert!(long.lines().all(|line| line.len() <= 76));
        assert_eq!(long.replace("=\r\n", "").trim(), "x".repeat(200));
    }
}
