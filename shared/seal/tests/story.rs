//! A fleet from its first key to an applied config, through the public interface alone: what the admin tool, the
//! server and the agent each do.

use skerry_model::{Mono, NodeId, UnixMillis};
use skerry_seal::{
    AgentVersion, Assignment, ConfigDoc, Context, EnrolRequest, EnrolResponse, FleetId, Floors, NewNode, NodeIdentity,
    Revision, Role, RoleKeys, RootDoc, SigningKey, Token, TrustStore, TrustedClock, Verdict, X25519Key, add_signature,
    fingerprint_words, random, read_config, reopen_config, root_hash, sha256, verify_assignment, verify_config,
};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn from_the_first_key_to_an_applied_config() {
    let now = UnixMillis(1_800_000_000_000);

    // Admin: `skerry init` makes the keys and root number 1, signed by 2 of 3.
    let fleet = FleetId::generate().unwrap();
    let root_keys: Vec<_> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
    let (config_key, assign_key) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let root = RootDoc {
        fleet: fleet.clone(),
        revision: Revision::new(1, 1),
        issued: now,
        roles: BTreeMap::from([
            (Role::Root, RoleKeys::new(2, root_keys.iter().map(SigningKey::public).collect()).unwrap()),
            (Role::Config, RoleKeys::new(1, vec![config_key.public()]).unwrap()),
            (Role::Assign, RoleKeys::new(1, vec![assign_key.public()]).unwrap()),
        ]),
    };
    let alone = root.seal(&[&root_keys[0]]).unwrap();
    let root_one = add_signature(&alone, Role::Root, &fleet, &root_keys[2]).unwrap();
    let server = TrustStore::restore(std::slice::from_ref(&root_one)).unwrap();

    // Admin makes a token; the node asks; the server answers; the node checks.
    let line = Token::generate(root_hash(&root_one), "http://fleet:9480").unwrap().to_text().unwrap();
    let token: Token = line.parse().unwrap();
    let (node, key): (NodeId, _) = ("pi-4".parse().unwrap(), X25519Key::generate().unwrap());
    let tls_pin = sha256(b"SubjectPublicKeyInfo of the node's TLS key");
    let request =
        EnrolRequest::new(node.clone(), b"certificate request".to_vec(), key.public(), random().unwrap(), Some(&token));
    let received = EnrolRequest::decode(&request.encode()).unwrap();
    received.verify(&token.secret).unwrap();
    let given = NewNode {
        node: received.node.clone(),
        fleet: fleet.clone(),
        cert_chain: vec![b"certificate".to_vec()],
        ca_der: b"CA".to_vec(),
        roots: server.roots().to_vec(),
        mqtt_url: "mqtts://fleet:8883".to_owned(),
    };
    let response = EnrolResponse::new(given, &received, &token.secret).encode();
    let trust = EnrolResponse::accept(&response, &request, &token).unwrap().trust;
    assert_eq!(fingerprint_words(&tls_pin, &received.x25519), fingerprint_words(&tls_pin, &key.public()));

    // Admin signs who the node is, and a config with a password for it.
    let stream = "group/edge".parse().unwrap();
    let assignment = Assignment {
        fleet: fleet.clone(),
        node: node.clone(),
        tls_pin,
        x25519: received.x25519,
        streams: BTreeMap::from([("group/edge".parse().unwrap(), Revision::new(1, 1))]),
        labels: BTreeMap::new(),
        issued: now,
        revision: Revision::new(1, 1),
        revoked: false,
    };
    let mut config = ConfigDoc {
        fleet,
        stream,
        revision: Revision::new(1, 1),
        issued: now + Duration::from_secs(60),
        not_after: Some(now + Duration::from_secs(86_400)),
        min_agent: AgentVersion::ANY,
        body: b"kind: NodeConfig".to_vec(),
        secrets: Vec::new(),
    };
    config.add_secret("sync.password", &node, &assignment.x25519, b"hunter2").unwrap();
    let signed_assignment = assignment.seal(&[&assign_key]).unwrap();
    let signed_config = config.seal(&[&config_key]).unwrap();
    assert_eq!(read_config(&signed_config, &server).unwrap().doc, config);

    // The node, whose clock says 1970, adopts both.
    let mut clock = TrustedClock::new(UnixMillis(1_790_000_000_000), None, Mono(0));
    clock.raise(trust.current().issued, Mono(0));
    let identity = NodeIdentity { node, tls_pin, key, agent: "0.1.0".parse().unwrap() };
    let mut floors = Floors::default();
    let time = clock.read(Mono(1000), Some(UnixMillis(0)));
    let context = Context { trust: &trust, identity: &identity, assignment: None, floors: &floors, time };
    let Verdict::Adopt(adopted) = verify_assignment(&signed_assignment, &context).unwrap() else { panic!("unchanged") };
    let context = Context { assignment: Some(&adopted.doc), ..context };
    let Verdict::Adopt(accepted) = verify_config(&signed_config, &context).unwrap() else { panic!("unchanged") };
    assert_eq!(accepted.doc.body, b"kind: NodeConfig");
    assert_eq!(accepted.secrets["sync.password"].expose(), b"hunter2");
    assert!(accepted.time_untrusted);
    floors.raise_assignment(&adopted);
    floors.raise_config(&accepted);
    assert!(clock.raise(accepted.doc.issued, Mono(1000)));

    // After a restart everything comes back from storage, and neither document is adopted twice.
    let trust = TrustStore::restore(trust.roots()).unwrap();
    let floors = Floors::decode(&floors.encode()).unwrap();
    let stored = reopen_config(&signed_config, &accepted.hash, &identity).unwrap();
    assert_eq!((stored.doc, stored.secrets), (accepted.doc, accepted.secrets));
    let context = Context { trust: &trust, identity: &identity, assignment: Some(&adopted.doc), floors: &floors, time };
    assert_eq!(verify_assignment(&signed_assignment, &context), Ok(Verdict::Unchanged));
    assert_eq!(verify_config(&signed_config, &context), Ok(Verdict::Unchanged));
}
