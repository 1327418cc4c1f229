//! A NodeConfig: the document that administrators sign and nodes obey, with what stands behind it.

use super::effective::Sections;
use crate::rules::Text;
use crate::{scale, workloads};
use serde::{Deserialize, Serialize};

use skerry_model::StreamName;
use skerry_yaml::manifests::{self, Further, Kind};
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

/// Reads the documents of `stream`: a NodeConfig, and what stands behind it, which becomes part of its sections `rules`,
/// `alerting`, `scaling` and `workloads`. `file` names the text in faults.
///
/// # Errors
/// Every fault.
pub fn read_document(file: &str, text: &str, stream: Option<&StreamName>) -> Result<NodeConfig, Faults> {
    let fail = |faults| Faults { file: file.to_owned(), faults };
    let (first, further) = manifests::read(file, text)?;
    let document = skerry_yaml::read::<NodeConfig>(&first).map_err(|fault| fail(vec![fault]))?;
    let (mut config, places) = (document.value, document.places);
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
    let name = config.metadata.name.clone();
    faults.extend(config.spec.faults("spec.", &places));
    faults.extend(config.spec.take_texts(&name, &first, "spec."));
    for document in further {
        faults.extend(take(&mut config.spec, &name, document));
    }
    if faults.is_empty() { Ok(config) } else { Err(fail(faults)) }
}

/// Takes a document behind the NodeConfig of a stream; every fault in it.
fn take(sections: &mut Sections, stream: &str, document: Further) -> Vec<Fault> {
    let Further { kind, name, spec, .. } = document;
    let text = Text { name: format!("{stream}/{name}"), text: spec };
    match kind {
        Kind::RuleGroup => sections.rules.get_or_insert_default().take_text(text, "spec"),
        Kind::AlertRouting => {
            let alerting = sections.alerting.get_or_insert_default();
            if alerting.text.is_some() || alerting.config_file.is_some() {
                let problem = "stands beside spec.alerting.config or config_file: one of them is expected".to_owned();
                return vec![Fault { line: None, key: format!("AlertRouting {name}"), problem }];
            }
            alerting.take_text(text, "spec")
        }
        Kind::ScalingPolicy => sections.scaling.get_or_insert_with(scale::Config::bare).take_text(&name, &text.text),
        Kind::Workload => sections.workloads.get_or_insert_with(workloads::Config::bare).take_text(&name, &text.text),
        Kind::Silence => sections.alerting.get_or_insert_default().take_silence(name, &text.text),
    }
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

    const FURTHER: &str = "---\napiVersion: skerry.io/v1\nkind: RuleGroup\nmetadata: {name: thermal}\nspec:\n  groups:\n    - name: g\n      rules:\n        - alert: Hot\n          expr: temp > 80\n          labels: {version: 1.10}\n";

    #[test]
    fn rules_stand_in_the_section_and_behind_it() {
        let inner = "  rules:\n    evaluation_interval: 15s\n    groups:\n    - name: here\n      rules:\n      - record: a\n        expr: b\n";
        let config = read_document("edge.yaml", &format!("{GOOD}{inner}{FURTHER}"), None).unwrap();
        let rules = config.spec.rules.unwrap();
        let names: Vec<&str> = rules.texts.iter().map(|text| text.name.as_str()).collect();
        assert_eq!(names, ["group/edge", "group/edge/thermal"]);
        assert!(rules.texts[1].text.contains("version: 1.10"));
        let sources = crate::rules::Sources::read(&rules);
        assert_eq!((sources.files.len(), sources.faults.len()), (2, 0), "{sources:?}");
    }

    #[test]
    fn faults_of_rules_name_the_lines_of_the_file() {
        let text = format!("{GOOD}{}", FURTHER.replace("temp > 80", "temp > > 80"));
        let told = read_document("edge.yaml", &text, None).unwrap_err().to_string();
        assert!(told.starts_with("edge.yaml:17: spec."), "{told}");
        let inner =
            "  rules:\n    packs: [moon]\n    groups:\n      - name: here\n        rules: [{record: a, expr: 'b('}]\n";
        let told = read_document("edge.yaml", &format!("{GOOD}{inner}"), None).unwrap_err().to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].starts_with("edge.yaml:9: spec.rules.packs[0]: \"moon\""), "{told}");
        assert!(lines[1].starts_with("edge.yaml:12: spec.rules.groups[0]"), "{told}");
        assert_eq!(lines.len(), 2, "{told}");
    }

    #[test]
    fn an_unknown_key_is_named() {
        let told = read_document("x", &GOOD.replace("interval", "intervall"), None).unwrap_err().to_string();
        assert!(told.starts_with("x:7: ") && told.contains("intervall") && told.contains("interval"), "{told}");
    }
}
