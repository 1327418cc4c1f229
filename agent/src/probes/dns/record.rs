//! Records as text, in the form of zone files that Go's DNS library prints: fields parted by tabs, data by spaces.

use super::message::{Reader, class_name, name_text};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const SOA: u16 = 6;
const OPT: u16 = 41;
/// Types by name.
const TYPES: [(&str, u16); 13] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", SOA),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("OPT", OPT),
    ("CAA", 257),
    ("DNAME", 39),
    ("ANY", 255),
];

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// As it stands in a zone file.
    pub(super) text: String,
    /// Serial of the zone, in a record of type SOA.
    pub(super) serial: Option<u32>,
}

/// Number of a type by its name, or as `TYPE123` or a number.
pub(in super::super) fn kind(name: &str) -> Option<u16> {
    let upper = name.to_ascii_uppercase();
    let known = TYPES.iter().find(|(known, _)| *known == upper).map(|(_, kind)| *kind);
    known.or_else(|| upper.strip_prefix("TYPE").unwrap_or(&upper).parse().ok())
}

/// Reads one record.
pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Record, String> {
    let name = reader.name()?;
    let (kind, class, ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let length = usize::from(reader.u16()?);
    let mut data = reader.part(length)?;
    let known = TYPES.iter().find(|(_, number)| *number == kind);
    let type_name = known.map_or_else(|| format!("TYPE{kind}"), |(name, _)| (*name).to_owned());
    let mut text = format!("{}\t{ttl}\t{}\t{type_name}\t", name_text(&name), class_name(class));
    let mut serial = None;
    match kind {
        1 => {
            let octets: [u8; 4] = data.take(4)?.try_into().map_err(|_| "an address is cut")?;
            let _ = write!(text, "{}", Ipv4Addr::from(octets));
        }
        28 => {
            let octets: [u8; 16] = data.take(16)?.try_into().map_err(|_| "an address is cut")?;
            let _ = write!(text, "{}", Ipv6Addr::from(octets));
        }
        2 | 5 | 12 | 39 => text.push_str(&name_text(&data.name()?)),
        15 => {
            let preference = data.u16()?;
            let _ = write!(text, "{preference} {}", name_text(&data.name()?));
        }
        16 => text.push_str(&strings(&mut data)?),
        33 => {
            let (priority, weight, port) = (data.u16()?, data.u16()?, data.u16()?);
            let _ = write!(text, "{priority} {weight} {port} {}", name_text(&data.name()?));
        }
        SOA => {
            let (primary, mailbox) = (name_text(&data.name()?), name_text(&data.name()?));
            let number = data.u32()?;
            serial = Some(number);
            let _ = write!(text, "{primary} {mailbox} {number}");
            for _ in 0..4 {
                let _ = write!(text, " {}", data.u32()?);
            }
        }
        257 => {
            let (flags, length) = (data.u8()?, data.u8()?);
            let tag = String::from_utf8_lossy(data.take(usize::from(length))?).into_owned();
            let _ = write!(text, "{flags} {tag} {}", quoted(data.rest()));
        }
        _ => {
            let bytes = data.rest();
            let _ = write!(text, "\\# {} {}", bytes.len(), skerry_seal::hex(bytes));
        }
    }
    Ok(Record { text, serial })
}

fn strings(data: &mut Reader<'_>) -> Result<String, String> {
    let mut texts = Vec::new();
    while !data.is_empty() {
        let length = data.u8()?;
        texts.push(quoted(data.take(usize::from(length))?));
    }
    Ok(texts.join(" "))
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            0x20..=0x7e => text.push(char::from(byte)),
            byte => {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::super::message::Response;
    use super::*;

    fn text(kind: u16, data: &[u8]) -> String {
        let mut message = b"\0\x01\x80\0\0\0\0\x01\0\0\0\0\x01h\0".to_vec();
        message.extend(kind.to_be_bytes());
        message.extend(b"\0\x01\0\0\0\x05");
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
        let text = Response::decode(&message).unwrap().answers.remove(0).text;
        text.strip_prefix("h.\t5\tIN\t").unwrap().replace('\t', " ")
    }

    #[test]
    fn records_are_written_as_in_zone_files() {
        assert_eq!(text(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "AAAA 2001:db8::1");
        assert_eq!(text(15, b"\0\x0a\x04mail\xc0\x0c"), "MX 10 mail.h.");
        assert_eq!(text(16, b"\x03a\"b\x01\xff"), "TXT \"a\\\"b\" \"\\255\"");
        assert_eq!(text(33, b"\0\x01\0\x02\0\x50\x01x\0"), "SRV 1 2 80 x.");
        let soa = b"\x02ns\0\x04a.bc\0\0\0\0\x07\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04";
        assert_eq!(text(SOA, soa), "SOA ns. a\\.bc. 7 1 2 3 4");
        assert_eq!(text(257, b"\0\x05issueca.example"), "CAA 0 issue \"ca.example\"");
        assert_eq!(text(99, b"\x01\xab"), "TYPE99 \\# 2 01ab");
        assert_eq!((kind("mx"), kind("TYPE99"), kind("7"), kind("x")), (Some(15), Some(99), Some(7), None));
    }
}
