//! A file as a tree of values, read as Go's YAML reads it into texts, and taken key by key.
//!
//! Serde's own way to such a tree turns `0123` into 123 and `1.10` into 1.1: a password or a label value that looks like a
//! number would be another one. Here a scalar is a number only where the number is written as it stands there.

mod mapping;

pub use mapping::{Checks, Mapping, Secret, items};

use crate::tree::{Content, Node, tree};
use crate::{Document, Fault, Places};
use serde_json::{Map, Number, Value};

/// Most values of a file, with what its aliases stand for.
const VALUES_MAX: usize = 200_000;

/// Reads the first document of a text; one of comments alone is an empty mapping. Merge keys are merged.
///
/// # Errors
/// The first fault, since a parser cannot go on behind it.
pub fn read(text: &str) -> Result<Document<Value>, Fault> {
    let mut left = VALUES_MAX;
    let value = match tree(text)?.root {
        None => Value::Null,
        Some(root) => value(&root, &mut left)?,
    };
    let value = if value.is_null() { Value::Object(Map::new()) } else { value };
    Ok(Document { value, places: Places::read(text) })
}

/// Recursion is bounded by the depth that trees have.
fn value(node: &Node, left: &mut usize) -> Result<Value, Fault> {
    *left = left.checked_sub(1).ok_or_else(|| {
        let problem = format!("more than {VALUES_MAX} values, with what aliases stand for");
        Fault { line: Some(node.line), key: String::new(), problem }
    })?;
    Ok(match &node.content {
        Content::Null => Value::Null,
        Content::Text(text) => scalar(text),
        Content::List(items) => Value::Array(items.iter().map(|item| value(item, left)).collect::<Result<_, _>>()?),
        Content::Map(entries) => {
            let pair = |(key, item): &(std::rc::Rc<Node>, std::rc::Rc<Node>)| {
                Ok((key.text().unwrap_or_default().to_owned(), value(item, left)?))
            };
            Value::Object(entries.iter().map(pair).collect::<Result<_, Fault>>()?)
        }
    })
}

/// A boolean or a number that is written as it stands, or else a text. Whoever wants a text takes all three.
fn scalar(text: &str) -> Value {
    let number = || {
        let number = text.parse::<i64>().ok().map(Number::from).or_else(|| Number::from_f64(text.parse().ok()?));
        number.filter(|number| number.to_string() == text)
    };
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => number().map_or_else(|| Value::from(text), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_stay_as_they_are_written() {
        for (text, expected) in [
            ("1", json!(1)),
            ("-12", json!(-12)),
            ("0123", json!("0123")),
            ("1.5", json!(1.5)),
            ("1.10", json!("1.10")),
            ("1e3", json!("1e3")),
            ("0x1F", json!("0x1F")),
            ("1_000", json!("1_000")),
            ("inf", json!("inf")),
            (".5", json!(".5")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("yes", json!("yes")),
            ("true", json!(true)),
            ("~", json!(null)),
            ("'a: b'", json!("a: b")),
            ("2024-01-01", json!("2024-01-01")),
        ] {
            assert_eq!(read(&format!("a: {text}\n")).unwrap().value, json!({ "a": expected }), "{text}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        let text = "x: &x {a: 1, b: [2, null]}\ny: *x\nz:\n  <<: *x\n  a: 3\n2: k\n";
        let same = json!({"a": 1, "b": [2, null]});
        let expected = json!({"x": same, "y": same, "z": {"a": 3, "b": [2, null]}, "2": "k"});
        assert_eq!(read(text).unwrap().value, expected);
        for blank in ["", "# nothing\n", "---\n", "null\n"] {
            assert_eq!(read(blank).unwrap().value, json!({}), "{blank:?}");
        }
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..30 {
            bomb += &format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1);
        }
        assert!(read(&bomb).unwrap_err().problem.contains("values"));
    }
}
