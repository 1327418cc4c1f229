//! Stores of other makers, as they are installed, and a gate before them that fails when it is told to.

use crate::lab::{Running, free_port, wait_for};
use crate::web::web;
use anyhow::{Context, ensure};
use skerry_model::Labels;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Values by labels and time in milliseconds.
pub type Found = BTreeMap<Labels, BTreeMap<i64, f64>>;

/// A process that speaks Prometheus's HTTP API.
#[derive(Debug)]
pub struct Peer {
    /// Its port on loopback.
    pub port: u16,
    process: Running,
}

/// Whether a program is installed.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    ["/usr/bin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

impl Peer {
    /// Debian's Prometheus with this config, taking remote write.
    ///
    /// # Errors
    /// If it does not start.
    pub fn prometheus(folder: &Path, config: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config)?;
        let port = free_port()?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("storage").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.args(["--web.enable-remote-write-receiver", "--web.enable-lifecycle"]);
        let process = Running::spawn(&mut command, &folder.join("prometheus.log"))?;
        let peer = Self { port, process };
        wait_for("Prometheus", || peer.text("/-/ready"))?;
        Ok(peer)
    }

    /// Debian's VictoriaMetrics.
    ///
    /// # Errors
    /// If it does not start.
    pub fn victoria_metrics(folder: &Path) -> anyhow::Result<Self> {
        Self::victoria_metrics_at(folder, free_port()?)
    }

    /// The same on a given port.
    ///
    /// # Errors
    /// If it does not start.
    pub fn victoria_metrics_at(folder: &Path, port: u16) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut command = Command::new("victoria-metrics");
        command.arg(format!("-storageDataPath={}", folder.join("storage").display()));
        command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
        let process = Running::spawn(&mut command, &folder.join("victoria-metrics.log"))?;
        let peer = Self { port, process };
        wait_for("VictoriaMetrics", || peer.text("/health"))?;
        Ok(peer)
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it takes remote write.
    #[must_use]
    pub fn write_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    /// A text from it.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let mut answer = web().get(format!("http://127.0.0.1:{}{path}", self.port)).call()?;
        Ok(answer.body_mut().with_config().limit(256 << 20).read_to_string()?)
    }

    /// Samples by an instant query of a range; stale markers are not among them.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn samples(&self, query: &str) -> anyhow::Result<Found> {
        let mut answer =
            web().get(format!("http://127.0.0.1:{}/api/v1/query", self.port)).query("query", query).call()?;
        matrix(&answer.body_mut().with_config().limit(256 << 20).read_to_string()?)
    }

    /// Samples by VictoriaMetrics's export.
    ///
    /// # Errors
    /// If it does not answer well.
    pub fn exported(&self, selector: &str) -> anyhow::Result<Found> {
        self.text("/internal/force_flush")?;
        let url = format!("http://127.0.0.1:{}/api/v1/export", self.port);
        let text = web().get(url).query("match[]", selector).query("reduce_mem_usage", "1").call()?;
        let text = text.into_body().with_config().limit(256 << 20).read_to_string()?;
        let mut found = Found::new();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line)?;
            let points = found.entry(labels(&row["metric"])?).or_default();
            let (times, values) = (row["timestamps"].as_array(), row["values"].as_array());
            for (at, value) in times.context("times")?.iter().zip(values.context("values")?) {
                // Not a number is written as null, infinities as texts.
                let value = value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(f64::NAN);
                points.insert(at.as_i64().context("a time")?, value);
            }
        }
        Ok(found)
    }
}

fn labels(metric: &serde_json::Value) -> anyhow::Result<Labels> {
    let pairs = metric.as_object().context("a metric")?;
    Ok(Labels::new(pairs.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default())))?)
}

/// Samples of an answer of Prometheus's query API.
///
/// # Errors
/// If it is none.
pub fn matrix(answer: &str) -> anyhow::Result<Found> {
    let answer: serde_json::Value = serde_json::from_str(answer)?;
    let mut found = Found::new();
    for series in answer["data"]["result"].as_array().context("a result")? {
        let points = found.entry(labels(&series["metric"])?).or_default();
        for point in series["values"].as_array().context("values of a range")? {
            let at = point[0].as_f64().context("a time")?;
            #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
            points.insert((at * 1000.0).round() as i64, point[1].as_str().context("a value")?.parse()?);
        }
    }
    Ok(found)
}

/// How a [`Gate`] treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Hands them on, and the answer back.
    Pass,
    /// Answers this status.
    Answer(u16),
    /// Hands them on and closes the connection without an answer.
    Swallow,
}

/// Takes HTTP requests for a peer: one per connection.
#[derive(Debug, Clone)]
pub struct Gate {
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    requests: Arc<AtomicU64>,
}

impl Gate {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// The system's.
    pub fn start(peer: u16, mode: Mode) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let gate = Self { address: listener.local_addr()?, mode: Arc::new(Mutex::new(mode)), requests: Arc::default() };
        let own = gate.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(&stream, peer));
            }
        });
        Ok(gate)
    }

    /// Where it takes remote write.
    #[must_use]
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Treats requests like this from now on.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// How many came.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// A request that breaks off costs its connection alone.
    fn serve(&self, stream: &TcpStream, peer: u16) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut length, mut kind) = (0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "content-type" => value.clone_into(&mut kind),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mode = *self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, words) = match mode {
            Mode::Answer(status) => (status, "as told".to_owned()),
            Mode::Pass | Mode::Swallow => {
                post(&format!("http://127.0.0.1:{peer}/api/v1/write"), &kind, &body, None).ok()?
            }
        };
        if mode == Mode::Swallow {
            return None;
        }
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", words.len());
        let mut stream = stream;
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(words.as_bytes())).ok()
    }
}

/// Posts a remote-write body; the status and words of the answer.
///
/// # Errors
/// If there is no answer.
pub fn post(url: &str, content_type: &str, body: &[u8], token: Option<&str>) -> anyhow::Result<(u16, String)> {
    let mut request = web()
        .post(url)
        .config()
        .http_status_as_error(false)
        .build()
        .header("Content-Type", content_type)
        .header("Content-Encoding", "snappy")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut answer = request.send(body)?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// If it does not run.
pub fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    let path = PathBuf::from(format!("/proc/{process}/status"));
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Asserts that both hold the same, to a relative difference of `tolerance`, and to the bit where that is zero;
/// not-a-number is one value here.
///
/// # Errors
/// With the first difference.
pub fn same(ours: &Found, theirs: &Found, tolerance: f64) -> anyhow::Result<()> {
    for (labels, points) in ours {
        let other = theirs.get(labels).with_context(|| format!("{labels} is missing at the peer"))?;
        for (at, value) in points {
            let found = other.get(at).with_context(|| format!("{labels} at {at} is missing at the peer"))?;
            let is_near = tolerance > 0.0 && (value - found).abs() <= tolerance * value.abs();
            let is_same = value.to_bits() == found.to_bits() || (value.is_nan() && found.is_nan()) || is_near;
            ensure!(is_same, "{labels} at {at}: {value}, the peer has {found}");
        }
        ensure!(points.len() == other.len(), "{labels}: {} samples, the peer has {}", points.len(), other.len());
    }
    match theirs.keys().find(|labels| !ours.contains_key(*labels)) {
        Some(labels) => anyhow::bail!("{labels} is at the peer alone"),
        None => Ok(()),
    }
}
