//! Against receivers on loopback: stand-ins, most of which misbehave.

use super::*;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::any;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use skerry_alerting::notify::{Checks, Globals, Receiver};
use skerry_model::{Alert, Labels, Mono, UnixMillis};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};

/// Long enough for any exchange on loopback while the machine is busy.
const AMPLE: Duration = Duration::from_secs(20);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);
const NOW: Now = Now { wall: UnixMillis(1_795_233_600_000), mono: Mono(0) };

fn integration(kind: &str, entry: &str) -> Integration {
    let text = format!("name: r\n{kind}: [{entry}]\n");
    let document = skerry_yaml::read::<serde_json::Value>(&text).unwrap();
    let mut checks = Checks::new(&document.places);
    let mut receiver = Receiver::read(&document.value, "receivers[0]", &Globals::default(), &mut checks);
    assert_eq!(checks.into_faults(), [], "{text}");
    receiver.integrations.pop().unwrap()
}

fn data() -> Data {
    let labels = Labels::new([("alertname", "Hot"), ("severity", "critical")]).unwrap();
    let alert = Alert {
        labels: labels.clone(),
        annotations: Labels::default(),
        starts_at: UnixMillis(NOW.wall.0 - 60_000),
        ends_at: UnixMillis(NOW.wall.0 + 1),
        is_timeout: false,
        generator_url: String::new(),
        updated_at: NOW.wall,
    };
    Data::new("r", labels, &[alert], "http://centre", "{}:{}", NOW.wall)
}

async fn told(kind: &str, entry: &str, limit: Duration) -> Outcome {
    let templates = Templates::new(&[], |_| None).unwrap();
    Shell::new().tell(&integration(kind, entry), &data(), &templates, NOW, limit).await
}

fn is_retry(outcome: &Outcome, part: &str) -> bool {
    matches!(outcome, Outcome::Retry { error, .. } if error.contains(part))
}

fn is_failed(outcome: &Outcome, part: &str) -> bool {
    matches!(outcome, Outcome::Failed { error } if error.contains(part))
}

/// What a stand-in was asked: method, path and query, `Authorization`, length of the body.
type Asked = Arc<Mutex<Vec<(String, String, String, usize)>>>;

async fn keep(State(asked): State<Asked>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let auth = parts.headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap()).to_owned();
    asked.lock().unwrap().push((parts.method.to_string(), parts.uri.to_string(), auth, body.len()));
    StatusCode::OK.into_response()
}

/// Chunks that never end.
fn endless() -> Body {
    let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 8192])));
    Body::from_stream(chunks)
}

async fn receiver() -> (String, Asked) {
    let asked = Asked::default();
    let app = Router::new()
        .route("/keep", any(keep))
        .route("/hang", any(|| async { std::future::pending::<()>().await }))
        .route("/broken", any(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "out of order") }))
        .route("/busy", any(|| async { (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")], "") }))
        .route("/same", any(|| async { Redirect::temporary("keep?again") }))
        .route("/see", any(|| async { Redirect::to("/keep") }))
        .route("/loop", any(|| async { Redirect::temporary("/loop") }))
        .route("/endless", any(|| async { endless() }))
        .route(
            "/stalls",
            any(|| async { Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()) }),
        )
        .with_state(asked.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, asked)
}

#[tokio::test]
async fn whatever_a_receiver_answers_has_an_end() {
    let (url, asked) = receiver().await;
    let tell = async |path: &str, limit| {
        let config = "http_config: {authorization: {credentials: t}}";
        told("webhook_configs", &format!("{{url: '{url}{path}', {config}}}"), limit).await
    };
    for path in ["/keep?a=b", "/same", "/see", "/endless"] {
        assert_eq!(tell(path, AMPLE).await, Outcome::Sent, "{path}");
    }
    assert_eq!(tell("/stalls", 10 * SHORT).await, Outcome::Sent, "its status says that it has the notice");
    assert!(is_retry(&tell("/hang", SHORT).await, "within 0.3 s"));
    assert!(is_retry(&tell("/broken", AMPLE).await, "HTTP 500: out of order"));
    let busy = tell("/busy", AMPLE).await;
    assert!(matches!(busy, Outcome::Retry { after: Some(after), .. } if after.as_secs() == 7), "{busy:?}");
    assert!(is_failed(&tell("/loop", AMPLE).await, "HTTP 307"));
    assert!(is_failed(&tell("/nowhere", AMPLE).await, "HTTP 404"));
    assert!(is_retry(&told("webhook_configs", "{url: 'http://127.0.0.1:1/'}", AMPLE).await, "cannot reach"));
    let user = told("webhook_configs", "{url: 'http://u:SECRET@127.0.0.1/'}", AMPLE).await;
    assert!(is_retry(&user, "basic_auth") && !user.error().unwrap().contains("SECRET"), "{user:?}");

    let length = data().webhook_json(0).len();
    let entry = |method: &str, path: &str, length| (method.to_owned(), path.to_owned(), "Bearer t".to_owned(), length);
    let expected = [entry("POST", "/keep?a=b", length), entry("POST", "/keep?again", length), entry("GET", "/keep", 0)];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn peers_that_are_silent_or_babble_are_left() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mail = |port: u16| format!("{{to: 'a@b.c', from: 's@b.c', smarthost: '127.0.0.1:{port}'}}");
    assert!(is_retry(&told("email_configs", &mail(port), SHORT).await, "within 0.3 s"));
    let mqtt = format!("{{broker: 'mqtt://127.0.0.1:{port}', topic: t}}");
    assert!(is_retry(&told("mqtt_configs", &mqtt, SHORT).await, "within 0.3 s"));
    drop(silent);
    let babbler = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = babbler.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = babbler.accept().await {
            while stream.write_all(&b"220-and on it goes\r\n".repeat(100)).await.is_ok() {}
        }
    });
    assert!(is_retry(&told("email_configs", &mail(port), AMPLE).await, "no end"));
}

/// A stand-in for a mail server with STARTTLS; gives back what it was told.
async fn mail_server(certificate: &rcgen::Certificate, key: &KeyPair) -> (u16, tokio::task::JoinHandle<String>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut stream, mut said) = (BufReader::new(stream), String::new());
        for answer in ["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"] {
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !answer.starts_with("220 go") {
                stream.read_line(&mut said).await.unwrap();
            }
        }
        let Ok(stream) = acceptor.accept(stream.into_inner()).await else { return said };
        let mut stream = BufReader::new(stream);
        for answer in ["250-mx\r\n250 AUTH LOGIN\r\n", "334 dXNlcg==\r\n", "334 cHc=\r\n", "235 you are\r\n"] {
            stream.read_line(&mut said).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        for answer in ["250 ok\r\n", "250 ok\r\n", "354 go on\r\n"] {
            stream.read_line(&mut said).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        while !said.ends_with("\r\n.\r\n") {
            assert!(stream.read_line(&mut said).await.unwrap() > 0);
        }
        stream.write_all(b"250 taken\r\n").await.unwrap();
        let _ = stream.read_to_string(&mut said).await;
        said
    });
    (port, task)
}

#[tokio::test]
async fn mails_go_within_tls_to_the_right_server_alone() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["mail.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem().replace('\n', "\\n");
    for (name, is_right) in [("mail.example", true), ("other.example", false)] {
        let (port, server) = mail_server(&certificate, &key).await;
        let entry = format!(
            "{{to: 'a@b.c', from: 's@b.c', smarthost: '127.0.0.1:{port}', auth_username: u, auth_password: SECRET, \
             tls_config: {{ca: \"{pem}\", server_name: {name}}}}}"
        );
        let outcome = told("email_configs", &entry, AMPLE).await;
        let said = server.await.unwrap();
        assert_eq!(outcome == Outcome::Sent, is_right, "{outcome:?} {said}");
        // SECRET, which no server without the right name hears.
        assert_eq!(said.contains("U0VDUkVU"), is_right, "{said}");
        assert!(!is_right || said.contains("Subject: [FIRING:1] Hot critical\r\n"), "{said}");
    }
}

#[tokio::test]
async fn syslog_and_mqtt_leave_the_centre_and_programs_are_not_run() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let entry = format!("{{address: 'udp://{}', message: m}}", udp.local_addr().unwrap());
    assert_eq!(told("syslog_configs", &entry, AMPLE).await, Outcome::Sent);
    let mut buffer = [0; 1000];
    let read = udp.recv(&mut buffer).await.unwrap();
    assert!(buffer[..read].ends_with(b"severity=\"critical\"] m"));

    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let entry = format!("{{broker: 'mqtt://{}', topic: a/b, payload: x}}", broker.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = broker.accept().await.unwrap();
        let mut packet = [0; 100];
        let connect = stream.read(&mut packet).await.unwrap();
        assert_eq!(packet[..2], [0x10, 12], "{connect}");
        stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        let publish = stream.read(&mut packet).await.unwrap();
        stream.write_all(&[0x40, 2, 0, 1]).await.unwrap();
        packet[..publish].to_vec()
    };
    let (outcome, publish) = tokio::join!(told("mqtt_configs", &entry, AMPLE), serve);
    assert_eq!((outcome, publish.as_slice()), (Outcome::Sent, &b"\x32\x08\x00\x03a/b\x00\x01x"[..]));

    for (kind, entry) in [("exec_configs", "{program: /bin/true}"), ("file_configs", "{path: /tmp/skerry-never}")] {
        assert!(is_failed(&told(kind, entry, AMPLE).await, "centre"));
    }
    assert!(!Path::new("/tmp/skerry-never").exists());
}
