//! Texts with fields in them: `${user}@${host}`. `$${` is `${` itself; a field that is not there is empty.

use super::work::{FieldName, Work};

/// Longest text that a template makes.
const MADE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
enum Part {
    Text(String),
    Field(FieldName),
}

/// A checked template.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at - 1]);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let Some((name, behind)) = rest[at + 2..].split_once('}') else {
                return Err("has a ${ without an end: ${field} is expected, or $${ for the text itself".to_owned());
            };
            if name.is_empty() || name.len() > 128 {
                return Err("has a ${} without a name of 1 to 128 bytes".to_owned());
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(FieldName::new(name.to_owned())));
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// The text for a record.
    pub(super) fn fill(&self, work: &Work<'_>) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Field(name) => work.value(name).map_or(0, |value| value.len()),
        };
        // At once, since a text that grows leaves its old memory behind with what may be a secret.
        let mut made = String::with_capacity(self.0.iter().map(text).sum());
        for part in &self.0 {
            match part {
                Part::Text(text) => made.push_str(text),
                Part::Field(name) => made.push_str(&work.value(name).unwrap_or_default()),
            }
            if made.len() > MADE_BYTES_MAX {
                made.truncate(made.floor_char_boundary(MADE_BYTES_MAX));
                break;
            }
        }
        made
    }
}
