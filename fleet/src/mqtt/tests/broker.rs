//! The transport through a real mosquitto.

use super::*;
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet};
use skerry_wire::{Status, codec};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const MOSQUITTO: &str = "/usr/sbin/mosquitto";

/// A broker of its own, with mutual TLS, whose access list goes by the certificate's common name.
struct Mosquitto {
    ca: FleetCa,
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Mosquitto {
    /// `None` where mosquitto is not installed.
    async fn start() -> Option<Self> {
        if !Path::new(MOSQUITTO).exists() {
            eprintln!("skipped: {MOSQUITTO} is missing; install mosquitto");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let ca = FleetCa::generate("test", now()).unwrap();
        let server = ca.issue_server(&["localhost".to_owned()], Duration::from_secs(86_400), now()).unwrap();
        let write = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let port = skerry_ports::free_port().unwrap();
        let acl = write(
            "acl",
            "user fleet\ntopic read skerry/v1/+/up/+\ntopic write skerry/v1/+/down/+\n\
             pattern write skerry/v1/%u/up/+\npattern read skerry/v1/%u/down/+\n",
        );
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\nrequire_certificate true\n\
             use_identity_as_username true\nacl_file {}\ncafile {}\ncertfile {}\nkeyfile {}\nlog_dest none\n",
            acl.display(),
            write("ca.pem", ca.cert_pem()).display(),
            write("server.pem", &server.cert_pem).display(),
            write("server.key", &server.key_pem).display(),
        );
        let config = write("mosquitto.conf", &config);
        // Started by root it would become another user, who may not read the files: told to stay who it is.
        let user = if rustix::process::getuid().is_root() { "user root\n" } else { "" };
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{user}{text}")).unwrap();
        let process = Self::spawn(&config);
        let mosquitto = Self { ca, folder, port, process };
        mosquitto.ready().await;
        Some(mosquitto)
    }

    fn spawn(config: &Path) -> Child {
        let mut command = Command::new(MOSQUITTO);
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true).spawn().unwrap()
    }

    async fn ready(&self) {
        let listening = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, listening).await.expect("mosquitto listens");
    }

    async fn restart(&mut self) {
        self.process.kill().await.unwrap();
        self.process = Self::spawn(&self.folder.path().join("mosquitto.conf"));
        self.ready().await;
    }

    fn tls(&self, name: &str) -> Arc<rustls::ClientConfig> {
        tls_client(self.ca.cert_pem(), Some(&node_key(&self.ca, name)))
    }

    fn fleet(&self) -> Fleet {
        let (sender, inbound) = mpsc::channel(64);
        let config = BrokerConfig {
            host: "localhost".into(),
            port: self.port,
            tls: Some(self.tls("fleet")),
            client_id: "skerry-fleet".into(),
            credentials: None,
            keepalive: Duration::from_secs(5),
            retry: (Duration::from_millis(20), Duration::from_millis(100)),
        };
        let broker = Broker::new(config, 1, sender);
        let (downlink, stats) = (broker.downlink(), broker.stats());
        let stop = CancellationToken::new();
        let task = tokio::spawn(broker.run(stop.clone()));
        Fleet { inbound, downlink, stats, stop, task }
    }

    /// An agent that is connected and subscribed, with its last will.
    async fn agent(&self, name: &str) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(name, "localhost", self.port);
        let tls = rumqttc::TlsConfiguration::Rustls(self.tls(name));
        options.set_transport(rumqttc::Transport::tls_with_config(tls)).set_keep_alive(Duration::from_secs(5));
        let will = codec::encode(&Status::Gone { session: 1, clean: false });
        let topic = format!("skerry/v1/{name}/up/status");
        options.set_last_will(LastWill::new(topic, will, rumqttc::QoS::AtLeastOnce, false));
        let (client, mut event_loop) = AsyncClient::new(options, 8);
        client.subscribe(format!("skerry/v1/{name}/down/+"), rumqttc::QoS::AtLeastOnce).await.unwrap();
        poll_until(&mut event_loop, |packet| matches!(packet, Packet::SubAck(_))).await;
        (client, event_loop)
    }
}

struct Fleet {
    inbound: mpsc::Receiver<Inbound>,
    downlink: Downlink,
    stats: Arc<Stats>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Fleet {
    async fn subscribed(&self, times: u64) {
        let connected = async {
            while self.stats.connections() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, connected).await.expect("the fleet connects");
    }
}

async fn poll_until(event_loop: &mut EventLoop, wanted: impl Fn(&Packet) -> bool) -> Packet {
    let found = async {
        loop {
            match event_loop.poll().await.unwrap() {
                Event::Incoming(packet) if wanted(&packet) => return packet,
                _ => {}
            }
        }
    };
    timeout(SOON, found).await.expect("the packet should come")
}

#[tokio::test]
async fn nodes_and_fleet_talk_through_mosquitto() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let mut fleet = mosquitto.fleet();
    fleet.subscribed(1).await;
    let (client, mut event_loop) = mosquitto.agent("a").await;
    client.publish("skerry/v1/a/up/hello", rumqttc::QoS::AtLeastOnce, false, "hello").await.unwrap();
    poll_until(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;

    let Inbound::Connected { node: who, peer: None, cert_pin: None, session } = next(&mut fleet.inbound).await else {
        panic!("connected is expected")
    };
    assert_eq!(who, node("a"));
    let (_, leaf, payload, done) = message(&mut fleet.inbound).await;
    assert_eq!((leaf, &payload[..]), (UpLeaf::Hello, &b"hello"[..]));
    done.complete();

    fleet.downlink.send(&node("a"), DownLeaf::Ack, Bytes::from_static(b"ack")).await.unwrap();
    let Packet::Publish(got) = poll_until(&mut event_loop, |p| matches!(p, Packet::Publish(_))).await else {
        panic!("PUBLISH is expected")
    };
    assert_eq!((got.topic.as_str(), &got.payload[..]), ("skerry/v1/a/down/ack", &b"ack"[..]));

    // Without a goodbye: the broker executes the will.
    drop((client, event_loop));
    let (_, leaf, _, done) = message(&mut fleet.inbound).await;
    assert_eq!(leaf, UpLeaf::Status);
    done.complete();
    match next(&mut fleet.inbound).await {
        Inbound::Disconnected { session: ended, reason, .. } => assert_eq!((ended, reason), (session, EndReason::Will)),
        other => panic!("disconnected is expected: {other:?}"),
    }
    fleet.stop.cancel();
    timeout(SOON, fleet.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_not_finished_comes_again_and_so_does_what_came_in_between() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let mut fleet = mosquitto.fleet();
    fleet.subscribed(1).await;
    let (client, mut event_loop) = mosquitto.agent("a").await;
    let publish = |text: &'static str| client.publish("skerry/v1/a/up/logs", rumqttc::QoS::AtLeastOnce, false, text);
    publish("1").await.unwrap();
    poll_until(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;
    next(&mut fleet.inbound).await;
    let (_, _, payload, done) = message(&mut fleet.inbound).await;
    assert_eq!(&payload[..], b"1");
    drop(done);
    fleet.subscribed(2).await;
    let (_, _, payload, done) = message(&mut fleet.inbound).await;
    assert_eq!(&payload[..], b"1", "dropped unfinished, so it comes again");
    done.complete();

    fleet.stop.cancel();
    timeout(SOON, fleet.task).await.unwrap().unwrap();
    publish("2").await.unwrap();
    poll_until(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;
    let mut fleet = mosquitto.fleet();
    assert!(matches!(next(&mut fleet.inbound).await, Inbound::Connected { .. }), "heard of, so it is there");
    let seen = loop {
        let (_, _, payload, done) = message(&mut fleet.inbound).await;
        done.complete();
        // The last PUBACK may have been under way when the fleet stopped.
        if payload != "1" {
            break payload;
        }
    };
    assert_eq!(&seen[..], b"2", "the broker kept it while the fleet was away");
}

#[tokio::test]
async fn a_node_without_its_own_certificate_is_the_brokers_to_refuse() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let mut fleet = mosquitto.fleet();
    fleet.subscribed(1).await;
    let (client, mut event_loop) = mosquitto.agent("a").await;
    // Mosquitto acknowledges and drops in 3.1.1; what counts is that only the second arrives.
    for topic in ["skerry/v1/b/up/logs", "skerry/v1/a/up/logs"] {
        client.publish(topic, rumqttc::QoS::AtLeastOnce, false, "x").await.unwrap();
        poll_until(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;
    }
    assert!(matches!(next(&mut fleet.inbound).await, Inbound::Connected { node, .. } if node.as_str() == "a"));
    assert_eq!(message(&mut fleet.inbound).await.0, node("a"));
}

#[tokio::test]
async fn an_oversized_packet_stays_with_the_broker() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let mut fleet = mosquitto.fleet();
    fleet.subscribed(1).await;
    let mut options = MqttOptions::new("a", "localhost", mosquitto.port);
    let tls = rumqttc::TlsConfiguration::Rustls(mosquitto.tls("a"));
    options.set_transport(rumqttc::Transport::tls_with_config(tls)).set_max_packet_size(1 << 22, 1 << 22);
    let (client, mut event_loop) = AsyncClient::new(options, 8);
    for payload in [vec![0; 2 << 20], vec![1; 10]] {
        client.publish("skerry/v1/a/up/logs", rumqttc::QoS::AtLeastOnce, false, payload).await.unwrap();
        poll_until(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;
    }
    next(&mut fleet.inbound).await;
    assert_eq!(message(&mut fleet.inbound).await.2.len(), 10, "only the small one comes through");
    assert_eq!(fleet.stats.connections(), 1, "and the connection has stood");
}

#[tokio::test]
async fn a_broker_that_restarts_is_found_again() {
    let Some(mut mosquitto) = Mosquitto::start().await else { return };
    let mut fleet = mosquitto.fleet();
    fleet.subscribed(1).await;
    let (client, mut event_loop) = mosquitto.agent("a").await;
    client.publish("skerry/v1/a/up/logs", rumqttc::QoS::AtLeastOnce, false, "x").await.unwrap();
    poll_until(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;
    next(&mut fleet.inbound).await;
    message(&mut fleet.inbound).await.3.complete();
    mosquitto.restart().await;
    fleet.subscribed(2).await;
    assert_eq!(end(&mut fleet.inbound).await, EndReason::Lost, "a broker without memory has lost the wills as well");
    let (client, mut event_loop) = mosquitto.agent("a").await;
    client.publish("skerry/v1/a/up/hello", rumqttc::QoS::AtLeastOnce, false, "x").await.unwrap();
    poll_until(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;
    assert!(matches!(next(&mut fleet.inbound).await, Inbound::Connected { .. }));
}
