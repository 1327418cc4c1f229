//! Configs: sign and send one, look at what there is.

use super::Session;
use super::args::{ApplyArgs, Format};
use super::assign::next;
use super::beside::{self, Coming};
use super::output::{note, print, show as print_as};
use super::sign::{PATH_CONFIGS, check, report, send};
use super::table::table;
use crate::api::view::{ConfigList, ConfigRevision, ConfigRevisions};
use crate::clock::utc;
use anyhow::{Context, bail};
use serde::Deserialize;

use skerry_alerting::manager::Config;
use skerry_alerting::rules::RuleFile;
use skerry_model::{StreamName, UnixMillis};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::workload::Workload;
use skerry_seal::{AgentVersion, ConfigDoc, Revision, Role};
use skerry_yaml::manifests::{self, Further, Kind};
use skerry_yaml::{Fault, Faults};
use std::collections::BTreeMap;
use std::path::Path;

/// A time zone file that says UTC.
const UTC: &[u8] =
    b"TZif\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\0\0\0UTC\0";

/// The parts of a NodeConfig that are checked here. What stands in `spec` is the agent's to judge, which it does
/// before it adopts anything: `skerry-agent check-config FILE` says the same beforehand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
}

pub(super) fn apply(session: &Session, args: &ApplyArgs) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("read {}", args.file.display()))?;
    let (stream, further) = read(&args.file, &text)?;
    let min_agent = args.min_agent.as_deref().map_or(Ok(AgentVersion::ANY), str::parse)?;
    let trust = session.client.trust(&session.home)?;
    let known: Option<ConfigRevisions> = session.client.find(&format!("/configs/{stream}"))?;
    let newest = known.as_ref().and_then(|known| known.revisions.first());
    if newest.is_some_and(|newest| newest.body == text) && !args.dry_run {
        note(&format!("{stream} has this content already; it is signed anew as the next version"));
    }
    let file = args.file.display().to_string();
    beside::warn(session, &Coming { file: &file, stream: &stream, further: &further, newest })?;
    let revision = next(newest.map(|newest| Revision::new(newest.epoch, newest.version)), &trust);
    let doc = ConfigDoc {
        fleet: session.home.fleet.clone(),
        stream: stream.clone(),
        revision,
        issued: session.now,
        not_after: args.expires_in.map(|span| session.now + span.0),
        min_agent,
        body: text.into_bytes(),
        secrets: Vec::new(),
    };
    if args.dry_run {
        return print(&format!("{file}: would be signed as {stream} {revision}\n"));
    }
    let keys = session.home.keys(&args.keys, "config-1")?;
    let envelope = doc.seal(&keys.iter().collect::<Vec<_>>())?;
    if let Some(out) = &args.out {
        std::fs::write(out, &envelope).with_context(|| format!("write {}", out.display()))?;
        return print(&format!(
            "{}: {stream} {revision}, signed by {}; add signatures with `skerry cosign`, send with `skerry upload`\n",
            out.display(),
            keys.iter().map(|key| key.id().to_string()).collect::<Vec<_>>().join(", ")
        ));
    }
    check(&envelope, Role::Config, &trust)?;
    report(&send(session, PATH_CONFIGS, &envelope)?)
}

/// Checks the frames of a file's documents and what of them this tool knows (rules, routes, policies, workloads), and
/// returns the stream that it is for and what stands behind its NodeConfig.
fn read(file: &Path, text: &str) -> anyhow::Result<(StreamName, Vec<Further>)> {
    let name = file.display().to_string();
    let (first, further) = manifests::read(&name, text)?;
    no_config(&name, &first)?;
    let document = skerry_yaml::read::<Document>(&first).map_err(|fault| anyhow::anyhow!(fault.in_file(&name)))?;
    let fault = |key: &str, problem: String| {
        let line = document.places.line(key);
        anyhow::anyhow!(Fault { line, key: key.to_owned(), problem }.in_file(&name))
    };
    let Document { api_version, kind, metadata, spec } = &document.value;
    if api_version != "skerry.io/v1" {
        return Err(fault("apiVersion", format!("{api_version:?} is unknown: skerry.io/v1 is expected")));
    }
    if kind != "NodeConfig" {
        return Err(fault("kind", format!("{kind:?} is unknown: NodeConfig is expected")));
    }
    if spec.is_empty() && further.is_empty() {
        return Err(fault("spec", "is empty: at least one section is expected".into()));
    }
    let mut faults = Vec::new();
    if let Some(text) = skerry_yaml::part(&first, "spec.rules.groups", true) {
        faults.extend(below("spec.rules", rule_faults(&name, &text)));
    }
    if let Some(text) = skerry_yaml::part(&first, "spec.alerting.config", false) {
        faults.extend(below("spec.alerting.config", route_faults(&name, &text)));
    }
    for document in &further {
        let found = match document.kind {
            Kind::RuleGroup => rule_faults(&name, &document.spec),
            Kind::AlertRouting => route_faults(&name, &document.spec),
            // These begin the keys of their faults with `spec` themselves.
            Kind::ScalingPolicy => {
                faults.extend(ScalingPolicy::parse(&document.name, &document.spec).err().into_iter().flatten());
                continue;
            }
            Kind::Workload => {
                faults.extend(Workload::parse(&document.name, &document.spec).err().into_iter().flatten());
                continue;
            }
            // The node takes it as Alertmanager's API would.
            Kind::Silence => Vec::new(),
        };
        faults.extend(below("spec", found));
    }
    if !faults.is_empty() {
        return Err(Faults { file: name, faults }.into());
    }
    let stream = metadata.name.parse();
    let stream = stream.map_err(|error: skerry_model::InvalidStreamName| fault("metadata.name", error.to_string()))?;
    Ok((stream, further))
}

/// What stands first where a NodeConfig is expected: something that newcomers bring in good faith.
fn no_config(file: &str, first: &str) -> anyhow::Result<()> {
    let Ok(document) = skerry_yaml::values::read(first) else { return Ok(()) };
    let (kind, line) = (document.value["kind"].as_str(), document.places.line("kind"));
    let problem = match kind {
        Some("NodeConfig") => return Ok(()),
        Some(
            kind
            @ ("ScalingPolicy" | "HorizontalPodAutoscaler" | "Workload" | "RuleGroup" | "AlertRouting" | "Silence"),
        ) => {
            format!(
                "{kind} stands behind a NodeConfig, which says whose it is: put one before it (kind: NodeConfig, metadata: {{name: group/NAME}} or node/NAME, spec: {{}}) and a line ---"
            )
        }
        Some(_) => return Ok(()),
        None => "a NodeConfig is expected, with apiVersion, kind, metadata and spec; an agent.yaml stays on its node"
            .to_owned(),
    };
    Err(anyhow::anyhow!(Fault { line, key: "kind".into(), problem }.in_file(file)))
}

fn rule_faults(name: &str, text: &str) -> Vec<Fault> {
    RuleFile::parse(name, text).err().map(|faults| faults.faults).unwrap_or_default()
}

fn route_faults(name: &str, text: &str) -> Vec<Fault> {
    // The node knows whether it has the time zones that it is told.
    let zones = |_: &str| Some(UTC.to_vec());
    Config::parse(name, text, &zones).err().map(|faults| faults.faults).unwrap_or_default()
}

/// Faults of a part that stands below a key.
fn below(key: &str, faults: Vec<Fault>) -> Vec<Fault> {
    let put = |fault: Fault| {
        let inner = if fault.key.is_empty() { key.to_owned() } else { format!("{key}.{}", fault.key) };
        Fault { key: inner, ..fault }
    };
    faults.into_iter().map(put).collect()
}

pub(super) fn list(session: &Session, format: Format) -> anyhow::Result<()> {
    let list: ConfigList = session.client.get("/configs", &[])?;
    print_as(format, &list, |_| {
        let row = |config: &ConfigRevision| {
            vec![
                config.stream.clone(),
                format!("{}.{}", config.epoch, config.version),
                utc(UnixMillis(config.issued_ms)),
                config.not_after_ms.map_or("never".into(), |at| utc(UnixMillis(at))),
                config.signers.join(","),
            ]
        };
        let rows: Vec<_> = list.configs.iter().map(row).collect();
        table(&["STREAM", "REVISION", "SIGNED (UTC)", "EXPIRES", "SIGNERS"], &rows)
    })
}

pub(super) fn show(session: &Session, stream: &StreamName, version: Option<u64>, format: Format) -> anyhow::Result<()> {
    let found: ConfigRevisions = session.client.get(&format!("/configs/{stream}"), &[])?;
    let wanted = match version {
        None => found.revisions.first(),
        Some(version) => found.revisions.iter().find(|config| config.version == version),
    };
    let Some(config) = wanted else {
        let versions = found.revisions.iter().map(|c| c.version.to_string()).collect::<Vec<_>>().join(", ");
        bail!("{stream} has no version {}; there are {versions}", version.unwrap_or_default());
    };
    print_as(format, config, |_| {
        format!(
            "# {} {}.{}, signed {} UTC by {}\n{}",
            config.stream,
            config.epoch,
            config.version,
            utc(UnixMillis(config.issued_ms)),
            config.signers.join(", "),
            config.body
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_checked_with_their_lines() {
        let good = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata:\n  name: group/edge\nspec:\n  collect: {}\n";
        let read = |text: &str| read(Path::new("edge.yaml"), text).map(|(stream, _)| stream);
        assert_eq!(read(good).unwrap().as_str(), "group/edge");
        for (from, to, told) in [
            ("skerry.io/v1", "v2", "edge.yaml:1: apiVersion: "),
            ("NodeConfig", "Deployment", "edge.yaml:2: kind: "),
            ("group/edge", "edge", "edge.yaml:4: metadata.name: "),
            ("metadata", "meta", "edge.yaml:3: "),
            ("kind: NodeConfig", "kind: ScalingPolicy", "edge.yaml:2: kind: ScalingPolicy stands behind a NodeConfig"),
            ("kind: NodeConfig\n", "", "edge.yaml:1: kind: a NodeConfig is expected"),
            ("{}", "[", "edge.yaml:"),
            ("  collect: {}", "  {}", "edge.yaml:5: spec: "),
        ] {
            let error = read(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn rules_and_routes_are_checked_in_the_section_and_behind_it() {
        let frame = |kind: &str, spec: &str| {
            format!("---\napiVersion: skerry.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n{spec}")
        };
        let rules = "  groups:\n  - name: g\n    rules:\n    - {alert: A, expr: up == 0}\n";
        let routes = "  route: {receiver: r}\n  receivers: [{name: r}]\n  time_intervals:\n  - name: n\n    time_intervals: [{location: Europe/Berlin}]\n";
        let silence = "  {matchers: [{name: a, value: b}], comment: c}\n";
        let first = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {name: group/edge}\nspec: {}\n";
        let good =
            [first.to_owned(), frame("RuleGroup", rules), frame("AlertRouting", routes), frame("Silence", silence)];
        let good = good.concat();
        let read = |text: &str| read(Path::new("edge.yaml"), text).map(|(stream, _)| stream);
        assert_eq!(read(&good).unwrap().as_str(), "group/edge");
        for (from, to, told) in [
            ("up == 0", "up = 0", "edge.yaml:13: spec.groups[0]"),
            ("receiver: r}", "receiver: s}", "edge.yaml:"),
            ("kind: Silence", "kind: Silences", "edge.yaml:"),
            (
                "spec: {}",
                "spec: {rules: {groups: [{name: g, rules: [{alert: A, expr: '('}]}]}}",
                "edge.yaml:4: spec.rules.groups[0]",
            ),
            ("spec: {}", "spec: {alerting: {config: {receivers: []}}}", "edge.yaml:"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good);
            let error = read(&text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{to}: {error}");
        }
    }

    #[test]
    fn policies_and_workloads_are_checked_behind_it() {
        let first = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {name: group/edge}\nspec: {}\n---\n";
        let policy = "apiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {kind: \
                      Container, name: web}\n  minReplicas: 2\n  maxReplicas: 4\n---\n";
        let workload = "apiVersion: skerry.io/v1\nkind: Workload\nmetadata: {name: till}\nspec:\n  replicas: 1\n  containers:\n  \
                        - {name: till, image: 'shop/till:1'}\n";
        let good = [first, policy, workload].concat();
        let read = |text: &str| read(Path::new("edge.yaml"), text).map(|(stream, _)| stream);
        assert_eq!(read(&good).unwrap().as_str(), "group/edge");
        for (from, to, told) in [
            ("minReplicas: 2", "minReplicas: 5", "edge.yaml:12: spec.maxReplicas: "),
            ("Container, name", "Box, name", "edge.yaml:10: spec.scaleTargetRef.kind: "),
            ("replicas: 1", "replicas: many", "edge.yaml:18: spec.replicas: "),
            ("image: 'shop/till:1'", "picture: 'x'", "edge.yaml:20: spec.containers[0]"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good);
            let error = read(&text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{to}: {error}");
        }
        let both = good.replace("minReplicas: 2", "minReplicas: 5").replace("replicas: 1", "replicas: many");
        assert_eq!(read(&both).unwrap_err().to_string().lines().count(), 2, "every fault is told");
    }
}
