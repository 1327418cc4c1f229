//! Adoption against really signed documents.

use super::core::{Adoption, Outcome, STARTS_MAX};
use super::stored::Stored;
use crate::identity::Memory;
use skerry_model::{Mono, NodeId, UnixMillis};
use skerry_seal::{
    AgentVersion, Assignment, ConfigDoc, FleetId, NodeIdentity, Revision, Role, RoleKeys, RootDoc, SigningKey,
    X25519Key,
};
use skerry_wire::{EventKind, Trust};
use std::collections::BTreeMap;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const HERE: Mono = Mono(5_000);

/// An administrator with all keys.
struct Admin {
    fleet: FleetId,
    root: Vec<u8>,
    config: SigningKey,
    assign: SigningKey,
}

impl Admin {
    fn new() -> Self {
        let fleet = FleetId::generate().unwrap();
        let [root_key, config, assign] = [(); 3].map(|()| SigningKey::generate().unwrap());
        let keys = |key: &SigningKey| RoleKeys::new(1, vec![key.public()]).unwrap();
        let roles = [(Role::Root, keys(&root_key)), (Role::Config, keys(&config)), (Role::Assign, keys(&assign))];
        let doc =
            RootDoc { fleet: fleet.clone(), revision: Revision::new(1, 1), issued: NOW, roles: BTreeMap::from(roles) };
        let root = doc.seal(&[&root_key]).unwrap();
        Self { fleet, root, config, assign }
    }

    fn config(&self, stream: &str, version: u64, spec: &str) -> Vec<u8> {
        let body = format!("apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {{name: {stream}}}\nspec: {spec}\n");
        let doc = ConfigDoc {
            fleet: self.fleet.clone(),
            stream: stream.parse().unwrap(),
            revision: Revision::new(1, version),
            issued: NOW,
            not_after: None,
            min_agent: AgentVersion::ANY,
            body: body.into_bytes(),
            secrets: Vec::new(),
        };
        doc.seal(&[&self.config]).unwrap()
    }

    fn assignment(&self, node: &Node, version: u64, streams: &[&str]) -> Trust {
        let doc = Assignment {
            fleet: self.fleet.clone(),
            node: node.identity.node.clone(),
            tls_pin: node.identity.tls_pin,
            x25519: node.identity.key.public(),
            streams: streams.iter().map(|stream| (stream.parse().unwrap(), Revision::new(1, 1))).collect(),
            labels: BTreeMap::new(),
            issued: NOW,
            revision: Revision::new(1, version),
            revoked: false,
        };
        let envelope = doc.seal(&[&self.assign]).unwrap();
        Trust { roots: Vec::new(), assignment: Some(envelope.into()) }
    }
}

/// A node that can be restarted: what it stored, and what lies beside its keys.
struct Node {
    identity: NodeIdentity,
    root: Vec<u8>,
    state: BTreeMap<String, Vec<u8>>,
    memory: Memory,
    events: Vec<EventKind>,
    adoption: Option<Adoption>,
}

impl Node {
    fn new(admin: &Admin) -> Self {
        let node: NodeId = "pi-4".parse().unwrap();
        let agent = "0.1.0".parse().unwrap();
        let identity = NodeIdentity { node, tls_pin: [7; 32], key: X25519Key::generate().unwrap(), agent };
        let root = admin.root.clone();
        let mut node = Self {
            identity,
            root,
            state: BTreeMap::new(),
            memory: Memory::default(),
            events: Vec::new(),
            adoption: None,
        };
        node.start();
        node
    }

    /// A start of the agent. Whether it has to start anew at once.
    fn start(&mut self) -> bool {
        let stored = Stored::read(self.state.clone().into_iter().collect());
        let roots = std::slice::from_ref(&self.root);
        let (adoption, told) =
            Adoption::restore(self.identity.clone(), roots, self.memory.clone(), stored, HERE).unwrap();
        assert_eq!(told, Vec::<String>::new());
        self.adoption = Some(adoption);
        self.act(Adoption::begin)
    }

    fn act(&mut self, act: impl FnOnce(&mut Adoption) -> Outcome) -> bool {
        let adoption = self.adoption.as_mut().unwrap();
        let outcome = act(adoption);
        for (key, value) in outcome.changes {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
        if outcome.memory {
            self.memory = adoption.memory();
        }
        self.events.extend(outcome.events);
        outcome.restart
    }

    fn assign(&mut self, trust: &Trust) -> bool {
        self.act(|adoption| adoption.take_trust(trust, HERE))
    }

    fn config(&mut self, envelope: &[u8]) -> bool {
        self.act(|adoption| adoption.take_config(envelope, true, HERE, NOW))
    }

    fn runs(&self) -> Vec<(String, u64)> {
        let states = self.adoption.as_ref().unwrap().states();
        states.into_iter().map(|state| (state.stream.to_string(), state.version)).collect()
    }

    fn intervals(&self) -> Vec<String> {
        let layers = self.adoption.as_ref().unwrap().layers();
        layers.into_iter().filter_map(|layer| layer.collect).map(|collect| collect.interval.to_string()).collect()
    }

    fn codes(&self) -> Vec<&str> {
        let code = |kind: &EventKind| match kind {
            EventKind::ConfigRefused { .. } => None,
            EventKind::ConfigApplied(_) => Some("applied"),
            EventKind::ConfigRolledBack { .. } => Some("rolled_back"),
            EventKind::AssignmentApplied { .. } => Some("assigned"),
            _ => Some("other"),
        };
        self.events
            .iter()
            .map(|kind| match kind {
                EventKind::ConfigRefused { code, .. } => code.as_str(),
                other => code(other).unwrap_or("other"),
            })
            .collect()
    }
}

const FIVE: &str = "{collect: {interval: 5s}}";
const SEVEN: &str = "{collect: {interval: 7s}}";

#[test]
fn a_config_runs_on_trial_and_then_for_good() {
    let admin = Admin::new();
    let mut node = Node::new(&admin);
    assert!(!node.assign(&admin.assignment(&node, 1, &["group/edge", "node/pi-4"])));
    assert!(node.config(&admin.config("group/edge", 1, FIVE)));
    assert!(!node.start());
    assert_eq!((node.runs(), node.intervals()), (vec![], vec!["5s".to_owned()]));
    assert!(!node.act(Adoption::confirm));
    assert_eq!(node.runs(), [("group/edge".to_owned(), 1)]);
    assert!(!node.start());
    assert_eq!(node.intervals(), ["5s"]);
    assert!(node.config(&admin.config("node/pi-4", 3, SEVEN)));
    assert_eq!(node.intervals(), ["5s", "7s"], "the node's own stream comes last");
    assert_eq!(node.codes(), ["assigned", "applied"]);
}

#[test]
fn a_failed_trial_goes_back_and_its_version_never_returns() {
    let admin = Admin::new();
    let mut node = Node::new(&admin);
    node.assign(&admin.assignment(&node, 1, &["group/edge"]));
    node.config(&admin.config("group/edge", 1, FIVE));
    node.act(Adoption::confirm);
    let bad = admin.config("group/edge", 2, SEVEN);
    assert!(node.config(&bad));
    assert!(node.act(|adoption| adoption.roll_back("the store does not write")));
    assert!(!node.start());
    assert_eq!((node.runs(), node.intervals()), (vec![("group/edge".to_owned(), 1)], vec!["5s".to_owned()]));
    assert!(!node.config(&bad), "the fleet sends it again and again");
    assert!(!node.config(&admin.config("group/edge", 1, FIVE)));
    assert!(node.config(&admin.config("group/edge", 3, SEVEN)));
    assert_eq!(node.codes(), ["assigned", "applied", "rolled_back", "rollback"]);
}

#[test]
fn a_config_that_brings_the_agent_down_is_given_up() {
    let admin = Admin::new();
    let mut node = Node::new(&admin);
    node.assign(&admin.assignment(&node, 1, &["group/edge"]));
    node.config(&admin.config("group/edge", 1, FIVE));
    for _ in 0..STARTS_MAX {
        assert!(!node.start());
        assert_eq!(node.intervals(), ["5s"]);
    }
    assert!(node.start());
    assert_eq!(node.intervals(), Vec::<String>::new());
    assert_eq!(node.codes(), ["assigned", "rolled_back"]);
}

#[test]
fn what_is_not_for_this_node_is_refused_and_told_once() {
    let (admin, stranger) = (Admin::new(), Admin::new());
    let mut node = Node::new(&admin);
    let other = Node {
        identity: NodeIdentity { node: "other".parse().unwrap(), ..node.identity.clone() },
        ..Node::new(&admin)
    };
    assert!(!node.config(&admin.config("group/edge", 1, FIVE)));
    node.assign(&admin.assignment(&other, 1, &["group/edge"]));
    node.assign(&admin.assignment(&node, 1, &["group/edge"]));
    let forged = stranger.config("group/edge", 9, FIVE);
    for _ in 0..3 {
        assert!(!node.config(&forged));
        assert!(!node.config(&admin.config("node/other", 1, FIVE)));
        assert!(!node.config(&admin.config("group/edge", 1, "{collect: {interval: 5 s}, nonsense: 1}")));
        assert!(!node.config(b"not a document"));
    }
    assert_eq!(
        node.codes(),
        ["unassigned", "other_node", "assigned", "too_few_signatures", "other_stream", "config_invalid", "malformed"],
    );
    assert_eq!(node.runs(), []);
}

#[test]
fn a_lost_database_forgets_no_floor_and_takes_the_same_config_again() {
    let admin = Admin::new();
    let mut node = Node::new(&admin);
    let assignment = admin.assignment(&node, 2, &["group/edge"]);
    node.assign(&assignment);
    let current = admin.config("group/edge", 5, FIVE);
    node.config(&current);
    node.act(Adoption::confirm);
    node.state.clear();
    assert!(!node.start());
    assert_eq!(node.runs(), []);
    assert!(!node.assign(&admin.assignment(&node, 1, &["group/edge"])), "an older assignment");
    assert!(!node.assign(&assignment));
    assert!(!node.config(&admin.config("group/edge", 4, SEVEN)), "an older config");
    assert!(node.config(&current));
    node.act(Adoption::confirm);
    assert_eq!(node.runs(), [("group/edge".to_owned(), 5)]);
    assert_eq!(node.codes(), ["assigned", "applied", "rollback", "assigned", "rollback", "applied"]);
}

#[test]
fn a_stream_that_is_no_longer_assigned_stops() {
    let admin = Admin::new();
    let mut node = Node::new(&admin);
    node.assign(&admin.assignment(&node, 1, &["group/a", "group/b"]));
    for (stream, spec) in [("group/a", FIVE), ("group/b", SEVEN)] {
        node.config(&admin.config(stream, 1, spec));
        node.act(Adoption::confirm);
    }
    assert!(node.assign(&admin.assignment(&node, 2, &["group/b"])));
    assert!(!node.start());
    assert_eq!(node.intervals(), ["7s"]);
}
