//! `/proc/net/rpc`: calls of the NFS client and server (kernel sources `fs/nfs*`, `net/sunrpc/stats.c`).

use super::sink::{Rows, counter, gauge};
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

/// Procedures of version 2, in the order of their numbers.
const V2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create", "Remove",
    "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];
/// Procedures of version 3.
const V3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];
/// Procedures of version 4 as the client counts them.
const V4_CLIENT: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "LayoutGet",
    "GetDeviceInfo",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];
/// Operations of version 4 as the server counts them, by number (RFC 7530, section 16); those without a name here are
/// not counted by the field's exporter either.
const V4_SERVER: [&str; 40] = [
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "",
    "",
    "Verify",
    "Write",
    "RelLockOwner",
];

static PACKETS: MetricMeta =
    counter("node_nfs_packets_total", "Total NFSd network packets (sent+received) by protocol type.");
static CONNECTIONS: MetricMeta = counter("node_nfs_connections_total", "Total number of NFSd TCP connections.");
static RPCS: MetricMeta = counter("node_nfs_rpcs_total", "Total number of RPCs performed.");
static RETRANSMISSIONS: MetricMeta =
    counter("node_nfs_rpc_retransmissions_total", "Number of RPC transmissions performed.");
static REFRESHES: MetricMeta =
    counter("node_nfs_rpc_authentication_refreshes_total", "Number of RPC authentication refreshes performed.");
static REQUESTS: MetricMeta = counter("node_nfs_requests_total", "Number of NFS procedures invoked.");

/// The words of a line of numbers, behind its name.
struct Line<'a> {
    text: &'a Text,
    line: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn all(text: &'a Text) -> impl Iterator<Item = (&'a str, Self)> {
        text.content.lines().filter_map(move |line| {
            let mut words = line.split_ascii_whitespace();
            Some((words.next()?, Self { text, line, words: words.collect() }))
        })
    }

    fn number(&self, at: usize) -> Result<f64, CollectError> {
        self.text.number(self.words.get(at).copied(), self.line, "NAME NUMBER …")
    }

    /// A line `NAME COUNT NUMBER …`: calls by procedure. A kernel that does not know a procedure has not called it.
    fn procedures(
        &self,
        meta: &'static MetricMeta,
        proto: &str,
        names: &[&str],
        rows: &mut Rows,
    ) -> Result<(), CollectError> {
        for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let calls = if at + 1 < self.words.len() { self.number(at + 1)? } else { 0.0 };
            rows.push(meta, &[("method", name), ("proto", proto)], calls);
        }
        Ok(())
    }
}

/// The client.
pub(super) struct Nfs;

impl Collect for Nfs {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let Some(text) = Text::optional(round.roots.proc.join("self/net/rpc/nfs"))? else { return Ok(()) };
        let mut rows = Rows::default();
        for (name, line) in Line::all(&text) {
            match name {
                "net" => {
                    rows.push(&PACKETS, &[("protocol", "udp")], line.number(1)?);
                    rows.push(&PACKETS, &[("protocol", "tcp")], line.number(2)?);
                    rows.push(&CONNECTIONS, &[], line.number(3)?);
                }
                "rpc" => {
                    rows.push(&RPCS, &[], line.number(0)?);
                    rows.push(&RETRANSMISSIONS, &[], line.number(1)?);
                    rows.push(&REFRESHES, &[], line.number(2)?);
                }
                "proc2" => line.procedures(&REQUESTS, "2", &V2, &mut rows)?,
                "proc3" => line.procedures(&REQUESTS, "3", &V3, &mut rows)?,
                "proc4" => line.procedures(&REQUESTS, "4", &V4_CLIENT, &mut rows)?,
                _ => {}
            }
        }
        rows.pour(sink);
        Ok(())
    }
}

/// Line, column and metric of what the server counts once.
static SERVER: [(&str, usize, MetricMeta); 11] = [
    (
        "rc",
        0,
        counter(
            "node_nfsd_reply_cache_hits_total",
            "Total number of NFSd Reply Cache hits (client lost server response).",
        ),
    ),
    (
        "rc",
        1,
        counter(
            "node_nfsd_reply_cache_misses_total",
            "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
        ),
    ),
    (
        "rc",
        2,
        counter(
            "node_nfsd_reply_cache_nocache_total",
            "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
        ),
    ),
    ("fh", 0, counter("node_nfsd_file_handles_stale_total", "Total number of NFSd stale file handles")),
    ("io", 0, counter("node_nfsd_disk_bytes_read_total", "Total NFSd bytes read.")),
    ("io", 1, counter("node_nfsd_disk_bytes_written_total", "Total NFSd bytes written.")),
    ("th", 0, gauge("node_nfsd_server_threads", "Total number of NFSd kernel threads that are running.")),
    ("ra", 0, gauge("node_nfsd_read_ahead_cache_size_blocks", "How large the read ahead cache is in blocks.")),
    (
        "ra",
        11,
        counter("node_nfsd_read_ahead_cache_not_found_total", "Total number of NFSd read ahead cache not found."),
    ),
    ("net", 3, counter("node_nfsd_connections_total", "Total number of NFSd TCP connections.")),
    ("rpc", 0, counter("node_nfsd_server_rpcs_total", "Total number of NFSd RPCs.")),
];
static SERVER_PACKETS: MetricMeta =
    counter("node_nfsd_packets_total", "Total NFSd network packets (sent+received) by protocol type.");
static SERVER_ERRORS: MetricMeta =
    counter("node_nfsd_rpc_errors_total", "Total number of NFSd RPC errors by error type.");
static SERVER_REQUESTS: MetricMeta =
    counter("node_nfsd_requests_total", "Total number NFSd Requests by method and protocol.");

/// The server.
pub(super) struct Nfsd;

impl Collect for Nfsd {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let Some(text) = Text::optional(round.roots.proc.join("self/net/rpc/nfsd"))? else { return Ok(()) };
        let mut rows = Rows::default();
        for (name, line) in Line::all(&text) {
            for (_, column, meta) in SERVER.iter().filter(|(of, ..)| *of == name) {
                rows.push(meta, &[], line.number(*column)?);
            }
            match name {
                "net" => {
                    rows.push(&SERVER_PACKETS, &[("proto", "udp")], line.number(1)?);
                    rows.push(&SERVER_PACKETS, &[("proto", "tcp")], line.number(2)?);
                }
                "rpc" => {
                    for (column, error) in [(2, "fmt"), (3, "auth"), (4, "cInt")] {
                        rows.push(&SERVER_ERRORS, &[("error", error)], line.number(column)?);
                    }
                }
                // That a server is there at all is not counted.
                "proc2" => line.procedures(&SERVER_REQUESTS, "2", &without_null(V2), &mut rows)?,
                "proc3" => line.procedures(&SERVER_REQUESTS, "3", &without_null(V3), &mut rows)?,
                "proc4ops" => line.procedures(&SERVER_REQUESTS, "4", &V4_SERVER, &mut rows)?,
                _ => {}
            }
        }
        rows.pour(sink);
        Ok(())
    }
}

fn without_null<const N: usize>(mut names: [&'static str; N]) -> [&'static str; N] {
    names[0] = "";
    names
}
