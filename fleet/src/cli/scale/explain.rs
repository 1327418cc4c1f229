//! `skerry scale explain`: what a policy would do now; for a file, whether its policies can be used at all.

use super::super::Session;
use super::super::args::Format;
use super::super::output::{note, print, show};
use super::args::ExplainArgs;
use super::{as_of, number, replicas};
use crate::clock::utc;
use crate::scaling::view::{Explained, Listed, Policy};
use anyhow::{Context, bail};
use skerry_model::{NodeId, UnixMillis};
use skerry_promapi::Params;
use skerry_scaling::clash::{Layer, Origin, clashes};
use skerry_scaling::policy::ScalingPolicy;
use skerry_wire::SCALING_TEXT_BYTES_MAX;
use skerry_yaml::manifests::{self, Further, Kind};
use skerry_yaml::{Fault, Faults, TEXT_BYTES_MAX};
use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// A policy of a file, and its document.
#[derive(Debug)]
struct Found {
    policy: ScalingPolicy,
    document: String,
    further: Further,
}

/// Runs the command; `open` reaches the server, which a check of a file does without.
///
/// # Errors
/// Where a file cannot be read, the server or the node does not answer, or nobody has such a policy. Faults of a file are
/// told, and end with exit code 1.
pub(in crate::cli) fn explain(
    open: impl FnOnce() -> anyhow::Result<Session>,
    args: &ExplainArgs,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let Some(text) = file(&args.subject)? else {
        let session = open()?;
        let node = match &args.node {
            Some(node) => node.clone(),
            None => holder(&session, &args.subject, args.timeout.0)?,
        };
        let query =
            [("node", node.to_string()), ("policy", args.subject.clone()), ("timeout", args.timeout.to_string())];
        let explained: Explained = session.client.get_within("/scaling/explain", &query, args.timeout.0)?;
        show(format, &explained, |_| told(&explained, session.now))?;
        return Ok(ExitCode::SUCCESS);
    };
    let found = match policies(&args.subject, &text) {
        Ok(found) => found,
        Err(faults) => {
            note(&faults.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    let layer =
        Layer::new(&args.subject, Origin::Stream, &found.iter().map(|one| one.further.clone()).collect::<Vec<_>>());
    clashes(&[layer]).iter().for_each(|clash| note(&format!("warning: {clash}")));
    let Some(node) = &args.node else {
        for Found { policy, .. } in &found {
            print(&summary(&args.subject, policy))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let session = open()?;
    let mut all = Vec::new();
    for Found { document, .. } in &found {
        if document.len() > SCALING_TEXT_BYTES_MAX {
            bail!("{}: a policy of {} bytes is too long to be tried out on a node", args.subject, document.len());
        }
        let query = [("node", node.to_string()), ("file", args.subject.clone()), ("timeout", args.timeout.to_string())];
        let path = format!("/scaling/explain?{}", Params::encode(&query));
        let explained: Explained = session.client.post(&path, "application/yaml", document.as_bytes())?;
        all.push(explained);
    }
    let text = |_| all.iter().map(|one| told(one, session.now)).collect::<Vec<_>>().join("\n");
    show(format, &all, text)?;
    Ok(ExitCode::SUCCESS)
}

/// The text of a file, where the subject is one: a path that is there, or a name that looks like one.
fn file(subject: &str) -> anyhow::Result<Option<String>> {
    let path = Path::new(subject);
    let is_named = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
    let mut text = String::new();
    let most = TEXT_BYTES_MAX as u64 + 1;
    if subject == "-" {
        std::io::stdin().lock().take(most).read_to_string(&mut text).context("read standard input")?;
    } else if is_named || path.is_file() {
        let file = std::fs::File::open(path).with_context(|| format!("read {subject}"))?;
        file.take(most).read_to_string(&mut text).with_context(|| format!("read {subject}"))?;
    } else {
        return Ok(None);
    }
    Ok(Some(text))
}

/// The policies of a file, which may have a NodeConfig before them.
fn policies(name: &str, text: &str) -> Result<Vec<Found>, Faults> {
    let mut texts = skerry_yaml::documents(text);
    let is_config = |text: &String| text.lines().any(|line| line.trim_end() == "kind: NodeConfig");
    texts.retain(|text| !is_config(text));
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for text in texts {
        for document in manifests::plain(name, &text)? {
            if document.kind != Kind::ScalingPolicy {
                continue;
            }
            match ScalingPolicy::parse(&document.name, &document.spec) {
                Ok(policy) => {
                    let text = without_blank_lines(&text).to_owned();
                    found.push(Found { policy, document: text, further: document });
                }
                Err(more) => faults.extend(more),
            }
        }
    }
    if found.is_empty() && faults.is_empty() {
        let problem = "holds no ScalingPolicy and no HorizontalPodAutoscaler".to_owned();
        faults.push(Fault { line: None, key: String::new(), problem });
    }
    if faults.is_empty() { Ok(found) } else { Err(Faults { file: name.to_owned(), faults }) }
}

/// A text from its first line that is not blank on.
fn without_blank_lines(text: &str) -> &str {
    let blank = text.split_inclusive('\n').take_while(|line| line.trim().is_empty());
    &text[blank.map(str::len).sum::<usize>()..]
}

fn summary(file: &str, policy: &ScalingPolicy) -> String {
    let ScalingPolicy { name, target, min_replicas, max_replicas, metrics, .. } = policy;
    let by = match metrics.len() {
        0 => "time alone".to_owned(),
        1 => "1 metric".to_owned(),
        n => format!("{n} metrics"),
    };
    format!("{file}: policy {name} scales {target} from {min_replicas} to {max_replicas} replicas by {by}\n")
}

/// The node that has a policy.
fn holder(session: &Session, policy: &str, timeout: Duration) -> anyhow::Result<NodeId> {
    let query = [("timeout", format!("{}ms", timeout.as_millis()))];
    let list: Listed<Policy> = session.client.get_within("/scaling", &query, timeout)?;
    let mut nodes = list.items.iter().filter(|of| of.what.policy == policy).map(|of| of.node.as_str());
    match (nodes.next(), nodes.next()) {
        (None, _) => bail!("no node has a policy {policy:?}; `skerry scale list` lists those there are"),
        (Some(node), None) => Ok(node.parse()?),
        (Some(first), Some(second)) => {
            let rest = nodes.count();
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            bail!("nodes {first}, {second}{more} have a policy {policy:?}; say which with --node")
        }
    }
}

/// All of it for people.
fn told(explained: &Explained, now: UnixMillis) -> String {
    let Explained { policy: of, silence, last_decision } = explained;
    let policy = &of.what;
    let mut text = String::new();
    // Writing to a string does not fail.
    if let Some(silence) = silence {
        let as_of = as_of(of.as_of_ms, now);
        let _ = writeln!(text, "node {} does not answer ({silence}); this is what is known, from {as_of}", of.node);
    }
    match &policy.text {
        Some(said) => text.push_str(said.trim_end()),
        None => text.push_str(&by_fields(policy)),
    }
    if let Some(last) = last_decision {
        let at = utc(UnixMillis(last.at_ms));
        let _ = write!(text, "\nlast decision {at} UTC: {}, {} to {} replicas: ", last.reason, last.from, last.to);
        text.push_str(last.message.trim_end());
    }
    // A node's text must not steer the admin's terminal.
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).chain(['\n']).collect()
}

fn by_fields(policy: &Policy) -> String {
    let mut text = format!("{}: {}\n", policy.policy, policy.target);
    let _ = write!(text, "replicas {}", replicas(policy));
    let _ = write!(text, ", least {}, most {}", number(policy.min), number(policy.max));
    if let Some(pending) = policy.pending.filter(|pending| *pending > 0) {
        let _ = write!(text, ", {pending} without room");
    }
    for one in &policy.conditions {
        let words = [&one.kind, &one.status, &one.reason, &one.message].into_iter().filter(|word| !word.is_empty());
        let _ = write!(text, "\n{}", words.map(String::as_str).collect::<Vec<_>>().join(" "));
    }
    for one in &policy.metrics {
        let asked = match (&one.replicas, &one.error) {
            (Some(replicas), _) => format!("asks for {replicas}"),
            (None, error) => error.clone().unwrap_or_default(),
        };
        let _ = write!(text, "\n{}: {} of {}, {asked}", one.metric, one.current, one.target);
    }
    if let Some(error) = policy.error.as_ref().or(policy.reason.as_ref()) {
        let _ = write!(text, "\n{error}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::history::Decision;
    use crate::scaling::view::Of;

    const POLICY: &str = "apiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {name: web}\nspec:\n  \
        scaleTargetRef: {kind: Container, name: web}\n  minReplicas: 1\n  maxReplicas: 4\n  metrics:\n  - type: Resource\n    \
        resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}\n";

    #[test]
    fn a_file_is_told_by_its_policies_or_by_its_faults() {
        let config = "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {name: group/edge}\nspec: {}\n";
        for text in [POLICY.to_owned(), format!("{config}---\n{POLICY}")] {
            let found = policies("web.yaml", &text).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].document.trim_end(), POLICY.trim_end());
            let text = summary("web.yaml", &found[0].policy);
            assert_eq!(text, "web.yaml: policy web scales Container/web from 1 to 4 replicas by 1 metric\n");
        }
        for (from, to, told) in [
            ("maxReplicas: 4", "maxReplicas: 0", "web.yaml:7: spec.maxReplicas: "),
            ("kind: ScalingPolicy", "kind: ScalingPolicies", "web.yaml:2: kind: "),
            ("kind: ScalingPolicy", "kind: Silence", "web.yaml: holds no ScalingPolicy"),
        ] {
            let text = POLICY.replace(from, to);
            assert_ne!(text, POLICY);
            let faults = policies("web.yaml", &text).unwrap_err().to_string();
            assert!(faults.starts_with(told), "{to}: {faults}");
        }
        let shifted = format!("{config}---\n{}", POLICY.replace("maxReplicas: 4", "maxReplicas: 0"));
        let faults = policies("web.yaml", &shifted).unwrap_err().to_string();
        assert!(faults.starts_with("web.yaml:12: spec.maxReplicas: "), "{faults}");
    }

    #[test]
    fn what_is_known_is_told_with_its_age() {
        let policy = Policy {
            policy: "web".into(),
            target: "Container/web".into(),
            min: Some(1),
            max: Some(4),
            current: Some(2),
            desired: Some(2),
            pending: Some(1),
            ..Policy::default()
        };
        let decision = Decision {
            id: 1,
            node: "a".into(),
            at_ms: 0,
            received_ms: 1,
            policy: "web".into(),
            target: "Container/web".into(),
            from: 1,
            to: 2,
            reason: "SuccessfulRescale".into(),
            message: "cpu\x1b[2J is high\n".into(),
        };
        let explained = Explained {
            policy: Of::known("a", 10_000, policy.clone()),
            silence: Some("it is not connected".into()),
            last_decision: Some(decision),
        };
        assert_eq!(
            told(&explained, UnixMillis(70_000)),
            "node a does not answer (it is not connected); this is what is known, from 60s ago\nweb: Container/web\n\
             replicas 2, least 1, most 4, 1 without room\n\
             last decision 1970-01-01 00:00:00 UTC: SuccessfulRescale, 1 to 2 replicas: cpu [2J is high\n"
        );
        let live = Policy { text: Some("web: all of it\nin lines\n".into()), ..policy };
        let explained = Explained { policy: Of::live("a", live), silence: None, last_decision: None };
        assert_eq!(told(&explained, UnixMillis(0)), "web: all of it\nin lines\n");
    }
}
