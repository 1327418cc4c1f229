use super::*;
use std::os::unix::fs::PermissionsExt;
use x509_parser::prelude::{FromDer, X509Certificate};

/// 2026-01-01T00:00:00Z.
const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

fn request(cn: &str) -> Vec<u8> {
    let key = new_key().unwrap();
    let mut params = CertificateParams::new(vec!["wish.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serialize_request(&key).unwrap().der().to_vec()
}

fn node() -> NodeId {
    "pi-4".parse().unwrap()
}

#[test]
fn a_node_gets_the_name_the_fleet_chose_and_no_more() {
    let ca = FleetCa::generate("acme", NOW).unwrap();
    let csr = request("somebody-else");
    let issued = ca.issue_node(&csr, &node(), MONTH, NOW).unwrap();
    assert_eq!(node_of_cert(&issued.der).unwrap(), node());
    assert_eq!(issued.pin, spki_pin(&issued.der).unwrap());
    assert_eq!(issued.pin, csr_pin(&csr).unwrap());
    assert_eq!(issued.not_after, NOW + MONTH);

    let (_, cert) = X509Certificate::from_der(&issued.der).unwrap();
    assert!(!cert.is_ca());
    assert!(cert.subject_alternative_name().unwrap().is_none());
    let usage = cert.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert_eq!(cert.validity().not_after.timestamp() * 1000, issued.not_after.0);
    assert_eq!(cert.validity().not_before.timestamp() * 1000 + 86_400_000, NOW.0);
    let (_, ca_cert) = X509Certificate::from_der(ca.cert_der()).unwrap();
    assert_eq!(cert.issuer(), ca_cert.subject());
}

#[test]
fn a_renewal_has_another_serial_number() {
    let ca = FleetCa::generate("acme", NOW).unwrap();
    let csr = request("pi-4");
    let serial = |now| {
        let issued = ca.issue_node(&csr, &node(), MONTH, now).unwrap();
        X509Certificate::from_der(&issued.der).unwrap().1.raw_serial().to_vec()
    };
    assert_ne!(serial(NOW), serial(NOW + HOUR));
    assert_eq!(serial(NOW), serial(NOW));
}

#[test]
fn bad_requests_are_refused() {
    let ca = FleetCa::generate("acme", NOW).unwrap();
    let mut forged = request("pi-4");
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let p384 = {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
    };
    for (what, csr) in
        [("forged", forged), ("other curve", p384), ("empty", vec![]), ("huge", vec![0x30; CSR_BYTES_MAX + 1])]
    {
        let refused = ca.issue_node(&csr, &node(), MONTH, NOW);
        assert!(matches!(refused, Err(PkiError::Csr { .. })), "{what}: {refused:?}");
    }
    let good = request("pi-4");
    for validity in [Duration::from_secs(60), CA_VALIDITY * 2] {
        assert!(matches!(ca.issue_node(&good, &node(), validity, NOW), Err(PkiError::Validity { .. })));
    }
}

#[test]
fn a_server_certificate_carries_names_and_addresses() {
    let ca = FleetCa::generate("acme", NOW).unwrap();
    let names = ["fleet.example".to_owned(), "127.0.0.1".to_owned()];
    let server = ca.issue_server(&names, MONTH, NOW).unwrap();
    let der = CertificateDer::from_pem_slice(server.cert_pem.as_bytes()).unwrap();
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    let sans = cert.subject_alternative_name().unwrap().unwrap().value.general_names.len();
    assert_eq!(sans, 2);
    assert!(cert.extended_key_usage().unwrap().unwrap().value.server_auth);
    assert!(matches!(ca.issue_server(&[], MONTH, NOW), Err(PkiError::Names { .. })));
    assert!(matches!(ca.issue_server(&["ä".to_owned()], MONTH, NOW), Err(PkiError::Names { .. })));
}

#[test]
fn the_ca_survives_its_files_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    let ca = FleetCa::generate("acme", NOW).unwrap();
    std::fs::write(folder.path().join("ca.key.new"), "left over").unwrap();
    ca.save(&cert, &key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    let loaded = FleetCa::load(&cert, &key).unwrap();
    assert_eq!(loaded.cert_der(), ca.cert_der());
    let before = ca.issue_node(&request("pi-4"), &node(), MONTH, NOW).unwrap();
    let after = loaded.issue_node(&request("pi-4"), &node(), MONTH, NOW).unwrap();
    let issuer = |der: &[u8]| X509Certificate::from_der(der).unwrap().1.issuer().to_string();
    assert_eq!(issuer(&before.der), issuer(&after.der));
}

#[test]
fn a_key_of_another_ca_is_noticed() {
    let (one, two) = (FleetCa::generate("a", NOW).unwrap(), FleetCa::generate("b", NOW).unwrap());
    assert!(matches!(FleetCa::from_pem(one.cert_pem(), &two.key_pem()), Err(PkiError::KeyMismatch)));
    assert!(matches!(FleetCa::from_pem("nonsense", &two.key_pem()), Err(PkiError::Pem { .. })));
    assert!(matches!(FleetCa::from_pem(one.cert_pem(), "nonsense"), Err(PkiError::Malformed { .. })));
    let missing = Path::new("/nonexistent/ca.key");
    assert!(matches!(FleetCa::load(missing, missing), Err(PkiError::File { .. })));
}

#[test]
fn certificates_that_name_no_node_are_refused() {
    let key = new_key().unwrap();
    for name in ["a/b", "+", "#", ""] {
        let cert = certificate(name, &key, NOW, MONTH).self_signed(&key).unwrap();
        assert!(node_of_cert(cert.der()).is_err(), "{name:?} was taken");
    }
    let mut params = certificate("pi-4", &key, NOW, MONTH);
    params.distinguished_name = DistinguishedName::new();
    assert!(node_of_cert(params.self_signed(&key).unwrap().der()).is_err(), "no common name");
    assert!(node_of_cert(b"garbage").is_err());
    assert!(spki_pin(b"").is_err());
}
