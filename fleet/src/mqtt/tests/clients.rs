//! Clients that others wrote: rumqttc, which the agent uses, and Debian's mosquitto-clients.

use super::*;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Transport};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

fn rumqttc_client(site: &Site, transport: Transport, host: &str, port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("whatever", host, port);
    options.set_transport(transport).set_keep_alive(Duration::from_secs(5));
    options.set_max_packet_size(1 << 21, 1 << 21);
    assert!(site.stats.connected() < 10);
    AsyncClient::new(options, 8)
}

async fn event(event_loop: &mut EventLoop, wanted: impl Fn(&Packet) -> bool) -> Packet {
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

async fn talk_with_rumqttc(site: &mut Site, client: AsyncClient, mut event_loop: EventLoop) {
    event(&mut event_loop, |packet| matches!(packet, Packet::ConnAck(_))).await;
    next(&mut site.inbound).await;
    client.subscribe("skerry/v1/a/down/+", rumqttc::QoS::AtLeastOnce).await.unwrap();
    event(&mut event_loop, |packet| matches!(packet, Packet::SubAck(_))).await;
    client.publish("skerry/v1/a/up/metrics", rumqttc::QoS::AtLeastOnce, false, vec![5; 300_000]).await.unwrap();

    let mut polled = tokio::spawn(async move {
        let ack = event(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_))).await;
        (ack, event_loop)
    });
    let (_, leaf, payload, done) = message(&mut site.inbound).await;
    assert_eq!((leaf, payload.len()), (UpLeaf::Metrics, 300_000));
    let early = timeout(Duration::from_millis(50), &mut polled).await;
    assert!(early.is_err(), "no PUBACK before the fleet is done");
    done.complete();
    let (_, mut event_loop) = timeout(SOON, polled).await.unwrap().unwrap();

    site.downlink.send(&node("a"), DownLeaf::Config, Bytes::from_static(b"config")).await.unwrap();
    let Packet::Publish(got) = event(&mut event_loop, |packet| matches!(packet, Packet::Publish(_))).await else {
        panic!("PUBLISH is expected")
    };
    assert_eq!((got.topic.as_str(), &got.payload[..]), ("skerry/v1/a/down/config", &b"config"[..]));
    client.disconnect().await.unwrap();
    let goodbye = async { while event_loop.poll().await.is_ok() {} };
    timeout(SOON, goodbye).await.unwrap();
    assert_eq!(end(&mut site.inbound).await, EndReason::Goodbye);
}

#[tokio::test]
async fn rumqttc_talks_over_tls() {
    let mut site = Site::new().await;
    let tls = tls_client(site.ca.cert_pem(), Some(&node_key(&site.ca, "a")));
    let transport = Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls));
    let (client, event_loop) = rumqttc_client(&site, transport, "localhost", site.address.port());
    talk_with_rumqttc(&mut site, client, event_loop).await;
}

#[tokio::test]
async fn rumqttc_talks_over_websocket() {
    let mut site = Site::new().await;
    let tls = tls_client(site.ca.cert_pem(), Some(&node_key(&site.ca, "a")));
    let transport = Transport::wss_with_config(rumqttc::TlsConfiguration::Rustls(tls));
    let port = site.websocket.port();
    let (client, event_loop) = rumqttc_client(&site, transport, &format!("wss://localhost:{port}/mqtt"), port);
    talk_with_rumqttc(&mut site, client, event_loop).await;
}

#[tokio::test]
async fn a_websocket_elsewhere_or_of_another_protocol_is_refused() {
    let bench = Bench::new();
    for (uri, protocol, status) in
        [("ws://x/other", Some("mqtt"), 404), ("ws://x/mqtt", Some("chat"), 400), ("ws://x/mqtt", None, 400)]
    {
        use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};
        let (ours, theirs) = duplex(64 * 1024);
        let (service, stop) = (bench.service.clone(), bench.stop.clone());
        tokio::spawn(async move { service.serve_websocket(theirs, identity_of("a"), &stop).await });
        let mut request = uri.into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        match timeout(SOON, tokio_tungstenite::client_async(request, ours)).await.unwrap() {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status),
            other => panic!("a refusal is expected: {other:?}"),
        }
    }
}

/// `mosquitto_pub` or `mosquitto_sub` with this node's certificate, or `None` where it is not installed.
fn mosquitto(tool: &str, site: &Site, folder: &Path, version: &str, args: &[&str]) -> Option<Command> {
    let tool = Path::new("/usr/bin").join(tool);
    if !tool.exists() {
        eprintln!("skipped: {} is missing; install mosquitto-clients", tool.display());
        return None;
    }
    let key = node_key(&site.ca, "a");
    let [ca, cert, private] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&ca, site.ca.cert_pem()).unwrap();
    std::fs::write(&cert, &key.cert_pem).unwrap();
    std::fs::write(&private, &key.key_pem).unwrap();
    let mut command = Command::new(tool);
    command.args(["-h", "localhost", "-p", &site.address.port().to_string(), "-V", version]);
    command.arg("--cafile").arg(ca).arg("--cert").arg(cert).arg("--key").arg(private);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Some(command)
}

#[tokio::test]
async fn mosquitto_pub_publishes_in_both_versions() {
    for version in ["mqttv311", "mqttv5"] {
        let mut site = Site::new().await;
        let folder = tempfile::tempdir().unwrap();
        let args = ["-q", "1", "-t", "skerry/v1/a/up/logs", "-m", "from mosquitto"];
        let Some(mut command) = mosquitto("mosquitto_pub", &site, folder.path(), version, &args) else { return };
        let mut child = command.spawn().unwrap();
        assert!(matches!(next(&mut site.inbound).await, Inbound::Connected { node, .. } if node.as_str() == "a"));
        let (_, leaf, payload, done) = message(&mut site.inbound).await;
        assert_eq!((leaf, &payload[..]), (UpLeaf::Logs, &b"from mosquitto"[..]));
        done.complete();
        assert!(timeout(SOON, child.wait()).await.unwrap().unwrap().success());
        assert_eq!(end(&mut site.inbound).await, EndReason::Goodbye);
    }
}

#[tokio::test]
async fn mosquitto_pub_is_refused_elsewhere_in_both_versions() {
    for version in ["mqttv311", "mqttv5"] {
        let mut site = Site::new().await;
        let folder = tempfile::tempdir().unwrap();
        let args = ["-q", "1", "-t", "skerry/v1/b/up/logs", "-m", "x"];
        let Some(mut command) = mosquitto("mosquitto_pub", &site, folder.path(), version, &args) else { return };
        let child = command.spawn().unwrap();
        next(&mut site.inbound).await;
        // In 3.1.1 mosquitto_pub connects again and again; the first end is enough.
        let expected = if version == "mqttv5" { EndReason::Goodbye } else { EndReason::NotAuthorized };
        assert_eq!(end(&mut site.inbound).await, expected);
        assert!(site.stats.refused(Refusal::PublishTopic) >= 1);
        if version == "mqttv5" {
            let output = timeout(SOON, child.wait_with_output()).await.unwrap().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert!(said.contains("not authorized"), "{said}");
        }
    }
}

#[tokio::test]
async fn mosquitto_sub_hears_its_own_down_in_both_versions() {
    for version in ["mqttv311", "mqttv5"] {
        let mut site = Site::new().await;
        let folder = tempfile::tempdir().unwrap();
        let args = ["-q", "1", "-t", "skerry/v1/a/down/#", "-C", "1", "-v"];
        let Some(mut command) = mosquitto("mosquitto_sub", &site, folder.path(), version, &args) else { return };
        let child = command.spawn().unwrap();
        next(&mut site.inbound).await;
        site.downlink.send(&node("a"), DownLeaf::Ack, Bytes::from_static(b"hello")).await.unwrap();
        let output = timeout(SOON, child.wait_with_output()).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "skerry/v1/a/down/ack hello\n");
    }
}
