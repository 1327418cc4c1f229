//! `/proc/net/ip_vs`: the kernel's load balancer, which Kubernetes' proxy may use.

use super::sink::{Rows, counter, gauge};
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// In the order of the columns of `ip_vs_stats`.
static TOTALS: [MetricMeta; 5] = [
    counter("node_ipvs_connections_total", "The total number of connections made."),
    counter("node_ipvs_incoming_packets_total", "The total number of incoming packets."),
    counter("node_ipvs_outgoing_packets_total", "The total number of outgoing packets."),
    counter("node_ipvs_incoming_bytes_total", "The total amount of incoming data."),
    counter("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data."),
];
/// In the order of the columns of a backend.
static BACKEND: [MetricMeta; 3] = [
    gauge("node_ipvs_backend_weight", "The current backend weight by local and remote address."),
    gauge("node_ipvs_backend_connections_active", "The current active connections by local and remote address."),
    gauge("node_ipvs_backend_connections_inactive", "The current inactive connections by local and remote address."),
];
/// Most backends that are read, so that a proxy of a large cluster does not fill the node's store.
const BACKENDS_MAX: usize = 512;

/// The load balancer.
pub(super) struct Ipvs;

/// Where a backend stands: protocol, mark, address and port here, address and port there.
type Backend = [String; 6];

impl Collect for Ipvs {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let net = round.roots.proc.join("self/net");
        if let Some(text) = Text::optional(net.join("ip_vs_stats"))? {
            // Two lines of names are above the sums.
            let line = text.content.lines().nth(2).unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            for meta in &TOTALS {
                let number = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
                #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
                let value = number.ok_or_else(|| text.fault(line, "five hexadecimal numbers"))? as f64;
                sink.push(meta, &[], value);
            }
        }
        let Some(text) = Text::optional(net.join("ip_vs"))? else { return Ok(()) };
        let mut rows = Rows::default();
        for ([proto, mark, here, here_port, there, there_port], values) in backends(&text)? {
            let labels = [
                ("local_address", here.as_str()),
                ("local_mark", &mark),
                ("local_port", &here_port),
                ("proto", &proto),
                ("remote_address", &there),
                ("remote_port", &there_port),
            ];
            for (meta, value) in BACKEND.iter().zip(values) {
                rows.push(meta, &labels, value);
            }
        }
        rows.pour(sink);
        Ok(())
    }
}

/// Lines `PROTOCOL ADDRESS:PORT SCHEDULER`, each with lines `-> ADDRESS:PORT METHOD WEIGHT ACTIVE INACTIVE` below it.
fn backends(text: &Text) -> Result<BTreeMap<Backend, [f64; 3]>, CollectError> {
    let (mut found, mut service) = (BTreeMap::<Backend, [f64; 3]>::new(), None);
    for line in text.content.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [proto @ ("TCP" | "UDP" | "SCTP"), at, ..] => {
                let (address, port) = endpoint(at).ok_or_else(|| text.fault(line, "PROTOCOL ADDRESS:PORT"))?;
                service = Some(((*proto).to_owned(), String::new(), address, port));
            }
            ["FWM", mark, ..] => {
                service = Some(("FWM".to_owned(), (*mark).to_owned(), String::new(), "0".to_owned()));
            }
            ["->", at, _, weight, active, inactive, ..] if *at != "RemoteAddress:Port" => {
                let Some((proto, mark, here, here_port)) = service.clone() else { continue };
                let expected = "-> ADDRESS:PORT METHOD WEIGHT ACTIVE INACTIVE";
                let (there, there_port) = endpoint(at).ok_or_else(|| text.fault(line, expected))?;
                let mut values = [0.0; 3];
                for (value, word) in values.iter_mut().zip([weight, active, inactive]) {
                    *value = text.number(Some(word), line, expected)?;
                }
                if found.len() < BACKENDS_MAX {
                    // Services that differ in flags alone are one here.
                    let sum = found.entry([proto, mark, here, here_port, there, there_port]).or_default();
                    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// `C0A80016:0CEA` or `[2620:…:0001]:0050` as address and port.
fn endpoint(text: &str) -> Option<(String, String)> {
    let (address, port) = text.rsplit_once(':')?;
    let address: IpAddr = match address.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse().ok()?,
        None if address.len() == 8 => Ipv4Addr::from_bits(u32::from_str_radix(address, 16).ok()?).into(),
        None => return None,
    };
    Some((address.to_string(), u16::from_str_radix(port, 16).ok()?.to_string()))
}
