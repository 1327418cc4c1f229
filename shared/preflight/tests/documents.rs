//! Documents written by an encoder of their own: the strict form passes, every part and change of it is judged
//! without a panic, and a document as deep as its bytes allow needs no stack.

use proptest::prelude::*;
use skerry_preflight::{Fault, Limits, check};
use std::collections::BTreeMap;

/// A document as a tree, to be written in strict form.
#[derive(Debug, Clone)]
enum Doc {
    Unsigned(u64),
    Negative(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Doc>),
    Map(Vec<(Doc, Doc)>),
    Tagged(Box<Doc>),
    Double(u64),
    Null,
}

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major << 5 | bytes[7]),
        24..=0xff => out.extend([major << 5 | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major << 5 | 25);
            out.extend(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major << 5 | 26);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(major << 5 | 27);
            out.extend(bytes);
        }
    }
}

fn write(doc: &Doc, out: &mut Vec<u8>) {
    match doc {
        Doc::Unsigned(n) => head(0, *n, out),
        Doc::Negative(n) => head(1, *n, out),
        Doc::Bytes(bytes) => {
            head(2, bytes.len() as u64, out);
            out.extend(bytes);
        }
        Doc::Text(text) => {
            head(3, text.len() as u64, out);
            out.extend(text.as_bytes());
        }
        Doc::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|item| write(item, out));
        }
        Doc::Map(pairs) => {
            let encoded = |doc: &Doc| {
                let mut bytes = Vec::new();
                write(doc, &mut bytes);
                bytes
            };
            let sorted: BTreeMap<_, _> = pairs.iter().map(|(key, value)| (encoded(key), encoded(value))).collect();
            head(5, sorted.len() as u64, out);
            for (key, value) in sorted {
                out.extend(key);
                out.extend(value);
            }
        }
        Doc::Tagged(inner) => {
            head(6, 98, out);
            write(inner, out);
        }
        Doc::Double(bits) => {
            out.push(0xfb);
            out.extend(bits.to_be_bytes());
        }
        Doc::Null => out.push(0xf6),
    }
}

fn docs() -> impl Strategy<Value = Doc> {
    let number = || prop_oneof![0u64..30, 0u64..70_000, any::<u64>()];
    let leaf = prop_oneof![
        number().prop_map(Doc::Unsigned),
        number().prop_map(Doc::Negative),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Doc::Bytes),
        "\\PC{0,20}".prop_map(Doc::Text),
        any::<u64>().prop_map(Doc::Double),
        Just(Doc::Null),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Doc::Array),
            prop::collection::vec((inner.clone(), inner.clone()), 0..6).prop_map(Doc::Map),
            inner.prop_map(|doc| Doc::Tagged(Box::new(doc))),
        ]
    })
}

const LIMITS: Limits<'_> = Limits { bytes_max: 1 << 20, depth_max: 16, items_max: 10_000, tags: &[98] };

fn strict(doc: &Doc) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(doc, &mut bytes);
    bytes
}

#[test]
fn a_deep_document_needs_no_stack() {
    let limits = Limits { bytes_max: 2 << 20, depth_max: usize::MAX, items_max: usize::MAX, tags: &[] };
    let mut deep = vec![0x81; 1 << 20];
    deep.push(0x00);
    assert_eq!(check(&deep, &limits), Ok(()));
    deep.pop();
    assert_eq!(check(&deep, &limits), Err(Fault::Truncated(1 << 20)));
}

proptest! {
    #[test]
    fn what_is_written_strictly_passes_and_no_part_does(doc in docs()) {
        let mut bytes = strict(&doc);
        prop_assert_eq!(check(&bytes, &LIMITS), Ok(()));
        for end in 0..bytes.len() {
            prop_assert!(check(&bytes[..end], &LIMITS).is_err());
        }
        let end = bytes.len();
        bytes.push(0);
        prop_assert_eq!(check(&bytes, &LIMITS), Err(Fault::Trailing(end)));
    }

    #[test]
    fn a_map_in_another_order_or_with_a_key_twice_is_refused(
        pairs in prop::collection::btree_map(0u64..1000, any::<u64>(), 2..10),
        swap in any::<prop::sample::Index>(),
    ) {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        let at = swap.index(pairs.len() - 1);
        let encode = |pairs: &[(u64, u64)]| {
            let mut bytes = Vec::new();
            head(5, pairs.len() as u64, &mut bytes);
            for (key, value) in pairs {
                head(0, *key, &mut bytes);
                head(0, *value, &mut bytes);
            }
            check(&bytes, &LIMITS)
        };
        prop_assert_eq!(encode(&pairs), Ok(()));
        pairs.swap(at, at + 1);
        prop_assert!(matches!(encode(&pairs), Err(Fault::UnsortedKey(_))));
        pairs[at] = pairs[at + 1];
        prop_assert!(matches!(encode(&pairs), Err(Fault::DuplicateKey(_))));
    }

    #[test]
    fn a_changed_document_never_panics(doc in docs(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = strict(&doc);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = check(&bytes, &LIMITS);
    }
}
