//! Prober `tcp`: a connection, TLS where it is set, and a dialogue line by line.

use super::check::CheckedTcp;
use super::findings::Findings;
use super::target::look_up;
use crate::http::{SystemRoots, TlsClient, connect};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout_at};

/// Longest line of a dialogue; a server that sends longer ones speaks another protocol.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// What asks one target.
#[derive(Debug, Clone)]
pub(super) struct TcpProber {
    settings: Arc<CheckedTcp>,
    tls: TlsClient,
    host: String,
    port: u16,
}

impl TcpProber {
    pub(super) fn new(settings: Arc<CheckedTcp>, host: String, port: u16, roots: &SystemRoots) -> Self {
        Self { tls: TlsClient::new(&settings.tls, roots), settings, host, port }
    }

    /// Asks, within `timeout`.
    pub(super) async fn run(&self, timeout: Duration, findings: &mut Findings) {
        let until = Instant::now() + timeout;
        findings.set("probe_failed_due_to_regex", 0.0);
        let Some(ip) = look_up(&self.host, self.settings.preference, findings).await else { return };
        let address = SocketAddr::new(ip, self.port);
        let outcome = timeout_at(until, self.talk(address, until, findings)).await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(why)) => findings.fail(why),
            Err(_) => findings.fail("it did not answer in time"),
        }
    }

    async fn talk(&self, address: SocketAddr, until: Instant, findings: &mut Findings) -> Result<(), String> {
        let stream = connect(&[address], until, &mut None).await.map_err(|error| error.to_string())?;
        if !self.settings.speaks_tls {
            return self.dialogue(stream, findings).await;
        }
        let name = self.tls.server_name().unwrap_or(&self.host);
        let (stream, peer) = self.tls.connect(stream, name).await.map_err(|error| error.to_string())?;
        findings.tls(&self.tls, &peer);
        self.dialogue(stream, findings).await
    }

    async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let mut stream = BufReader::new(stream);
        for step in &self.settings.query_response {
            let mut send = step.send.clone().into_bytes();
            if let Some(expect) = &step.expect {
                let mut line = Vec::new();
                let found = loop {
                    line.clear();
                    let read = (&mut stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
                    if read.map_err(|error| format!("reading failed: {error}"))? == 0 {
                        findings.set("probe_failed_due_to_regex", 1.0);
                        return Err(format!("no line matched {expect} before the connection ended"));
                    }
                    if line.len() as u64 == LINE_BYTES_MAX {
                        return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes"));
                    }
                    while line.last().is_some_and(|end| matches!(end, b'\n' | b'\r')) {
                        line.pop();
                    }
                    if let Some(found) = expect.captures(&line) {
                        break found;
                    }
                };
                findings.set("probe_failed_due_to_regex", 0.0);
                send.clear();
                found.expand(step.send.as_bytes(), &mut send);
            }
            if !send.is_empty() {
                send.push(b'\n');
                stream.write_all(&send).await.map_err(|error| format!("sending failed: {error}"))?;
                stream.flush().await.map_err(|error| format!("sending failed: {error}"))?;
            }
        }
        Ok(())
    }
}
