use super::*;
use std::path::Path;

fn write(root: &Path, file: &str, content: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A small node, as its kernel's files look.
fn tree() -> (tempfile::TempDir, Roots) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        "proc/stat",
        "cpu  10 0 0 0\ncpu0 4705 356 584 3699 23 23 0 0 100 0\nintr 8885917 17\nctxt 38014093\nbtime 1418183276\nprocesses 26442\nprocs_running 2\nprocs_blocked 1\n",
    );
    write(
        root,
        "proc/meminfo",
        "MemTotal:  2048 kB\nActive(anon):  4 kB\nHugePages_Total:       3\nNeverHeardOf:  9 kB\n",
    );
    write(root, "proc/vmstat", "nr_free_pages 5\npgfault 77\noom_kill 1\n");
    write(root, "proc/loadavg", "0.21 0.37 0.39 1/719 19737\n");
    write(
        root,
        "proc/diskstats",
        " 179 0 mmcblk0 1 2 4 1000 5 6 8 2000 0 3000 4000\n 7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n",
    );
    write(root, "proc/self/net/dev", "Inter-| Receive\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
    write(
        root,
        "proc/1/mounts",
        "/dev/root / ext4 rw 0 0\nproc /proc proc rw 0 0\nserver:/x /mnt/nfs nfs4 rw 0 0\n/dev/gone /no\\040where ext4 rw 0 0\n",
    );
    write(root, "proc/self/net/netstat", "TcpExt: SyncookiesSent ListenDrops\nTcpExt: 4 7\n");
    write(root, "proc/self/net/snmp", "Tcp: CurrEstab InErrs\nTcp: 3 1\nUdp: InErrors\nUdp: 9\n");
    write(root, "proc/self/net/snmp6", "Ip6InOctets                     \t123\n");
    write(root, "proc/self/net/sockstat", "sockets: used 280\nTCP: inuse 4 orphan 0 tw 2 alloc 5 mem 1\n");
    write(root, "proc/self/net/softnet_stat", "0000000a 00000001 00000002 0\n00000010 00000000 00000000 0\n");
    write(root, "proc/self/net/arp", "IP address HW\n10.0.0.1 0x1 0x2 aa:bb * eth0\n10.0.0.2 0x1 0x2 aa:bb * eth0\n");
    write(root, "proc/self/net/udp", "  sl  local\n 1: 0:0 0:0 07 00000010:00000020 0\n");
    write(root, "proc/sys/net/netfilter/nf_conntrack_count", "11\n");
    write(root, "sys/class/net/eth0/mtu", "1500\n");
    write(root, "sys/class/net/eth0/flags", "0x1003\n");
    write(root, "sys/class/net/eth0/speed", "1000\n");
    write(root, "sys/class/net/eth0/operstate", "up\n");
    write(root, "sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    write(root, "etc/os-release", "ID=debian\nVERSION_ID=\"12.4.1\"\nNAME=\"Debian GNU/Linux\"\n");
    write(root, "proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781\n");
    write(root, "proc/1/stat", "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 4 0 9\n");
    write(root, "proc/sys/fs/file-nr", "1024\t0\t1631329\n");
    write(root, "proc/sys/kernel/random/entropy_avail", "256\n");
    write(root, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
    write(root, "sys/class/thermal/thermal_zone0/temp", "44388\n");
    write(root, "sys/class/hwmon/hwmon0/name", "rpi volt\n");
    write(root, "sys/class/hwmon/hwmon0/temp1_input", "51000\n");
    let roots = Roots { proc: root.join("proc"), sys: root.join("sys"), rootfs: root.into() };
    (folder, roots)
}

fn round(roots: Roots) -> Collected {
    let (clock, _) = Clock::manual(UnixMillis(1500));
    Collector::new(&Config::default(), roots, clock).unwrap().collect(UnixMillis(1500), &Arc::default())
}

pub(super) fn value(collected: &Collected, series: &str) -> Option<f64> {
    let found = collected.observations.iter().find(|o| o.labels.to_string() == series);
    found.map(|observation| observation.value)
}

#[test]
fn a_node_reads_under_node_exporters_names() {
    let (_folder, roots) = tree();
    let collected = round(roots);
    assert_eq!(collected.failures, []);
    for (series, expected) in [
        ("node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", 47.05),
        ("node_cpu_guest_seconds_total{cpu=\"0\",mode=\"user\"}", 1.0),
        ("node_boot_time_seconds", 1_418_183_276.0),
        ("node_intr_total", 8_885_917.0),
        ("node_procs_blocked", 1.0),
        ("node_memory_MemTotal_bytes", 2_097_152.0),
        ("node_memory_Active_anon_bytes", 4096.0),
        ("node_memory_HugePages_Total", 3.0),
        ("node_vmstat_oom_kill", 1.0),
        ("node_load15", 0.39),
        ("node_disk_read_bytes_total{device=\"mmcblk0\"}", 2048.0),
        ("node_disk_io_time_weighted_seconds_total{device=\"mmcblk0\"}", 4.0),
        ("node_network_transmit_compressed_total{device=\"eth0\"}", 16.0),
        ("node_netstat_TcpExt_ListenDrops", 7.0),
        ("node_netstat_Tcp_CurrEstab", 3.0),
        ("node_netstat_Udp_InErrors", 9.0),
        ("node_netstat_Ip6_InOctets", 123.0),
        ("node_sockstat_sockets_used", 280.0),
        ("node_sockstat_TCP_tw", 2.0),
        ("node_softnet_processed_total{cpu=\"1\"}", 16.0),
        ("node_arp_entries{device=\"eth0\"}", 2.0),
        ("node_udp_queues{ip=\"v4\",queue=\"tx\"}", 16.0),
        ("node_udp_queues{ip=\"v4\",queue=\"rx\"}", 32.0),
        ("node_nf_conntrack_entries", 11.0),
        ("node_network_mtu_bytes{device=\"eth0\"}", 1500.0),
        ("node_network_flags{device=\"eth0\"}", 4099.0),
        ("node_network_speed_bytes{device=\"eth0\"}", 125_000_000.0),
        ("node_network_up{device=\"eth0\"}", 1.0),
        ("node_time_clocksource_current_info{clocksource=\"tsc\",device=\"0\"}", 1.0),
        ("node_os_version{id=\"debian\",name=\"Debian GNU/Linux\"}", 12.4),
        ("node_filesystem_readonly{device=\"/dev/root\",fstype=\"ext4\",mountpoint=\"/\"}", 0.0),
        ("node_filesystem_device_error{device=\"/dev/gone\",fstype=\"ext4\",mountpoint=\"/no where\"}", 1.0),
        ("node_pressure_cpu_waiting_seconds_total", 14.036781),
        ("node_processes_threads", 4.0),
        ("node_processes_state{state=\"S\"}", 1.0),
        ("node_filefd_maximum", 1_631_329.0),
        ("node_entropy_available_bits", 256.0),
        ("node_thermal_zone_temp{type=\"cpu-thermal\",zone=\"0\"}", 44.388),
        ("node_hwmon_temp_celsius{chip=\"rpi_volt\",sensor=\"temp1\"}", 51.0),
        ("node_time_seconds", 1.5),
        ("node_scrape_collector_success{collector=\"cpu\"}", 1.0),
    ] {
        let found = value(&collected, series);
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{series}: {found:?}, not {expected}");
    }
    let names: Vec<String> = collected.observations.iter().map(|o| o.labels.to_string()).collect();
    for absent in ["loop0", "NeverHeardOf", "nr_free_pages", "mountpoint=\"/proc\""] {
        assert!(!names.iter().any(|name| name.contains(absent)), "{absent} was collected");
    }
}

#[test]
fn observations_of_a_metric_are_adjacent_and_no_label_set_stands_twice() {
    let (folder, roots) = tree();
    let twice =
        "Inter-|\n face |\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
    write(folder.path(), "proc/self/net/dev", twice);
    let mut names: Vec<&str> = Vec::new();
    let collected = round(roots);
    let mut seen = std::collections::HashSet::new();
    for observation in &collected.observations {
        assert!(seen.insert(&observation.labels), "{} stands twice", observation.labels);
        if names.last().is_none_or(|last| *last != observation.meta.name) {
            assert!(!names.contains(&&*observation.meta.name), "{} is scattered", observation.meta.name);
            names.push(&*observation.meta.name);
        }
        assert_eq!(observation.labels.metric(), observation.meta.name);
    }
}

/// Files of a small node with something for every collector; a test beside the others runs node_exporter over them too.
const RECORDED: &str = include_str!("../../testdata/node.tree");
/// What came of them when ours and the peer's were equal.
const EXPECTED: &str = include_str!("../../testdata/node.series");

fn plant(root: &Path) -> Roots {
    for part in RECORDED.split("\n== ").skip(1) {
        let (head, content) = part.split_once('\n').unwrap_or((part, ""));
        match head.split_once(" -> ") {
            Some((path, target)) => {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(target, path).unwrap();
            }
            None => write(root, head, &(content.to_owned() + "\n")),
        }
    }
    Roots { proc: root.join("proc"), sys: root.join("sys"), rootfs: root.into() }
}

#[test]
fn recorded_files_give_recorded_series() {
    let folder = tempfile::tempdir().unwrap();
    let roots = plant(folder.path());
    let config = Config { textfile_directory: folder.path().join("textfile"), ..Config::default() };
    let (clock, _) = Clock::manual(UnixMillis(1500));
    let collected = Collector::new(&config, roots, clock).unwrap().collect(UnixMillis(1500), &Arc::default());
    assert_eq!(collected.failures, []);
    // These are of the machine that the test runs on.
    let own = [
        "node_scrape_collector",
        "node_timex",
        "node_uname",
        "node_time_zone",
        "node_filesystem_",
        "node_textfile_mtime",
    ];
    let of_files = collected.observations.iter().filter(|o| !own.iter().any(|part| o.meta.name.starts_with(part)));
    let mut lines: Vec<String> = of_files.map(|o| format!("{} {}", o.labels, o.value)).collect();
    lines.sort();
    let expected: Vec<&str> = EXPECTED.lines().collect();
    let missing: Vec<&&str> = expected.iter().filter(|line| !lines.iter().any(|found| found == **line)).collect();
    let more: Vec<&String> = lines.iter().filter(|line| !expected.contains(&line.as_str())).collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "missing: {missing:#?}\nmore:\n{}",
        more.iter().map(|l| format!("{l}\n")).collect::<String>()
    );
}

#[test]
fn a_collector_that_fails_is_named_and_the_rest_go_on() {
    let (folder, roots) = tree();
    for (file, content) in [
        ("proc/stat", "cpu0 four words no numbers\nctxt x\n"),
        ("proc/meminfo", "MemTotal 2048 kB\n"),
        ("proc/diskstats", "179 0 sda 1 2\n"),
        ("proc/self/net/dev", "a\nb\neth0 1 2\n"),
        ("proc/loadavg", ""),
        ("proc/1/stat", "1 (init S"),
        ("proc/sys/fs/file-nr", "\u{fffd}"),
        ("proc/pressure/cpu", "some avg10=0\n"),
        ("sys/class/thermal/thermal_zone0/temp", "warm"),
        ("proc/sys/kernel/random/entropy_avail", "-"),
        ("proc/schedstat", "cpu0 1 2 3\n"),
        ("proc/mdstat", "md0 : active raid1 sda[0]\n 1 blocks 2/2\n"),
        ("proc/self/net/rpc/nfs", "net 1 2\n"),
        ("proc/self/net/rpc/nfsd", "rc 0\n"),
        ("proc/self/net/stat/nf_conntrack", "entries drop\n0 z\n"),
        ("proc/self/net/ip_vs_stats", "one line\n"),
        ("sys/fs/xfs/sda/stats/stats", "rw 1\n"),
        ("sys/devices/system/edac/mc/mc0/ce_count", "many"),
    ] {
        write(folder.path(), file, content);
    }
    std::fs::remove_file(folder.path().join("proc/vmstat")).unwrap();
    let collected = round(roots);
    let failed: Vec<&str> = collected.failures.iter().map(|failure| failure.collector).collect();
    let expected = [
        "conntrack",
        "cpu",
        "diskstats",
        "edac",
        "entropy",
        "filefd",
        "ipvs",
        "loadavg",
        "mdadm",
        "meminfo",
        "netdev",
        "nfs",
        "nfsd",
        "pressure",
        "processes",
        "schedstat",
        "stat",
        "thermal_zone",
        "vmstat",
        "xfs",
    ];
    assert_eq!(failed, expected);
    let error = |name: &str| collected.failures.iter().find(|f| f.collector == name).unwrap().error.as_str();
    let (vmstat, meminfo) = (error("vmstat"), error("meminfo"));
    assert!(vmstat.contains("vmstat: No such file"), "{vmstat}");
    assert!(meminfo.contains("\"MemTotal 2048 kB\" is not understood: NAME: NUMBER [kB] is expected"), "{meminfo}");
    assert_eq!(value(&collected, "node_scrape_collector_success{collector=\"cpu\"}"), Some(0.0));
    assert_eq!(value(&collected, "node_scrape_collector_success{collector=\"filesystem\"}"), Some(1.0));
    assert_eq!(value(&collected, "node_time_seconds"), Some(1.5));
}

#[test]
fn a_collector_that_hangs_is_left_until_it_answers() {
    let (folder, roots) = tree();
    // A pipe without a writer holds whoever opens it, as a dead server holds the readers of its files.
    let pipe = folder.path().join("proc/loadavg");
    std::fs::remove_file(&pipe).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let (clock, _) = Clock::manual(UnixMillis(0));
    let mut collector = Collector::new(&Config::default(), roots, clock).unwrap();
    // The one that hangs is waited for once, the others end long before.
    collector.wait = Duration::from_secs(3);
    for _ in 0..2 {
        let collected = collector.collect(UnixMillis(0), &Arc::default());
        let [failure] = collected.failures.as_slice() else { panic!("{:?}", collected.failures) };
        assert_eq!(failure.collector, "loadavg");
        assert!(failure.error.contains("hangs"), "{}", failure.error);
        assert_eq!(value(&collected, "node_load1"), None);
        assert_eq!(value(&collected, "node_vmstat_oom_kill"), Some(1.0));
        assert_eq!(value(&collected, "node_scrape_collector_success{collector=\"loadavg\"}"), Some(0.0));
    }
    std::fs::write(&pipe, "0.1 0.2 0.3 1/2 3\n").unwrap();
    std::fs::remove_file(&pipe).unwrap();
    write(folder.path(), "proc/loadavg", "0.4 0.5 0.6 1/2 3\n");
    let mut rounds = (0..10_000).map(|_| collector.collect(UnixMillis(0), &Arc::default()));
    let answered = rounds.find(|collected| collected.failures.is_empty()).unwrap();
    assert_eq!(value(&answered, "node_load1"), Some(0.4));
}

#[test]
fn faults_of_the_config_are_all_named() {
    let config = Config {
        interval: skerry_model::Span::millis(10),
        disable: vec!["cpus".into()],
        diskstats_devices_exclude: "(".into(),
        textfile_directory: "metrics".into(),
        ..Config::default()
    };
    let faults = config.faults();
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["interval", "disable", "textfile_directory", "diskstats_devices_exclude"]);
    assert!(faults[1].to_string().contains("one of arp, bonding, btrfs"), "{}", faults[1]);
    let config = Config { disable: vec!["cpu".into()], ..Config::default() };
    let (_folder, roots) = tree();
    let (clock, _) = Clock::manual(UnixMillis(0));
    let collected = Collector::new(&config, roots, clock).unwrap().collect(UnixMillis(0), &Arc::default());
    assert_eq!(value(&collected, "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}"), None);
}

#[test]
fn this_machine_is_collected_without_failures() {
    let mut collector = Collector::new(&Config::default(), Roots::default(), Clock::system()).unwrap();
    let collected = collector.collect(UnixMillis(1), &Arc::default());
    assert_eq!(collected.failures, []);
    assert!(collected.observations.len() > 100, "{} series", collected.observations.len());
}
