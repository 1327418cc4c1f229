//! Paths of pushes: `/metrics/job/NAME` and then `/LABEL/VALUE` any number of times. `@base64` behind a label's name says
//! that its value is in that form, since a value with slashes would end at the first.

use super::Refusal;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::general_purpose};
use skerry_model::Labels;
use std::collections::BTreeMap;

/// Most labels of a group.
const LABELS_MAX: usize = 16;
/// Longest value, in bytes.
const VALUE_BYTES_MAX: usize = 1024;
const ENCODED: &str = "@base64";

/// The group that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Labels);

impl Path {
    /// Reads what follows `/metrics/`, without percent escapes.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        let parts: Vec<&str> = path.split('/').collect();
        if parts.len() % 2 == 1 {
            return Err(Refusal(format!("odd number of components in {path:?}: /LABEL/VALUE pairs are expected")));
        }
        let mut labels: BTreeMap<&str, String> = BTreeMap::new();
        for pair in parts.chunks_exact(2) {
            let (name, value) = match pair[0].strip_suffix(ENCODED) {
                Some(name) => (name, decoded(name, pair[1])?),
                None => (pair[0], pair[1].to_owned()),
            };
            let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let is_name = begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name || name.starts_with("__") {
                return Err(Refusal(format!("improper label name {name:?}")));
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(Refusal(format!("the value of label {name} is longer than {VALUE_BYTES_MAX} bytes")));
            }
            // Pushgateway's job is the first, and of other labels the last counts.
            if name != "job" || !labels.contains_key("job") {
                labels.insert(name, value);
            }
        }
        if labels.get("job").is_none_or(String::is_empty) {
            return Err(Refusal("job name is required".into()));
        }
        if labels.len() > LABELS_MAX {
            return Err(Refusal(format!("a group has at most {LABELS_MAX} labels")));
        }
        Labels::new(labels).map(Self).map_err(|error| Refusal(error.to_string()))
    }

    /// Labels of the group.
    #[must_use]
    pub const fn labels(&self) -> &Labels {
        &self.0
    }
}

/// URL-safe base64, with or without padding; padding alone is the empty value, which a path cannot write otherwise.
fn decoded(name: &str, value: &str) -> Result<String, Refusal> {
    let lax = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::URL_SAFE, lax);
    let bad = |why: String| Refusal(format!("invalid base64 encoding for label {name}={value:?}: {why}"));
    let text = value.trim_end_matches('=');
    let bytes = engine.decode(text).or_else(|_| general_purpose::STANDARD_NO_PAD.decode(text));
    String::from_utf8(bytes.map_err(|error| bad(error.to_string()))?).map_err(|_| bad("not UTF-8".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_groups() {
        let read = |path: &str| Path::parse(path).map(|path| path.labels().to_string()).map_err(|refusal| refusal.0);
        assert_eq!(read("job/a"), Ok("{job=\"a\"}".into()));
        assert_eq!(read("job/a/x/1/y/2/x/3"), Ok("{job=\"a\",x=\"3\",y=\"2\"}".into()));
        assert_eq!(read("job@base64/L3Zhci90bXA/x@base64/="), Ok("{job=\"/var/tmp\"}".into()));
        assert_eq!(read("job@base64/L3Zhci90bXA=/x/"), Ok("{job=\"/var/tmp\"}".into()));
        assert_eq!(read("job/a/job/b"), Ok("{job=\"a\"}".into()));
        for (path, word) in [
            ("job/", "job name"),
            ("job/a/x", "odd"),
            ("job/a/0x/1", "improper"),
            ("job/a/__x/1", "improper"),
            ("job/a/x@base64/!!", "base64"),
            ("x/a", "job name"),
        ] {
            assert!(read(path).unwrap_err().contains(word), "{path}");
        }
        assert!(read(&format!("job/{}", "x".repeat(2000))).unwrap_err().contains("longer"));
    }
}
