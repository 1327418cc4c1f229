//! Asks containers how they are.

use crate::docker::{Container, Engine, EngineError};
use crate::http::{self, Client, Request, SystemRoots, TlsSettings};
use skerry_scaling::workload::{Failure, Outcome, Probe, ProbeAction};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest part of an answer that is read: only the status counts.
const BODY_BYTES_MAX: usize = 10 << 10;
/// How long a runtime may take to say that it is there.
const RUNTIME_MAX: Duration = Duration::from_secs(1);
/// Longest part of a program's output that is told.
const OUTPUT_BYTES_MAX: usize = 200;

/// Where a container is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reach {
    /// Its own address; `None` where it has none of its own.
    address: Option<String>,
    /// It has the host's network.
    is_host: bool,
    /// Ports in the container, and what of the host leads there.
    published: Vec<(u16, String, u16)>,
}

impl Reach {
    pub(super) fn of(container: &Container) -> Self {
        let raw = container.raw();
        let ports = raw["NetworkSettings"]["Ports"].as_object().into_iter().flatten();
        let published = ports.filter_map(|(name, hosts)| {
            let inside = name.strip_suffix("/tcp")?.parse().ok()?;
            let host = hosts.as_array()?.first()?;
            let ip = host["HostIp"].as_str().filter(|ip| !["", "0.0.0.0", "::"].contains(ip)).unwrap_or("127.0.0.1");
            Some((inside, ip.to_owned(), host["HostPort"].as_str()?.parse().ok()?))
        });
        Self {
            address: container.address().map(str::to_owned),
            is_host: raw["HostConfig"]["NetworkMode"] == "host",
            published: published.collect(),
        }
    }

    /// Host and port for a port of the container.
    fn to(&self, host: Option<&str>, port: u16) -> Result<(String, u16), String> {
        if let Some(host) = host {
            return Ok((host.to_owned(), port));
        }
        if self.is_host {
            return Ok(("127.0.0.1".to_owned(), port));
        }
        if let Some(address) = &self.address {
            return Ok((address.clone(), port));
        }
        let published = self.published.iter().find(|(inside, ..)| *inside == port);
        published.map(|(_, ip, port)| (ip.clone(), *port)).ok_or_else(|| {
            format!("the container has no address, and its port {port} is not published: use exec, or a network")
        })
    }
}

/// Asks. A runtime that does not answer says nothing of the container: [`Failure::UNREACHABLE`].
pub(super) async fn ask(engine: &Engine, id: &str, probe: &Probe, reach: &Reach, clients: &Clients) -> Outcome {
    if let ProbeAction::Exec(command) = &probe.action {
        return exec(engine, id, command, probe.timeout).await;
    }
    connect(probe, reach, clients).await.map_err(unhealthy)
}

const fn unhealthy(message: String) -> Failure {
    Failure { reason: "Unhealthy", message }
}

async fn exec(engine: &Engine, id: &str, command: &[String], limit: Duration) -> Outcome {
    let failed = match engine.exec(id, command, limit).await {
        Ok(executed) if executed.code == 0 => return Ok(()),
        Ok(executed) => {
            let output = executed.output.trim();
            let output = &output[..output.floor_char_boundary(OUTPUT_BYTES_MAX)];
            return Err(unhealthy(format!("{} ended with code {}: {output}", command.join(" "), executed.code)));
        }
        Err(error) => error,
    };
    // The program hangs, or the runtime does.
    let answers = timeout(RUNTIME_MAX, engine.inspect(id)).await;
    let message = failed.to_string();
    match (answers, failed) {
        (Ok(Ok(_)), EngineError::Timeout { .. }) => {
            Err(unhealthy(format!("{} did not end within {} s", command.join(" "), limit.as_secs())))
        }
        (Ok(Ok(_)), EngineError::Refused { .. }) => Err(unhealthy(message)),
        _ => Err(Failure { reason: Failure::UNREACHABLE, message }),
    }
}

/// Connects, by TCP alone or with a request.
async fn connect(probe: &Probe, reach: &Reach, clients: &Clients) -> Result<(), String> {
    let limit = probe.timeout;
    match &probe.action {
        ProbeAction::Exec(_) => Ok(()),
        ProbeAction::Tcp { host, port } => {
            let (host, port) = reach.to(host.as_deref(), *port)?;
            let connected = timeout(limit, TcpStream::connect((host.as_str(), port))).await;
            match connected {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("{host}:{port}: {error}")),
                Err(_) => Err(format!("{host}:{port}: no connection within {} s", limit.as_secs())),
            }
        }
        ProbeAction::Http { host, port, path, is_tls, headers } => {
            let (host, port) = reach.to(host.as_deref(), *port)?;
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            let scheme = if *is_tls { "https" } else { "http" };
            let url = format!("{scheme}://{host}:{port}{path}");
            let status = clients.status(&url, headers, limit).await.map_err(|error| error.text)?;
            if (200..400).contains(&status) { Ok(()) } else { Err(format!("{url} answers with status {status}")) }
        }
    }
}

/// HTTP clients of probes: certificates are not verified, as in Kubernetes.
#[derive(Clone)]
pub(super) struct Clients(Arc<Client>);

impl Clients {
    pub(super) fn new() -> Self {
        let unverified = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
        Self(Arc::new(Client::new(&unverified, &SystemRoots::default())))
    }

    async fn status(&self, url: &str, headers: &[(String, String)], limit: Duration) -> Result<u16, http::HttpError> {
        // A redirect is a good answer; where it leads is another's matter.
        let mut request = Request { deadline: limit, bytes_max: BODY_BYTES_MAX, redirects_max: 0, ..Request::get(url) };
        for (name, value) in headers {
            request = request.header(name, value)?;
        }
        // The status counts, however long the body is.
        let mut trace = http::Trace::default();
        let outcome = self.0.stream(&request, &mut trace, &mut |_| Ok(())).await;
        match (outcome, trace.status) {
            (Ok(head), _) => Ok(head.status.as_u16()),
            (Err(error), Some(status)) if error.cause == http::Cause::Oversize => Ok(status.as_u16()),
            (Err(error), _) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_container_is_reached_as_it_can_be() {
        let of = |raw: serde_json::Value| Reach::of(&Container::read(raw).unwrap());
        let ports = json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8001"}], "53/udp": null});
        let own =
            of(json!({"Id": ID, "NetworkSettings": {"Ports": ports, "Networks": {"n": {"IPAddress": "10.0.0.2"}}}}));
        let host = of(json!({"Id": ID, "HostConfig": {"NetworkMode": "host"}}));
        let rootless = of(json!({"Id": ID, "NetworkSettings": {"Ports": ports}}));
        for (reach, to, expected) in [
            (&own, None, Ok(("10.0.0.2".to_owned(), 80))),
            (&own, Some("db"), Ok(("db".to_owned(), 80))),
            (&host, None, Ok(("127.0.0.1".to_owned(), 80))),
            (&rootless, None, Ok(("127.0.0.1".to_owned(), 8001))),
        ] {
            assert_eq!(reach.to(to, 80), expected);
        }
        assert!(rootless.to(None, 81).is_err());
    }
}
