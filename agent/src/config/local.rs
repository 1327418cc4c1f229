//! `agent.yaml`, the file on the node.

use super::effective::Sections;
use crate::collect::Roots;
use serde::{Deserialize, Serialize};
use skerry_model::NodeId;
use skerry_yaml::{Fault, Faults, Places};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What stands in the local file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// This node; the host name where the file names none.
    pub node: NodeId,
    /// Where the database and the node's keys lie.
    pub data_dir: PathBuf,
    /// Where the local HTTP listens.
    pub listen: SocketAddr,
    /// How the node joins a fleet.
    pub enrol: Enrol,
    /// Where the kernel's files are.
    pub roots: Roots,
    /// Programs that receivers of alerts may run. A signed config cannot add to them.
    pub exec_allow: Vec<PathBuf>,
    /// The sections that signed documents may replace.
    pub sections: Sections,
}

/// How the node joins a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enrol {
    /// The token, as `skerry enrol token` prints it.
    pub token: Option<String>,
    /// A file that holds the token; it may come later, such as on a boot partition.
    pub token_file: Option<PathBuf>,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    node: Option<String>,
    data_dir: PathBuf,
    listen: SocketAddr,
    enrol: Enrol,
    roots: FileRoots,
    exec_allow: Vec<PathBuf>,
    alerting: Option<crate::alerts::Config>,
    collect: Option<crate::collect::Config>,
    containers: Option<crate::containers::Config>,
    logs: Option<crate::logs::Config>,
    probes: Option<crate::probes::Config>,
    push: Option<crate::push::Config>,
    rules: Option<crate::rules::Config>,
    scaling: Option<crate::scale::Config>,
    scrape: Option<crate::scrape::Config>,
    store: Option<crate::store::Config>,
    sync: Option<crate::sync::Config>,
    workloads: Option<crate::workloads::Config>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileRoots {
    proc: PathBuf,
    sys: PathBuf,
    rootfs: PathBuf,
}

impl Default for File {
    fn default() -> Self {
        Self {
            node: None,
            data_dir: "/var/lib/skerry".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 9481)),
            enrol: Enrol::default(),
            roots: FileRoots::default(),
            exec_allow: Vec::new(),
            alerting: None,
            collect: None,
            containers: None,
            logs: None,
            probes: None,
            push: None,
            rules: None,
            scaling: None,
            scrape: None,
            store: None,
            sync: None,
            workloads: None,
        }
    }
}

impl Default for FileRoots {
    fn default() -> Self {
        let Roots { proc, sys, rootfs } = Roots::default();
        Self { proc, sys, rootfs }
    }
}

/// Key, default and meaning of every setting that only the local file has.
pub(super) const REFERENCE: &[(&str, &str, &str)] = &[
    ("node", "the host name", "name of this node: 1 to 63 lower-case letters, digits, '.', '_' and '-'"),
    ("data_dir", "/var/lib/skerry", "folder of the database and of the node's keys"),
    ("listen", "127.0.0.1:9481", "loopback address of /metrics, /healthz, /readyz and /status"),
    ("enrol.token", "none", "token to join a fleet with, as `skerry enrol token` prints it"),
    ("enrol.token_file", "none", "file with the token; it may appear later, such as on a boot partition"),
    (
        "exec_allow",
        "[]",
        "programs that `exec_configs` may run, as absolute paths; here alone, so that whoever signs configs cannot run what this node does not allow",
    ),
    ("roots.proc", "/proc", "where the host's /proc is, for an agent in a container"),
    ("roots.sys", "/sys", "where the host's /sys is"),
    ("roots.rootfs", "/", "where the host's / is"),
];

/// Reads and checks the local file.
///
/// # Errors
/// Every fault, also those of a file that cannot be read.
pub fn read_local(path: &Path) -> Result<Local, Faults> {
    let file = path.display().to_string();
    let unreadable =
        |problem| Faults { file: file.clone(), faults: vec![Fault { line: None, key: String::new(), problem }] };
    let text = std::fs::read_to_string(path).map_err(|error| {
        unreadable(format!("cannot be read: {error}; check that it exists and that the agent's user may read it"))
    })?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (local, places) = parse(&file, &text, host.trim())?;
    let fault = |(key, problem): (&str, String)| Fault { line: places.line(key), key: key.to_owned(), problem };
    let faults: Vec<Fault> = beside(&local).into_iter().map(fault).collect();
    if faults.is_empty() { Ok(local) } else { Err(Faults { file, faults }) }
}

/// Every fault in the rule files, in the alertmanager.yml and in the manifests that the local file names, by its key.
fn beside(local: &Local) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if let Some(rules) = &local.sections.rules {
        let all = crate::rules::Sources::read(rules).faults;
        found.extend(all.iter().flat_map(|faults| lines("rules.files", faults)));
    }
    if let Some(alerting) = &local.sections.alerting {
        let all = crate::alerts::Routing::read(alerting, &local.exec_allow).1;
        let key = if alerting.config_file.is_some() { "alerting.config_file" } else { "alerting.config" };
        found.extend(all.iter().flat_map(|faults| lines(key, faults)));
    }
    if let Some(scaling) = &local.sections.scaling {
        let all = crate::scale::Manifests::read(scaling).faults;
        found.extend(all.iter().flat_map(|faults| lines("scaling.files", faults)));
    }
    found
}

fn lines<'a>(key: &'static str, faults: &'a Faults) -> impl Iterator<Item = (&'static str, String)> + 'a {
    faults.faults.iter().map(move |fault| (key, fault.in_file(&faults.file)))
}

fn parse(file: &str, text: &str, host: &str) -> Result<(Local, Places), Faults> {
    let fail = |faults| Faults { file: file.to_owned(), faults };
    let document = skerry_yaml::read::<File>(text).map_err(|fault| fail(vec![fault]))?;
    let (raw, places) = (document.value, document.places);
    let File { node, data_dir, listen, enrol, roots, exec_allow, .. } = raw;
    let File {
        alerting, collect, containers, logs, probes, push, rules, scaling, scrape, store, sync, workloads, ..
    } = raw;
    let mut sections =
        Sections { alerting, collect, containers, logs, probes, push, rules, scaling, scrape, store, sync, workloads };
    let mut faults = Vec::new();
    let mut fault = |key: &str, problem: String| {
        faults.push(Fault { line: places.line(key), key: key.to_owned(), problem });
    };
    let named = node.as_deref().unwrap_or(host).to_ascii_lowercase();
    let parsed = match (&node, named.parse::<NodeId>()) {
        (_, Ok(parsed)) => Some(parsed),
        (Some(_), Err(error)) => {
            fault("node", error.to_string());
            None
        }
        (None, Err(error)) => {
            fault("node", format!("is not set, and the host name will not do: {error}; name the node here"));
            None
        }
    };
    if !data_dir.is_absolute() {
        fault("data_dir", format!("{} is not absolute: a path that begins with / is expected", data_dir.display()));
    }
    if !listen.ip().is_loopback() {
        fault(
            "listen",
            format!(
                "{} is not a loopback address: the local HTTP has no access control, so 127.0.0.1 or [::1] is expected",
                listen.ip()
            ),
        );
    }
    if enrol.token.is_some() && enrol.token_file.is_some() {
        fault("enrol", "token and token_file are both set: one of them is expected".into());
    }
    if let Some(Err(error)) = enrol.token.as_deref().map(|text| text.trim().parse::<skerry_seal::Token>()) {
        fault("enrol.token", error.to_string());
    }
    for (at, program) in exec_allow.iter().enumerate().filter(|(_, program)| !program.is_absolute()) {
        let problem = format!("{} is not absolute: a path that begins with / is expected", program.display());
        fault(&format!("exec_allow[{at}]"), problem);
    }
    faults.extend(sections.faults("", &places));
    faults.extend(sections.take_texts(file, text, ""));
    let FileRoots { proc, sys, rootfs } = roots;
    match parsed {
        Some(node) if faults.is_empty() => {
            let roots = Roots { proc, sys, rootfs };
            Ok((Local { node, data_dir, listen, enrol, roots, exec_allow, sections }, places))
        }
        _ => Err(fail(faults)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let told = parse("agent.yaml", text, "pi-4").map(|_| ()).unwrap_err().to_string();
        told.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let (local, _) = parse("agent.yaml", "", "PI-4").unwrap();
        assert_eq!(local.node.as_str(), "pi-4");
        assert_eq!(local.listen.port(), 9481);
        assert_eq!(local.sections, Sections::default());
    }

    #[test]
    fn sections_are_those_of_the_features() {
        let (local, _) =
            parse("a", "logs:\n  files:\n    - name: app\n      paths: [/var/log/app.log]\n", "pi").unwrap();
        assert_eq!(local.sections.logs.unwrap().files[0].name, "app");
    }

    #[test]
    fn every_fault_has_file_line_and_key() {
        let told = faults(
            "node: 'Not a name'\ndata_dir: here\nlisten: 0.0.0.0:1\ncollect:\n  disable: [cpus]\nstore:\n  log_interval: 0s\nsync:\n  keepalive: 1s\n",
        );
        let keys = [
            "1: node: ",
            "2: data_dir: ",
            "3: listen: ",
            "5: collect.disable: ",
            "7: store.log_interval: ",
            "9: sync.keepalive: ",
        ];
        assert_eq!(told.len(), keys.len(), "{told:#?}");
        for (told, key) in told.iter().zip(keys) {
            assert!(told.starts_with(&format!("agent.yaml:{key}")), "{told}");
        }
    }

    #[test]
    fn rules_and_routes_stand_in_the_file_as_they_are() {
        let good = "rules:\n  packs: [node]\n  groups:\n  - name: g\n    rules:\n    - alert: A\n      expr: up == 0\nalerting:\n  config:\n    route: {receiver: r}\n    receivers:\n    - name: r\n      local: true\nexec_allow: [/usr/bin/beep]\n";
        let (local, _) = parse("agent.yaml", good, "pi").unwrap();
        assert_eq!(local.exec_allow, [PathBuf::from("/usr/bin/beep")]);
        assert_eq!(local.sections.rules.as_ref().unwrap().texts.len(), 1);
        assert_eq!(beside(&local), []);
        for (from, to, told) in [
            ("up == 0", "up ==", "agent.yaml:7: rules.groups[0].rules[0]"),
            ("receiver: r}", "receiver: s}", "agent.yaml:10: alerting.config"),
            ("name: r\n", "nome: r\n", "agent.yaml:12: alerting.config.receivers[0]"),
            ("/usr/bin/beep", "beep", "agent.yaml:14: exec_allow[0]: "),
            ("packs: [node]", "packs: [fleet]", "agent.yaml:2: rules.packs[0]: "),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good);
            let found = faults(&text);
            assert!(found[0].starts_with(told), "{to}: {found:?}");
        }
        let exec = good.replace("      local: true\n", "      exec_configs: [{program: /bin/other}]\n");
        let (local, _) = parse("agent.yaml", &exec, "pi").unwrap();
        assert!(beside(&local)[0].1.contains("exec_allow"), "{:?}", beside(&local));
    }

    #[test]
    fn units_types_and_unknown_keys_are_faults() {
        for (text, line, word) in [
            ("collect:\n  interval: 15\n", 2, "interval"),
            ("collect:\n  interval: 15 sec\n", 2, "time span"),
            ("store:\n  max_bytes: 1TB\n", 2, "size"),
            ("nodes: x\n", 1, "nodes"),
            ("listen: here\n", 1, "listen"),
        ] {
            let told = faults(text);
            assert!(told[0].starts_with(&format!("agent.yaml:{line}: ")) && told[0].contains(word), "{text}: {told:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let told = read_local(Path::new("/nowhere/agent.yaml")).unwrap_err().to_string();
        assert!(told.starts_with("/nowhere/agent.yaml: cannot be read: "), "{told}");
    }
}
