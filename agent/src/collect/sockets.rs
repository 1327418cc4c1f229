//! Sockets and packets on their way through the kernel: `/proc/net/sockstat`, `softnet_stat`, `arp`, `udp`, and the table of
//! tracked connections.

use super::sink::{counter, gauge};
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::collections::BTreeMap;

static SOCKSTAT: [MetricMeta; 17] = [
    gauge("node_sockstat_FRAG6_inuse", "Number of FRAG6 sockets in state inuse."),
    gauge("node_sockstat_FRAG6_memory", "Number of FRAG6 sockets in state memory."),
    gauge("node_sockstat_FRAG_inuse", "Number of FRAG sockets in state inuse."),
    gauge("node_sockstat_FRAG_memory", "Number of FRAG sockets in state memory."),
    gauge("node_sockstat_RAW6_inuse", "Number of RAW6 sockets in state inuse."),
    gauge("node_sockstat_RAW_inuse", "Number of RAW sockets in state inuse."),
    gauge("node_sockstat_TCP6_inuse", "Number of TCP6 sockets in state inuse."),
    gauge("node_sockstat_TCP_alloc", "Number of TCP sockets in state alloc."),
    gauge("node_sockstat_TCP_inuse", "Number of TCP sockets in state inuse."),
    gauge("node_sockstat_TCP_mem", "Number of TCP sockets in state mem."),
    gauge("node_sockstat_TCP_orphan", "Number of TCP sockets in state orphan."),
    gauge("node_sockstat_TCP_tw", "Number of TCP sockets in state tw."),
    gauge("node_sockstat_UDP6_inuse", "Number of UDP6 sockets in state inuse."),
    gauge("node_sockstat_UDPLITE6_inuse", "Number of UDPLITE6 sockets in state inuse."),
    gauge("node_sockstat_UDPLITE_inuse", "Number of UDPLITE sockets in state inuse."),
    gauge("node_sockstat_UDP_inuse", "Number of UDP sockets in state inuse."),
    gauge("node_sockstat_UDP_mem", "Number of UDP sockets in state mem."),
];
static USED: MetricMeta = gauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use.");
static TCP_BYTES: MetricMeta = gauge("node_sockstat_TCP_mem_bytes", "Number of TCP sockets in state mem_bytes.");
static UDP_BYTES: MetricMeta = gauge("node_sockstat_UDP_mem_bytes", "Number of UDP sockets in state mem_bytes.");
static SOFTNET: [MetricMeta; 3] = [
    counter("node_softnet_processed_total", "Number of processed packets"),
    counter("node_softnet_dropped_total", "Number of dropped packets"),
    counter("node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota"),
];
static ARP: MetricMeta = gauge("node_arp_entries", "ARP entries by device");
static QUEUES: MetricMeta =
    gauge("node_udp_queues", "Number of allocated memory in the kernel for UDP datagrams in bytes.");
static CONNTRACK: [(&str, MetricMeta); 2] = [
    (
        "nf_conntrack_count",
        gauge("node_nf_conntrack_entries", "Number of currently allocated flow entries for connection tracking."),
    ),
    ("nf_conntrack_max", gauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.")),
];

/// Column of `/proc/net/stat/nf_conntrack`, and metric: the sum over all processors.
static CONNTRACK_STAT: [(&str, MetricMeta); 8] = [
    ("drop", gauge("node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure.")),
    (
        "early_drop",
        gauge(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
    ),
    ("found", gauge("node_nf_conntrack_stat_found", "Number of searched entries which were successful.")),
    (
        "ignore",
        gauge(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
    ),
    ("insert", gauge("node_nf_conntrack_stat_insert", "Number of entries inserted into the list.")),
    (
        "insert_failed",
        gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
        ),
    ),
    ("invalid", gauge("node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked.")),
    (
        "search_restart",
        gauge(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ),
];

/// Sockets in use.
pub(super) struct Sockstat;

impl Collect for Sockstat {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        #[expect(clippy::cast_precision_loss, reason = "a page size")]
        let page = rustix::param::page_size() as f64;
        let mut values: BTreeMap<String, f64> = BTreeMap::new();
        for file in ["sockstat", "sockstat6"] {
            let Some(text) = Text::optional(round.roots.proc.join("self/net").join(file))? else { continue };
            for line in text.content.lines() {
                let (protocol, rest) =
                    line.split_once(':').ok_or_else(|| text.fault(line, "PROTOCOL: NAME NUMBER …"))?;
                let words: Vec<&str> = rest.split_ascii_whitespace().collect();
                for pair in words.chunks(2) {
                    let value = text.number(pair.get(1).copied(), line, "PROTOCOL: NAME NUMBER …")?;
                    values.insert(format!("{protocol}_{}", pair[0]), value);
                }
            }
        }
        for meta in &SOCKSTAT {
            let name = meta.name.trim_start_matches("node_sockstat_");
            if let Some(value) = values.get(name) {
                sink.push(meta, &[], *value);
            }
        }
        for (meta, name, factor) in
            [(&USED, "sockets_used", 1.0), (&TCP_BYTES, "TCP_mem", page), (&UDP_BYTES, "UDP_mem", page)]
        {
            if let Some(value) = values.get(name) {
                sink.push(meta, &[], *value * factor);
            }
        }
        Ok(())
    }
}

/// Packets in the kernel's receive queues, by CPU.
pub(super) struct Softnet;

impl Collect for Softnet {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("self/net/softnet_stat"))?;
        let mut rows = Vec::new();
        for (cpu, line) in text.content.lines().enumerate() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let mut row = [0.0; SOFTNET.len()];
            for (at, value) in row.iter_mut().enumerate() {
                let number = words.get(at).and_then(|word| u32::from_str_radix(word, 16).ok());
                *value = f64::from(number.ok_or_else(|| text.fault(line, "hexadecimal numbers"))?);
            }
            rows.push((cpu, row));
        }
        sink.table(&SOFTNET, &rows, |(cpu, _)| vec![("cpu", cpu.to_string())], |(_, row), at| row.get(at).copied());
        Ok(())
    }
}

/// Neighbours known by ARP.
pub(super) struct Arp;

impl Collect for Arp {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let text = Text::read(round.roots.proc.join("self/net/arp"))?;
        let mut devices: BTreeMap<&str, f64> = BTreeMap::new();
        for line in text.content.lines().skip(1) {
            let device = line.split_ascii_whitespace().nth(5).ok_or_else(|| text.fault(line, "six columns"))?;
            *devices.entry(device).or_default() += 1.0;
        }
        for (device, entries) in devices {
            sink.push(&ARP, &[("device", device)], entries);
        }
        Ok(())
    }
}

/// Bytes that wait in UDP sockets.
pub(super) struct UdpQueues;

impl Collect for UdpQueues {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        for (file, ip) in [("udp", "v4"), ("udp6", "v6")] {
            let Some(text) = Text::optional(round.roots.proc.join("self/net").join(file))? else { continue };
            let (mut sent, mut received) = (0.0, 0.0);
            for line in text.content.lines().skip(1) {
                let queues = line.split_ascii_whitespace().nth(4).and_then(|word| word.split_once(':'));
                let number = |word: &str| u32::from_str_radix(word, 16).ok().map(f64::from);
                let (tx, rx) = queues
                    .and_then(|(tx, rx)| Some((number(tx)?, number(rx)?)))
                    .ok_or_else(|| text.fault(line, "TX:RX in hexadecimal as fifth column"))?;
                sent += tx;
                received += rx;
            }
            sink.push(&QUEUES, &[("ip", ip), ("queue", "rx")], received);
            sink.push(&QUEUES, &[("ip", ip), ("queue", "tx")], sent);
        }
        Ok(())
    }
}

/// The table of tracked connections, where the kernel has one.
pub(super) struct Conntrack;

impl Collect for Conntrack {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        for (file, meta) in &CONNTRACK {
            if let Some(text) = Text::optional(round.roots.proc.join("sys/net/netfilter").join(file))? {
                sink.push(meta, &[], text.whole()?);
            }
        }
        let Some(text) = Text::optional(round.roots.proc.join("self/net/stat/nf_conntrack"))? else { return Ok(()) };
        let mut lines = text.content.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split_ascii_whitespace().collect()).collect();
        for (column, meta) in &CONNTRACK_STAT {
            let Some(at) = names.iter().position(|name| name == column) else { continue };
            let number =
                |row: &Vec<&str>| row.get(at).and_then(|word| u32::from_str_radix(word, 16).ok()).map(f64::from);
            let sum: Option<f64> = rows.iter().map(number).sum();
            sink.push(meta, &[], sum.ok_or_else(|| text.fault(column, "hexadecimal numbers in that column"))?);
        }
        Ok(())
    }
}
