//! What serde-saphyr makes of the same texts: types that are read by both have to come out alike.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct All {
    text: String,
    maybe: Option<String>,
    count: u32,
    signed: i64,
    ratio: f64,
    flag: bool,
    words: Vec<String>,
    names: BTreeMap<String, String>,
    numbers: BTreeMap<String, u16>,
    kind: Option<Kind>,
    inner: Option<Inner>,
    either: Vec<Either>,
    pair: Option<(u8, String)>,
    any: Option<serde_json::Value>,
    unit: Option<Wrapped>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plain,
    Number(u64),
    Named { a: String },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Inner {
    path: String,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(u64),
    Flag(bool),
    Text(String),
    Map { x: i32 },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Wrapped(String);

const TEXTS: &[&str] = &[
    "text: hello",
    "text: 123",
    "text: 1.10",
    "text: '0123'",
    "text: \"a\\nb\"",
    "text: |\n  one\n  two\n",
    "text: >-\n  one\n  two\n",
    "text: true",
    "text: ''",
    "maybe: ~",
    "maybe: null",
    "maybe:",
    "maybe: ''",
    "maybe: x",
    "count: 7",
    "count: 0x1F",
    "count: 0o17",
    "count: +7",
    "count: -7",
    "count: 1.5",
    "count: 99999999999",
    "count: many",
    "count: '7'",
    "ratio: '1.5'",
    "count:",
    "words:",
    "names:",
    "words: [a, ~]",
    "text:",
    "text: ~",
    "flag: True",
    "inner: ~",
    "names: {a: ~}",
    "names: {a: }",
    "signed: -12",
    "signed: 9223372036854775807",
    "ratio: 1",
    "ratio: 1.5",
    "ratio: 1e3",
    "ratio: -0.5e-2",
    "ratio: .inf",
    "ratio: x",
    "flag: true",
    "flag: false",
    "flag: yes",
    "flag: 1",
    "flag: 'true'",
    "words: [a, 1, true, 'x y']",
    "words: []",
    "words:\n- a\n- b",
    "words: a",
    "words: {a: b}",
    "names: {a: b, 2: c, true: d, e: 1.10}",
    "names: {}",
    "names: [a]",
    "numbers: {a: 1, b: 65535}",
    "numbers: {a: 65536}",
    "kind: plain",
    "kind: {number: 3}",
    "kind: {named: {a: x}}",
    "kind: other",
    "kind: {plain: }",
    "inner: {path: a, x: y}",
    "inner: {x: y}",
    "either: [1, true, text, {x: -3}, '1', 1.5]",
    "pair: [1, a]",
    "pair: [1]",
    "any: {a: [1, -2, 1.5, true, ~, text, '1', {b: c}], d: 18446744073709551615}",
    "unit: word",
    "gone: 1",
    "text: a\ntext: b",
    "base: &b {x: 1}",
    "names: &n {a: b}\nany: *n",
    "any:\n  x: &x {a: 1}\n  y: {<<: *x, b: 2}",
    "",
    "# nothing",
    "a: [",
    "text: a\n---\ntext: b",
];

fn both<T: DeserializeOwned + Debug + PartialEq>(text: &str) -> Option<String> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let blank = text.lines().all(|line| line.is_empty() || line.starts_with('#'));
    let theirs: Option<T> = serde_saphyr::from_str_with_options(if blank { "{}" } else { text }, options).ok();
    let ours = skerry_yaml::read::<T>(text);
    let same = match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) => ours.value == *theirs,
        (Err(_), None) => true,
        _ => false,
    };
    (!same).then(|| format!("{text:?}\n  ours   {:?}\n  theirs {theirs:?}", ours.map(|document| document.value)))
}

#[test]
fn types_come_out_alike() {
    let different: Vec<String> = TEXTS.iter().filter_map(|text| both::<All>(text)).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
