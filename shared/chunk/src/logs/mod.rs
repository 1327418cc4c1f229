//! Log blocks: records in order of arrival, with a directory that tells what cannot be inside.
//!
//! ```text
//! header   records varint, line_bytes varint            bytes of all lines together
//!          first zigzag, last zigzag                     smallest and largest timestamp, in ms; 0 and 0 without records
//!          levels 1 byte                                 bit n: a record of level n is inside
//!          sets varint                                   label sets; each: pairs varint, then name and value as
//!                                                        length and bytes
//!          bloom length and bytes                        empty: nothing can be ruled out
//!          crc 4 bytes                                   CRC-32 of all before it, little-endian
//! body     per record   set      varint                  index of its label set
//!          per record   time     zigzag                  difference to the record before (the first: to 0)
//!          per record   kind     1 byte                  bits 0-3 level, bits 4-7 output
//!          per record   length   varint                  bytes of the line
//!          names varint, then each as length and bytes   names of fields
//!          per record   fields   varint                  how many it has
//!          per field    name     varint                  index of its name
//!          per field    length   varint                  bytes of its value
//!          values of fields, one after the other
//!          lines, one after the other
//! ```
//! The bloom filter holds every token (see [`bloom`]) of the lines. The directory has a checksum of its own, so that a
//! block that is ruled out need not be read to its end; the frame's covers both.

pub mod bloom;
mod build;
mod read;

use crate::frame::Kind;
use skerry_model::LogRecord;

pub use build::LogBuilder;
pub use read::{LogInfo, LogReader, info};

const KIND: Kind = Kind { magic: *b"SL", name: "log", version: 2 };
const OUTPUT_SHIFT: u32 = 4;

/// Log records in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogBlock {
    /// The records.
    pub records: Vec<LogRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::put_varint;
    use crate::{DecodeError, Limits, Unpacker, frame};
    use proptest::prelude::*;
    use skerry_model::{Labels, Level, OutputStream, TimeRange, UnixMillis};
    use std::ops::ControlFlow;

    fn record(at: i64, source: &str, line: &[u8]) -> LogRecord {
        let labels = Labels::new([("source", source)]).unwrap();
        LogRecord {
            at: UnixMillis(at),
            labels,
            output: OutputStream::Stderr,
            level: Level::Warn,
            fields: Labels::default(),
            line: line.to_vec(),
        }
    }

    fn service_like(lines: usize) -> LogBlock {
        let line = |n: usize| {
            let (id, ms, path) = ((n * 7919) % 100_000, n * 31 % 900, ["orders", "users", "cart"][n % 3]);
            format!(
                "2026-11-20T22:{:02}:{:02}.{:03}Z INFO http.server request completed method=GET path=/api/v1/{path}/{id} status=200 duration_ms={ms} client=10.0.{}.{}",
                n / 60 % 60,
                n % 60,
                n % 1000,
                n % 16,
                n % 250
            )
        };
        LogBlock { records: (0..lines).map(|n| record(n as i64 * 10, "shop", line(n).as_bytes())).collect() }
    }

    #[test]
    fn records_read_back_byte_for_byte() {
        let mut block = service_like(100);
        block.records.push(record(-5, "odd", b"nul \0 and \xff\xfe not utf-8 \r"));
        block.records.push(record(i64::MAX, "", b""));
        block.records[7].fields = Labels::new([("trace", "a1"), ("pid", "7")]).unwrap();
        block.records[90].fields = Labels::new([("pid", "ü")]).unwrap();
        let bytes = block.encode(3).unwrap();
        assert_eq!(LogBlock::decode(&bytes, &Limits::default()).unwrap(), block);
        let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
        assert_eq!(reader.info().records, 102);
        assert_eq!(reader.info().level_mask, 1 << 4);
        assert_eq!(reader.info().range, Some(TimeRange { from: UnixMillis(-5), to: UnixMillis(i64::MAX) }));
        assert_eq!(reader.label_sets().len(), 3);
        let empty = LogBlock::default();
        assert_eq!(LogBlock::decode(&empty.encode(3).unwrap(), &Limits::default()).unwrap(), empty);
    }

    #[test]
    fn the_directory_rules_out_what_is_not_inside() {
        let bytes = service_like(1000).encode(3).unwrap();
        let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
        for inside in ["completed", "COMPLETED", "orders", "duration_ms", "7919"] {
            assert!(reader.might_contain(inside.as_bytes()), "{inside}");
        }
        let wrong = (0..1000).filter(|n| reader.might_contain(format!("needle{n}").as_bytes())).count();
        assert!(wrong < 60, "{wrong} of 1000 tokens could not be ruled out");
    }

    #[test]
    fn a_text_is_ruled_out_by_the_tokens_inside_it_alone() {
        let bytes = service_like(1000).encode(3).unwrap();
        let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
        let line = String::from_utf8(reader.records().unwrap()[7].line.clone()).unwrap();
        for (from, to) in (0..line.len()).flat_map(|from| (from..=line.len()).map(move |to| (from, to))) {
            assert!(reader.may_contain_text(&line.as_bytes()[from..to]), "{:?}", &line[from..to]);
        }
        assert!(reader.may_contain_text(b"needle"), "it may be a part of a token");
        assert!(reader.may_contain_text(b"needle needle"));
        assert!(!reader.may_contain_text(b" needle42 "));
        assert!(!reader.may_contain_text(b"x needle42 completed"));
    }

    #[test]
    fn typical_lines_take_little_with_the_directory() {
        let block = service_like(1000);
        let raw: usize = block.records.iter().map(|r| r.line.len()).sum();
        let bytes = block.encode(3).unwrap().len();
        assert!(bytes * 100 < raw * 15, "{bytes} bytes for {raw}");
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let bytes = service_like(5).encode(3).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(LogBlock::decode(&damaged, &Limits::default()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_directory_is_read_without_the_body() {
        let bytes = service_like(300).encode(3).unwrap();
        let whole = LogReader::open(&bytes, &Limits::default()).unwrap();
        let end = (0..bytes.len()).find(|end| LogReader::open(&bytes[..*end], &Limits::default()).is_ok()).unwrap();
        assert!(end < bytes.len() / 2, "{end} of {}", bytes.len());
        for cut in [end, end + 1, bytes.len() - 1] {
            let part = LogReader::open(&bytes[..cut], &Limits::default()).unwrap();
            assert_eq!((part.info(), part.label_sets()), (whole.info(), whole.label_sets()));
            assert!(part.might_contain(b"completed") && !part.may_contain_text(b" needle42 "));
            assert!(part.records().is_err(), "{cut}");
        }
        for cut in 0..end {
            let error = LogReader::open(&bytes[..cut], &Limits::default()).unwrap_err();
            assert!(matches!(error, DecodeError::Truncated(_) | DecodeError::Limit { .. }), "{cut}: {error}");
        }
    }

    #[test]
    fn a_text_is_not_found_across_two_lines() {
        let block =
            LogBlock { records: [b"xab".as_slice(), b"cd", b"abcd", b""].map(|line| record(1, "s", line)).to_vec() };
        let bytes = block.encode(1).unwrap();
        let mut found = Vec::new();
        let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
        let each = |at, _: skerry_model::RecordRef<'_>| {
            found.push(at);
            ControlFlow::Continue(())
        };
        reader.search(&mut Unpacker::new(), &[b"abc"], |_| true, each).unwrap();
        assert_eq!(found, [2]);
    }

    proptest! {
        #[test]
        fn any_records_read_back(lines in proptest::collection::vec((any::<i64>(), "[ab]{0,2}", proptest::collection::vec(any::<u8>(), 0..40)), 0..30)) {
            let block = LogBlock { records: lines.iter().map(|(at, source, line)| record(*at, source, line)).collect() };
            let bytes = block.encode(1).unwrap();
            prop_assert_eq!(LogBlock::decode(&bytes, &Limits::default()).unwrap(), block);
        }

        #[test]
        fn random_bodies_never_panic(count in 0u64..20, head in proptest::collection::vec(any::<u8>(), 0..30), raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut header = Vec::new();
            put_varint(&mut header, count);
            header.extend_from_slice(&head);
            let bytes = frame::seal(KIND, &header, &raw, 1).unwrap();
            let _ = LogBlock::decode(&bytes, &Limits::default());
            // Records, bytes of lines, times, levels, one empty label set, no filter.
            for line_bytes in [0, raw.len() as u64 / 2, 1 << 40] {
                let mut header = Vec::new();
                for n in [count, line_bytes, 0, 0, 0, 1, 0, 0] {
                    put_varint(&mut header, n);
                }
                let crc = frame::crc_of_header(KIND, &header);
                header.extend_from_slice(&crc.to_le_bytes());
                let bytes = frame::seal(KIND, &header, &raw, 1).unwrap();
                let reader = LogReader::open(&bytes, &Limits::default());
                if count > 0 {
                    let _ = reader.unwrap().search(&mut Unpacker::new(), &[b"\x01"], |_| true, |_, _| ControlFlow::Continue(()));
                }
                let _ = LogBlock::decode(&bytes, &Limits::default());
            }
        }

        #[test]
        fn searching_is_filtering(
            lines in proptest::collection::vec((any::<i64>(), "[ab]{0,1}", "[abc ]{0,12}", "[xy]{0,2}"), 0..60),
            texts in proptest::collection::vec("[abc ]{0,3}", 0..3),
            wanted in "[ab]",
        ) {
            let mut block = LogBlock::default();
            for (at, source, line, field) in &lines {
                let fields = Labels::new([("f", field.as_str())]).unwrap();
                block.records.push(LogRecord { fields, ..record(*at, source, line.as_bytes()) });
            }
            let holds = |record: &LogRecord| {
                let line = str::from_utf8(&record.line).unwrap();
                record.labels.value("source") != wanted && texts.iter().all(|text| line.contains(text))
            };
            let expected: Vec<_> = block.records.iter().cloned().enumerate().filter(|(_, record)| holds(record)).collect();
            let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
            let bytes = block.encode(1).unwrap();
            let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
            let (mut found, mut unpacker) = (Vec::new(), Unpacker::new());
            let sets = |set: usize| reader.label_sets()[set].value("source") != wanted;
            for _ in 0..2 {
                found.clear();
                reader.search(&mut unpacker, &texts, sets, |at, record| {
                    found.push((at, record.to_record()));
                    ControlFlow::Continue(())
                }).unwrap();
                prop_assert_eq!(&found, &expected);
            }
            let mut builder = LogBuilder::new();
            for round in 0..2 {
                builder.extend(block.records.iter().cloned());
                prop_assert_eq!(&builder.encode(1).unwrap(), &bytes, "round {}", round);
                let mut waiting = Vec::new();
                builder.visit(|_| true, |at, record| {
                    waiting.push((at, record.to_record()));
                    ControlFlow::Continue(())
                });
                prop_assert_eq!(waiting, block.records.iter().cloned().enumerate().collect::<Vec<_>>());
                builder.clear();
            }
        }
    }
}
