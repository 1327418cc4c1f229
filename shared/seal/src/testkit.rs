//! A small fleet for tests: keys, a root document, an assigned node and a config for it.

use crate::{
    AgentVersion, Assignment, ConfigDoc, Context, FleetId, Floors, NodeIdentity, PublicKey, Revision, Role, RoleKeys,
    RootDoc, SigningKey, TrustStore, TrustedTime, X25519Key, root_hash,
};
use skerry_model::{NodeId, UnixMillis};
use std::collections::BTreeMap;

/// 2026-01-01.
pub(crate) const ISSUED: UnixMillis = UnixMillis(1_767_225_600_000);

/// Everything that administrators and one node hold.
pub(crate) struct TestFleet {
    pub(crate) fleet: FleetId,
    pub(crate) root_keys: Vec<SigningKey>,
    pub(crate) config_keys: Vec<SigningKey>,
    pub(crate) assign_key: SigningKey,
    pub(crate) trust: TrustStore,
    pub(crate) identity: NodeIdentity,
    pub(crate) assignment: Assignment,
    pub(crate) floors: Floors,
    pub(crate) time: TrustedTime,
}

pub(crate) fn new_keys(count: usize) -> Vec<SigningKey> {
    (0..count).map(|_| SigningKey::generate().unwrap()).collect()
}

pub(crate) fn publics(keys: &[SigningKey]) -> Vec<PublicKey> {
    keys.iter().map(SigningKey::public).collect()
}

pub(crate) fn role(threshold: u8, keys: &[SigningKey]) -> RoleKeys {
    RoleKeys::new(threshold, publics(keys)).unwrap()
}

impl TestFleet {
    /// A fleet with 2 of 3 root keys, 2 of 3 config keys and one assign key, in epoch 1.
    pub(crate) fn new() -> Self {
        let fleet: FleetId = "acme".parse().unwrap();
        let (root_keys, config_keys, assign_keys) = (new_keys(3), new_keys(3), new_keys(1));
        let root = RootDoc {
            fleet: fleet.clone(),
            revision: Revision::new(1, 1),
            issued: ISSUED,
            roles: BTreeMap::from([
                (Role::Root, role(2, &root_keys)),
                (Role::Config, role(2, &config_keys)),
                (Role::Assign, role(1, &assign_keys)),
            ]),
        };
        let envelope = root.seal(&[&root_keys[0], &root_keys[1]]).unwrap();
        let trust = TrustStore::bootstrap(&envelope, &root_hash(&envelope)).unwrap();
        let key = X25519Key::generate().unwrap();
        let node: NodeId = "pi-4".parse().unwrap();
        let assignment = Assignment {
            fleet: fleet.clone(),
            node: node.clone(),
            tls_pin: [3; 32],
            x25519: key.public(),
            streams: BTreeMap::from([("group/edge".parse().unwrap(), Revision::new(1, 2))]),
            labels: BTreeMap::from([("site".to_owned(), "north".to_owned())]),
            issued: ISSUED,
            revision: Revision::new(1, 1),
            revoked: false,
        };
        let agent = AgentVersion { major: 0, minor: 3, patch: 1 };
        Self {
            fleet,
            root_keys,
            config_keys,
            assign_key: assign_keys.into_iter().next().unwrap(),
            trust,
            identity: NodeIdentity { node, tls_pin: [3; 32], key, agent },
            assignment,
            floors: Floors::default(),
            time: TrustedTime { at: ISSUED, trusted: true },
        }
    }

    /// Version 5 of what the node follows.
    pub(crate) fn config(&self) -> ConfigDoc {
        ConfigDoc {
            fleet: self.fleet.clone(),
            stream: "group/edge".parse().unwrap(),
            revision: Revision::new(1, 5),
            issued: ISSUED,
            not_after: None,
            min_agent: AgentVersion::ANY,
            body: b"kind: NodeConfig\n".to_vec(),
            secrets: Vec::new(),
        }
    }

    /// Signed by two of the three config keys.
    pub(crate) fn seal(&self, doc: &ConfigDoc) -> Vec<u8> {
        doc.seal(&[&self.config_keys[0], &self.config_keys[1]]).unwrap()
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            trust: &self.trust,
            identity: &self.identity,
            assignment: Some(&self.assignment),
            floors: &self.floors,
            time: self.time,
        }
    }

    /// The root document after the one in force, as yet unchanged but for its version.
    pub(crate) fn next_root(&self) -> RootDoc {
        let mut next = self.trust.current().clone();
        next.revision.version += 1;
        next
    }
}
