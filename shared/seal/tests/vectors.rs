//! Test vectors of others: Project Wycheproof's Ed25519 file and the COSE working group's examples. They lie beside
//! the repository; where they are absent the tests say so and pass.
#![expect(clippy::unwrap_used, reason = "a file of vectors of another shape is a failed test")]

use coset::{CoseSign, TaggedCborSerializable};
use serde_json::Value;
use skerry_seal::{Envelope, PublicKey, SigningKey};
use std::io::Write;
use std::path::PathBuf;

/// The file of that name in the shared data beside the repository; `None`, and a line that says so, if it is absent.
#[expect(clippy::explicit_write, reason = "past the capture of passing tests, so that a skip is always seen")]
fn shared(name: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))),
        Err(error) => {
            writeln!(std::io::stderr(), "SKIPPED 1 file of vectors, {}: {error}", path.display()).unwrap();
            None
        }
    }
}

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn wycheproof_ed25519() {
    let Some(file) = shared("wycheproof/ed25519_test.json") else { return };
    let mut run = 0;
    for group in file["testGroups"].as_array().unwrap() {
        let key = PublicKey(hex(&group["publicKey"]["pk"]).try_into().unwrap());
        for case in group["tests"].as_array().unwrap() {
            let expected = match case["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("case {} is {other}: decide what is right", case["tcId"]),
            };
            let holds = key.verifies(&hex(&case["msg"]), &hex(&case["sig"]));
            assert_eq!(holds, expected, "case {}: {}", case["tcId"], case["comment"]);
            run += 1;
        }
    }
    assert_eq!(Some(run), file["numberOfTests"].as_u64());
}

/// PKCS#8 (RFC 8410 section 7) of a bare Ed25519 seed.
fn signing_key(seed: &[u8]) -> SigningKey {
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    SigningKey::from_pkcs8(&[&prefix, seed].concat()).unwrap()
}

/// The one COSE_Sign example with Ed25519. What is signed, the signature made and the signature checked are as it
/// says. As an envelope it is refused: its payload is plain text, its content type a number, and its key id stands
/// unprotected.
#[test]
fn cose_example_of_eddsa() {
    let Some(example) = shared("cose-examples/eddsa-examples/eddsa-01.json") else { return };
    let bytes = hex(&example["output"]["cbor"]);
    let cose = CoseSign::from_tagged_slice(&bytes).unwrap();
    let signature = &cose.signatures[0];
    let to_sign = cose.tbs_data(&[], signature);
    assert_eq!(to_sign, hex(&example["intermediates"]["signers"][0]["ToBeSign_hex"]));
    let key = &example["input"]["sign"]["signers"][0]["key"];
    let public = PublicKey(hex(&key["x_hex"]).try_into().unwrap());
    assert!(public.verifies(&to_sign, &signature.signature));
    let private = signing_key(&hex(&key["d_hex"]));
    assert_eq!(private.public(), public);
    assert_eq!(private.sign(&to_sign).as_slice(), signature.signature);
    assert_eq!(Envelope::parse(&bytes).unwrap_err().code(), "malformed");
}

/// Examples that are no envelopes here, the failing ones and the good ones alike: COSE_Sign1, wrong or missing tags,
/// ECDSA, a changed header, a changed signature. The first thing met is the tag, or a payload that is plain text.
#[test]
fn cose_examples_of_other_kinds_are_refused() {
    let cases = [
        ("eddsa-examples/eddsa-sig-01", "wrong_tag"),
        ("sign-tests/ecdsa-01", "malformed"),
        ("sign-tests/sign-fail-01", "wrong_tag"),
        ("sign-tests/sign-fail-02", "malformed"),
        ("sign-tests/sign-fail-04", "malformed"),
        ("sign-tests/sign-fail-07", "malformed"),
        ("sign-tests/sign-pass-01", "malformed"),
        ("sign-tests/sign-pass-03", "wrong_tag"),
        ("sign1-tests/sign-pass-01", "wrong_tag"),
        ("sign1-tests/sign-pass-03", "wrong_tag"),
    ];
    for (name, code) in cases {
        let Some(example) = shared(&format!("cose-examples/{name}.json")) else { continue };
        let refused = Envelope::parse(&hex(&example["output"]["cbor"])).unwrap_err();
        assert_eq!(refused.code(), code, "{name}: {refused}");
    }
}
