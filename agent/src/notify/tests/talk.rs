use super::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn mail(port: u16, more: &str) -> String {
    format!("{{to: 'a@b.c', from: 's@b.c', smarthost: '127.0.0.1:{port}'{more}}}")
}

#[tokio::test]
async fn peers_that_never_answer_are_left_in_time() {
    // A stand-in that takes connections and is silent.
    let (silent, port) = listener().await;
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    for (kind, entry) in [
        ("email_configs", mail(port, "")),
        ("email_configs", mail(port, ", force_implicit_tls: true")),
        ("mqtt_configs", format!("{{broker: 'mqtt://127.0.0.1:{port}', topic: t}}")),
        ("mqtt_configs", format!("{{broker: 'mqtts://127.0.0.1:{port}', topic: t}}")),
        (
            "syslog_configs",
            format!("{{address: 'tls://127.0.0.1:{port}', tls_config: {{insecure_skip_verify: true}}}}"),
        ),
    ] {
        let begin = Instant::now();
        let outcome = told(kind, &entry, SHORT).await;
        let is_tls_without_roots = outcome.error().is_some_and(|error| error.contains("CA certificates"));
        assert!(is_retry(&outcome, "within 0.3 s") || is_tls_without_roots, "{kind} {entry}: {outcome:?}");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    held.abort();
}

#[tokio::test]
async fn peers_that_speak_without_end_or_nonsense_are_left() {
    let (babbler, port) = listener().await;
    let babble = tokio::spawn(async move {
        loop {
            let (mut stream, _) = babbler.accept().await.unwrap();
            let line = b"220-and another thing that is worth saying at length\r\n".repeat(100);
            while stream.write_all(&line).await.is_ok() {}
        }
    });
    let outcome = told("email_configs", &mail(port, ""), AMPLE).await;
    assert!(is_retry(&outcome, "no end"), "{outcome:?}");
    let outcome = told("mqtt_configs", &format!("{{broker: 'mqtt://127.0.0.1:{port}', topic: t}}"), AMPLE).await;
    assert!(is_retry(&outcome, "no MQTT"), "{outcome:?}");
    babble.abort();
    let (closer, port) = listener().await;
    tokio::spawn(async move { while closer.accept().await.is_ok() {} });
    let outcome = told("email_configs", &mail(port, ""), AMPLE).await;
    assert!(is_retry(&outcome, "instead of a greeting") || is_retry(&outcome, "broke"), "{outcome:?}");
}

/// A stand-in for a mail server that offers STARTTLS with a certificate of its own, and keeps what it is told.
async fn mail_server(certificate: &rcgen::Certificate, key: &KeyPair) -> (u16, tokio::task::JoinHandle<String>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listener().await;
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mx\r\n").await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        stream.write_all(b"250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n").await.unwrap();
        stream.read_line(&mut line).await.unwrap();
        stream.write_all(b"220 go\r\n").await.unwrap();
        let Ok(stream) = acceptor.accept(stream.into_inner()).await else { return line };
        let mut stream = BufReader::new(stream);
        let mut is_data = false;
        loop {
            let mut next = String::new();
            if stream.read_line(&mut next).await.unwrap_or(0) == 0 {
                return line;
            }
            line.push_str(&next);
            let answer: &[u8] = match next.trim_end() {
                "." if is_data => {
                    is_data = false;
                    b"250 taken\r\n"
                }
                _ if is_data => continue,
                "DATA" => {
                    is_data = true;
                    b"354 go on\r\n"
                }
                next if next.starts_with("EHLO") => b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n",
                next if next.starts_with("AUTH") => b"235 you are\r\n",
                "QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            stream.write_all(answer).await.unwrap();
        }
    });
    (port, task)
}

#[tokio::test]
async fn mails_go_within_tls_to_the_right_server_alone() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["mail.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    for (name, is_right) in [("mail.example", true), ("other.example", false)] {
        let (port, server) = mail_server(&certificate, &key).await;
        let more = format!(
            ", auth_username: u, auth_password: SECRET, tls_config: {{ca_file: {}, server_name: {name}}}",
            ca.display()
        );
        let outcome = told("email_configs", &mail(port, &more), AMPLE).await;
        let heard = server.await.unwrap();
        assert_eq!(outcome == Outcome::Sent, is_right, "{outcome:?}");
        assert_eq!(heard.contains("MAIL FROM:<s@b.c>"), is_right, "{heard}");
        // PLAIN of u and SECRET.
        assert_eq!(heard.contains("AUTH PLAIN AHUAU0VDUkVU"), is_right, "{heard}");
        assert!(!is_right || heard.contains("Subject: [FIRING:1] Hot critical\r\n"), "{heard}");
    }
}

#[tokio::test]
async fn syslog_goes_over_each_transport() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unix_path = folder.path().join("log");
    let unix = UnixDatagram::bind(&unix_path).unwrap();
    let (tcp, port) = listener().await;
    let mut buffer = [0; 4096];

    let address = udp.local_addr().unwrap();
    assert_eq!(told("syslog_configs", &format!("{{address: 'udp://{address}'}}"), AMPLE).await, Outcome::Sent);
    let read = udp.recv(&mut buffer).await.unwrap();
    let expected = "<26>1 2026-11-21T04:00:00.000Z - skerry - - [alert@32473 status=\"firing\" alertname=\"Hot\" \
        severity=\"critical\"] [FIRING:1] Hot critical it is ü hot";
    assert_eq!(std::str::from_utf8(&buffer[..read]).unwrap(), expected);

    let entry = format!("{{address: 'unix://{}', format: rfc3164}}", unix_path.display());
    assert_eq!(told("syslog_configs", &entry, AMPLE).await, Outcome::Sent);
    let read = unix.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..read], "<26>Nov 21 04:00:00 skerry: [FIRING:1] Hot critical it is ü hot".as_bytes());

    let receive = async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let entry = format!("{{address: 'tcp://127.0.0.1:{port}'}}");
    let (outcome, text) = tokio::join!(told("syslog_configs", &entry, AMPLE), receive);
    assert_eq!((outcome, text), (Outcome::Sent, format!("{} {expected}", expected.len())));

    let long = "{address: 'udp://127.0.0.1:9', message: ".to_owned() + &"x".repeat(100_000) + "}";
    assert_eq!(told("syslog_configs", &long, AMPLE).await, Outcome::Sent, "it is cut");
    let gone = told("syslog_configs", "{address: 'unix:///nowhere/log'}", AMPLE).await;
    assert!(is_retry(&gone, "/nowhere/log"), "{gone:?}");
}
