//! Finds what looks like a secret: each kind by a byte or stride that all its texts have, so that a line without
//! candidates costs a few passes of memchr.
//!
//! Every search is linear: it looks at a byte a bounded number of times.

use memchr::{memchr_iter, memchr2_iter, memmem};
use std::net::Ipv6Addr;

/// A stretch of text, from its first byte to behind its last.
pub(super) type Stretch = (usize, usize);

/// Kinds that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Email,
    Card,
    Iban,
    Ip,
    Bearer,
    PrivateKey,
}

impl Kind {
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("email", Self::Email),
        ("card", Self::Card),
        ("iban", Self::Iban),
        ("ip", Self::Ip),
        ("bearer", Self::Bearer),
        ("private_key", Self::PrivateKey),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Tells every stretch of `text` that looks so, in no order.
    pub(super) fn find(self, text: &[u8], found: &mut dyn FnMut(Stretch)) {
        match self {
            Self::Email => emails(text, found),
            Self::Card => cards(text, found),
            Self::Iban => ibans(text, found),
            Self::Ip => {
                ipv4(text, found);
                ipv6(text, found);
            }
            Self::Bearer => {
                authorizations(text, found);
                jwts(text, found);
            }
            Self::PrivateKey => private_keys(text, found),
        }
    }
}

/// How many bytes from `at` on are so.
fn ahead(text: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    text.get(at..).unwrap_or_default().iter().take_while(|b| is(**b)).count()
}

/// How many bytes before `at` are so.
fn behind(text: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    text[..at].iter().rev().take_while(|b| is(**b)).count()
}

fn before(text: &[u8], at: usize) -> u8 {
    at.checked_sub(1).map_or(b' ', |at| text[at])
}

fn after(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(b' ')
}

/// Whether a number that ends before `at` is part of a longer one or of a word. A dot at a sentence's end is none.
fn goes_on(text: &[u8], at: usize) -> bool {
    let next = after(text, at);
    in_word(next) || next == b'.' && after(text, at + 1).is_ascii_digit()
}

const fn in_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Longest local part of an address that is looked at; RFC 5321 allows 64 bytes.
const LOCAL_BYTES_MAX: usize = 256;

/// `local@domain.tld`, with letters of any alphabet; also with the sign as `%40`, as in URLs.
fn emails(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let mut last = 0;
    for at in memchr2_iter(b'@', b'%', text) {
        let sign = if text[at] == b'@' { 1 } else { 3 };
        if at < last || sign == 3 && !text[at..].starts_with(b"%40") {
            continue;
        }
        let from = last.max(at.saturating_sub(LOCAL_BYTES_MAX));
        let local =
            behind(&text[from..], at - from, |b| b.is_ascii_alphanumeric() || b"._%+-'".contains(&b) || b >= 0x80);
        let domain = ahead(text, at + sign, |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b >= 0x80);
        let mut domain = &text[at + sign..at + sign + domain];
        while let [rest @ .., b'.' | b'-'] = domain {
            domain = rest;
        }
        let top = domain.iter().rev().take_while(|b| **b != b'.').count();
        let has_dot = top < domain.len() && domain[0] != b'.';
        let top_is_name = top >= 2 && !domain[domain.len() - top..].iter().all(u8::is_ascii_digit);
        if local > 0 && has_dot && top_is_name {
            let end = at + sign + domain.len();
            found((at - local, end));
            last = end;
        }
    }
}

/// 13 to 19 digits that pass Luhn's check, at once or in groups of three and more with a blank or hyphen between them.
fn cards(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let part = |b: u8| b.is_ascii_digit() || b == b' ' || b == b'-';
    // No card number is shorter than the stride, so that it has a byte at one of these places.
    let mut at = 12;
    let mut last = 0;
    while at < text.len() {
        if !part(text[at]) {
            at += 13;
            continue;
        }
        let start = at - behind(&text[last..], at - last, part);
        let end = at + ahead(text, at, part);
        if end - start >= 13 {
            cards_of_run(text, start, end, found);
        }
        last = end;
        at = end + 12;
    }
}

fn cards_of_run(text: &[u8], start: usize, end: usize, found: &mut dyn FnMut(Stretch)) {
    let mut at = start;
    while at < end {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let group = ahead(text, at, |b| b.is_ascii_digit());
        match card(text, at, end) {
            Some(stop) => {
                found((at, stop));
                at = stop;
            }
            None => at += group,
        }
    }
}

/// Where the number that begins here ends, if it is one.
fn card(text: &[u8], start: usize, end: usize) -> Option<usize> {
    // No network's numbers begin otherwise; times in milliseconds begin with 1.
    if !matches!(text[start], b'2'..=b'6') || in_word(before(text, start)) || before(text, start) == b'.' {
        return None;
    }
    let (mut digits, mut count, mut at) = ([0u8; 19], 0, start);
    loop {
        let group = ahead(text, at, |b| b.is_ascii_digit()).min(end - at);
        let grouped = at != start || matches!(after(text, at + group), b' ' | b'-');
        if count + group > 19 || grouped && group < 3 && count + group < 13 {
            return None;
        }
        digits[count..count + group].copy_from_slice(&text[at..at + group]);
        count += group;
        at += group;
        let next = after(text, at);
        let ends = !goes_on(text, at);
        if count >= 13 && ends && luhn(&digits[..count]) {
            return Some(at);
        }
        if !matches!(next, b' ' | b'-') || !after(text, at + 1).is_ascii_digit() || at + 1 >= end {
            return None;
        }
        at += 1;
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0');
            if at % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}

/// Countries and how long their numbers are, by the registry of ISO 13616.
const COUNTRIES: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24\
FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24\
ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24\
TR26UA29VA22VG24XK20YE30";

/// ISO 13616: a country, two check digits and up to 30 letters and digits that are 1 modulo 97; with blanks between
/// groups as they are printed.
fn ibans(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let part = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b' ';
    let (mut at, mut last) = (14, 0);
    while at < text.len() {
        if !part(text[at]) {
            at += 15;
            continue;
        }
        let start = at - behind(&text[last..], at - last, part);
        let end = at + ahead(text, at, part);
        let mut from = start;
        while end - from.min(end) >= 15 {
            match iban(text, from, end) {
                Some(stop) => {
                    found((from, stop));
                    from = stop;
                }
                None => from += 1,
            }
        }
        last = end;
        at = end + 14;
    }
}

fn iban(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let [a, b, c, d, ..] = text[start..end] else { return None };
    let head = a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit();
    if !head || in_word(before(text, start)) {
        return None;
    }
    let (countries, _) = COUNTRIES.as_chunks::<4>();
    let [.., tens, ones] = countries.iter().find(|country| country[..2] == [a, b])?;
    let len = usize::from(tens - b'0') * 10 + usize::from(ones - b'0');
    let (mut letters, mut count, mut at) = ([0u8; 34], 0, start);
    while at < end && count < len {
        match text[at] {
            b' ' if before(text, at) == b' ' => return None,
            b' ' => {}
            letter => {
                letters[count] = letter;
                count += 1;
            }
        }
        at += 1;
    }
    (count == len && !in_word(after(text, at)) && is_iban(&letters[..len])).then_some(at)
}

fn is_iban(letters: &[u8]) -> bool {
    let moved = letters[4..].iter().chain(&letters[..4]);
    let rest = moved.fold(0u32, |rest, letter| match letter {
        b'0'..=b'9' => (rest * 10 + u32::from(letter - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    rest == 1
}

/// Four numbers up to 255 with dots between.
fn ipv4(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let mut last = 0;
    for dot in memchr_iter(b'.', text) {
        if dot < last || !before(text, dot).is_ascii_digit() {
            continue;
        }
        let start = dot - behind(text, dot, |b| b.is_ascii_digit()).min(4);
        if in_word(before(text, start)) || before(text, start) == b'.' {
            continue;
        }
        let mut at = start;
        let good = (0..4).all(|part| {
            let len = ahead(&text[..text.len().min(at + 4)], at, |b| b.is_ascii_digit());
            let number = text[at..at + len].iter().fold(0u32, |sum, b| sum * 10 + u32::from(b - b'0'));
            at += len;
            let dotted = part == 3 || after(text, at) == b'.';
            if part < 3 {
                at += 1;
            }
            (1..=3).contains(&len) && number <= 255 && dotted
        });
        if good && !goes_on(text, at) {
            found((start, at));
            last = at;
        }
    }
}

/// RFC 4291's text form with at least one digit, which tells it from paths such as `add::bed`.
fn ipv6(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let part = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
    let mut last = 0;
    for colon in memchr_iter(b':', text) {
        if colon < last {
            continue;
        }
        let start = colon - behind(&text[last..], colon - last, |b| b.is_ascii_hexdigit());
        let mut end = colon + ahead(text, colon, part);
        last = end;
        if in_word(before(text, start)) || in_word(after(text, end)) {
            continue;
        }
        while matches!(text[end - 1], b'.' | b':') && !(text[..end].ends_with(b"::") && text[end - 1] == b':') {
            end -= 1;
            if end <= start {
                break;
            }
        }
        let run = text.get(start..end).unwrap_or_default();
        let enough = (3..=45).contains(&run.len()) && run.iter().any(u8::is_ascii_digit);
        let address = std::str::from_utf8(run).ok().filter(|_| enough).and_then(|run| run.parse::<Ipv6Addr>().ok());
        if address.is_some() {
            found((start, end));
        }
    }
}

/// What stands behind `Bearer` and `Basic`: RFC 6750 and RFC 7617.
fn authorizations(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    for at in memchr2_iter(b'B', b'b', text) {
        let starts = |word: &[u8]| text[at..].get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let (scheme, len) = if starts(b"bearer") {
            (6, 6)
        } else if starts(b"basic") {
            (5, 5)
        } else {
            continue;
        };
        let blanks = ahead(text, at + scheme, |b| matches!(b, b' ' | b'\t' | b'+'))
            .max(if text[at + scheme..].starts_with(b"%20") { 3 } else { 0 });
        if blanks == 0 || in_word(before(text, at)) {
            continue;
        }
        let start = at + len + blanks;
        let token = ahead(text, start, |b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
        let head = &text[at.saturating_sub(24)..at];
        let named = memmem::find(&head.to_ascii_lowercase(), b"authorization").is_some();
        // Prose has these words too: a token is long, or has a digit in it.
        let looks =
            scheme == 6 && token >= 8 && (token >= 20 || text[start..start + token].iter().any(u8::is_ascii_digit));
        if token > 0 && (named || looks) {
            found((start, start + token));
        }
    }
}

/// RFC 7519: three parts of base64url, of which the first is an object and so begins with `eyJ`.
fn jwts(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let part = |b: u8| in_word(b) || b == b'-';
    let mut last = 0;
    for start in memmem::find_iter(text, b"eyJ") {
        if start < last || part(before(text, start)) {
            continue;
        }
        let mut at = start + ahead(text, start, part);
        last = at;
        let mut parts = 1;
        while after(text, at) == b'.' && parts < 5 {
            at += 1 + ahead(text, at + 1, part);
            parts += 1;
        }
        if parts >= 3 {
            found((start, at));
            last = at;
        }
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const PRIVATE: &[u8] = b"PRIVATE KEY";

/// RFC 7468's blocks of private keys, to their end or, where that was cut off, the text's.
fn private_keys(text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let mut at = 0;
    while let Some(begin) = memmem::find(&text[at..], BEGIN) {
        let begin = at + begin;
        at = begin + BEGIN.len();
        let label = &text[at..text.len().min(at + 64)];
        if memmem::find(&label[..memmem::find(label, b"-----").unwrap_or(label.len())], PRIVATE).is_none() {
            continue;
        }
        let end = match memmem::find(&text[at..], END) {
            Some(end) => {
                let end = at + end + END.len();
                let tail = &text[end..text.len().min(end + 64)];
                end + memmem::find(tail, b"-----").map_or(tail.len(), |dashes| dashes + 5)
            }
            None => text.len(),
        };
        found((begin, end));
        at = end;
    }
}

/// Longest line of a block's body; RFC 7468 has 64 characters in it.
const BODY_BYTES_MAX: usize = 128;

/// Whether the text ends within a block of a private key.
pub(super) fn ends_in_key(text: &[u8]) -> bool {
    memmem::rfind(text, BEGIN).is_some_and(|begin| {
        memmem::find(&text[begin..], PRIVATE).is_some() && memmem::find(&text[begin..], END).is_none()
    })
}

/// How much of a line that follows the begin of a private key belongs to it; 0: nothing, the block has been left.
pub(super) fn rest_of_key(line: &[u8]) -> (usize, bool) {
    if let Some(end) = memmem::find(line, END) {
        let end = end + END.len();
        let tail = &line[end..line.len().min(end + 64)];
        return (end + memmem::find(tail, b"-----").map_or(tail.len(), |dashes| dashes + 5), false);
    }
    let text = line.trim_ascii();
    let body = text.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b));
    let head = text.starts_with(b"Proc-Type:") || text.starts_with(b"DEK-Info:");
    if (body || head) && line.len() <= BODY_BYTES_MAX { (line.len(), true) } else { (0, false) }
}
