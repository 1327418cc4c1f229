//! Who is connected to whom: the one file that knows every part of the server.

use crate::alerts::{AlertsTask, Notices};
use crate::api::{self, Access, Fleet, Requests, Tails, Turns};
use crate::clock;
use crate::config::{BrokerFile, Config};
use crate::console;
use crate::control::Control;
use crate::delivery::Delivery;
use crate::edge::EdgeQueries;
use crate::enrol::Enrolment;
use crate::forward::ForwardTask;
use crate::http;
use crate::ingest::{Asks, Counters, Ingest, Liveness};
use crate::mqtt::{
    Admission, Broker, BrokerConfig, Downlink, Endpoint, EndpointConfig, EndpointTls, Inbound, Limits, ServerCert,
    Stats,
};
use crate::notify::Shell;
use crate::pki::FleetCa;
use crate::remote::{ReceiveTask, SendTask};
use crate::rules::{RulesTask, RulesView};
use crate::store;
use crate::trust::Trust;
use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use skerry_promapi::Runtime;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Messages of all nodes that wait for the intake; a full queue pauses the connections.
const INBOUND_MAX: usize = 4096;
/// Rounds of rules that wait for routing; a full queue makes the next one wait.
const FIRED_MAX: usize = 16;

/// Where a running server is reached, for whoever started it with port 0.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// HTTP API and console.
    pub http: SocketAddr,
    /// MQTT endpoint; absent with an external broker.
    pub mqtt: Option<SocketAddr>,
}

/// Runs the server until `stop`; `ready` is told the addresses once everything listens.
///
/// # Errors
/// What keeps it from starting: files, databases, addresses.
pub async fn run(config: Config, stop: CancellationToken, ready: impl FnOnce(Addresses)) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("create the data folder {}", config.data_dir.display()))?;
    let wall = clock::system();
    let (control, control_thread) = Control::open(&config.data_dir.join("fleet.db"))?;
    let (data, data_thread) = store::open(&config.data_dir.join("fleet-data.db"), config.retention.clone())?;
    let trust = Trust::load(&config.root, &control).await.context("the fleet's root documents")?;
    let ca = Arc::new(FleetCa::load(&config.pki.ca_cert, &config.pki.ca_key).context("the fleet's CA")?);
    let admission = Admission::deny(control.revoked_pins().await?);
    let liveness = Liveness::restored(data.seen().await.context("what nodes last said")?);
    let counters = Arc::new(Counters::new());

    let (inbound_in, inbound) = mpsc::channel(INBOUND_MAX);
    let transport = Transport::open(&config, &ca, &admission, inbound_in).await?;
    let downlink = transport.downlink();
    let asks = Asks::new(downlink.clone(), wall());
    let delivery = Delivery {
        control: control.clone(),
        trust: trust.clone(),
        liveness: liveness.clone(),
        downlink: downlink.clone(),
    };
    data.set_targets(config.remote_write.iter().map(|target| target.name.clone()).collect()).await?;
    let (senders, targets) = SendTask::open(config.remote_write.clone(), &data, &delivery, &wall)?;
    data.set_forward_targets(config.forward.iter().map(|target| (target.name.clone(), target.start)).collect()).await?;
    let (forwarders, forwards) = ForwardTask::open(config.forward.clone(), &data, &delivery, &wall)?;
    let (receive, receiver) = ReceiveTask::new(data.clone(), wall.clone());
    let about = Arc::new(Runtime {
        started: wall(),
        config: config.shown.clone(),
        retention: format!("{} or {}", config.retention.max_age, config.retention.max_bytes),
        ..Runtime::default()
    });
    let (fired_in, fired) = mpsc::channel(FIRED_MAX);
    let view = RulesView::default();
    let rules = RulesTask {
        config: config.rules.clone(),
        external_url: config.http.public_url.clone(),
        store: data.clone(),
        delivery: delivery.clone(),
        wall: wall.clone(),
        about: about.clone(),
        view: view.clone(),
        fired: fired_in,
    };
    let external_url = config.http.public_url.clone();
    let notices = Notices { shell: Arc::new(Shell::new()), templates: config.alerting.templates.clone() };
    let (alerting, alerts) = AlertsTask::new(
        config.alerting.clone(),
        external_url,
        data.clone(),
        delivery.clone(),
        wall.clone(),
        notices,
        fired,
    );
    let ingest = Ingest {
        store: data.clone(),
        downlink,
        liveness: liveness.clone(),
        asks: asks.clone(),
        counters: counters.clone(),
        desired: delivery.clone(),
        wall: wall.clone(),
    };
    let enrolment = Enrolment {
        control: control.clone(),
        trust: trust.clone(),
        ca,
        validity: config.pki.node_validity(),
        mqtt_url: format!("mqtts://{}", config.mqtt.public),
    };
    let fleet = Fleet {
        control,
        store: data.clone(),
        trust,
        edge: EdgeQueries::new(asks.clone(), liveness.clone()),
        turns: Turns::default(),
        liveness,
        asks,
        delivery,
        enrolment,
        admission,
        access: Access::of_hash(config.api_token_sha256),
        counters,
        mqtt: transport.stats(),
        requests: Arc::new(Requests::default()),
        tails: Tails::new(stop.clone()),
        targets,
        forwards,
        receiver,
        alerts,
        rules: view,
        is_https: config.http.public_url.starts_with("https://"),
        runtime: about,
        wall,
    };

    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("listen for HTTP on {}; is another server running?", config.http.listen))?;
    let tls = http_tls(&config)?;
    let addresses = Addresses { http: listener.local_addr()?, mqtt: transport.address() };
    let router = api::router(fleet.clone()).merge(console::router(fleet.clone()));

    // The intake outlives the transport, so that what was received is committed; the store outlives both.
    let intake_stop = CancellationToken::new();
    let intake = tokio::spawn(ingest.run(inbound, intake_stop.clone()));
    let mut tasks = JoinSet::new();
    tasks.spawn(transport.run(stop.clone()));
    tasks.spawn(http::run(listener, tls, router, stop.clone()));
    tasks.spawn(receive.run(stop.clone()));
    tasks.spawn(rules.run(stop.clone()));
    tasks.spawn(alerting.run(stop.clone()));
    for sender in senders {
        tasks.spawn(sender.run(stop.clone()));
    }
    for forwarder in forwarders {
        tasks.spawn(forwarder.run(stop.clone()));
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), fleet = %fleet.trust.current().fleet(), http = %addresses.http,
        mqtt = addresses.mqtt.map(tracing::field::display), "fleet server runs"
    );
    ready(addresses);
    drop(fleet);

    let ended_first = tokio::select! {
        // Told to stop, parts end too; that is no failure.
        biased;
        () = stop.cancelled() => false,
        _ = tasks.join_next() => !stop.is_cancelled(),
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    intake_stop.cancel();
    if let Err(error) = intake.await {
        tracing::error!(%error, "the intake ended badly; nodes send again what was not committed");
    }
    data.close().await;
    drop(data);
    let threads = tokio::task::spawn_blocking(|| {
        data_thread.join();
        control_thread.join();
    });
    threads.await.context("end the databases")?;
    tracing::info!("fleet server stopped");
    anyhow::ensure!(!ended_first, "a part of the server ended by itself; the log above has the cause");
    Ok(())
}

/// Where nodes come in.
enum Transport {
    Endpoint(Box<Endpoint>),
    Broker(Box<Broker>),
}

impl Transport {
    async fn open(
        config: &Config,
        ca: &FleetCa,
        admission: &Admission,
        inbound: mpsc::Sender<Inbound>,
    ) -> anyhow::Result<Self> {
        if let Some(file) = &config.mqtt.broker {
            let seed = skerry_seal::random().map_or(0, u64::from_le_bytes);
            return Ok(Self::Broker(Box::new(Broker::new(broker(file)?, seed, inbound))));
        }
        let pki = &config.pki;
        let server = ServerCert::from_pem(&text(&pki.server_cert)?, &text(&pki.server_key)?)?;
        let tls = EndpointTls { ca: vec![ca.cert_der().clone()], server: Arc::new(server) };
        let listen =
            EndpointConfig { listen: config.mqtt.listen, websocket: config.mqtt.websocket, limits: Limits::default() };
        Ok(Self::Endpoint(Box::new(Endpoint::bind(listen, tls, admission.clone(), inbound).await?)))
    }

    fn downlink(&self) -> Downlink {
        match self {
            Self::Endpoint(endpoint) => endpoint.downlink(),
            Self::Broker(broker) => broker.downlink(),
        }
    }

    fn stats(&self) -> Arc<Stats> {
        match self {
            Self::Endpoint(endpoint) => endpoint.stats(),
            Self::Broker(broker) => broker.stats(),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Endpoint(endpoint) => endpoint.local_addr().ok(),
            Self::Broker(_) => None,
        }
    }

    async fn run(self, stop: CancellationToken) {
        match self {
            Self::Endpoint(endpoint) => endpoint.run(stop).await,
            Self::Broker(broker) => broker.run(stop).await,
        }
    }
}

fn text(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    std::fs::read_to_string(path).map(Zeroizing::new).with_context(|| format!("read {}", path.display()))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn chain_and_key(cert: &Path, key: &Path) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_slice_iter(text(cert)?.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is not a PEM certificate", cert.display()))?;
    let key = PrivateKeyDer::from_pem_slice(text(key)?.as_bytes())
        .with_context(|| format!("{} is not a PEM key", key.display()))?;
    Ok((chain, key))
}

fn broker(file: &BrokerFile) -> anyhow::Result<BrokerConfig> {
    let mut anchors = rustls::RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(text(&file.ca)?.as_bytes()) {
        anchors.add(cert.with_context(|| format!("{} is not a PEM certificate", file.ca.display()))?)?;
    }
    let (chain, key) = chain_and_key(&file.cert, &file.key)?;
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(anchors)
        .with_client_auth_cert(chain, key)
        .context("the certificate for the broker")?;
    let credentials = match (&file.username, &file.password_file) {
        (Some(name), Some(path)) => Some((name.clone(), Zeroizing::new(text(path)?.trim_end().to_owned()))),
        (Some(name), None) => Some((name.clone(), Zeroizing::new(String::new()))),
        (None, _) => None,
    };
    Ok(BrokerConfig {
        host: file.host.clone(),
        port: file.port,
        tls: Some(Arc::new(tls)),
        client_id: file.client_id.clone(),
        credentials,
        keepalive: Duration::from_secs(30),
        retry: (Duration::from_secs(1), Duration::from_secs(60)),
    })
}

fn http_tls(config: &Config) -> anyhow::Result<Option<TlsAcceptor>> {
    let Some(files) = &config.http.tls else { return Ok(None) };
    let (chain, key) = chain_and_key(&files.cert, &files.key)?;
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the HTTP server's certificate")?;
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}
