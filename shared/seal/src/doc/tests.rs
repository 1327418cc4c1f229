//! Documents read back as written; bounds, missing and unknown fields are refused by name.

use super::*;
use crate::cbor::{self, DOCUMENT, DocError};
use crate::secret::SealedSecret;
use crate::testkit::{ISSUED, TestFleet, new_keys, publics};
use crate::{InvalidRoleKeys, PublicKey, Role, SignError};
use proptest::prelude::*;
use skerry_model::UnixMillis;
use std::collections::BTreeMap;

/// The document with one field set, or removed.
fn with(bytes: &[u8], key: u64, value: Option<Value>) -> Vec<u8> {
    let Value::Map(mut pairs) = cbor::decode("the test", bytes, &DOCUMENT).unwrap() else { panic!("no map") };
    pairs.retain(|(found, _)| *found != Value::from(key));
    pairs.extend(value.map(|value| (Value::from(key), value)));
    cbor::encode(Value::Map(pairs))
}

/// Every field missing, of a wrong type, and one too many.
fn refuses_each_field<T: fmt::Debug>(
    bytes: &[u8],
    keys: std::ops::RangeInclusive<u64>,
    decode: fn(&[u8]) -> Result<T, DocError>,
) {
    decode(bytes).unwrap();
    for key in keys.clone() {
        if decode(&with(bytes, key, None)).is_ok() {
            assert_eq!(key, 5, "only the config's not_after may be absent");
        }
        for wrong in [Value::Null, Value::from(-1), Value::Array(vec![Value::Null]), Value::from("\u{1}")] {
            let refused = decode(&with(bytes, key, Some(wrong.clone()))).unwrap_err();
            assert!(matches!(refused, DocError::Shape { .. } | DocError::NotAMap { .. }), "{key} {wrong:?}: {refused}");
        }
    }
    let unknown = keys.end() + 1;
    let refused = decode(&with(bytes, unknown, Some(Value::Null))).unwrap_err();
    assert!(matches!(refused, DocError::Unknown { key, .. } if key == unknown), "{refused}");
    assert!(matches!(decode(&[0x80]), Err(DocError::NotAMap { .. })));
    assert!(matches!(decode(&[0xbf, 0xff]), Err(DocError::Cbor { .. })));
}

fn config() -> ConfigDoc {
    let fleet = TestFleet::new();
    let mut doc = fleet.config();
    doc.not_after = Some(ISSUED);
    doc.min_agent = AgentVersion { major: 1, minor: 20, patch: 300 };
    for (path, node) in [("a", "n"), ("a", "m"), ("b", "n")] {
        let sealed = SealedSecret { path: path.to_owned(), node: node.parse().unwrap(), enc: [9; 32], ct: vec![1, 2] };
        doc.secrets.push(sealed);
    }
    doc
}

#[test]
fn documents_read_back_as_written() {
    let fleet = TestFleet::new();
    let root = fleet.trust.current();
    assert_eq!(RootDoc::decode(&root.encode()).as_ref(), Ok(root));
    assert_eq!(Assignment::decode(&fleet.assignment.encode()), Ok(fleet.assignment));
    let doc = config();
    assert_eq!(ConfigDoc::decode(&doc.encode()), Ok(doc));
}

#[test]
fn fields_are_all_needed_and_no_others_taken() {
    let fleet = TestFleet::new();
    refuses_each_field(&fleet.trust.current().encode(), 1..=4, RootDoc::decode);
    refuses_each_field(&fleet.assignment.encode(), 1..=9, Assignment::decode);
    refuses_each_field(&config().encode(), 1..=8, ConfigDoc::decode);
}

#[test]
fn numbers_stay_within_what_sqlite_holds() {
    let mut doc = config();
    for (revision, good) in [
        (Revision::new(0, 1), true),
        (Revision::new(i64::MAX as u64, i64::MAX as u64), true),
        (Revision::new(1, 0), false),
        (Revision::new(1 << 63, 1), false),
        (Revision::new(1, 1 << 63), false),
    ] {
        doc.revision = revision;
        assert_eq!(ConfigDoc::decode(&doc.encode()).is_ok(), good, "{revision}");
    }
    doc.revision = Revision::new(1, 1);
    doc.issued = UnixMillis(-1);
    assert!(ConfigDoc::decode(&doc.encode()).is_err());
}

#[test]
fn a_signer_is_told_before_it_signs() {
    let key = &new_keys(1)[0];
    let mut doc = config();
    doc.secrets.push(doc.secrets[0].clone());
    let refused = doc.seal(&[key]).unwrap_err();
    let expected = "a list with each path at most once per node";
    let document = "the config";
    assert_eq!(refused, SignError::Document(DocError::Shape { document, field: "secrets", expected }));
    doc.secrets.clear();
    doc.body = vec![0; 300_000];
    assert!(doc.seal(&[key]).is_err());

    let mut assignment = TestFleet::new().assignment;
    assignment.labels = (0..65).map(|n| (format!("l{n}"), String::new())).collect();
    assert!(assignment.seal(&[key]).is_err());
    assignment.labels = BTreeMap::from([(String::new(), "v".to_owned())]);
    assert!(assignment.seal(&[key]).is_err());
    assignment.labels = BTreeMap::from([("l".to_owned(), "v".repeat(257))]);
    assert!(assignment.seal(&[key]).is_err());
    assignment.labels.clear();
    assignment.streams = (0..65).map(|n| (format!("group/g{n}").parse().unwrap(), Revision::new(0, 0))).collect();
    assert!(assignment.seal(&[key]).is_err());
}

#[test]
fn roles_need_keys_that_can_meet_their_threshold() {
    let keys = publics(&new_keys(9));
    let refused = |threshold, keys: &[PublicKey]| RoleKeys::new(threshold, keys.to_vec()).unwrap_err();
    assert_eq!(refused(0, &keys[..2]), InvalidRoleKeys::Threshold { threshold: 0, keys: 2 });
    assert_eq!(refused(3, &keys[..2]), InvalidRoleKeys::Threshold { threshold: 3, keys: 2 });
    assert_eq!(refused(1, &[]), InvalidRoleKeys::Threshold { threshold: 1, keys: 0 });
    assert_eq!(refused(1, &keys), InvalidRoleKeys::TooMany(9));
    assert_eq!(refused(2, &[keys[0], keys[0]]), InvalidRoleKeys::Duplicate(keys[0].id()));
    let role = RoleKeys::new(2, keys[..2].to_vec()).unwrap();
    assert_eq!((role.find(keys[1].id()), role.find(keys[2].id())), (Some(keys[1]), None));
}

#[test]
fn a_root_document_names_root_keys_that_can_rotate() {
    let fleet = TestFleet::new();
    let mut root = fleet.trust.current().clone();
    root.roles.insert(Role::Root, RoleKeys::new(5, publics(&new_keys(5))).unwrap());
    assert!(matches!(RootDoc::decode(&root.encode()), Err(DocError::Shape { field: "roles.root", .. })));
    root.roles.remove(&Role::Root);
    assert!(matches!(RootDoc::decode(&root.encode()), Err(DocError::Missing { field: "roles.root", .. })));
    let roles = |role: Value, threshold: u64, extra: Option<Value>| {
        let list = Value::Array(vec![Value::Bytes(vec![1; 32]), Value::Bytes(vec![2; 32])]);
        let keys = cbor::map([(1, Some(threshold.into())), (2, Some(list)), (3, extra)]);
        RootDoc::decode(&with(&root.encode(), 4, Some(Value::Map(vec![(role, keys)]))))
    };
    assert!(roles("root".into(), 2, None).is_ok());
    assert!(matches!(roles("boss".into(), 2, None), Err(DocError::Shape { field: "roles", .. })));
    for threshold in [0, 3, 258] {
        assert!(matches!(roles("root".into(), threshold, None), Err(DocError::Shape { field: "threshold", .. })));
    }
    assert!(matches!(roles("root".into(), 1, Some(Value::Null)), Err(DocError::Unknown { key: 3, .. })));
}

#[test]
fn versions_are_three_numbers() {
    let version = |major, minor, patch| AgentVersion { major, minor, patch };
    assert_eq!("1.20.3".parse(), Ok(version(1, 20, 3)));
    assert_eq!("1.2.3-rc.1+build".parse(), Ok(version(1, 2, 3)));
    assert_eq!(version(1, 20, 3).to_string(), "1.20.3");
    assert!(version(1, 20, 3) > version(1, 3, 20));
    for bad in ["", "1.2", "1.2.3.4", "1.2.x", "+1.2.3", "1..3", "99999999999.0.0"] {
        assert!(bad.parse::<AgentVersion>().is_err(), "{bad:?} was taken");
    }
}

#[test]
fn revisions_order_by_epoch_first() {
    assert!(Revision::new(2, 1) > Revision::new(1, 900));
    assert!(Revision::new(1, 10) > Revision::new(1, 9));
    assert_eq!(Revision::new(1, 10).to_string(), "1.10");
}

proptest! {
    #[test]
    fn random_maps_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (RootDoc::decode(&bytes), ConfigDoc::decode(&bytes), Assignment::decode(&bytes));
    }

    #[test]
    fn bodies_and_labels_read_back(body in prop::collection::vec(any::<u8>(), 0..500), label in "\\PC{1,40}") {
        let mut doc = config();
        doc.body = body;
        prop_assert_eq!(ConfigDoc::decode(&doc.encode()), Ok(doc));
        let mut assignment = TestFleet::new().assignment;
        assignment.labels.insert(label.clone(), label);
        prop_assert_eq!(Assignment::decode(&assignment.encode()), Ok(assignment));
    }
}
