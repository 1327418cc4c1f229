//! Settings of push, section `push` of a NodeConfig.

use serde::{Deserialize, Serialize};
use skerry_model::Span;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most buckets of a histogram.
const BUCKETS_MAX: usize = 64;

/// Settings of push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time between two rounds that are stored.
    pub interval: Span,
    /// Whether Pushgateway's endpoint is open. The local HTTP has no access control beyond loopback.
    pub gateway: bool,
    /// Most series of all groups together.
    pub gateway_series_max: u32,
    /// StatsD.
    pub statsd: Statsd,
}

/// Settings of StatsD. It listens where an address or a socket is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Statsd {
    /// UDP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Unix datagram socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// What becomes of timers, histograms and distributions.
    pub timers: Timers,
    /// Upper bounds of the buckets of histograms.
    pub buckets: Vec<f64>,
    /// Series that nobody writes are forgotten after this long.
    pub ttl: Span,
    /// Most series.
    pub series_max: u32,
}

/// What becomes of timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timers {
    /// Quantiles.
    #[default]
    Summary,
    /// Buckets.
    Histogram,
}

// Equality is of settings, and no bound of a bucket is NaN once it is checked.
impl Eq for Config {}
impl Eq for Statsd {}

impl Default for Config {
    fn default() -> Self {
        Self { interval: Span::secs(15), gateway: false, gateway_series_max: 2000, statsd: Statsd::default() }
    }
}

impl Default for Statsd {
    fn default() -> Self {
        Self {
            listen: None,
            socket: None,
            timers: Timers::default(),
            buckets: vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            ttl: Span::secs(3600),
            series_max: 2000,
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("interval", "15s", "time between two rounds that are stored; 1s to 1h"),
    (
        "gateway",
        "false",
        "open Pushgateway's endpoint /metrics/job/NAME on the local HTTP, which has no access control beyond loopback: whoever may connect to it may write",
    ),
    ("gateway_series_max", "2000", "most series of all pushed groups; a push beyond it is refused; 1 to 20000"),
    ("statsd.listen", "none", "UDP address of StatsD, such as 127.0.0.1:8125"),
    ("statsd.socket", "none", "unix datagram socket of StatsD"),
    (
        "statsd.timers",
        "summary",
        "what timers, histograms and distributions become: summary (quantiles of 5 to 10 minutes) or histogram",
    ),
    (
        "statsd.buckets",
        "[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]",
        "upper bounds of histograms, in seconds for timers",
    ),
    ("statsd.ttl", "1h", "series that nobody writes are forgotten after this long; 1m to 30d"),
    (
        "statsd.series_max",
        "2000",
        "most StatsD metrics by name and tags; further ones are dropped and stand in the loss ledger; 1 to 20000",
    ),
];

impl Config {
    /// Every fault, as key below `push` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, key: &str, problem: String| {
            if !holds {
                faults.push((key.to_owned(), problem));
            }
        };
        let (least, most) = (Span::secs(1), Span::secs(3600));
        let interval = self.interval;
        demand(
            (least..=most).contains(&interval),
            "interval",
            format!("{interval} is out of range: 1s to 1h is expected"),
        );
        let series = 1..=20_000;
        let out = |count: u32| format!("{count} is out of range: 1 to 20000 is expected");
        demand(series.contains(&self.gateway_series_max), "gateway_series_max", out(self.gateway_series_max));
        let Statsd { listen, socket, buckets, ttl, series_max, .. } = &self.statsd;
        demand(series.contains(series_max), "statsd.series_max", out(*series_max));
        demand(listen.is_none_or(|at| at.port() > 0), "statsd.listen", "a port is expected, such as :8125".into());
        let absolute = socket.as_ref().is_none_or(|path| path.is_absolute());
        demand(absolute, "statsd.socket", "a path that begins with / is expected".into());
        let (least, most) = (Span::secs(60), Span::secs(30 * 86_400));
        demand((least..=most).contains(ttl), "statsd.ttl", format!("{ttl} is out of range: 1m to 30d is expected"));
        let rise = buckets.windows(2).all(|pair| pair[0] < pair[1]) && buckets.iter().all(|bound| bound.is_finite());
        let are_some = (1..=BUCKETS_MAX).contains(&buckets.len());
        demand(rise && are_some, "statsd.buckets", format!("1 to {BUCKETS_MAX} rising numbers are expected"));
        faults
    }
}
