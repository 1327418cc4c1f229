//! Foreign MQTT programs against the real server, and the real server behind a foreign broker: Debian's mosquitto and
//! its clients. Skipped, and said so, where they are not installed.

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use skerry_fleet::pki::FleetCa;
use skerry_tests::lab::{Binaries, Lab, Node, Running, free_port, wait_for};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const MOSQUITTO: &str = "/usr/sbin/mosquitto";
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn installed(program: &str) -> bool {
    let found = program.starts_with('/').then(|| Path::new(program).exists());
    let found = found.unwrap_or_else(|| Path::new("/usr/bin").join(program).exists());
    if !found {
        eprintln!("SKIPPED: {program} is missing; install the Debian packages mosquitto and mosquitto-clients");
    }
    found
}

/// The node's own certificate and key as PEM files, from where its agent keeps them.
fn credentials(node: &Node) -> anyhow::Result<(PathBuf, PathBuf)> {
    let identity = node.folder.join("data/identity");
    let enrolment: serde_json::Value = serde_json::from_slice(&std::fs::read(identity.join("enrolment.json"))?)?;
    let mut pem = String::new();
    for der in enrolment["cert_chain"].as_array().context("the chain")? {
        let der = STANDARD.decode(der.as_str().context("a certificate")?)?;
        let text = STANDARD.encode(der);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            writeln!(pem, "{}", String::from_utf8_lossy(line))?;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    let cert = node.folder.join("cert.pem");
    std::fs::write(&cert, pem)?;
    Ok((cert, identity.join("tls-key.pem")))
}

/// A mosquitto client against the server, with the node's credentials where they are given.
fn client(
    lab: &Lab,
    program: &str,
    version: &str,
    who: Option<&(PathBuf, PathBuf)>,
    args: &[&str],
) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &lab.mqtt.to_string(), "-V", version, "-q", "1"]);
    command.arg("--cafile").arg(lab.folder.join("server/pki/ca.pem"));
    if let Some((cert, key)) = who {
        command.arg("--cert").arg(cert).arg("--key").arg(key);
    }
    Ok(command.args(args).output()?)
}

fn refused(lab: &Lab, reason: &str) -> anyhow::Result<u64> {
    let metrics = lab.text("/metrics")?;
    let wanted = format!("skerry_fleet_mqtt_refused_total{{reason=\"{reason}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&wanted)).context("the counter")?;
    Ok(value.parse()?)
}

#[test]
fn a_node_keeps_to_its_own_topics_and_strangers_stay_out() -> anyhow::Result<()> {
    if !installed("mosquitto_pub") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let mut node = lab.agent("pi-4", "")?;
    lab.join(&mut node, "edge")?;
    // Its place is taken over by clients that have its credentials.
    let who = wait_for("the certificate to be saved", || credentials(&node))?;
    node.stop()?;
    for version in ["mqttv311", "mqttv5"] {
        let before =
            [refused(&lab, "no_certificate")?, refused(&lab, "publish_topic")?, refused(&lab, "subscribe_topic")?];
        let own = client(&lab, "mosquitto_pub", version, Some(&who), &["-t", "skerry/v1/pi-4/up/events", "-m", "x"])?;
        ensure!(own.status.success(), "{version}: {}", String::from_utf8_lossy(&own.stderr));

        let stranger = client(&lab, "mosquitto_pub", version, None, &["-t", "skerry/v1/pi-4/up/events", "-m", "x"])?;
        assert!(!stranger.status.success(), "{version}: without a certificate");
        // A refusal in 3.1.1 is a closed connection, which the client takes for one to try again: its exit code says
        // nothing, the server's counters do.
        for topic in ["skerry/v1/other/up/events", "skerry/v1/pi-4/down/config", "elsewhere"] {
            let args = ["-t", topic, "-m", "x"];
            let limited = ["--preserve-status", "30", "mosquitto_pub"];
            let mut command = Command::new("timeout");
            command.args(limited).args(["-h", "127.0.0.1", "-p", &lab.mqtt.to_string(), "-V", version, "-q", "1"]);
            command.arg("--cafile").arg(lab.folder.join("server/pki/ca.pem"));
            command.arg("--cert").arg(&who.0).arg("--key").arg(&who.1).args(args);
            let _ = command.output()?;
        }
        for topic in ["skerry/v1/other/down/config", "skerry/v1/+/down/config", "#"] {
            let _ = client(&lab, "mosquitto_sub", version, Some(&who), &["-t", topic, "-W", "30", "-C", "1"])?;
        }
        wait_for("the refusals to be counted", || {
            let now =
                [refused(&lab, "no_certificate")?, refused(&lab, "publish_topic")?, refused(&lab, "subscribe_topic")?];
            for ((now, before), least) in now.iter().zip(before).zip([1, 3, 3]) {
                ensure!(now - before >= least, "{version}: {now} after {before}, at least {least} more are expected");
            }
            Ok(())
        })?;
    }
    // A certificate of another CA is none.
    let other = FleetCa::generate("other", skerry_model::UnixMillis(1_790_000_000_000))?;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
    let cert = other.issue_node(csr.der(), &"pi-4".parse()?, YEAR, skerry_model::UnixMillis(1_790_000_000_000))?;
    let forged = (folder.path().join("forged.pem"), folder.path().join("forged.key"));
    std::fs::write(&forged.0, cert.pem)?;
    std::fs::write(&forged.1, key.serialize_pem())?;
    let output =
        client(&lab, "mosquitto_pub", "mqttv5", Some(&forged), &["-t", "skerry/v1/pi-4/up/events", "-m", "x"])?;
    assert!(!output.status.success(), "a certificate of another CA");
    // What was published as garbage is counted and stops nothing.
    node.start()?;
    wait_for("the node to be back", || {
        ensure!(lab.node("pi-4")?["reach"] == "connected", "not connected");
        Ok(())
    })
}

/// A broker of its own, whose access list goes by the certificate's common name, as README.md shows it.
fn mosquitto(lab: &Lab, port: u16) -> anyhow::Result<Running> {
    let folder = lab.folder.join("mosquitto");
    std::fs::create_dir_all(&folder)?;
    let pki = lab.folder.join("server/pki");
    let acl = folder.join("acl");
    std::fs::write(
        &acl,
        "user skerry-fleet\ntopic read skerry/v1/+/up/+\ntopic write skerry/v1/+/down/+\n\
         pattern write skerry/v1/%u/up/+\npattern read skerry/v1/%u/down/+\n",
    )?;
    let user = if rustix::process::getuid().is_root() { "user root\n" } else { "" };
    let config = format!(
        "{user}listener {port} 127.0.0.1\nallow_anonymous false\nrequire_certificate true\n\
         use_identity_as_username true\nacl_file {}\ncafile {}\ncertfile {}\nkeyfile {}\n",
        acl.display(),
        pki.join("ca.pem").display(),
        pki.join("server.pem").display(),
        pki.join("server.key").display(),
    );
    std::fs::write(folder.join("mosquitto.conf"), config)?;
    Running::spawn(Command::new(MOSQUITTO).arg("-c").arg(folder.join("mosquitto.conf")), &folder.join("log"))
}

#[test]
fn the_same_agent_works_through_an_external_broker() -> anyhow::Result<()> {
    if !installed(MOSQUITTO) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    let port = free_port()?;
    let _broker = mosquitto(&lab, port)?;
    // The fleet is one more client of the broker, with a certificate of the same CA.
    let pki = lab.folder.join("server/pki");
    let ca = FleetCa::load(&pki.join("ca.pem"), &pki.join("ca.key"))?;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
    let now = skerry_agent::clock::Clock::system().wall();
    let cert = ca.issue_node(csr.der(), &"skerry-fleet".parse()?, YEAR, now)?;
    std::fs::write(pki.join("client.pem"), cert.pem)?;
    std::fs::write(pki.join("client.key"), key.serialize_pem())?;
    lab.edit_config(
        &format!("public: 127.0.0.1:{}\n", lab.mqtt),
        &format!(
            "public: 127.0.0.1:{port}\n  broker:\n    host: 127.0.0.1\n    port: {port}\n    ca: pki/ca.pem\n    \
             cert: pki/client.pem\n    key: pki/client.key\n"
        ),
    )?;
    lab.start_server()?;
    let log = lab.folder.join("app.log");
    std::fs::write(&log, "one\ntwo\nthree\n")?;
    let sections = format!(
        "collect:\n  interval: 1s\nstore:\n  log_interval: 1s\nlogs:\n  files:\n    - name: app\n      paths: ['{}']\n",
        log.display()
    );
    let mut node = lab.agent("pi-4", &sections)?;
    lab.join(&mut node, "edge")?;
    lab.apply("group/edge", "  collect:\n    interval: 2s\n")?;
    lab.wait_config("pi-4", "group/edge", 1)?;
    wait_for("the lines", || {
        let list = lab.api("/nodes/pi-4/logs")?;
        let lines: Vec<&str> =
            list["records"].as_array().context("records")?.iter().filter_map(|r| r["line"].as_str()).collect();
        ensure!(lines == ["one", "two", "three"], "{lines:?}");
        Ok(())
    })?;
    wait_for("samples", || {
        let view = lab.node("pi-4")?;
        ensure!(view["samples"].as_u64() > Some(0) && view["reach"] == "connected", "{view}");
        Ok(())
    })?;
    node.stop()?;
    lab.stop_server()
}
