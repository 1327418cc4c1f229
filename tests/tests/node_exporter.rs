//! The agent's node metrics beside Debian's prometheus-node-exporter on the same machine: same names, types and labels.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use skerry_agent::clock::Clock;
use skerry_agent::collect::{Collector, Config, Roots};
use skerry_model::{MetricKind, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "prometheus-node-exporter";

struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the exporter on a free port and gives its exposition; `None` where it is not installed.
fn exposition() -> Option<String> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let child = Command::new(PROGRAM)
        .args([format!("--web.listen-address={free}"), "--collector.processes".into()])
        .stderr(Stdio::piped())
        .spawn();
    let mut exporter = match child {
        Ok(child) => Exporter(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{PROGRAM}: {error}"),
    };
    // Held to the end: the exporter dies where nobody can read its log.
    let mut log = BufReader::new(exporter.0.stderr.take().unwrap()).lines();
    let listening = log.any(|line| line.unwrap().contains("Listening on"));
    assert!(listening, "{PROGRAM} ended before it listened");
    let mut answer = ureq::get(format!("http://{free}/metrics")).call().unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    drop(log);
    Some(body)
}

/// Series as they are written, but without the value; scientific notation and order do not matter here.
fn series_of(exposition: &str) -> BTreeSet<String> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| without_empty(series)).collect()
}

/// A series without its empty labels: they are the same as none, and the peer writes them.
fn without_empty(series: &str) -> String {
    let Some((name, labels)) = series.strip_suffix('}').and_then(|series| series.split_once('{')) else {
        return series.to_owned();
    };
    let kept: Vec<&str> = labels.split("\",").filter(|pair| !pair.trim_end_matches('"').ends_with('=')).collect();
    let mut labels = kept.join("\",");
    if !labels.is_empty() && !labels.ends_with('"') {
        labels.push('"');
    }
    format!("{name}{{{labels}}}")
}

#[test]
fn series_and_types_are_node_exporters() {
    let Some(theirs) = exposition() else {
        println!("SKIPPED 1 test: {PROGRAM} is not installed (Debian package {PROGRAM})");
        return;
    };
    let types: BTreeMap<&str, &str> =
        theirs.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let theirs = series_of(&theirs);
    let mut collector = Collector::new(&Config::default(), Roots::default(), Clock::system()).unwrap();
    let collected = collector.collect(UnixMillis(1), &[]);
    assert_eq!(collected.failures, []);
    let mut ours = BTreeSet::new();
    for observation in &collected.observations {
        let name = &*observation.meta.name;
        // Later versions of the peer have this label; the one here does not.
        let series =
            observation.labels.to_string().replace("adminstate=\"up\",", "").replace("adminstate=\"down\",", "");
        ours.insert(series);
        let kind = match observation.meta.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Untyped => "untyped",
            other => other.as_str(),
        };
        // Stalled CPU time and newer memory fields are of kernels that the peer does not know.
        if let Some(theirs) = types.get(name) {
            assert_eq!(kind, *theirs, "type of {name}");
        }
    }
    // Processes come and go, and so do their states; collectors that only one of the two has are no difference.
    let is_fleeting = |series: &str| series.starts_with("node_processes_state") || series.contains("collector=");
    let families: BTreeSet<&str> = collected.observations.iter().map(|o| &*o.meta.name).collect();
    let missing: Vec<&String> = theirs
        .iter()
        .filter(|series| families.contains(series.split('{').next().unwrap()) && !is_fleeting(series))
        .filter(|series| !ours.contains(*series))
        .collect();
    assert!(missing.is_empty(), "the peer has, and we have not: {missing:#?}");
    let prefixes = [
        "node_cpu_s",
        "node_disk_",
        "node_filesystem_",
        "node_load",
        "node_memory_",
        "node_network_receive",
        "node_network_transmit",
        "node_pressure_",
        "node_vmstat_",
    ];
    // What the peer has beyond us: link settings (its netclass collector), what netlink alone tells, and disk info.
    let beyond = ["queue_length", "receive_nohandler", "node_disk_info", "_filesystem_info", "_device_mapper_info"];
    let unnamed: Vec<&String> = theirs
        .iter()
        .filter(|series| prefixes.iter().any(|prefix| series.starts_with(prefix)) && !ours.contains(*series))
        .filter(|series| !beyond.iter().any(|part| series.contains(part)))
        .collect();
    assert!(unnamed.is_empty(), "families of enabled collectors that we lack: {unnamed:#?}");
    let own: Vec<&String> = ours.iter().filter(|series| !theirs.contains(*series) && !is_fleeting(series)).collect();
    println!("{} series of ours, {} of the peer; only ours: {own:?}", ours.len(), theirs.len());
}
