//! Settings of the sync, section `sync` of a NodeConfig.

use serde::{Deserialize, Serialize};
use skerry_model::{Bytes, Span};

/// Settings of the sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest silence on the link.
    pub keepalive: Span,
    /// First wait after a connection ended.
    pub reconnect_min: Span,
    /// Longest wait between two attempts to connect.
    pub reconnect_max: Span,
    /// How long an acknowledgement is waited for before the fleet is asked what it holds.
    pub ack_timeout: Span,
    /// Bytes per second for the backlog.
    pub bandwidth: Option<Bytes>,
    /// How long new scrapes wait for others before they are sent together.
    pub metrics_wait: Span,
    /// Whether the centre may ask what is kept here.
    pub answer_queries: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keepalive: Span::secs(30),
            reconnect_min: Span::secs(1),
            reconnect_max: Span::secs(300),
            ack_timeout: Span::secs(30),
            bandwidth: None,
            metrics_wait: Span::secs(0),
            answer_queries: true,
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("keepalive", "30s", "largest silence on the link; 5s to 1h"),
    ("reconnect_min", "1s", "first wait after a connection ended; doubles, with jitter"),
    ("reconnect_max", "5m", "longest wait between two attempts to connect, at most 1h"),
    ("ack_timeout", "30s", "how long an acknowledgement is waited for before the fleet is asked what it holds"),
    ("bandwidth", "none", "bytes per second for the backlog, such as 64KiB; events and newest data do not wait"),
    (
        "metrics_wait",
        "0s",
        "how long new scrapes wait to be sent together, at most 10m. At 60s a sample takes half as many bytes on the wire as at 0s, where each scrape goes as it comes; from store.scrapes_offline rounds on it costs flash, because they are committed before they are sent",
    ),
    (
        "answer_queries",
        "true",
        "answer the centre's questions (`skerry query --at`) from what is kept here, also from what is not shipped",
    ),
];

impl Config {
    /// Every fault, as key below `sync` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut check = |key: &str, span: Span, least: Span, most: Span| {
            if span < least || span > most {
                faults.push((key.to_owned(), format!("{span} is out of range: {least} to {most} is expected")));
            }
        };
        check("keepalive", self.keepalive, Span::secs(5), Span::secs(3600));
        check("reconnect_min", self.reconnect_min, Span::millis(100), Span::secs(3600));
        check("reconnect_max", self.reconnect_max, self.reconnect_min, Span::secs(3600));
        check("ack_timeout", self.ack_timeout, Span::secs(1), Span::secs(3600));
        check("metrics_wait", self.metrics_wait, Span::secs(0), Span::secs(600));
        if self.bandwidth.is_some_and(|bytes| bytes.0 < 256) {
            faults.push(("bandwidth".into(), "at least 256B per second is expected; leave it out for no limit".into()));
        }
        faults
    }
}
