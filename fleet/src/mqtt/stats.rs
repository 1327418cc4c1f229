//! Counters of a transport, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The TLS handshake presented no certificate.
    NoCertificate,
    /// The certificate is not of this fleet, is expired, or is no client's.
    BadCertificate,
    /// The key is revoked, or not on the list of allowed ones.
    Revoked,
    /// The certificate names no node.
    BadName,
    /// The handshake failed otherwise or took too long.
    Handshake,
    /// Too many connections at once.
    Busy,
    /// CONNECT was missing, late, or not acceptable.
    Connect,
    /// Published to a topic that is not the node's own.
    PublishTopic,
    /// Subscribed to a topic that is not the node's own.
    SubscribeTopic,
    /// Asked for QoS 2.
    Qos,
    /// A packet above the limit.
    PacketTooLarge,
    /// A packet that breaks the protocol.
    Malformed,
    /// A message to a node that it had not subscribed to, or that is above its own limit.
    Undeliverable,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::NoCertificate,
        Self::BadCertificate,
        Self::Revoked,
        Self::BadName,
        Self::Handshake,
        Self::Busy,
        Self::Connect,
        Self::PublishTopic,
        Self::SubscribeTopic,
        Self::Qos,
        Self::PacketTooLarge,
        Self::Malformed,
        Self::Undeliverable,
    ];

    /// Label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::Revoked => "revoked",
            Self::BadName => "bad_name",
            Self::Handshake => "handshake",
            Self::Busy => "busy",
            Self::Connect => "connect",
            Self::PublishTopic => "publish_topic",
            Self::SubscribeTopic => "subscribe_topic",
            Self::Qos => "qos",
            Self::PacketTooLarge => "packet_too_large",
            Self::Malformed => "malformed",
            Self::Undeliverable => "undeliverable",
        }
    }
}

/// Counts since the start; only [`Stats::connected`] goes down again.
#[derive(Debug, Default)]
pub struct Stats {
    pub(super) connected: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) messages_in: AtomicU64,
    pub(super) messages_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Stats {
    /// Sessions that stand now.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Sessions that were accepted; with an external broker, how often the fleet subscribed there.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Messages taken from nodes.
    #[must_use]
    pub fn messages_in(&self) -> u64 {
        self.messages_in.load(Ordering::Relaxed)
    }

    /// Messages written to nodes.
    #[must_use]
    pub fn messages_out(&self) -> u64 {
        self.messages_out.load(Ordering::Relaxed)
    }

    /// MQTT bytes read.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// MQTT bytes written.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// What was refused for that reason.
    #[must_use]
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// Everything as Prometheus text.
    #[must_use]
    pub fn exposition(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = writeln!(text, "# HELP skerry_fleet_mqtt_{name} {help}\n# TYPE skerry_fleet_mqtt_{name} {kind}");
            let _ = writeln!(text, "skerry_fleet_mqtt_{name} {value}");
        };
        metric("sessions", "gauge", "Sessions that stand now.", self.connected());
        metric("connections_total", "counter", "Sessions that were accepted.", self.connections());
        metric("messages_received_total", "counter", "Messages taken from nodes.", self.messages_in());
        metric("messages_sent_total", "counter", "Messages written to nodes.", self.messages_out());
        metric("received_bytes_total", "counter", "MQTT bytes read.", self.bytes_in());
        metric("sent_bytes_total", "counter", "MQTT bytes written.", self.bytes_out());
        let _ = writeln!(text, "# HELP skerry_fleet_mqtt_refused_total What was refused, by reason.");
        let _ = writeln!(text, "# TYPE skerry_fleet_mqtt_refused_total counter");
        for why in Refusal::ALL {
            let (reason, count) = (why.as_str(), self.refused(why));
            let _ = writeln!(text, "skerry_fleet_mqtt_refused_total{{reason=\"{reason}\"}} {count}");
        }
        text
    }

    pub(super) fn refuse(&self, why: Refusal) {
        add(&self.refused[why as usize], 1);
    }
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
