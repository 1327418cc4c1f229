//! The cases of `../shared/rules-vectors` that are about routing, for tests here.

use serde_json::Value;
use skerry_model::Labels;
use std::path::{Path, PathBuf};

/// A file of the vectors.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/rules-vectors").join(name)
}

/// Its text.
pub(super) fn text(name: &str) -> String {
    let path = path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Its value.
pub(super) fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

/// The labels of a case.
pub(super) fn labels(value: &Value) -> Labels {
    Labels::new(value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.as_str().unwrap()))).unwrap()
}

/// A file of the machine's time zone database, which these tests need.
pub(super) fn zones(name: &str) -> Option<Vec<u8>> {
    std::fs::read(Path::new("/usr/share/zoneinfo").join(name)).ok()
}

/// A list of a case, which must not be empty.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value[key].as_array().unwrap();
    assert!(!list.is_empty(), "{key} is empty");
    list
}
