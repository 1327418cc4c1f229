//! Who is let in.

use super::*;

#[tokio::test]
async fn without_a_certificate_nobody_gets_in() {
    let site = Site::new().await;
    assert_shut(&site, tls_client(site.ca.cert_pem(), None)).await;
    site.refused(Refusal::NoCertificate).await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let site = Site::new().await;
    let other = FleetCa::generate("test", now()).unwrap();
    assert_shut(&site, tls_client(site.ca.cert_pem(), Some(&node_key(&other, "a")))).await;
    site.refused(Refusal::BadCertificate).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let site = Site::new().await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let long_ago = UnixMillis(now().0 - 3 * 86_400_000);
    let cert = site.ca.issue_node(csr.der(), &node("a"), Duration::from_secs(86_400), long_ago).unwrap();
    let expired = NodeKey { cert_pem: cert.pem, key_pem: key.serialize_pem(), pin: cert.pin };
    assert_shut(&site, tls_client(site.ca.cert_pem(), Some(&expired))).await;
    site.refused(Refusal::BadCertificate).await;
}

#[tokio::test]
async fn the_servers_own_certificate_is_no_nodes() {
    let site = Site::new().await;
    let server = site.ca.issue_server(&["localhost".to_owned()], Duration::from_secs(86_400), now()).unwrap();
    let key = NodeKey { cert_pem: server.cert_pem, key_pem: server.key_pem.to_string(), pin: [0; 32] };
    assert_shut(&site, tls_client(site.ca.cert_pem(), Some(&key))).await;
    site.refused(Refusal::BadCertificate).await;
}

#[tokio::test]
async fn a_certificate_that_names_no_node_is_refused() {
    let site = Site::new().await;
    let ca_key = rcgen::KeyPair::from_pem(&site.ca.key_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(site.ca.cert_der(), ca_key).unwrap();
    for name in ["a/b", "+", "#"] {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let cert = params.signed_by(&key, &issuer).unwrap();
        let key = NodeKey { cert_pem: cert.pem(), key_pem: key.serialize_pem(), pin: [0; 32] };
        assert_shut(&site, tls_client(site.ca.cert_pem(), Some(&key))).await;
    }
    assert_eq!(site.stats.refused(Refusal::BadName), 3);
}

#[tokio::test]
async fn a_revoked_key_fails_the_handshake() {
    let site = Site::new().await;
    let key = node_key(&site.ca, "a");
    site.admission.revoke(key.pin);
    assert_shut(&site, tls_client(site.ca.cert_pem(), Some(&key))).await;
    site.refused(Refusal::Revoked).await;
}

#[tokio::test]
async fn a_revocation_cuts_a_live_session() {
    let mut site = Site::new().await;
    let key = node_key(&site.ca, "a");
    let config = tls_client(site.ca.cert_pem(), Some(&key));
    let mut client = Raw(site.tls_stream(config.clone()).await.unwrap());
    client.connect(5, 0).await;
    match next(&mut site.inbound).await {
        Inbound::Connected { node, cert_pin, peer, .. } => {
            assert_eq!((node.as_str(), cert_pin), ("a", Some(key.pin)));
            assert_eq!(peer.unwrap().ip().to_string(), "127.0.0.1");
        }
        other => panic!("connected is expected: {other:?}"),
    }
    site.admission.revoke(key.pin);
    let cut = async {
        assert!(matches!(client.receive_v5().await, v5::Packet::Disconnect(_)));
        client.closed().await;
        assert_eq!(end(&mut site.inbound).await, EndReason::Revoked);
    };
    timeout(SOON, cut).await.expect("the endpoint cuts it");
    assert_shut(&site, config).await;
    assert!(site.inbound.try_recv().is_err());
}

#[tokio::test]
async fn a_handshake_that_stands_still_is_ended() {
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    let site = Site::with(limits).await;
    let mut tcp = tokio::net::TcpStream::connect(site.address).await.unwrap();
    tcp.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let mut rest = vec![];
    let closed = timeout(SOON, tcp.read_to_end(&mut rest)).await.expect("the endpoint closes");
    assert!(closed.is_err() || rest.is_empty());
    site.refused(Refusal::Handshake).await;
}

#[tokio::test]
async fn more_handshakes_than_allowed_are_turned_away() {
    let site = Site::with(Limits { handshakes_max: 1, ..Limits::default() }).await;
    let _slow = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let mut second = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let mut rest = vec![];
    let _ = timeout(SOON, second.read_to_end(&mut rest)).await.expect("the endpoint closes");
    site.refused(Refusal::Busy).await;
}

#[tokio::test]
async fn garbage_instead_of_tls_is_refused() {
    let site = Site::new().await;
    let mut tcp = tokio::net::TcpStream::connect(site.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = vec![];
    let _ = timeout(SOON, tcp.read_to_end(&mut rest)).await.expect("the endpoint closes");
    site.refused(Refusal::Malformed).await;
}

#[tokio::test]
async fn no_session_is_resumed() {
    let mut site = Site::new().await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let key = node_key(&site.ca, "a");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(site.ca.cert_der().clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(key.cert_pem.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.key_pem.as_bytes()).unwrap(),
            )
            .unwrap();
        let config = Arc::new(config);
        for _ in 0..2 {
            let mut client = Raw(site.tls_stream(config.clone()).await.unwrap());
            client.connect(4, 0).await;
            next(&mut site.inbound).await;
            let kind = client.0.get_ref().1.handshake_kind();
            assert_ne!(kind, Some(rustls::HandshakeKind::Resumed));
            client.send([0xe0, 0]).await;
            assert_eq!(end(&mut site.inbound).await, EndReason::Goodbye);
        }
    }
}

#[tokio::test]
async fn the_servers_certificate_changes_while_it_runs() {
    let mut site = Site::new().await;
    let key = node_key(&site.ca, "a");
    let config = tls_client(site.ca.cert_pem(), Some(&key));
    let mut before = Raw(site.tls_stream(config.clone()).await.unwrap());
    before.connect(4, 0).await;
    next(&mut site.inbound).await;

    let new = site.ca.issue_server(&["localhost".to_owned()], Duration::from_secs(86_400), now()).unwrap();
    site.server.replace(&new.cert_pem, &new.key_pem).unwrap();
    assert!(site.server.replace(&new.cert_pem, "nonsense").is_err());
    assert!(site.server.replace(&new.cert_pem, &key.key_pem).is_err(), "a key of another certificate");
    let after = site.tls_stream(config).await.unwrap();
    let shown = |tls: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        tls.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let expected = CertificateDer::from_pem_slice(new.cert_pem.as_bytes()).unwrap();
    assert_eq!(shown(&after), expected);
    assert_ne!(shown(&before.0), expected);
    before.send([0xc0, 0]).await;
    assert_eq!(before.receive_v3().await, v3::Packet::Pingresp, "who is connected stays so");
}

#[tokio::test]
async fn stopping_ends_everything() {
    let mut site = Site::new().await;
    let key = node_key(&site.ca, "a");
    let mut client = Raw(site.tls_stream(tls_client(site.ca.cert_pem(), Some(&key))).await.unwrap());
    client.connect(4, 0).await;
    next(&mut site.inbound).await;
    site.stop.cancel();
    client.closed().await;
    timeout(SOON, site.task).await.unwrap().unwrap();
    assert_eq!(end(&mut site.inbound).await, EndReason::Shutdown);
    assert!(
        site.inbound.recv().await.is_none()
            || site.downlink.send(&node("a"), DownLeaf::Ack, Bytes::new()).await.is_err()
    );
}

#[tokio::test]
async fn an_address_in_use_is_said_so() {
    let site = Site::new().await;
    let (sender, _inbound) = mpsc::channel(1);
    let config = EndpointConfig { listen: site.address, websocket: None, limits: Limits::default() };
    let tls = EndpointTls { ca: vec![site.ca.cert_der().clone()], server: site.server.clone() };
    let error = Endpoint::bind(config, tls, Admission::deny([]), sender).await.err().unwrap();
    assert!(error.to_string().contains(&site.address.to_string()), "{error}");
}

/// A client with that config sends CONNECT and gets no CONNACK.
async fn assert_shut(site: &Site, config: Arc<rustls::ClientConfig>) {
    let attempt = async {
        // In TLS 1.3 the client's handshake is over before the server has judged its certificate.
        let Ok(mut stream) = site.tls_stream(config).await else { return };
        let _ = stream.write_all(&connect_v3(0, None)).await;
        let _ = stream.flush().await;
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{answer:02x?}");
    };
    timeout(SOON, attempt).await.expect("the endpoint decides");
}
