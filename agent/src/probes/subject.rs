//! Names of a certificate as text, in the form that Go's tools print: RFC 2253 with their order of attributes.

use crate::http::cert::{self, take};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17, subject alternative name.
const ALTERNATIVE: [u8; 3] = [0x55, 0x1d, 0x11];
/// Last byte of the attributes below 2.5.4 that are gathered, in their order, and their short names.
const KNOWN: [(u8, &str); 9] = [
    (6, "C"),
    (10, "O"),
    (11, "OU"),
    (7, "L"),
    (8, "ST"),
    (9, "STREET"),
    (17, "POSTALCODE"),
    (3, "CN"),
    (5, "SERIALNUMBER"),
];
/// Longest text of one of them, in bytes: a certificate may carry any number of names, a label may not.
const TEXT_BYTES_MAX: usize = 1024;

/// Names of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// SHA-256 of the whole certificate, in hex.
    pub(super) fingerprint: String,
    pub(super) subject: String,
    pub(super) issuer: String,
    /// DNS names, joined by commas.
    pub(super) alternatives: String,
}

/// Names of a certificate; `None` where this is none.
pub(super) fn names(der: &[u8]) -> Option<Names> {
    let facts = cert::facts(der)?;
    Some(Names {
        fingerprint: skerry_seal::hex(&skerry_seal::sha256(der)),
        subject: cut(distinguished(facts.subject)),
        issuer: cut(distinguished(facts.issuer)),
        alternatives: cut(alternatives(facts.rest).unwrap_or_default().join(",")),
    })
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// The elements within, each with its tag; ends at the first that cannot be read.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = take(der)?;
        der = rest;
        Some((tag, content))
    })
}

/// A name: attributes that are known are gathered by kind, others come last; all in reverse order.
fn distinguished(name: &[u8]) -> String {
    let mut known: [Vec<String>; KNOWN.len()] = Default::default();
    let mut parts: Vec<String> = Vec::new();
    for (_, set) in elements(name).filter(|(tag, _)| *tag == SET) {
        for (_, attribute) in elements(set).filter(|(tag, _)| *tag == SEQUENCE) {
            let Some((OID, oid, rest)) = take(attribute) else { continue };
            let Some((tag, value, _)) = take(rest) else { continue };
            match KNOWN.iter().position(|(last, _)| *oid == [0x55, 0x04, *last]) {
                Some(at) => known[at].push(format!("{}={}", KNOWN[at].1, escaped(&text(tag, value)))),
                None => parts.push(format!("{}=#{}", dotted(oid), skerry_seal::hex(&rest[..rest.len().min(64)]))),
            }
        }
    }
    parts.extend(known.iter().filter(|values| !values.is_empty()).map(|values| values.join("+")));
    parts.reverse();
    parts.join(",")
}

/// A string of any of the kinds of X.509; BMPString (two bytes a character) among them.
fn text(tag: u8, value: &[u8]) -> String {
    if tag == 0x1e {
        let units: Vec<u16> = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value).into_owned()
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let at_edge = (c == ' ' && (at == 0 || at == last)) || (c == '#' && at == 0);
        if at_edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                numbers.push((number / 40).min(2));
                number -= numbers[0] * 40;
            }
            numbers.push(number);
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<String>>().join(".")
}

/// DNS names of the extension; `rest` is what follows the subject.
fn alternatives(rest: &[u8]) -> Option<Vec<String>> {
    let (_, extensions) = elements(rest).find(|(tag, _)| *tag == EXTENSIONS)?;
    let (_, extensions, _) = take(extensions)?;
    for (_, extension) in elements(extensions) {
        let mut parts = elements(extension);
        if parts.next() != Some((OID, &ALTERNATIVE)) {
            continue;
        }
        let (_, octets) = parts.find(|(tag, _)| *tag == OCTETS)?;
        let (_, names, _) = take(octets)?;
        let names = elements(names).filter(|(tag, _)| *tag == DNS_NAME);
        return Some(names.map(|(_, name)| String::from_utf8_lossy(name).into_owned()).collect());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn names_are_those_of_go() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned(), "b.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in [
            (DnType::CommonName, "#h"),
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "A, B"),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549]), "x"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let names = names(cert.der()).unwrap();
        assert_eq!(names.subject, "CN=\\#h,O=A\\, B,C=DE,1.2.840.113549=#0c0178");
        assert_eq!(names.alternatives, "a.example,b.example");
        assert_eq!(names.issuer, names.subject);
        assert_eq!(names.fingerprint.len(), 64);
        // Whatever comes instead of a certificate is read to its end or not at all.
        for end in 0..cert.der().len() {
            assert_eq!(super::names(&cert.der()[..end]), None);
            let mut broken = cert.der().to_vec();
            broken[end] ^= 0x5a;
            let _ = super::names(&broken);
        }
    }
}
