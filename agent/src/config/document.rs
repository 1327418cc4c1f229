//! A NodeConfig: the document that administrators sign and nodes obey.

use super::effective::Sections;
use serde::{Deserialize, Serialize};
use skerry_model::StreamName;
use skerry_yaml::{Fault, Faults};
use std::collections::BTreeMap;

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "skerry.io/v1";
/// The `kind` of this one.
pub const KIND: &str = "NodeConfig";

/// A NodeConfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeConfig {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// What it sets.
    pub spec: Sections,
}

/// Name and labels of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The stream: `group/NAME` or `node/NAME`.
    pub name: String,
    /// For people and tools; the agent does not use them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Reads the document of `stream`. `file` names it in faults.
///
/// # Errors
/// Every fault.
pub fn read_document(file: &str, text: &str, stream: Option<&StreamName>) -> Result<NodeConfig, Faults> {
    let fail = |faults| Faults { file: file.to_owned(), faults };
    let document = skerry_yaml::read::<NodeConfig>(text).map_err(|fault| fail(vec![fault]))?;
    let (config, places) = (document.value, document.places);
    let mut faults = Vec::new();
    let mut demand = |holds: bool, key: &str, problem: String| {
        if !holds {
            faults.push(Fault { line: places.line(key), key: key.to_owned(), problem });
        }
    };
    let (version, kind, name) = (&config.api_version, &config.kind, &config.metadata.name);
    demand(version == API_VERSION, "apiVersion", format!("{version:?} is unknown: {API_VERSION} is expected"));
    demand(kind == KIND, "kind", format!("{kind:?} is unknown: {KIND} is expected"));
    match (stream, name.parse::<StreamName>()) {
        (_, Err(error)) => demand(false, "metadata.name", error.to_string()),
        (Some(stream), Ok(named)) => demand(
            named == *stream,
            "metadata.name",
            format!("{named} is another stream than {stream}, under which the document was signed"),
        ),
        (None, Ok(_)) => {}
    }
    faults.extend(config.spec.faults("spec.", &places));
    if faults.is_empty() { Ok(config) } else { Err(fail(faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata:\n  name: group/edge\nspec:\n  collect:\n    interval: 30s\n";

    #[test]
    fn a_good_document_is_read() {
        let stream = "group/edge".parse().unwrap();
        let config = read_document("edge.yaml", GOOD, Some(&stream)).unwrap();
        assert_eq!(config.spec.collect.unwrap().interval.to_string(), "30s");
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let text = GOOD.replace("v1", "v9").replace("30s", "1ms");
        let other = "node/pi".parse().unwrap();
        let told = read_document("edge.yaml", &text, Some(&other)).unwrap_err().to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 3, "{told}");
        assert!(lines[0].starts_with("edge.yaml:1: apiVersion: "), "{told}");
        assert!(lines[1].starts_with("edge.yaml:4: metadata.name: "), "{told}");
        assert!(lines[2].starts_with("edge.yaml:7: spec.collect.interval: "), "{told}");
    }

    #[test]
    fn an_unknown_key_is_named() {
        let told = read_document("x", &GOOD.replace("interval", "intervall"), None).unwrap_err().to_string();
        assert!(told.starts_with("x:7: ") && told.contains("intervall") && told.contains("interval"), "{told}");
    }
}
