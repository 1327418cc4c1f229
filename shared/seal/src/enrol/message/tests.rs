//! A node joins; then every way in which a stranger, a thief or a broken link fails to make it.

use super::*;
use crate::testkit::TestFleet;
use proptest::prelude::*;

struct Joining {
    token: Token,
    request: EnrolRequest,
    given: NewNode,
}

fn joining() -> Joining {
    let fleet = TestFleet::new();
    let token = Token::generate(fleet.trust.pin(), "http://fleet:9480").unwrap();
    let request = EnrolRequest::new(
        fleet.identity.node.clone(),
        vec![0x30; 300],
        fleet.identity.key.public(),
        [7; 16],
        Some(&token),
    );
    let given = NewNode {
        node: fleet.identity.node.clone(),
        fleet: fleet.fleet.clone(),
        cert_chain: vec![vec![1; 400], vec![2; 400]],
        ca_der: vec![3; 400],
        roots: fleet.trust.roots().to_vec(),
        mqtt_url: "mqtts://fleet:8883".to_owned(),
    };
    Joining { token, request, given }
}

impl Joining {
    fn response(&self) -> Vec<u8> {
        EnrolResponse::new(self.given.clone(), &self.request, &self.token.secret).encode()
    }

    fn accept(&self, response: &[u8]) -> Result<Enrolled, EnrolError> {
        EnrolResponse::accept(response, &self.request, &self.token)
    }
}

#[test]
fn a_node_joins() {
    let joining = joining();
    let received = EnrolRequest::decode(&joining.request.encode()).unwrap();
    assert_eq!(received, joining.request);
    assert_eq!(received.verify(&joining.token.secret), Ok(()));
    let enrolled = joining.accept(&joining.response()).unwrap();
    assert_eq!(enrolled.given, joining.given);
    assert_eq!(enrolled.trust.pin(), joining.token.root_hash);
}

#[test]
fn a_request_without_a_token_is_read_but_proves_nothing() {
    let joining = joining();
    let EnrolRequest { node, csr_der, x25519, nonce, .. } = joining.request.clone();
    let bare = EnrolRequest::new(node, csr_der, x25519, nonce, None);
    let received = EnrolRequest::decode(&bare.encode()).unwrap();
    assert_eq!(received, bare);
    assert_eq!(received.verify(&joining.token.secret), Err(EnrolError::NoToken));
}

#[test]
fn a_proof_covers_every_field_of_the_request() {
    let joining = joining();
    let refused = |change: &dyn Fn(&mut EnrolRequest)| {
        let mut request = joining.request.clone();
        change(&mut request);
        assert_ne!(request, joining.request);
        assert_eq!(request.verify(&joining.token.secret).unwrap_err().code(), "enrol_bad_proof");
    };
    refused(&|request| request.node = "other".parse().unwrap());
    refused(&|request| request.csr_der[0] ^= 1);
    refused(&|request| request.x25519.0[0] ^= 1);
    refused(&|request| request.nonce[0] ^= 1);
    refused(&|request| request.proof.as_mut().unwrap().token.0[0] ^= 1);
    refused(&|request| request.proof.as_mut().unwrap().mac[0] ^= 1);
    let other = TokenSecret::from_bytes([0; 16]);
    assert_eq!(joining.request.verify(&other), Err(EnrolError::Proof(REQUEST)));
}

#[test]
fn a_proof_covers_every_field_of_the_response_and_its_request() {
    let joining = joining();
    let good = EnrolResponse::new(joining.given.clone(), &joining.request, &joining.token.secret);
    let refused = |change: &dyn Fn(&mut NewNode)| {
        let mut response = good.clone();
        change(&mut response.given);
        assert_ne!(response, good);
        assert_eq!(joining.accept(&response.encode()).unwrap_err(), EnrolError::Proof(RESPONSE));
    };
    refused(&|given| given.node = "other".parse().unwrap());
    refused(&|given| given.fleet = "other".parse().unwrap());
    refused(&|given| given.cert_chain[1][0] ^= 1);
    refused(&|given| given.cert_chain.truncate(1));
    refused(&|given| given.ca_der[0] ^= 1);
    refused(&|given| given.roots.clear());
    refused(&|given| given.mqtt_url.push('0'));

    let mut earlier = joining.request.clone();
    earlier.nonce = [8; 16];
    let replayed = EnrolResponse::new(joining.given.clone(), &earlier, &joining.token.secret);
    assert_eq!(joining.accept(&replayed.encode()).unwrap_err(), EnrolError::Proof(RESPONSE));
    // A stranger's server does not know the secret; the request's own proof is none for a response.
    let stranger = EnrolResponse::new(joining.given.clone(), &joining.request, &TokenSecret::from_bytes([0; 16]));
    assert_eq!(joining.accept(&stranger.encode()).unwrap_err(), EnrolError::Proof(RESPONSE));
    let reflected = EnrolResponse { mac: joining.request.proof.unwrap().mac, ..good.clone() };
    assert_eq!(joining.accept(&reflected.encode()).unwrap_err(), EnrolError::Proof(RESPONSE));
}

/// What a compromised server, which knows the secret, still cannot do.
#[test]
fn a_response_must_fit_the_node_and_the_pinned_root() {
    let mut joining = joining();
    let good = joining.given.clone();
    joining.given.node = "other".parse().unwrap();
    assert_eq!(joining.accept(&joining.response()).unwrap_err().code(), "enrol_other_node");
    joining.given = NewNode { roots: TestFleet::new().trust.roots().to_vec(), ..good.clone() };
    assert_eq!(joining.accept(&joining.response()).unwrap_err().code(), "root_pin_mismatch");
    joining.given = NewNode { roots: Vec::new(), ..good.clone() };
    assert_eq!(joining.accept(&joining.response()).unwrap_err(), EnrolError::Trust(TrustError::Empty));
    joining.given = NewNode { fleet: "other".parse().unwrap(), ..good };
    assert_eq!(joining.accept(&joining.response()).unwrap_err().code(), "enrol_other_fleet");
}

#[test]
fn messages_are_bounded() {
    let mut joining = joining();
    joining.request.csr_der = vec![0; DER_BYTES_MAX + 1];
    assert_eq!(EnrolRequest::decode(&joining.request.encode()).unwrap_err().code(), "enrol_message_invalid");
    assert!(EnrolRequest::decode(&vec![0; 20_000]).is_err());
    let good = joining.given.clone();
    for given in [
        NewNode { cert_chain: vec![vec![1]; 5], ..good.clone() },
        NewNode { cert_chain: vec![], ..good.clone() },
        NewNode { cert_chain: vec![vec![1; DER_BYTES_MAX + 1]], ..good.clone() },
        NewNode { ca_der: vec![1; DER_BYTES_MAX + 1], ..good.clone() },
        NewNode { roots: vec![vec![]; ROOTS_MAX + 1], ..good.clone() },
        NewNode { mqtt_url: "x".repeat(513), ..good },
    ] {
        joining.given = given;
        assert!(matches!(EnrolResponse::decode(&joining.response()), Err(EnrolError::Message(_))));
    }
}

#[test]
fn half_a_proof_and_unknown_fields_are_refused() {
    let request = joining().request;
    let with = |key: u64, value: Option<Value>| {
        let Value::Map(mut pairs) = cbor::decode(REQUEST, &request.encode(), &REQUEST_LIMITS).unwrap() else {
            panic!()
        };
        pairs.retain(|(found, _)| *found != Value::from(key));
        pairs.extend(value.map(|value| (Value::from(key), value)));
        EnrolRequest::decode(&cbor::encode(Value::Map(pairs)))
    };
    assert!(matches!(with(5, None), Err(EnrolError::Message(DocError::Shape { field: "proof", .. }))));
    assert!(matches!(with(6, None), Err(EnrolError::Message(DocError::Shape { field: "proof", .. }))));
    assert!(matches!(with(6, Some(Value::Null)), Err(EnrolError::Message(DocError::Shape { field: "proof", .. }))));
    assert!(matches!(with(7, Some(Value::Null)), Err(EnrolError::Message(DocError::Unknown { key: 7, .. }))));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(EnrolRequest::decode(&bytes).is_err());
        prop_assert!(EnrolResponse::decode(&bytes).is_err());
    }
}
