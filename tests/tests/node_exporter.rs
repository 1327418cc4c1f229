//! The agent's node metrics beside Debian's prometheus-node-exporter on the same machine: same names, types and labels.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use skerry_agent::clock::Clock;
use skerry_agent::collect::{Collector, Config, Roots};
use skerry_model::{MetricKind, UnixMillis};
use skerry_tests::web::web;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const PROGRAM: &str = "prometheus-node-exporter";

struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the exporter on a free port with these settings and gives its exposition; `None` where it is not installed.
fn exposition(settings: &[String]) -> Option<String> {
    let free = skerry_ports::free_address().unwrap();
    let child = Command::new(PROGRAM)
        .args([format!("--web.listen-address={free}"), "--collector.processes".into()])
        .args(settings)
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
    let mut answer = web().get(format!("http://{free}/metrics")).call().unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    drop(log);
    Some(body)
}

/// Series of the peer as they are written, and their values.
///
/// Without the speed of an interface that does not know it (bridges, virtual cards): the peer shows minus one megabit,
/// and we show nothing.
fn samples_of(exposition: &str) -> impl Iterator<Item = (&str, &str)> {
    let samples = exposition.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.filter(|(series, value)| !(series.starts_with("node_network_speed_bytes{") && *value == "-125000"))
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
    let mut collector = Collector::new(&Config::default(), Roots::default(), Clock::system()).unwrap();
    // The machine lives on: what comes or goes while the peer looks is in one of two looks around it.
    let before = collector.collect(UnixMillis(1), &Arc::default());
    let Some(theirs) = exposition(&[]) else {
        println!("SKIPPED 1 test: {PROGRAM} is not installed (Debian package {PROGRAM})");
        return;
    };
    let types: BTreeMap<&str, &str> =
        theirs.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let theirs: BTreeSet<String> = samples_of(&theirs).map(|(series, _)| without_empty(series)).collect();
    let collected = collector.collect(UnixMillis(2), &Arc::default());
    assert_eq!(collected.failures, []);
    let mut ours = BTreeSet::new();
    for observation in before.observations.iter().chain(&collected.observations) {
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

/// Files of a small node, which the agent's own tests read too.
const TREE: &str = include_str!("../../agent/testdata/node.tree");

/// Writes the tree below `root`.
fn plant(root: &Path) {
    for part in TREE.split("\n== ").skip(1) {
        let (head, content) = part.split_once('\n').unwrap_or((part, ""));
        let (path, target) = head.split_once(" -> ").map_or((head, None), |(path, target)| (path, Some(target)));
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match target {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => std::fs::write(path, content.to_owned() + "\n").unwrap(),
        }
    }
}

/// Why a series may stand on one side alone, or differ.
fn known_difference(series: &str) -> Option<&'static str> {
    let of = |prefixes: &[&str]| prefixes.iter().any(|prefix| series.starts_with(prefix));
    Some(match () {
        () if of(&["node_exporter_build_info", "promhttp_", "process_", "go_"]) => "the peer's own",
        () if of(&["node_scrape_collector_"]) => "names and times of collectors",
        () if of(&["node_time_seconds", "node_timex_", "node_filesystem_avail", "node_filesystem_f"]) => "moves on",
        () if of(&["node_os_"]) => "the peer reads the machine's own /etc",
        () if of(&["node_selinux_"]) => "the peer asks the machine's own mounts",
        () if of(&["node_netstat_TcpExt_TCPOFOQueue", "node_netstat_TcpExt_TCPRcvQDrop"]) => "of later versions",
        () if of(&["node_network_info"]) => "later versions of the peer have the label adminstate",
        () if of(&["node_nfsd_requests_total"])
            && ["Verify", "Write", "RelLock"].iter().any(|m| series.contains(m)) =>
        {
            "the peer counts operations 35 to 37 as 37 to 39"
        }
        () if of(&["node_drm_"]) && series.contains("card1") => "the peer takes every card for one of AMD's",
        () if of(&["node_mmc_", "node_gpu_", "node_devfreq_"]) => "only we have it",
        () => return None,
    })
}

#[test]
fn values_over_the_same_files_are_node_exporters() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root);
    let at = |name: &str, path: &str| format!("--{name}={}", root.join(path).display());
    let settings = [
        at("path.procfs", "proc"),
        at("path.sysfs", "sys"),
        at("path.rootfs", ""),
        at("path.udev.data", "run/udev/data"),
        at("collector.textfile.directory", "textfile"),
        // Debian's defaults leave out the loopback interface, and ask the machine's own kernel.
        "--no-collector.netdev.netlink".into(),
        "--collector.drm".into(),
        "--collector.netdev.device-exclude=^$".into(),
        "--web.disable-exporter-metrics".into(),
    ];
    let Some(theirs) = exposition(&settings) else {
        println!("SKIPPED 1 test: {PROGRAM} is not installed (Debian package {PROGRAM})");
        return;
    };
    let types: BTreeMap<&str, &str> =
        theirs.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    // The energy counters' path is the node's own with us, and with them the one that they were given.
    let root_text = root.display().to_string();
    let theirs: BTreeMap<String, f64> = samples_of(&theirs)
        .map(|(series, value)| (without_empty(&series.replace(&root_text, "")), value.parse().unwrap()))
        .collect();
    let roots = Roots { proc: root.join("proc"), sys: root.join("sys"), rootfs: root.into() };
    let config = Config { textfile_directory: root.join("textfile"), ..Config::default() };
    let mut collector = Collector::new(&config, roots, Clock::system()).unwrap();
    let collected = collector.collect(UnixMillis(1), &Arc::default());
    assert_eq!(collected.failures, []);
    let (mut ours, mut faults) = (BTreeMap::new(), Vec::new());
    for observation in &collected.observations {
        let series = observation.labels.to_string();
        // The path of a file is below the folder of this test.
        let series = series.replace(&root_text, "");
        let kind = observation.meta.kind.as_str().replace("unknown", "untyped");
        if let Some(theirs) = types.get(&*observation.meta.name).filter(|theirs| **theirs != kind) {
            faults.push(format!("{series} is a {kind} with us and a {theirs} with the peer"));
        }
        ours.insert(series, observation.value);
    }
    let mut compared = 0;
    for (series, value) in &theirs {
        match ours.get(series) {
            _ if known_difference(series).is_some() => {}
            None => faults.push(format!("only the peer has {series} {value}")),
            Some(own) if (own - value).abs() > value.abs() * 1e-12 => {
                faults.push(format!("{series} is {own} with us and {value} with the peer"));
            }
            Some(_) => compared += 1,
        }
    }
    let alone = ours.keys().filter(|series| !theirs.contains_key(*series) && known_difference(series).is_none());
    faults.extend(alone.map(|series| format!("only we have {series}")));
    assert!(faults.is_empty(), "{} faults, {compared} equal: {faults:#?}", faults.len());
    println!("{compared} series equal in name, type, labels and value");
}
