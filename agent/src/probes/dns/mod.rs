//! Prober `dns`: one query to one server.

pub(super) mod message;
pub(super) mod record;

use super::check::{CheckedDns, RecordRules};
use super::config::Transport;
use super::findings::Findings;
use super::target::look_up;
use crate::http::{SystemRoots, TlsClient, connect};
use message::{Question, Response};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 65_535;

/// What asks one target.
#[derive(Debug, Clone)]
pub(super) struct DnsProber {
    settings: Arc<CheckedDns>,
    tls: TlsClient,
    host: String,
    port: u16,
}

impl DnsProber {
    pub(super) fn new(settings: Arc<CheckedDns>, host: String, port: u16, roots: &SystemRoots) -> Self {
        Self { tls: TlsClient::new(&settings.tls, roots), settings, host, port }
    }

    /// Asks, within `timeout`.
    pub(super) async fn run(&self, timeout: Duration, findings: &mut Findings) {
        let until = Instant::now() + timeout;
        for name in
            ["probe_dns_answer_rrs", "probe_dns_authority_rrs", "probe_dns_additional_rrs", "probe_dns_query_succeeded"]
        {
            findings.set(name, 0.0);
        }
        for phase in ["resolve", "connect", "request"] {
            findings.phase("probe_dns_duration_seconds", phase, Duration::ZERO);
        }
        let begin = Instant::now();
        let Some(ip) = look_up(&self.host, self.settings.preference, findings).await else { return };
        let looked_up = Instant::now();
        findings.phase("probe_dns_duration_seconds", "resolve", looked_up - begin);
        let (address, mut connected) = (SocketAddr::new(ip, self.port), looked_up);
        let outcome = timeout_at(until, self.ask(address, until, &mut connected)).await;
        findings.phase("probe_dns_duration_seconds", "connect", connected - looked_up);
        findings.phase("probe_dns_duration_seconds", "request", connected.elapsed());
        match outcome {
            Ok(Ok(response)) => self.judge(&response, findings),
            Ok(Err(why)) => findings.fail(why),
            Err(_) => findings.fail(format!("{address} did not answer in time")),
        }
    }

    async fn ask(&self, address: SocketAddr, until: Instant, connected: &mut Instant) -> Result<Response, String> {
        let id = skerry_seal::random::<2>().map(u16::from_be_bytes).map_err(|error| error.to_string())?;
        let query = self.settings.question.encode(id);
        let failed = |error: std::io::Error| format!("the exchange with {address} failed: {error}");
        if self.settings.transport == Transport::Tcp {
            let stream = connect(&[address], until, &mut None).await.map_err(|error| error.to_string())?;
            if !self.settings.speaks_tls {
                *connected = Instant::now();
                return over_stream(stream, id, &query, &self.settings.question).await;
            }
            let name = self.tls.server_name().unwrap_or(&self.host);
            let (stream, _) = self.tls.connect(stream, name).await.map_err(|error| error.to_string())?;
            *connected = Instant::now();
            return over_stream(stream, id, &query, &self.settings.question).await;
        }
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
        // Connected, so that only this server is heard.
        socket.connect(address).await.map_err(failed)?;
        *connected = Instant::now();
        socket.send(&query).await.map_err(failed)?;
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        loop {
            let read = socket.recv(&mut buffer).await.map_err(failed)?;
            let response =
                Response::decode(&buffer[..read]).map_err(|why| format!("the answer cannot be read: {why}"))?;
            // An answer to another question came late, or is forged.
            if response.answers(id, &self.settings.question) {
                return Ok(response);
            }
        }
    }

    fn judge(&self, response: &Response, findings: &mut Findings) {
        findings.set("probe_dns_query_succeeded", 1.0);
        findings.set("probe_dns_answer_rrs", response.answers.len() as f64);
        findings.set("probe_dns_authority_rrs", response.authorities.len() as f64);
        findings.set("probe_dns_additional_rrs", response.additionals.len() as f64);
        if self.settings.question.kind == record::SOA {
            findings.set("probe_dns_serial", 0.0);
            if let Some(serial) = response.answers.iter().filter_map(|record| record.serial).next_back() {
                findings.set("probe_dns_serial", f64::from(serial));
            }
        }
        if !self.settings.valid_rcodes.contains(&response.rcode) {
            let name = message::rcode_name(response.rcode);
            return findings.fail(format!("the outcome {name} is not among the valid ones"));
        }
        let sections = [
            ("answer", &response.answers, &self.settings.answer),
            ("authority", &response.authorities, &self.settings.authority),
            ("additional", &response.additionals, &self.settings.additional),
        ];
        for (section, records, rules) in sections {
            let texts: Vec<&str> = records.iter().map(|record| &*record.text).collect();
            if let Err(why) = rules.hold(&texts) {
                return findings.fail(format!("{section}: {why}"));
            }
        }
    }
}

impl RecordRules {
    /// Whether the records of a section are as they should be.
    fn hold(&self, records: &[&str]) -> Result<(), String> {
        let matches = |regexp: &regex::bytes::Regex, record: &str| regexp.is_match(record.as_bytes());
        for record in records {
            if let Some(regexp) = self.matches.iter().find(|regexp| matches(regexp, record)) {
                return Err(format!("a record matches {regexp}"));
            }
            if let Some(regexp) = self.not_matches.iter().find(|regexp| !matches(regexp, record)) {
                return Err(format!("a record does not match {regexp}"));
            }
        }
        let is_needed = !self.not_matches.is_empty() || !self.none_matches.is_empty();
        if records.is_empty() && is_needed {
            return Err("there is no record".into());
        }
        // The other way round than its name says, as blackbox_exporter does it: modules that work there work here.
        let all = |record: &&str| self.all_match.iter().all(|regexp| matches(regexp, record));
        if !records.iter().all(all) {
            return Err("not all records match".into());
        }
        let any = |record: &&str| self.none_matches.iter().any(|regexp| matches(regexp, record));
        if !self.none_matches.is_empty() && !records.iter().any(any) {
            return Err("no record matches".into());
        }
        Ok(())
    }
}

/// DNS over a stream: each message with its length before it (RFC 1035, 4.2.2).
async fn over_stream<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    id: u16,
    query: &[u8],
    question: &Question,
) -> Result<Response, String> {
    let failed = |error: std::io::Error| format!("the exchange failed: {error}");
    let mut framed = u16::try_from(query.len()).map_err(|_| "the query is too long")?.to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    let response = Response::decode(&answer).map_err(|why| format!("the answer cannot be read: {why}"))?;
    if response.answers(id, question) { Ok(response) } else { Err("the answer is to another question".into()) }
}
