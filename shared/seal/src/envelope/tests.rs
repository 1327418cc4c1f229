//! Envelopes built by hand, to be refused: every cause has its case.

use super::*;
use crate::testkit::{new_keys, role};

const PAYLOAD: &[u8] = &[0xa1, 0x01, 0x02];

fn fleet() -> FleetId {
    "acme".parse().unwrap()
}

fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

fn header(pairs: &[(i64, Value)]) -> Value {
    let pairs = pairs.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect();
    bytes(&cbor::encode(Value::Map(pairs)))
}

fn empty() -> Value {
    Value::Map(Vec::new())
}

fn content_type() -> (i64, Value) {
    (3, Role::Config.content_type().into())
}

fn body_header() -> Value {
    header(&[(1, Value::from(-8)), content_type()])
}

fn signature_header() -> Value {
    header(&[(1, Value::from(-8)), (4, bytes(&[7; 8]))])
}

fn signature() -> Value {
    Value::Array(vec![signature_header(), empty(), bytes(&[0; 64])])
}

fn tagged(tag: u64, parts: Vec<Value>) -> Vec<u8> {
    cbor::encode(Value::Tag(tag, Box::new(Value::Array(parts))))
}

fn code(envelope: &[u8]) -> &'static str {
    Envelope::parse(envelope).map_or_else(|error| error.code(), |_| "none")
}

#[test]
fn what_is_signed_is_fixed() {
    // RFC 9052 section 4.4: ["Signature", body_protected, sign_protected, external_aad, payload].
    let key = &new_keys(1)[0];
    let envelope = sign(Role::Config, &fleet(), PAYLOAD, &[key]).unwrap();
    let aad = cbor::encode(Value::Array(vec!["skerry/1".into(), "acme".into(), "config".into()]));
    let sign_header = header(&[(1, Value::from(-8)), (4, bytes(&key.id().0))]);
    let to_sign = cbor::encode(Value::Array(vec![
        "Signature".into(),
        body_header(),
        sign_header.clone(),
        bytes(&aad),
        bytes(PAYLOAD),
    ]));
    let signatures = Value::Array(vec![Value::Array(vec![sign_header, empty(), bytes(&key.sign(&to_sign))])]);
    let by_hand = tagged(98, vec![body_header(), empty(), bytes(PAYLOAD), signatures]);
    assert_eq!(envelope, by_hand);
}

#[test]
fn an_envelope_shows_what_it_claims_and_gives_what_holds() {
    let keys = new_keys(3);
    let envelope = sign(Role::Job, &fleet(), PAYLOAD, &[&keys[2], &keys[0]]).unwrap();
    let parsed = Envelope::parse(&envelope).unwrap();
    assert_eq!((parsed.role(), parsed.unverified_payload()), (Role::Job, PAYLOAD));
    assert_eq!(parsed.claimed_signers(), [keys[2].id(), keys[0].id()]);
    let verified = open(&envelope, Role::Job, &fleet(), &role(2, &keys)).unwrap();
    assert_eq!((verified.payload.as_slice(), verified.hash()), (PAYLOAD, sha256(PAYLOAD)));
    let mut signers = vec![keys[0].public(), keys[2].public()];
    signers.sort_by_key(PublicKey::id);
    assert_eq!(verified.signers, signers);
}

#[test]
fn a_signature_repeated_counts_once() {
    let keys = new_keys(2);
    let envelope = sign(Role::Config, &fleet(), PAYLOAD, &[&keys[0]]).unwrap();
    let mut cose = CoseSign::from_tagged_slice(&envelope).unwrap();
    cose.signatures.push(cose.signatures[0].clone());
    let twice = cose.to_tagged_vec().unwrap();
    let refused = open(&twice, Role::Config, &fleet(), &role(2, &keys)).unwrap_err();
    assert_eq!(refused, EnvelopeError::Threshold { role: Role::Config, found: 1, needed: 2 });
}

#[test]
fn a_bad_signature_of_a_known_key_refuses_the_rest_too() {
    let keys = new_keys(2);
    let envelope = sign(Role::Config, &fleet(), PAYLOAD, &[&keys[0], &keys[1]]).unwrap();
    let mut cose = CoseSign::from_tagged_slice(&envelope).unwrap();
    cose.signatures[1].signature[0] ^= 1;
    let refused = open(&cose.to_tagged_vec().unwrap(), Role::Config, &fleet(), &role(1, &keys)).unwrap_err();
    assert_eq!(refused, EnvelopeError::BadSignature { kid: keys[1].id() });
}

#[test]
fn only_a_tagged_cose_sign_is_taken() {
    let parts = vec![body_header(), empty(), bytes(PAYLOAD), Value::Array(vec![signature()])];
    assert_eq!(code(&tagged(98, parts.clone())), "none");
    for tag in [18, 97, 98 << 8] {
        assert_eq!(code(&tagged(tag, parts.clone())), "wrong_tag", "{tag}");
    }
    assert_eq!(code(&cbor::encode(Value::Array(parts))), "wrong_tag");
    for few in 0..4 {
        let parts = [body_header(), empty(), bytes(PAYLOAD), Value::Array(vec![])];
        assert_eq!(code(&tagged(98, parts[..few].to_vec())), "wrong_structure");
    }
    let detached = vec![body_header(), empty(), Value::Null, Value::Array(vec![signature()])];
    assert_eq!(code(&tagged(98, detached)), "wrong_structure");
    let unprotected = Value::Map(vec![(4.into(), bytes(&[1]))]);
    let parts = vec![body_header(), unprotected, bytes(PAYLOAD), Value::Array(vec![signature()])];
    assert_eq!(code(&tagged(98, parts)), "wrong_structure");
}

#[test]
fn body_headers_are_checked() {
    let alg = (1, Value::from(-8));
    let crit = |labels: Vec<Value>| (2, Value::Array(labels));
    let cases = [
        (vec![alg.clone(), content_type()], "none"),
        (vec![alg.clone(), crit(vec![3.into()]), content_type()], "none"),
        (vec![alg.clone(), content_type(), (100, 1.into())], "none"),
        (vec![alg.clone(), content_type(), (-70_000, 1.into())], "none"),
        (vec![alg.clone(), crit(vec![100.into()]), content_type(), (100, 1.into())], "unknown_critical_header"),
        (vec![alg.clone(), crit(vec![Value::from(-70_000)]), content_type()], "unknown_critical_header"),
        (vec![alg.clone(), crit(vec!["x".into()]), content_type()], "unknown_critical_header"),
        (vec![alg.clone(), crit(vec![Value::Null]), content_type()], "wrong_structure"),
        (vec![alg.clone(), crit(vec![]), content_type()], "wrong_structure"),
        (vec![alg.clone(), (2, 3.into()), content_type()], "wrong_structure"),
        (vec![alg.clone()], "unknown_content_type"),
        (vec![alg.clone(), (3, 60.into())], "unknown_content_type"),
        (vec![alg.clone(), (3, "application/json".into())], "unknown_content_type"),
        (vec![content_type()], "unknown_algorithm"),
        (vec![(1, Value::from(-7)), content_type()], "unknown_algorithm"),
        (vec![alg.clone(), content_type(), (4, bytes(&[1]))], "wrong_structure"),
        (vec![alg, content_type(), (5, bytes(&[1]))], "wrong_structure"),
    ];
    for (pairs, expected) in cases {
        let parts = vec![header(&pairs), empty(), bytes(PAYLOAD), Value::Array(vec![signature()])];
        assert_eq!(code(&tagged(98, parts)), expected, "{pairs:?}");
    }
}

#[test]
fn signature_headers_are_checked() {
    let alg = (1, Value::from(-8));
    let kid = (4, bytes(&[7; 8]));
    let cases = [
        (header(&[alg.clone(), kid.clone()]), empty(), 64, "none"),
        (header(&[alg.clone(), kid.clone()]), empty(), 63, "wrong_structure"),
        (header(&[alg.clone(), kid.clone()]), Value::Map(vec![(4.into(), bytes(&[1]))]), 64, "wrong_structure"),
        (header(&[alg.clone(), (4, bytes(&[7; 9]))]), empty(), 64, "wrong_structure"),
        (header(std::slice::from_ref(&alg)), empty(), 64, "wrong_structure"),
        (header(&[alg.clone(), kid.clone(), (100, 1.into())]), empty(), 64, "wrong_structure"),
        (header(std::slice::from_ref(&kid)), empty(), 64, "unknown_algorithm"),
        (header(&[(1, Value::from(-7)), kid]), empty(), 64, "unknown_algorithm"),
        (Value::Null, empty(), 64, "wrong_structure"),
        (bytes(&[]), empty(), 64, "malformed"),
    ];
    for (protected, unprotected, length, expected) in cases {
        let signature = Value::Array(vec![protected.clone(), unprotected, bytes(&vec![0; length])]);
        let parts = vec![body_header(), empty(), bytes(PAYLOAD), Value::Array(vec![signature])];
        assert_eq!(code(&tagged(98, parts)), expected, "{protected:?}");
    }
}

#[test]
fn strictness_reaches_into_headers_and_payload() {
    let part = |protected: Value, signature: Value, payload: &[u8]| {
        let parts = vec![protected, empty(), bytes(payload), Value::Array(vec![signature])];
        match Envelope::parse(&tagged(98, parts)) {
            Err(EnvelopeError::Malformed { part, .. }) => part,
            other => panic!("{other:?}"),
        }
    };
    // A map with an algorithm twice; a payload that says 1 in two bytes; one with a tag.
    let doubled = bytes(&[0xa2, 0x01, 0x27, 0x01, 0x27]);
    assert_eq!(part(doubled.clone(), signature(), PAYLOAD), "header");
    let bad_signature = Value::Array(vec![doubled, empty(), bytes(&[0; 64])]);
    assert_eq!(part(body_header(), bad_signature, PAYLOAD), "signature header");
    for payload in [&[0x18, 0x01][..], &[0xd8, 0x62, 0x01], &[0xa0, 0x00], &[]] {
        assert_eq!(part(body_header(), signature(), payload), "payload");
    }
}

#[test]
fn signatures_are_counted() {
    let parts = |count| vec![body_header(), empty(), bytes(PAYLOAD), Value::Array(vec![signature(); count])];
    assert_eq!(code(&tagged(98, parts(8))), "none");
    assert_eq!(code(&tagged(98, parts(9))), "too_many_signatures");
    assert_eq!(code(&tagged(98, parts(1000))), "malformed");
    // No signature is no fault of form: it is too few.
    let none = open(&tagged(98, parts(0)), Role::Config, &fleet(), &role(1, &new_keys(1)));
    assert_eq!(none.unwrap_err().code(), "too_few_signatures");
}

#[test]
fn signers_are_told_what_would_be_refused() {
    let keys = new_keys(9);
    let signed = |payload: &[u8], keys: &[&SigningKey]| sign(Role::Config, &fleet(), payload, keys);
    assert_eq!(signed(PAYLOAD, &[]), Err(SignError::NoKey));
    assert_eq!(signed(PAYLOAD, &[&keys[0], &keys[0]]), Err(SignError::SignedAlready(keys[0].id())));
    let all: Vec<_> = keys.iter().collect();
    assert_eq!(signed(PAYLOAD, &all), Err(EnvelopeError::TooManySignatures(9).into()));
    assert!(matches!(signed(&[0xff], &all[..1]), Err(SignError::Envelope(EnvelopeError::Malformed { .. }))));
    let mut large = vec![0x5a, 0, 4, 0, 0];
    large.resize(5 + 256 * 1024, 0);
    assert!(matches!(signed(&large, &all[..1]), Err(SignError::Envelope(EnvelopeError::TooLarge { .. }))));

    let envelope = signed(PAYLOAD, &all[..1]).unwrap();
    let again = add_signature(&envelope, Role::Config, &fleet(), &keys[0]);
    assert_eq!(again, Err(SignError::SignedAlready(keys[0].id())));
    let other = add_signature(&envelope, Role::Job, &fleet(), &keys[1]);
    assert_eq!(other, Err(EnvelopeError::Role { found: Role::Config, expected: Role::Job }.into()));
    assert!(add_signature(PAYLOAD, Role::Config, &fleet(), &keys[1]).is_err());
}
