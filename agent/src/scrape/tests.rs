use super::config::{FileSd, Global, JobConfig, Jobs};
use super::discovery::{Found, discover};
use super::files::Files;
use super::pool::Pool;
use super::{DockerSd, containers};
use crate::http::SystemRoots;
use skerry_model::{ContainerAddress, ContainerInfo, ContainerNetwork, ContainerPort, Mono, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

fn pools(yaml: &str) -> Vec<Arc<Pool>> {
    let jobs: Vec<JobConfig> = skerry_yaml::read(yaml).unwrap().value;
    let global = Global::default();
    let jobs = Jobs { global: &global, jobs: &jobs };
    assert_eq!(jobs.faults(), []);
    Pool::of(jobs, &[], &SystemRoots::default())
}

fn urls(found: &Found) -> Vec<&str> {
    found.wanted.iter().map(|wanted| wanted.target.url.as_str()).collect()
}

fn container(name: &str, labels: &[(&str, &str)], ports: &[u16]) -> ContainerInfo {
    let address = |n: u8| ContainerAddress { ip: format!("172.17.0.{n}"), id: format!("id{n}") };
    let port = |private: &u16| ContainerPort { private: *private, is_tcp: true, public: None };
    ContainerInfo {
        name: name.into(),
        image: "i:1".into(),
        labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        state: "running".into(),
        network: ContainerNetwork {
            mode: "bridge".into(),
            networks: BTreeMap::from([("bridge".to_owned(), address(2)), ("other".to_owned(), address(3))]),
            ports: ports.iter().map(port).collect(),
        },
        ..ContainerInfo::default()
    }
}

#[test]
fn labelled_containers_are_targets() {
    let pool = Arc::new(Pool::new(&containers::job(), &Global::default(), &SystemRoots::default()));
    let yes = ("prometheus.io/scrape", "true");
    let mut stopped = container("stopped", &[yes], &[80]);
    stopped.state = "exited".into();
    let list = [
        container("plain", &[], &[80]),
        container("web", &[yes], &[8080]),
        container("many", &[yes, ("prometheus.io/port", "9"), ("prometheus.io/path", "/m")], &[1, 2, 9]),
        container("tls", &[yes, ("prometheus.io/scheme", "https"), ("prometheus.io/port", "99")], &[]),
        stopped,
    ];
    let found = discover(&[pool], &Files::default(), &list, 10);
    assert_eq!(
        urls(&found),
        ["http://172.17.0.2:8080/metrics", "http://172.17.0.2:9/m", "https://172.17.0.2:99/metrics"]
    );
    let labels = found.wanted[0].target.labels.to_string();
    assert_eq!(labels, "{container=\"web\",image=\"i:1\",instance=\"172.17.0.2:8080\",job=\"containers\"}");
    assert_eq!(found.dropped_counts["containers"], 1);
    assert_eq!(found.problems, [""; 0]);
}

#[test]
fn docker_sd_is_prometheuss() {
    let mut published = container("web", &[("a.b", "c")], &[80]);
    published.network.ports[0].public = Some(("0.0.0.0".into(), 8080));
    let sd: DockerSd = skerry_yaml::read("{match_first_network: false, host: x}").unwrap().value;
    let all = containers::discover(&sd, &[published]);
    assert_eq!(all.len(), 2, "one in each network");
    let labels: BTreeMap<&str, &str> = all[0].iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for (name, value) in [
        ("__address__", "172.17.0.2:80"),
        ("__meta_docker_container_name", "/web"),
        ("__meta_docker_container_label_a_b", "c"),
        ("__meta_docker_network_name", "bridge"),
        ("__meta_docker_network_ip", "172.17.0.2"),
        ("__meta_docker_port_private", "80"),
        ("__meta_docker_port_public", "8080"),
        ("__meta_docker_port_public_ip", "0.0.0.0"),
        ("__meta_docker_container_network_mode", "bridge"),
    ] {
        assert_eq!(labels.get(name), Some(&value), "{name}");
    }
    let mut host = container("host", &[], &[]);
    (host.network.mode, host.network.networks) = ("host".into(), BTreeMap::new());
    let found = containers::discover(&DockerSd::default(), &[host]);
    assert!(found[0].contains(&("__address__".into(), "localhost".into())), "{found:?}");
}

#[test]
fn files_are_read_when_they_change_and_bad_ones_leave_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let sd = FileSd { files: vec![folder.path().join("t-*.json"), folder.path().join("u.yml")], ..FileSd::default() };
    let mut files = Files::default();
    let mut now = Mono(0);
    let mut targets = |files: &mut Files| {
        now = now + Span::secs(5).0;
        files.refresh(std::slice::from_ref(&sd), now);
        let all = files.groups(&sd).flat_map(|(path, group)| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            group.targets.iter().map(move |target| format!("{name} {target}"))
        });
        all.collect::<Vec<String>>()
    };
    assert_eq!(targets(&mut files), [""; 0]);
    write("t-1.json", r#"[{"targets": ["a:1", "b:2"], "labels": {"x": "y"}}]"#);
    write("u.yml", "- targets: [c:3]\n");
    write("other.json", r#"[{"targets": ["z:1"]}]"#);
    assert_eq!(targets(&mut files), ["t-1.json a:1", "t-1.json b:2", "u.yml c:3"]);
    write("t-1.json", "[{");
    assert_eq!(targets(&mut files).len(), 3, "a half-written file takes nothing away");
    assert!(files.problem().unwrap().contains("t-1.json"));
    write("t-1.json", "[]");
    assert_eq!(targets(&mut files), ["u.yml c:3"]);
    assert_eq!(files.problem(), None);
    std::fs::remove_file(folder.path().join("u.yml")).unwrap();
    write("t-2.json", r#"[{"targets": ["d:4"]}]"#);
    assert_eq!(targets(&mut files), ["t-2.json d:4"], "a file that is gone takes its targets along");
}

#[test]
fn targets_are_bounded_and_those_alike_are_one() {
    let yaml = "- job_name: j\n  target_limit: 2\n  static_configs: [{targets: [a, b, a, c, 'd:x@']}]\n- job_name: k\n  static_configs: [{targets: [a, b]}]\n";
    let pools = pools(yaml);
    let found = discover(&pools, &Files::default(), &[], 10);
    assert_eq!(urls(&found).len(), 5);
    let refused: Vec<bool> = found.wanted.iter().map(|wanted| wanted.refused.is_some()).collect();
    assert_eq!(refused, [true, true, true, false, false], "all targets of a job with too many are refused");
    assert!(found.problems[0].contains("d:x@"), "{:?}", found.problems);
    let cut = discover(&pools, &Files::default(), &[], 4);
    assert_eq!(cut.wanted.len(), 4);
    assert!(cut.problems.iter().any(|problem| problem.starts_with("target_limit: more than 4")), "{:?}", cut.problems);
}

#[test]
fn jobs_that_stay_the_same_keep_their_loops() {
    let read = |yaml: &str| skerry_yaml::read::<Vec<JobConfig>>(yaml).unwrap().value;
    let (global, system) = (Global::default(), SystemRoots::default());
    let before = read("- job_name: a\n- job_name: b\n");
    let old = Pool::of(Jobs { global: &global, jobs: &before }, &[], &system);
    let after = read("- job_name: b\n- job_name: a\n  honor_labels: true\n");
    let new = Pool::of(Jobs { global: &global, jobs: &after }, &old, &system);
    assert!(Arc::ptr_eq(&new[0], &old[1]) && !Arc::ptr_eq(&new[1], &old[0]));
}
