//! Bodies read back, are what other programs read and write, and foreign bytes do no harm.

use proptest::prelude::*;
use skerry_model::{Labels, STALE_NAN_BITS, Sample, UnixMillis, stale_nan};
use skerry_remote::{DecodeError, Incoming, Limits, Protocol, Series, Totals, read, unpack, write};

const BOTH: [Protocol; 2] = [Protocol::V1, Protocol::V2];

fn series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> Series {
    Series {
        labels: Labels::new(pairs.iter().copied()).expect("sound labels"),
        samples: samples.iter().map(|(at, value)| Sample { at: UnixMillis(*at), value: *value }).collect(),
    }
}

fn read_back(protocol: Protocol, body: &[u8]) -> Result<(Vec<Series>, Totals), DecodeError> {
    let message = unpack(body, 1 << 20)?;
    let mut found = Vec::new();
    let totals = read(protocol, &message, &Limits::default(), |series: &Incoming<'_>| {
        let labels = Labels::new(series.labels.iter().copied()).expect("sound labels");
        found.push(Series { labels, samples: series.samples.clone() });
    })?;
    Ok((found, totals))
}

/// A snappy block that holds `message` as one literal.
fn literal(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("a short message")
}

#[test]
fn every_bit_of_a_value_reads_back() {
    let written = [
        series(
            &[("__name__", "up"), ("job", "é\n\"")],
            &[(1_700_000_000_000, 1.0), (1_700_000_015_000, stale_nan()), (1_700_000_030_000, -0.0)],
        ),
        series(&[("__name__", "n")], &[(-1, f64::NEG_INFINITY), (0, 0.0), (i64::MAX, f64::NAN)]),
        series(&[], &[]),
    ];
    for protocol in BOTH {
        let (found, totals) = read_back(protocol, &write(protocol, &written)).unwrap();
        assert_eq!(found, written);
        assert_eq!(totals, Totals { series: 3, samples: 6, histograms: 0, exemplars: 0 });
        assert_eq!(found[0].samples[1].value.to_bits(), STALE_NAN_BITS);
    }
}

/// Bytes that Google's protobuf writes for the same two series.
const GOLDEN: [(Protocol, &str); 2] = [
    (
        Protocol::V1,
        "0a3f0a0e0a085f5f6e616d655f5f120275700a090a036a6f621202c3a9121009000000000000f03f1080d095ffbc3112100902000000\
         0000f07f1098c596ffbc310a320a0d0a085f5f6e616d655f5f12016e0a090a036a6f621202c3a91214090000000000000080\
         10ffffffffffffffffff011200",
    ),
    (
        Protocol::V2,
        "220022085f5f6e616d655f5f2202757022036a6f622202c3a922016e2a2a0a0401020304121009000000000000f03f1080d095ffbc31\
         121009020000000000f07f1098c596ffbc312a1e0a0401050304121409000000000000008010ffffffffffffffffff011200",
    ),
];

#[test]
fn messages_are_byte_for_byte_those_of_protobuf() {
    let written = [
        series(&[("__name__", "up"), ("job", "é")], &[(1_700_000_000_000, 1.0), (1_700_000_015_000, stale_nan())]),
        series(&[("__name__", "n"), ("job", "é")], &[(-1, -0.0), (0, 0.0)]),
    ];
    for (protocol, golden) in GOLDEN {
        let message = unpack(&write(protocol, &written), 1 << 20).expect("our own block");
        let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }
}

#[test]
fn content_types_are_those_of_the_specification() {
    for (text, protocol) in [
        ("application/x-protobuf", Some(Protocol::V1)),
        ("application/x-protobuf;proto=prometheus.WriteRequest", Some(Protocol::V1)),
        ("Application/X-Protobuf; proto=io.prometheus.write.v2.Request", Some(Protocol::V2)),
        ("application/x-protobuf;proto=\"io.prometheus.write.v2.Request\"", Some(Protocol::V2)),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
        ("application/json", None),
        ("", None),
    ] {
        assert_eq!(Protocol::of_content_type(text), protocol, "{text}");
    }
    for protocol in BOTH {
        assert_eq!(Protocol::of_content_type(protocol.content_type()), Some(protocol));
    }
}

#[test]
fn a_block_that_claims_too_much_is_refused_before_memory_is_taken() {
    // A length of 2^32 - 1 and nothing behind it.
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let refused = unpack(&bomb, 32 << 20).unwrap_err();
    assert!(refused.is_too_large(), "{refused}");
    assert!(refused.to_string().starts_with("4294967295 bytes after decompression"), "{refused}");
    // 32 MiB from five bytes: within the limit, but more than they can hold.
    let claims = [0x80, 0x80, 0x80, 0x10, 0x00];
    assert!(matches!(unpack(&claims, 32 << 20), Err(DecodeError::Snappy(_))));
    assert!(matches!(unpack(&[], 9), Err(DecodeError::Snappy(_))));
    let zeros = literal(&vec![0; 1 << 20]);
    assert_eq!(unpack(&zeros, 1 << 20).unwrap().len(), 1 << 20, "the densest block there is, {} bytes", zeros.len());
}

#[test]
fn limits_are_told_by_name() {
    let many: Vec<_> = (0..20).map(|n| series(&[("n", &n.to_string())], &[(n, 1.0), (n + 1, 2.0)])).collect();
    let limits = Limits { series_max: 20, labels_max: 1, samples_max: 40, symbols_max: 22 };
    for protocol in BOTH {
        let message = unpack(&write(protocol, &many), 1 << 20).unwrap();
        let told = |limits| read(protocol, &message, &limits, |_| {}).map_err(|error| error.to_string());
        assert_eq!(told(limits).unwrap().samples, 40);
        assert!(told(Limits { series_max: 19, ..limits }).unwrap_err().starts_with("20 series"));
        assert!(told(Limits { samples_max: 39, ..limits }).unwrap_err().starts_with("40 samples"));
        assert!(told(Limits { labels_max: 0, ..limits }).unwrap_err().starts_with("1 labels of a series"));
        assert_eq!(told(Limits { symbols_max: 21, ..limits }).is_err(), protocol == Protocol::V2);
    }
}

#[test]
fn what_is_not_kept_is_counted() {
    // One series with a label, an exemplar and two histograms; then metadata and a field that nobody knows.
    let v1 = b"\x0a\x0e\x0a\x06\x0a\x01a\x12\x01b\x1a\x00\x22\x00\x22\x00\x1a\x02\x08\x01\x78\x01";
    let totals = read(Protocol::V1, v1, &Limits::default(), |_| {}).unwrap();
    assert_eq!(totals, Totals { series: 1, samples: 0, histograms: 2, exemplars: 1 });
}

#[test]
fn messages_that_are_none_are_refused() {
    let refused = |protocol, message: &[u8]| read(protocol, message, &Limits::default(), |_| {}).unwrap_err();
    assert_eq!(refused(Protocol::V1, &[0x0a, 5, 1]), DecodeError::Truncated("a field"));
    assert_eq!(refused(Protocol::V1, &[0x0a]), DecodeError::Truncated("a number"));
    assert_eq!(refused(Protocol::V1, &[0x08, 1]), DecodeError::Invalid("a series"));
    assert_eq!(refused(Protocol::V1, &[0x0b]), DecodeError::Invalid("a field's type"));
    assert_eq!(refused(Protocol::V1, &[0x02, 0]), DecodeError::Invalid("a field's number"));
    assert_eq!(refused(Protocol::V1, &[0xff; 11]), DecodeError::Invalid("a number"));
    // A label whose name is no UTF-8.
    assert_eq!(refused(Protocol::V1, b"\x0a\x05\x0a\x03\x0a\x01\xff"), DecodeError::Invalid("a label's name"));
    // References: an odd number of them, and one beyond the strings.
    assert_eq!(refused(Protocol::V2, b"\x22\x00\x2a\x03\x0a\x01\x00"), DecodeError::Invalid("a list of labels"));
    let beyond = DecodeError::Invalid("a label's reference to a string");
    assert_eq!(refused(Protocol::V2, b"\x22\x00\x2a\x04\x0a\x02\x00\x01"), beyond);
    // References that are not packed are as good, and strings may come last.
    let loose = b"\x2a\x04\x08\x01\x08\x02\x22\x00\x22\x01a\x22\x01b";
    let mut labels = Vec::new();
    read(Protocol::V2, loose, &Limits::default(), |series| labels.clone_from(&series.labels)).unwrap();
    assert_eq!(labels, [("a", "b")]);
}

proptest! {
    #[test]
    fn any_series_read_back(
        given in proptest::collection::vec(
            (proptest::collection::btree_map("[a-z_]{1,8}", ".{1,9}", 0..6), proptest::collection::vec(any::<(i64, u64)>(), 0..9)),
            0..12,
        ),
    ) {
        let given: Vec<Series> = given.into_iter().map(|(labels, samples)| Series {
            labels: Labels::new(labels).unwrap(),
            samples: samples.into_iter().map(|(at, bits)| Sample { at: UnixMillis(at), value: f64::from_bits(bits) }).collect(),
        }).collect();
        for protocol in BOTH {
            prop_assert_eq!(&read_back(protocol, &write(protocol, &given)).unwrap().0, &given);
        }
    }

    #[test]
    fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for protocol in BOTH {
            let _ = read(protocol, &bytes, &Limits::default(), |_| {});
            if let Ok(message) = unpack(&bytes, 1 << 16) {
                prop_assert!(message.len() <= 1 << 16);
            }
        }
    }

    #[test]
    fn a_changed_body_does_no_harm(at in 0usize..200, to in any::<u8>(), cut in 0usize..200) {
        for protocol in BOTH {
            let one = series(&[("__name__", "up"), ("job", "a")], &[(1, 1.0), (2, 2.0)]);
            let good = write(protocol, &[one.clone(), one.clone(), one]);
            let mut body = good.clone();
            let place = at % body.len();
            body[place] = to;
            let limits = Limits::default();
            let look = |body: &[u8]| unpack(body, 1 << 16).and_then(|m| read(protocol, &m, &limits, |_| {}));
            let _ = look(&body);
            let shorter = &good[..cut % good.len()];
            prop_assert!(look(shorter).is_err());
        }
    }
}
