//! What of a certificate is needed beyond its verification: its names and its end, read from the DER (RFC 5280, 4.1).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The parts of a certificate that tell whose it is and how long it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The issuer's name, as DER.
    pub issuer: &'a [u8],
    /// The subject's name, as DER.
    pub subject: &'a [u8],
    /// Begin, in seconds since 1970.
    pub not_before: i64,
    /// End, in seconds since 1970.
    pub not_after: i64,
    /// What follows the subject: key and extensions, as DER.
    pub rest: &'a [u8],
}

/// Reads them; `None` where this is no certificate.
#[must_use]
pub fn facts(der: &[u8]) -> Option<Facts<'_>> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = take(fields)?.2;
    }
    let (_, fields) = expect(fields, INTEGER)?;
    let (_, fields) = expect(fields, SEQUENCE)?;
    let (issuer, fields) = expect(fields, SEQUENCE)?;
    let (validity, fields) = expect(fields, SEQUENCE)?;
    let (subject, rest) = expect(fields, SEQUENCE)?;
    let (tag, begin, validity) = take(validity)?;
    let not_before = time(tag, begin)?;
    let (tag, end, _) = take(validity)?;
    Some(Facts { issuer, subject, not_before, not_after: time(tag, end)?, rest })
}

/// One element: its tag, its content, and what follows it. Lengths of up to four bytes, tags of one.
#[must_use]
pub fn take(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    take(der).filter(|(found, _, _)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; two digits below 50 are of this century.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i16>().ok();
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let at = |n: usize| i8::try_from(number(rest.get(2 * n..2 * n + 2)?)?).ok();
    if rest.len() != 11 || rest[10] != b'Z' {
        return None;
    }
    let moment = DateTime::new(year, at(0)?, at(1)?, at(2)?, at(3)?, at(4)?, 0).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds_are_read() {
        assert_eq!(time(UTC_TIME, b"500101000000Z"), Some(-631_152_000));
        assert_eq!(time(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(GENERALIZED_TIME, b"20261121040000Z"), Some(1_795_233_600));
        for bad in [&b""[..], b"20261121040000", b"20261321040000Z", b"2026112104000xZ", b"2026112104000000Z"] {
            assert_eq!(time(GENERALIZED_TIME, bad), None);
        }
    }

    #[test]
    fn a_certificate_of_another_makers_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["h".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2055, 1, 1);
        let cert = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let facts = facts(cert.der()).unwrap();
        assert_eq!((facts.not_before, facts.not_after), (1_577_836_800, 2_682_374_400));
        assert_eq!(facts.issuer, facts.subject);
        for end in 0..cert.der().len() {
            assert_eq!(super::facts(&cert.der()[..end]), None);
        }
    }
}
