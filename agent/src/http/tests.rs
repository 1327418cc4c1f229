//! Against real servers on loopback.

use super::*;
use axum::Router;
use axum::extract::Request as Asked;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::{any, get as on_get};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the server of these tests answers.
fn app() -> Router {
    let echo = |asked: Asked| async move {
        let (parts, body) = asked.into_parts();
        let header = |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let (host, agent, auth) = (header("host"), header("user-agent"), header("authorization"));
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        format!("{} {host} {agent} {auth} {}", parts.method, String::from_utf8_lossy(&body))
    };
    Router::new()
        .route("/echo", any(echo))
        .route("/big", on_get(|| async { "x".repeat(300_000) }))
        .route("/hang", on_get(|| async { std::future::pending::<()>().await }))
        .route("/teapot", on_get(|| async { (StatusCode::IM_A_TEAPOT, "short and stout") }))
        .route("/see", any(|| async { Redirect::to("echo") }))
        .route("/same", any(|| async { Redirect::temporary("/echo") }))
        .route("/loop", any(|| async { Redirect::temporary("loop?again") }))
}

async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app()).await.unwrap() });
    url
}

/// Answers every TLS connection with one byte string, and ends. `client_ca`: whose clients it wants.
async fn serve_tls(chain: Vec<CertificateDer<'static>>, key: &KeyPair, client_ca: Option<&[u8]>) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(der) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from(der.to_vec())).unwrap();
            let wants = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(wants.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(axum::body::Body::from("private")))
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            }
        }
    });
    format!("https://localhost:{port}/")
}

fn ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn client(tls: &TlsSettings) -> Client {
    Client::new(tls, &SystemRoots::default())
}

async fn said(client: &Client, request: &Request) -> Result<String, HttpError> {
    let answer = client.send(request).await?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_carry_what_was_set() {
    let url = serve().await;
    let client = client(&TlsSettings::default());
    let request = Request { method: Method::POST, body: "body".into(), ..Request::get(format!("{url}/echo")) };
    let host = url.trim_start_matches("http://");
    let text = said(&client, &request.clone().basic("u", "p").unwrap()).await.unwrap();
    assert_eq!(text, format!("POST {host} skerry-agent/{} Basic dTpw body", env!("CARGO_PKG_VERSION")));
    let request = request.bearer("t").unwrap().header("Host", "other").unwrap().header("user-agent", "me").unwrap();
    assert_eq!(said(&client, &request).await.unwrap(), "POST other me Bearer t body");
    assert!(!format!("{request:?}").contains("Bearer t"), "secrets are not shown");
    let teapot = client.send(&Request::get(format!("{url}/teapot"))).await.unwrap();
    assert_eq!((teapot.status, &*teapot.body), (418, &b"short and stout"[..]));
}

#[tokio::test]
async fn redirects_are_followed_and_counted() {
    let url = serve().await;
    let client = client(&TlsSettings::default());
    let post = |path| Request { method: Method::POST, body: "b".into(), ..Request::get(format!("{url}/{path}")) };
    assert!(said(&client, &post("see")).await.unwrap().starts_with("GET "));
    assert!(said(&client, &post("same")).await.unwrap().starts_with("POST "));
    let mut trace = Trace::default();
    let head = client.stream(&post("loop"), &mut trace, &mut |_| Ok(())).await.unwrap();
    assert_eq!((head.status.as_u16(), trace.redirects), (307, 10));
    assert!(head.url.ends_with("/loop?again"), "{}", head.url);
    let none = Request { redirects_max: 0, ..post("see") };
    assert_eq!(client.send(&none).await.unwrap().status, 303);
}

#[tokio::test]
async fn bodies_come_in_chunks_and_have_an_end() {
    let url = serve().await;
    let client = client(&TlsSettings::default());
    let big = Request::get(format!("{url}/big"));
    let (mut trace, mut chunks, mut bytes) = (Trace::default(), 0, 0);
    let mut count = |chunk: &[u8]| {
        assert!(chunk.len() <= 64 << 10);
        (chunks, bytes) = (chunks + 1, bytes + chunk.len());
        Ok(())
    };
    client.stream(&big, &mut trace, &mut count).await.unwrap();
    assert!(chunks > 3 && bytes == 300_000 && trace.body_bytes == bytes, "{chunks} {bytes}");
    assert!(trace.remote.is_some() && trace.peer.is_none() && trace.transfer > Duration::ZERO);
    let error = client.send(&Request { bytes_max: 100_000, ..big.clone() }).await.unwrap_err();
    assert_eq!(error.cause, Cause::Oversize);
    let error = client.stream(&big, &mut trace, &mut |_| Err("enough".into())).await.unwrap_err();
    assert_eq!((error.cause, &*error.text), (Cause::Stopped, "enough"));
    let late = Request { deadline: Duration::from_millis(50), ..Request::get(format!("{url}/hang")) };
    assert_eq!(client.send(&late).await.unwrap_err().cause, Cause::Late);
    let free = skerry_ports::free_address().unwrap();
    let error = client.send(&Request::get(format!("http://{free}/"))).await.unwrap_err();
    assert_eq!(error.cause, Cause::Connect);
    assert!(error.text.contains(&free.to_string()), "{error}");
    let error = client.send(&Request::get("http://name.invalid/")).await.unwrap_err();
    assert_eq!(error.cause, Cause::Resolve);
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    for (sent, cause) in
        [("SSH-2.0-x\r\n", Cause::Exchange), ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", Cause::Exchange)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            tokio::io::AsyncReadExt::read(&mut stream, &mut asked).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, sent.as_bytes()).await.unwrap();
        });
        assert_eq!(client(&TlsSettings::default()).send(&Request::get(url)).await.unwrap_err().cause, cause, "{sent}");
    }
}

#[tokio::test]
async fn servers_are_verified() {
    let (good, key) = (ca("good"), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let cert = params.signed_by(&key, &good).unwrap();
    let url = serve_tls(vec![cert.der().clone()], &key, None).await;
    let settings = |ca: &CertifiedIssuer<'_, KeyPair>| TlsSettings { ca: Some(ca.pem()), ..TlsSettings::default() };
    let trusting = client(&settings(&good));
    let mut trace = Trace::default();
    trusting.stream(&Request::get(&url), &mut trace, &mut |_| Ok(())).await.unwrap();
    let peer = trace.peer.unwrap();
    assert_eq!((peer.version, peer.earliest_expiry()), ("TLS 1.3", Some(2_208_988_800)));
    assert_eq!(trusting.tls().last_chain_expiry(&peer), Some(2_208_988_800));
    let failed = async |tls: TlsSettings| client(&tls).send(&Request::get(&url)).await.unwrap_err();
    assert_eq!(failed(settings(&ca("other"))).await.cause, Cause::Tls);
    let other_name = TlsSettings { server_name: Some("elsewhere".into()), ..settings(&good) };
    assert!(failed(other_name).await.text.contains("not valid for"), "name");
    let missing = TlsSettings { ca_file: Some("/nowhere/ca.pem".into()), ..TlsSettings::default() };
    assert!(failed(missing).await.text.contains("/nowhere/ca.pem"));
    let lax =
        TlsSettings { insecure_skip_verify: true, max_version: Some(TlsVersion::Tls12), ..TlsSettings::default() };
    let lax = client(&lax);
    let mut trace = Trace::default();
    lax.stream(&Request::get(&url), &mut trace, &mut |_| Ok(())).await.unwrap();
    let peer = trace.peer.unwrap();
    assert_eq!((peer.version, lax.tls().last_chain_expiry(&peer)), ("TLS 1.2", None));
}

#[tokio::test]
async fn a_self_signed_certificate_in_ca_file_is_taken() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).unwrap();
    let url = serve_tls(vec![cert.der().clone()], &key, None).await;
    let tls = TlsSettings { ca: Some(cert.pem()), ..TlsSettings::default() };
    assert_eq!(said(&client(&tls), &Request::get(&url)).await.unwrap(), "private");
    let elsewhere = TlsSettings { server_name: Some("elsewhere".into()), ..tls };
    assert_eq!(client(&elsewhere).send(&Request::get(&url)).await.unwrap_err().cause, Cause::Tls);
}

#[tokio::test]
async fn clients_show_their_certificate() {
    let (ca, key, own) = (ca("both"), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let signed =
        |key: &KeyPair| CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(key, &ca).unwrap();
    let url = serve_tls(vec![signed(&key).der().clone()], &key, Some(ca.der())).await;
    let nobody = TlsSettings { ca: Some(ca.pem()), ..TlsSettings::default() };
    assert!(client(&nobody).send(&Request::get(&url)).await.is_err());
    let folder = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, signed(&own).pem()).unwrap();
    std::fs::write(&key_file, own.serialize_pem()).unwrap();
    let somebody = TlsSettings { cert_file: Some(cert_file), key_file: Some(key_file), ..nobody };
    assert_eq!(said(&client(&somebody), &Request::get(&url)).await.unwrap(), "private");
}

#[test]
fn faults_of_settings_are_named() {
    let tls = TlsSettings {
        ca: Some(String::new()),
        ca_file: Some("/x".into()),
        cert: Some(String::new()),
        max_version: Some(TlsVersion::Tls11),
        ..TlsSettings::default()
    };
    let keys: Vec<String> = tls.faults().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["ca_file", "key_file", "max_version"]);
    let auth =
        Authorization { scheme: "basic".into(), credentials: Some("x".into()), credentials_file: Some("/x".into()) };
    assert_eq!(auth.faults().len(), 2);
    assert_eq!(BasicAuth { username: "a:b".into(), ..BasicAuth::default() }.faults().len(), 1);
    let none = BasicAuth { username: "a".into(), password_file: Some("/nowhere".into()), ..BasicAuth::default() };
    assert!(none.header().unwrap_err().text.contains("/nowhere"));
}
