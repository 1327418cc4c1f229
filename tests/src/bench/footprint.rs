//! What an agent costs a small machine, beside node_exporter and Prometheus doing the metrics half of the same.
//!
//! Two agents run as users run them, joined to a real server, every 15 s: one measures and tails a file that grows by
//! 100 lines a second, the other measures alone, so that the flash which metrics wear can be told from that of logs.
//! Each has its database on an ext4 of its own on a loop device where that can be had (as root), and the device's own
//! count of sectors is what was written; elsewhere the kernel's account of the process is.
//!
//! The machine's own series are about 300. The rest up to 500 comes from network interfaces that a written
//! `/proc/net/dev` adds; every other file is the machine's own.

use super::disk::Disk;
use super::process::{Account, Usage, mib_per_day};
use super::{Limit, Report};
use crate::lab::{Binaries, Lab, Node, Running, free_port, wait_for};
use anyhow::{Context, ensure};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Series that are measured, at least.
const SERIES: usize = 500;
/// Series of one network interface.
const SERIES_PER_INTERFACE: usize = 16;
/// Log lines per second, in ten portions.
const LINES_PER_S: u32 = 100;
/// How long agents settle before the measurement begins: joining and the first blocks are no steady state.
const SETTLE: Duration = Duration::from_secs(45);

/// Runs it for `span`.
///
/// # Errors
/// If a program cannot be started, or data did not arrive.
pub fn run(span: Duration, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("skerry-bench-").tempdir()?;
    let binaries = Binaries::build()?;
    let mut lab = Lab::init(binaries, folder.path())?;
    lab.start_server()?;
    let proc = proc_tree(folder.path())?;
    let (full_disk, bare_disk) = (Disk::new(folder.path(), "full")?, Disk::new(folder.path(), "bare")?);
    let log = folder.path().join("app.log");
    let roots = format!("roots:\n  proc: {}\n", proc.display());
    let tail = format!("logs:\n  files:\n    - name: app\n      paths: ['{}']\n", log.display());
    let mut full = agent(&lab, "full", &format!("{roots}{tail}"), &full_disk)?;
    let mut bare = agent(&lab, "bare", &roots, &bare_disk)?;
    let peers = Peers::start(folder.path())?;
    say(&format!(
        "measuring for {} s after {} s of settling; writes counted {}",
        span.as_secs(),
        SETTLE.as_secs(),
        if full_disk.device.is_some() { "by the block device" } else { "by the kernel's account of the process" }
    ));

    let mut lines = Lines::new(log);
    lines.write_for(SETTLE)?;
    let series = full.status()?["observations"].as_f64().context("observations")?;
    ensure!(series >= SERIES as f64, "{series} series, {SERIES} are wanted");
    let (full_id, bare_id) = (full.id().context("its number")?, bare.id().context("its number")?);
    let before = (Account::read(full_id)?, full_disk.written(full_id)?, bare_disk.written(bare_id)?, peers.read()?);
    let lines_before = lines.written;
    lines.write_for(span)?;
    let after = (Account::read(full_id)?, full_disk.written(full_id)?, bare_disk.written(bare_id)?, peers.read()?);
    let line_bytes = lines.bytes / lines.written as f64;
    let bare_account = Account::read(bare_id)?;

    // What is in memory is written at the stop; the file is read then.
    full.stop()?;
    bare.stop()?;
    let arrived = wait_for("the lines at the centre", || {
        let view = lab.node("full")?;
        let (got, want) = (view["log_lines"].as_u64().unwrap_or(0), lines.written);
        ensure!(got > lines_before, "{got} of {want} lines");
        Ok(got)
    })?;
    let stored = Stored::read(&full_disk.folder.join("data/agent.db"))?;
    lab.stop_server()?;

    let usage = Usage::between(before.0, after.0, span);
    let mut report = Report::default();
    report.figure("series", series);
    report.figure("log_lines_per_s", f64::from(LINES_PER_S));
    report.figure("log_line_bytes", line_bytes);
    report.figure("log_lines_at_centre", arrived as f64);
    report.figure("seconds", span.as_secs_f64());
    report.limited("rss_bytes", usage.rss_bytes, Limit::Max(f64::from(20 << 20)));
    report.figure("rss_bytes_without_logs", bare_account.rss_peak_bytes);
    report.limited("cpu_ms_per_s", usage.cpu_ms_per_s, Limit::Max(10.0));
    report.limited("db_bytes_per_sample", stored.bytes_per_sample, Limit::Max(1.5));
    report.limited("db_bytes_per_log_byte", stored.bytes_per_line / line_bytes, Limit::Max(0.2));
    report.limited("flash_mib_per_day", mib_per_day(after.1 - before.1, span), Limit::Max(30.0));
    report.figure("flash_mib_per_day_without_logs", mib_per_day(after.2 - before.2, span));
    report.figure("flash_counted_by_device", f64::from(u8::from(full_disk.device.is_some())));
    let binary = lab.binaries.path("skerry-agent");
    report.figure("agent_bytes", std::fs::metadata(binary)?.len() as f64);
    let static_binary =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/static/aarch64-unknown-linux-musl/skerry-agent");
    match std::fs::metadata(&static_binary) {
        Ok(meta) => report.limited("agent_aarch64_bytes", meta.len() as f64, Limit::Max(f64::from(8 << 20))),
        Err(_) => {
            say("agent_aarch64_bytes is left out: images/build-static aarch64-unknown-linux-musl makes that file")
        }
    }
    for (name, before, after) in before.3.into_iter().zip(after.3).map(|((name, a), (_, b))| (name, a, b)) {
        let usage = Usage::between(before, after, span);
        report.peer(&format!("{name}_rss_bytes"), usage.rss_bytes);
        report.peer(&format!("{name}_cpu_ms_per_s"), usage.cpu_ms_per_s);
        report.peer(&format!("{name}_written_mib_per_day"), usage.written_mib_per_day);
    }
    Ok(report)
}

fn agent(lab: &Lab, name: &str, sections: &str, disk: &Disk) -> anyhow::Result<Node> {
    let mut node = lab.agent(name, sections)?;
    let file = node.folder.join("agent.yaml");
    let text = std::fs::read_to_string(&file)?;
    let from = format!("data_dir: {}/data", node.folder.display());
    ensure!(text.contains(&from), "the data folder");
    std::fs::write(&file, text.replace(&from, &format!("data_dir: {}/data", disk.folder.display())))?;
    lab.join(&mut node, "edge")?;
    Ok(node)
}

/// A `/proc` whose entries are the machine's own, but for more network interfaces. Their counters stand still: like
/// most of a machine's series, they cost a scan and no new bytes.
pub(super) fn proc_tree(folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join("proc");
    std::fs::create_dir_all(root.join("self/net"))?;
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if name != "self" {
            std::os::unix::fs::symlink(Path::new("/proc").join(&name), root.join(&name))?;
        }
    }
    std::os::unix::fs::symlink("/proc/self/mounts", root.join("self/mounts"))?;
    let mut text = std::fs::read_to_string("/proc/self/net/dev")?;
    for n in 0..(SERIES - 260) / SERIES_PER_INTERFACE + 1 {
        writeln!(text, "  eth{}: {n} 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", n + 100)?;
    }
    std::fs::write(root.join("self/net/dev"), text)?;
    Ok(root)
}

/// Writes lines as a service does: a time, a level, fields that vary.
struct Lines {
    path: PathBuf,
    written: u64,
    bytes: f64,
    random: u64,
}

impl Lines {
    fn new(path: PathBuf) -> Self {
        Self { path, written: 0, bytes: 0.0, random: 1 }
    }

    fn next(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn write_for(&mut self, span: Duration) -> anyhow::Result<()> {
        const PATHS: [&str; 6] = ["/", "/api/items", "/api/items/search", "/login", "/static/app.css", "/health"];
        let mut file = std::fs::File::options().append(true).create(true).open(&self.path)?;
        #[expect(clippy::disallowed_methods, reason = "the benchmark's own pace")]
        let began = Instant::now();
        let mut portions = 0;
        while began.elapsed() < span {
            let mut text = String::new();
            for _ in 0..LINES_PER_S / 10 {
                let (seconds, millis) = (self.written / 100, self.written % 100 * 10);
                let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
                let path = PATHS[usize::try_from(self.next(6))?];
                let level = ["INFO", "INFO", "INFO", "INFO", "WARN"][usize::try_from(self.next(5))?];
                let (user, took, status, size) = (
                    self.next(5000),
                    self.next(900),
                    [200, 200, 200, 304, 404][usize::try_from(self.next(5))?],
                    self.next(40_000),
                );
                let trace = self.next(1 << 31);
                writeln!(
                    text,
                    "2026-11-21T{hour:02}:{minute:02}:{second:02}.{millis:03}Z {level} shop.http request done method=GET path={path} status={status} \
                     user={user} duration_ms={took} bytes={size} trace={trace:08x} upstream=10.0.0.{} cache=miss",
                    self.random % 7
                )?;
                self.written += 1;
            }
            self.bytes += (text.len() as u64 - u64::from(LINES_PER_S / 10)) as f64;
            file.write_all(text.as_bytes())?;
            portions += 1;
            std::thread::sleep((Duration::from_millis(100) * portions).saturating_sub(began.elapsed()));
        }
        Ok(())
    }
}

/// What the database's file holds, with its pages' overhead shared out by size.
struct Stored {
    bytes_per_sample: f64,
    bytes_per_line: f64,
}

impl Stored {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let file = rusqlite::Connection::open(path)?;
        let pages: f64 = file.query_row("SELECT sum(pgsize) FROM dbstat WHERE name = 'block'", [], |row| row.get(0))?;
        let content: f64 = file.query_row("SELECT total(length(body)) FROM block", [], |row| row.get(0))?;
        // Kinds of streams: 1 samples, 2 log records.
        let per_record = |kind: i64| -> anyhow::Result<f64> {
            let (bytes, records): (f64, f64) = file.query_row(
                "SELECT total(length(body)), total(records) FROM block WHERE kind = ?",
                [kind],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            ensure!(records > 0.0, "no records of kind {kind}");
            Ok(bytes / records * pages / content)
        };
        Ok(Self { bytes_per_sample: per_record(1)?, bytes_per_line: per_record(2)? })
    }
}

/// Debian's node_exporter, and its Prometheus scraping that every 15 s, where they are installed.
struct Peers(Vec<(&'static str, Running)>);

impl Peers {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut peers = Vec::new();
        let port = free_port()?;
        if let Some(program) = find("prometheus-node-exporter") {
            let mut command = Command::new(program);
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            peers.push(("node_exporter", Running::spawn(&mut command, &folder.join("node_exporter.log"))?));
        }
        if let (Some(program), false) = (find("prometheus"), peers.is_empty()) {
            let config = folder.join("prometheus.yml");
            std::fs::write(
                &config,
                format!(
                    "scrape_configs:\n  - job_name: node\n    scrape_interval: 15s\n    static_configs:\n      - targets: ['127.0.0.1:{port}']\n"
                ),
            )?;
            let mut command = Command::new(program);
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{}", free_port()?));
            peers.push(("prometheus", Running::spawn(&mut command, &folder.join("prometheus.log"))?));
        }
        Ok(Self(peers))
    }

    fn read(&self) -> anyhow::Result<Vec<(&'static str, Account)>> {
        self.0.iter().map(|(name, process)| Ok((*name, Account::read(process.id())?))).collect()
    }
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|p| p.exists())
}
