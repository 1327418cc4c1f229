//! `/proc/net/netstat`, `/proc/net/snmp`, `/proc/net/snmp6`: counters of the network protocols, those that node_exporter
//! has by default.

use super::sink::untyped;
use super::source::{CollectError, Text};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;
use std::collections::HashMap;

static METAS: [MetricMeta; 42] = [
    untyped("node_netstat_Icmp6_InErrors", "Statistic Icmp6InErrors."),
    untyped("node_netstat_Icmp6_InMsgs", "Statistic Icmp6InMsgs."),
    untyped("node_netstat_Icmp6_OutMsgs", "Statistic Icmp6OutMsgs."),
    untyped("node_netstat_Icmp_InErrors", "Statistic IcmpInErrors."),
    untyped("node_netstat_Icmp_InMsgs", "Statistic IcmpInMsgs."),
    untyped("node_netstat_Icmp_OutMsgs", "Statistic IcmpOutMsgs."),
    untyped("node_netstat_Ip6_InOctets", "Statistic Ip6InOctets."),
    untyped("node_netstat_Ip6_OutOctets", "Statistic Ip6OutOctets."),
    untyped("node_netstat_IpExt_InOctets", "Statistic IpExtInOctets."),
    untyped("node_netstat_IpExt_OutOctets", "Statistic IpExtOutOctets."),
    untyped("node_netstat_Ip_Forwarding", "Statistic IpForwarding."),
    untyped("node_netstat_TcpExt_ListenDrops", "Statistic TcpExtListenDrops."),
    untyped("node_netstat_TcpExt_ListenOverflows", "Statistic TcpExtListenOverflows."),
    untyped("node_netstat_TcpExt_SyncookiesFailed", "Statistic TcpExtSyncookiesFailed."),
    untyped("node_netstat_TcpExt_SyncookiesRecv", "Statistic TcpExtSyncookiesRecv."),
    untyped("node_netstat_TcpExt_SyncookiesSent", "Statistic TcpExtSyncookiesSent."),
    untyped("node_netstat_TcpExt_TCPSynRetrans", "Statistic TcpExtTCPSynRetrans."),
    untyped("node_netstat_TcpExt_TCPTimeouts", "Statistic TcpExtTCPTimeouts."),
    untyped("node_netstat_TcpExt_TCPOFOQueue", "Statistic TcpExtTCPOFOQueue."),
    untyped("node_netstat_TcpExt_TCPRcvQDrop", "Statistic TcpExtTCPRcvQDrop."),
    untyped("node_netstat_Tcp_ActiveOpens", "Statistic TcpActiveOpens."),
    untyped("node_netstat_Tcp_CurrEstab", "Statistic TcpCurrEstab."),
    untyped("node_netstat_Tcp_InErrs", "Statistic TcpInErrs."),
    untyped("node_netstat_Tcp_InSegs", "Statistic TcpInSegs."),
    untyped("node_netstat_Tcp_OutRsts", "Statistic TcpOutRsts."),
    untyped("node_netstat_Tcp_OutSegs", "Statistic TcpOutSegs."),
    untyped("node_netstat_Tcp_PassiveOpens", "Statistic TcpPassiveOpens."),
    untyped("node_netstat_Tcp_RetransSegs", "Statistic TcpRetransSegs."),
    untyped("node_netstat_Udp6_InDatagrams", "Statistic Udp6InDatagrams."),
    untyped("node_netstat_Udp6_InErrors", "Statistic Udp6InErrors."),
    untyped("node_netstat_Udp6_NoPorts", "Statistic Udp6NoPorts."),
    untyped("node_netstat_Udp6_OutDatagrams", "Statistic Udp6OutDatagrams."),
    untyped("node_netstat_Udp6_RcvbufErrors", "Statistic Udp6RcvbufErrors."),
    untyped("node_netstat_Udp6_SndbufErrors", "Statistic Udp6SndbufErrors."),
    untyped("node_netstat_UdpLite6_InErrors", "Statistic UdpLite6InErrors."),
    untyped("node_netstat_UdpLite_InErrors", "Statistic UdpLiteInErrors."),
    untyped("node_netstat_Udp_InDatagrams", "Statistic UdpInDatagrams."),
    untyped("node_netstat_Udp_InErrors", "Statistic UdpInErrors."),
    untyped("node_netstat_Udp_NoPorts", "Statistic UdpNoPorts."),
    untyped("node_netstat_Udp_OutDatagrams", "Statistic UdpOutDatagrams."),
    untyped("node_netstat_Udp_RcvbufErrors", "Statistic UdpRcvbufErrors."),
    untyped("node_netstat_Udp_SndbufErrors", "Statistic UdpSndbufErrors."),
];
const PREFIX: &str = "node_netstat_";

/// Protocol counters.
pub(super) struct Netstat;

impl Collect for Netstat {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut values: HashMap<String, f64> = HashMap::new();
        let net = round.roots.proc.join("self/net");
        for file in ["netstat", "snmp"] {
            let text = Text::read(net.join(file))?;
            let lines: Vec<&str> = text.content.lines().collect();
            // A line of names and a line of numbers for each protocol.
            for pair in lines.chunks(2) {
                let [names, numbers] = pair else {
                    return Err(text.fault(pair[0], "a line of names and one of numbers"));
                };
                let (protocol, names) = names.split_once(':').ok_or_else(|| text.fault(names, "PROTOCOL: names"))?;
                let (_, numbers) = numbers.split_once(':').ok_or_else(|| text.fault(numbers, "PROTOCOL: numbers"))?;
                for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
                    values.insert(format!("{protocol}_{name}"), text.number(Some(number), numbers, "numbers")?);
                }
            }
        }
        // A kernel without IPv6 has no such file.
        if let Some(text) = Text::optional(net.join("snmp6"))? {
            for line in text.content.lines() {
                let mut words = line.split_ascii_whitespace();
                let (Some(name), number) = (words.next(), words.next()) else { continue };
                // `Ip6InOctets` is the counter InOctets of Ip6.
                if let Some(at) = name.find('6') {
                    let (protocol, field) = name.split_at(at + 1);
                    values.insert(format!("{protocol}_{field}"), text.number(number, line, "NAME NUMBER")?);
                }
            }
        }
        for meta in &METAS {
            if let Some(value) = meta.name.strip_prefix(PREFIX).and_then(|name| values.get(name)) {
                sink.push(meta, &[], *value);
            }
        }
        Ok(())
    }
}
