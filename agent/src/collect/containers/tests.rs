use super::*;
use crate::collect::source::Roots;
use skerry_model::{Labels, UnixMillis};
use std::path::Path;
use std::sync::Arc;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn write(root: &Path, file: &str, content: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn roots(root: &Path) -> Roots {
    Roots { proc: root.join("proc"), sys: root.join("sys"), rootfs: root.into() }
}

/// Files as a 6.1 kernel writes them for a container of Docker under systemd, and one below a pod of Kubernetes.
fn tree_v2() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let group = format!("sys/fs/cgroup/system.slice/docker-{ID}.scope");
    write(root, "sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
    let files = [
        (
            "cpu.stat",
            "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 10\nnr_throttled 2\nthrottled_usec 250000\n",
        ),
        ("cpu.max", "50000 100000\n"),
        ("cpu.weight", "100\n"),
        ("memory.current", "1048576\n"),
        (
            "memory.stat",
            "anon 4096\nfile 8192\nkernel 77\nfile_mapped 100\ninactive_file 48576\npgfault 9\npgmajfault 4\n",
        ),
        ("memory.swap.current", "0\n"),
        ("memory.max", "max\n"),
        ("memory.events", "low 0\nmax 6\noom 1\noom_kill 3\n"),
        ("memory.swap.max", "max\n"),
        ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"),
        ("memory.pressure", "some avg10=0.00 total=1\nfull avg10=0.00 total=500000\n"),
        ("pids.current", "7\n"),
        ("pids.max", "max\n"),
        ("cgroup.procs", "42\n43\n"),
        ("io.stat", "8:0 rbytes=1000 wbytes=2000 rios=3 wios=4 dbytes=0 dios=0\n"),
    ];
    for (file, content) in files {
        write(root, &format!("{group}/{file}"), content);
    }
    let pod = "a".repeat(64);
    write(
        root,
        &format!(
            "sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/pod1/cri-containerd-{pod}.scope/memory.current"
        ),
        "5\n",
    );
    write(
        root,
        "proc/42/net/dev",
        "Inter-|\n face |\n    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    );
    std::fs::create_dir_all(root.join("sys/dev/block")).unwrap();
    std::os::unix::fs::symlink("../../devices/x/block/sda", root.join("sys/dev/block/8:0")).unwrap();
    folder
}

fn tree_v1() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let files = [
        ("cpu,cpuacct", "cpuacct.usage", "1500000000\n"),
        ("cpu,cpuacct", "cpuacct.stat", "user 100\nsystem 50\n"),
        ("cpu,cpuacct", "cpu.stat", "nr_periods 10\nnr_throttled 2\nthrottled_time 250000000\n"),
        ("cpu,cpuacct", "cpu.cfs_quota_us", "-1\n"),
        ("cpu,cpuacct", "cpu.cfs_period_us", "100000\n"),
        ("cpu,cpuacct", "cpu.shares", "1024\n"),
        ("memory", "memory.usage_in_bytes", "1048576\n"),
        (
            "memory",
            "memory.stat",
            "cache 1\ntotal_cache 8192\ntotal_rss 4096\ntotal_swap 0\ntotal_inactive_file 48576\ntotal_pgfault 8\n",
        ),
        ("memory", "memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory", "memory.failcnt", "0\n"),
        ("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ("memory", "cgroup.procs", "42\n"),
        ("pids", "pids.current", "7\n"),
        (
            "blkio",
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 1000\n8:0 Write 2000\n8:0 Sync 1\nTotal 3000\n",
        ),
    ];
    for (controller, file, content) in files {
        write(root, &format!("sys/fs/cgroup/{controller}/docker/{ID}/{file}"), content);
    }
    folder
}

fn info() -> ContainerInfo {
    ContainerInfo {
        id: ID.into(),
        name: "web".into(),
        image: "nginx:1".into(),
        labels: [("com.docker.compose.service".to_owned(), "web".to_owned()), ("a-b".to_owned(), "c".to_owned())]
            .into(),
        state: "running".into(),
        health: None,
        exit_code: None,
        oom_killed: false,
        started_at: Some(UnixMillis(1_800_000_000_500)),
        restarts: 2,
        pid: Some(42),
        json_log_path: None,
        network: Default::default(),
    }
}

fn collect(root: &Path, containers: &[ContainerInfo]) -> Result<Vec<(Labels, f64)>, CollectError> {
    let roots = roots(root);
    let containers = Arc::new(containers.to_vec());
    let now = UnixMillis(1_800_000_100_900);
    let round = Round { roots: Arc::new(roots), containers, now, taken: Arc::default() };
    let mut sink = Sink::default();
    Containers.collect(&round, &mut sink)?;
    Ok(sink.into_observations().into_iter().map(|o| (o.labels, o.value)).collect())
}

#[track_caller]
fn assert_values(found: &[(Labels, f64)], id: &str, expected: &[(&str, &str, f64)]) {
    for (metric, label, value) in expected {
        let of = found.iter().filter(|(labels, _)| labels.metric() == *metric && labels.value("id") == id);
        let mut matching =
            of.filter(|(labels, _)| label.split_once('=').is_none_or(|(name, value)| labels.value(name) == value));
        let (_, number) = matching.next().unwrap_or_else(|| panic!("{metric}{{{label}}} is missing in {found:#?}"));
        assert!((number - value).abs() < 1e-9, "{metric}{{{label}}} is {number}, not {value}");
    }
}

#[test]
fn version_2_reads_under_cadvisors_names() {
    let folder = tree_v2();
    let found = collect(folder.path(), &[info()]).unwrap();
    let id = format!("/system.slice/docker-{ID}.scope");
    assert_values(
        &found,
        &id,
        &[
            ("container_cpu_usage_seconds_total", "cpu=total", 1.5),
            ("container_cpu_user_seconds_total", "image=nginx:1", 1.0),
            ("container_cpu_system_seconds_total", "container_label_com_docker_compose_service=web", 0.5),
            ("container_cpu_cfs_throttled_seconds_total", "container_label_a_b=c", 0.25),
            ("container_spec_cpu_quota", "", 50_000.0),
            ("container_spec_cpu_period", "", 100_000.0),
            ("container_spec_cpu_shares", "", 2597.0),
            ("container_memory_usage_bytes", "", 1_048_576.0),
            ("container_memory_working_set_bytes", "", 1_000_000.0),
            ("container_memory_rss", "", 4096.0),
            ("container_memory_cache", "", 8192.0),
            ("container_spec_memory_limit_bytes", "", 0.0),
            ("container_oom_events_total", "", 3.0),
            ("container_threads", "", 7.0),
            ("container_processes", "", 2.0),
            ("container_fs_reads_bytes_total", "device=/dev/sda", 1000.0),
            ("container_fs_writes_total", "device=/dev/sda", 4.0),
            ("container_network_receive_bytes_total", "interface=eth0", 1.0),
            ("container_network_transmit_packets_dropped_total", "interface=eth0", 12.0),
            ("container_last_seen", "", 1_800_000_100.0),
            ("container_start_time_seconds", "", 1_800_000_000.5),
            ("container_memory_failures_total", "failure_type=pgmajfault", 4.0),
            ("container_memory_failcnt", "", 6.0),
            ("container_memory_kernel_usage", "", 77.0),
            ("container_spec_memory_swap_limit_bytes", "", 0.0),
            ("container_pressure_cpu_waiting_seconds_total", "", 2.5),
            ("container_pressure_memory_stalled_seconds_total", "", 0.5),
            ("container_blkio_device_usage_total", "operation=Write", 2000.0),
        ],
    );
    let pod = found.iter().find(|(labels, _)| labels.value("id").starts_with("/kubepods.slice/")).unwrap();
    assert_eq!(pod.0.value("name"), "", "no runtime told its name");
}

#[test]
fn version_1_reads_the_same() {
    let folder = tree_v1();
    let found = collect(folder.path(), &[info()]).unwrap();
    assert_values(
        &found,
        &format!("/docker/{ID}"),
        &[
            ("container_cpu_usage_seconds_total", "cpu=total", 1.5),
            ("container_cpu_user_seconds_total", "", 1.0),
            ("container_cpu_cfs_throttled_seconds_total", "", 0.25),
            ("container_spec_cpu_shares", "", 1024.0),
            ("container_memory_working_set_bytes", "", 1_000_000.0),
            ("container_memory_rss", "", 4096.0),
            ("container_spec_memory_limit_bytes", "", 0.0),
            ("container_oom_events_total", "", 3.0),
            ("container_threads", "", 7.0),
            ("container_fs_writes_bytes_total", "device=8:0", 2000.0),
            ("container_blkio_device_usage_total", "operation=Read", 1000.0),
            ("container_memory_failures_total", "scope=hierarchy", 8.0),
        ],
    );
    assert!(!found.iter().any(|(labels, _)| labels.metric() == "container_spec_cpu_quota"), "minus one is no quota");
}

#[test]
fn metrics_stand_together_and_a_machine_without_cgroups_has_none() {
    let folder = tree_v2();
    let found = collect(folder.path(), &[]).unwrap();
    let mut names: Vec<&str> = found.iter().map(|(labels, _)| labels.metric()).collect();
    names.dedup();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "each metric stands in one run");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(collect(empty.path(), &[]).unwrap(), []);
}

#[test]
fn what_is_malformed_is_a_failure_and_what_is_gone_is_not() {
    let folder = tree_v2();
    let group = folder.path().join(format!("sys/fs/cgroup/system.slice/docker-{ID}.scope"));
    for (file, content) in
        [("cpu.stat", "usage_usec x\n"), ("memory.current", "\n"), ("io.stat", "8:0 rbytes\n"), ("cpu.max", "5\n")]
    {
        let good = std::fs::read_to_string(group.join(file)).unwrap();
        std::fs::write(group.join(file), content).unwrap();
        let error = collect(folder.path(), &[]).unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
        std::fs::write(group.join(file), good).unwrap();
    }
    for file in ["cpu.stat", "memory.current", "io.stat", "cpu.max", "cgroup.procs"] {
        std::fs::remove_file(group.join(file)).unwrap();
        collect(folder.path(), &[]).unwrap();
    }
}

const UID: &str = "0a1b2c3d-1234-1234-1234-123456789abc";
const SANDBOX: &str = "eeee456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the kubelet leaves in `/var/log`.
fn kubelet(root: &Path) {
    for file in ["0.log", "3.log", "3.log.20261121-040000"] {
        write(root, &format!("var/log/pods/shop_web-7d4b9_{UID}/nginx/{file}"), "");
    }
    std::fs::create_dir_all(root.join("var/log/containers")).unwrap();
    let link = root.join(format!("var/log/containers/web-7d4b9_shop_nginx-{ID}.log"));
    std::os::unix::fs::symlink("/var/log/pods/gone", link).unwrap();
}

#[test]
fn containers_of_every_runtime_and_driver_are_named() {
    let joined = UID.replace('-', "_");
    let below = |class: &str| format!("/kubepods.slice/kubepods-{class}.slice/kubepods-{class}-pod{joined}.slice");
    for (runtime, group, pod) in [
        ("docker, systemd", format!("/system.slice/docker-{ID}.scope"), None),
        ("docker, cgroupfs", format!("/docker/{ID}"), None),
        ("podman, systemd", format!("/machine.slice/libpod-{ID}.scope"), None),
        ("podman, cgroupfs", format!("/libpod_parent/libpod-{ID}"), None),
        ("containerd", format!("/default/{ID}"), None),
        ("nerdctl, systemd", format!("/system.slice/nerdctl-{ID}.scope"), None),
        ("containerd, systemd", format!("{}/cri-containerd-{ID}.scope", below("burstable")), Some(below("burstable"))),
        ("cri-o, systemd", format!("{}/crio-{ID}.scope", below("besteffort")), Some(below("besteffort"))),
        ("k3s, cgroupfs", format!("/kubepods/burstable/pod{UID}/{ID}"), Some(format!("/kubepods/burstable/pod{UID}"))),
        ("k3s, guaranteed", format!("/kubepods/pod{UID}/{ID}"), Some(format!("/kubepods/pod{UID}"))),
    ] {
        for version in ["", "memory"] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            kubelet(root);
            let tree = format!("sys/fs/cgroup/{version}");
            let memory = if version.is_empty() { "memory.current" } else { "memory.usage_in_bytes" };
            if version.is_empty() {
                write(root, "sys/fs/cgroup/cgroup.controllers", "memory\n");
            }
            write(root, &format!("{tree}{group}/{memory}"), "5\n");
            // Podman and systemd in a container put the processes one group deeper.
            let inner = if runtime.starts_with("podman") { "/container" } else { "" };
            write(root, &format!("{tree}{group}/cgroup.procs"), "");
            write(root, &format!("{tree}{group}{inner}/cgroup.procs"), "42\n");
            let devices = "Inter-|\n face |\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
            write(root, "proc/42/net/dev", devices);
            write(root, "proc/42/stat", "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 5 0 250 5 6\n");
            write(root, "proc/stat", "cpu 1\nbtime 1700000000\n");
            if let Some(pod) = &pod {
                // The sandbox holds the network of the pod; it shares that with the container.
                let sandbox = group.replace(ID, SANDBOX);
                write(root, &format!("{tree}{sandbox}/{memory}"), "1\n");
                write(root, &format!("{tree}{sandbox}/cgroup.procs"), "42\n");
                assert!(group.starts_with(pod), "{runtime}");
            }
            let found = collect(root, &[]).unwrap();
            let of = |metric: &str, id: &str| {
                let all = found.iter().filter(|(labels, _)| labels.metric() == metric);
                all.filter(|(labels, _)| labels.value("id") == id).cloned().collect::<Vec<_>>()
            };
            let [(labels, usage)] = &of("container_memory_usage_bytes", &group)[..] else { panic!("{runtime}") };
            assert_eq!(usage.to_bits(), 5f64.to_bits(), "{runtime}");
            let told = ["namespace", "pod", "container", "name"].map(|label| labels.value(label));
            let expected = if pod.is_some() { ["shop", "web-7d4b9", "nginx", ID] } else { [""; 4] };
            assert_eq!(told, expected, "{runtime} {version}");
            assert_eq!(of("container_processes", &group)[0].1.to_bits(), 1f64.to_bits(), "{runtime} {version}");
            let start = of("container_start_time_seconds", &group);
            assert_eq!(start[0].1.to_bits(), 1_700_000_002f64.to_bits(), "{runtime} {version}");
            let received = of("container_network_receive_bytes_total", pod.as_ref().unwrap_or(&group));
            assert_eq!(received.len(), 1, "{runtime} {version}: {received:?}");
            assert_eq!(received[0].0.value("container"), "", "{runtime}");
            let restarts = of("container_restarts_total", &group);
            assert_eq!(restarts.first().map(|(_, count)| *count), pod.as_ref().map(|_| 3.0), "{runtime} {version}");
        }
    }
}

#[test]
fn states_are_told_of_containers_that_do_not_run_too() {
    let folder = tempfile::tempdir().unwrap();
    let ended = ContainerInfo {
        state: "exited".into(),
        health: Some("unhealthy".into()),
        exit_code: Some(137),
        oom_killed: true,
        ..info()
    };
    let found = collect(folder.path(), &[ended]).unwrap();
    for (series, expected) in [
        (format!("container_state{{container_id=\"{ID}\",name=\"web\",state=\"exited\"}}"), 1.0),
        (format!("container_state{{container_id=\"{ID}\",name=\"web\",state=\"running\"}}"), 0.0),
        (format!("container_health_status{{container_id=\"{ID}\",name=\"web\",status=\"unhealthy\"}}"), 1.0),
        (format!("container_exit_code{{container_id=\"{ID}\",name=\"web\"}}"), 137.0),
        (format!("container_oom_killed{{container_id=\"{ID}\",name=\"web\"}}"), 1.0),
        (format!("container_restarts_total{{container_id=\"{ID}\",name=\"web\"}}"), 2.0),
    ] {
        let value = found.iter().find(|(labels, _)| labels.to_string() == series).map(|(_, value)| *value);
        assert_eq!(value, Some(expected), "{series} in {found:#?}");
    }
    let (labels, _) = found.iter().find(|(labels, _)| labels.metric() == "container_info").unwrap();
    assert_eq!((labels.value("image"), labels.value("container_label_a_b")), ("nginx:1", "c"));
    assert_eq!(found.len(), 7 + 3 + 4, "no metric of a cgroup");
}
