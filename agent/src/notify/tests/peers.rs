//! Peers that others wrote: mosquitto, and Python's aiosmtpd. Tests say that they are skipped where those are absent.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use skerry_ports::free_port;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

async fn listening(port: u16) {
    let until = Instant::now() + AMPLE;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < until, "nobody listens on {port}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A certificate for `localhost` and its key, as PEM files.
fn certificate(folder: &Path) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (cert_path, key_path) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert_path, made.pem()).unwrap();
    std::fs::write(&key_path, key.serialize_pem()).unwrap();
    (cert_path.display().to_string(), key_path.display().to_string())
}

#[tokio::test]
async fn mosquitto_passes_notices_on() {
    if !has("mosquitto_sub", &["--help"]) && !Path::new("/usr/bin/mosquitto_sub").exists() {
        println!("skipped: mosquitto is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let (plain, tls) = (free_port().unwrap(), free_port().unwrap());
    let (passwords, config) = (folder.path().join("passwords"), folder.path().join("mosquitto.conf"));
    assert!(has("mosquitto_passwd", &["-c", "-b", passwords.to_str().unwrap(), "node", "pw"]));
    let text = format!(
        "user root\nper_listener_settings false\nallow_anonymous false\npassword_file {}\nlistener {plain} 127.0.0.1\n\
         listener {tls} 127.0.0.1\ncertfile {cert}\nkeyfile {key}\n",
        passwords.display()
    );
    std::fs::write(&config, text).unwrap();
    let broker = Command::new("mosquitto").arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _broker = Peer(broker.expect("mosquitto starts"));
    listening(plain).await;
    listening(tls).await;
    let login = "username: node, password: pw";
    let ca = format!("tls_config: {{ca_file: {cert}, server_name: localhost}}");
    for entry in [
        format!(
            "{{broker: 'mqtt://127.0.0.1:{plain}', topic: 'alerts/0', qos: 0, retain: true, payload: '{{{{ .Status }}}}', {login}}}"
        ),
        format!(
            "{{broker: 'mqtts://127.0.0.1:{tls}', topic: 'alerts/{{{{ .CommonLabels.severity }}}}', retain: true, {login}, {ca}}}"
        ),
        format!("{{broker: 'mqtt://localhost:{plain}', topic: 'alerts/2', qos: 2, retain: true, payload: x, {login}}}"),
    ] {
        assert_eq!(told("mqtt_configs", &entry, AMPLE).await, Outcome::Sent, "{entry}");
    }
    let port = plain.to_string();
    let args =
        ["-p", &port, "-u", "node", "-P", "pw", "-t", "alerts/#", "-q", "2", "-C", "3", "-F", "%t %q %p", "-W", "20"];
    let mut subscriber = Command::new("mosquitto_sub");
    subscriber.args(args);
    let received = tokio::task::spawn_blocking(move || subscriber.output().unwrap()).await.unwrap();
    let received = String::from_utf8(received.stdout).unwrap();
    let mut received: Vec<&str> = received.lines().collect();
    received.sort_unstable();
    let critical = format!("alerts/critical 1 {}", String::from_utf8(data(true).webhook_json(0)).unwrap());
    assert_eq!(received, ["alerts/0 0 firing", "alerts/2 2 x", &critical]);

    let wrong = format!("{{broker: 'mqtt://127.0.0.1:{plain}', topic: t, username: node, password: no}}");
    let refused = told("mqtt_configs", &wrong, AMPLE).await;
    assert!(matches!(refused, Outcome::Failed { .. }), "{refused:?}");
    let stranger = format!(
        "{{broker: 'mqtts://127.0.0.1:{tls}', topic: t, {login}, tls_config: {{ca_file: {cert}, server_name: other}}}}"
    );
    assert!(is_retry(&told("mqtt_configs", &stranger, AMPLE).await, "TLS"));
}

/// Takes mails with STARTTLS, or TLS at once, from user `u` with password `pw`; says each as one line.
const AIOSMTPD: &str = r#"
import asyncio, email, email.policy, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult
cert, key, port, mode = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(cert, key)
class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = mail.get_body(("plain",)).get_content().strip()
        html = mail.get_body(("html",)).get_content()
        print(repr([envelope.mail_from, envelope.rcpt_tos, mail["Subject"], mail["To"], text, "<html" in html,
                    bool(session.ssl) or mode == "implicit", mail.defects]), flush=True)
        return "250 taken"
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 unknown"
        envelope.rcpt_tos.append(address)
        return "250 ok"
def login(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"u", b"pw"), handled=False)
def make():
    return SMTP(Handler(), authenticator=login, auth_required=True, auth_exclude_mechanism=[mode] if mode in ("PLAIN",) else [],
                tls_context=None if mode == "implicit" else context, require_starttls=mode != "implicit",
                auth_require_tls=mode != "implicit", hostname="localhost")
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", int(port), ssl=context if mode == "implicit" else None)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"#;

#[tokio::test]
async fn aiosmtpd_takes_mails() {
    if !has("python3", &["-c", "import aiosmtpd"]) {
        println!("skipped: Python's aiosmtpd is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    // With PLAIN, with LOGIN because PLAIN is not offered, and with TLS from the first byte.
    for mode in ["starttls", "PLAIN", "implicit"] {
        let port = free_port().unwrap();
        let child = Command::new("python3")
            .args(["-W", "ignore", "-c", AIOSMTPD, &cert, &key, &port.to_string(), mode])
            .stdout(Stdio::piped())
            .spawn();
        let mut server = Peer(child.unwrap());
        let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines = tokio::task::spawn_blocking(move || {
            assert_eq!(lines.next().as_deref(), Some("ready"));
            lines
        })
        .await
        .unwrap();
        let entry = |password: &str, to: &str| {
            let implicit = if mode == "implicit" { ", force_implicit_tls: true" } else { "" };
            format!(
                "{{to: '{to}', from: 'Skerry <s@b.c>', smarthost: 'localhost:{port}', auth_username: u, \
                 auth_password: {password}, tls_config: {{ca_file: {cert}}}, text: \".\\nfirst {{{{ .CommonAnnotations.summary }}}}\", \
                 headers: {{Subject: 'ü {{{{ .Status }}}}'}}{implicit}}}"
            )
        };
        let outcome = told("email_configs", &entry("pw", "Ops <a@b.c>, nobody@b.c, d@e.f"), AMPLE).await;
        assert_eq!(outcome, Outcome::Sent, "{mode}");
        let line = tokio::task::spawn_blocking(move || (lines.next(), lines)).await.unwrap();
        let expected = "['s@b.c', ['a@b.c', 'd@e.f'], 'ü firing', 'Ops <a@b.c>, nobody@b.c, d@e.f', \
            '.\\r\\nfirst it is ü hot', True, True, []]";
        assert_eq!(line.0.as_deref(), Some(expected), "{mode}");
        let refused = told("email_configs", &entry("wrong", "a@b.c"), AMPLE).await;
        assert!(is_failed(&refused, "after AUTH"), "{mode} {refused:?}");
        let unknown = told("email_configs", &entry("pw", "nobody@b.c"), AMPLE).await;
        assert!(is_failed(&unknown, "after RCPT: unknown"), "{mode} {unknown:?}");
    }
}
