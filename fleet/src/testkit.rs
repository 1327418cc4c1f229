//! A fleet in a temporary folder for tests: real databases, real keys, no sockets.

use crate::alerts::{AlertsTask, Notices};
use crate::api::{Access, Fleet, Requests};
use crate::cli::{Plan, init};
use crate::config;
use crate::control::{Control, NewToken};
use crate::delivery::Delivery;
use crate::edge::EdgeQueries;
use crate::enrol::{Answer, Enrolment};
use crate::forward::Forwards;
use crate::ingest::{Asks, Counters, Liveness};
use crate::mqtt::{Admission, Downlink, Stats};
use crate::notify::Shell;
use crate::pki::FleetCa;
use crate::remote::{ReceiveTask, Targets};
use crate::rules::{Fired, RulesView};
use crate::store;
use crate::trust::Trust;
use skerry_model::{NodeId, UnixMillis};
use skerry_seal::{
    AgentVersion, Assignment, ConfigDoc, EnrolRequest, FleetId, Revision, SigningKey, Token, X25519Key, random,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The moment at which the tests play.
pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// The fleet and its admin.
pub(crate) struct Kit {
    pub(crate) fleet: Fleet,
    pub(crate) api_token: String,
    pub(crate) id: FleetId,
    /// While it is there alerts are routed.
    _fired: mpsc::Sender<Fired>,
    folder: tempfile::TempDir,
}

/// A node's keys.
pub(crate) struct TestNode {
    pub(crate) name: NodeId,
    csr: Vec<u8>,
    key: X25519Key,
}

impl Kit {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan {
            admin_dir: folder.path().join("admin"),
            server_dir: folder.path().join("server"),
            fleet: None,
            hosts: vec!["localhost".into()],
            http: "127.0.0.1:9480".parse().unwrap(),
            mqtt: "127.0.0.1:8883".parse().unwrap(),
            data_dir: folder.path().join("data"),
        };
        let made = init(&plan, NOW).unwrap();
        let config = config::read(&folder.path().join("server/fleet.yaml")).unwrap();
        std::fs::create_dir_all(&config.data_dir).unwrap();
        let (control, _) = Control::open(&config.data_dir.join("fleet.db")).unwrap();
        let (data, _) = store::open(&config.data_dir.join("fleet-data.db"), config.retention.clone()).unwrap();
        let trust = Trust::load(&config.root, &control).await.unwrap();
        let ca = Arc::new(FleetCa::load(&config.pki.ca_cert, &config.pki.ca_key).unwrap());
        // No node is connected here: what is sent down goes nowhere.
        let (outbound, _) = mpsc::channel(1);
        let downlink = Downlink::to_channel(outbound);
        let liveness = Liveness::default();
        let delivery = Delivery {
            control: control.clone(),
            trust: trust.clone(),
            liveness: liveness.clone(),
            downlink: downlink.clone(),
        };
        let enrolment = Enrolment {
            control: control.clone(),
            trust: trust.clone(),
            ca,
            validity: Duration::from_secs(86_400),
            mqtt_url: "mqtts://localhost:8883".into(),
        };
        let (receive, receiver) = ReceiveTask::new(data.clone(), Arc::new(|| NOW));
        tokio::spawn(receive.run(CancellationToken::new()));
        let (fired, rounds) = mpsc::channel(1);
        let notices = Notices { shell: Arc::new(Shell::new()), templates: config.alerting.templates.clone() };
        let (wall, url) = (Arc::new(|| NOW), "http://fleet".to_owned());
        let (alerting, alerts) =
            AlertsTask::new(config.alerting.clone(), url, data.clone(), delivery.clone(), wall, notices, rounds);
        tokio::spawn(alerting.run(CancellationToken::new()));
        let asks = Asks::new(downlink, NOW);
        let fleet = Fleet {
            control,
            store: data,
            trust,
            edge: EdgeQueries::new(asks.clone(), liveness.clone()),
            turns: crate::api::Turns::default(),
            liveness,
            asks,
            delivery,
            enrolment,
            admission: Admission::deny([]),
            access: Access::of_hash(config.api_token_sha256),
            counters: Arc::new(Counters::new()),
            mqtt: Arc::new(Stats::default()),
            requests: Arc::new(Requests::default()),
            tails: crate::api::Tails::new(CancellationToken::new()),
            targets: Targets::default(),
            forwards: Forwards::default(),
            receiver,
            rules: RulesView::default(),
            alerts,
            is_https: false,
            runtime: Arc::default(),
            wall: Arc::new(|| NOW),
        };
        Self { fleet, api_token: made.api_token, id: made.fleet, _fired: fired, folder }
    }

    /// A token that the server knows.
    pub(crate) async fn token(&self, uses: u32, approval: bool) -> Token {
        let token = Token::generate(self.fleet.trust.current().pin(), "http://localhost:9480").unwrap();
        let expires = NOW + Duration::from_secs(3600);
        let new = NewToken { id: token.id, secret: token.secret.clone(), uses, expires, approval };
        assert!(self.fleet.control.add_token(new, NOW).await.unwrap());
        token
    }

    /// One of the admin's own keys.
    pub(crate) fn key(&self, name: &str) -> SigningKey {
        let path = self.folder.path().join(format!("admin/keys/{name}.p8"));
        SigningKey::from_pkcs8(&std::fs::read(path).unwrap()).unwrap()
    }

    /// A node that has joined.
    pub(crate) async fn joined(&self, name: &str) -> TestNode {
        let node = TestNode::new(name);
        let token = self.token(1, false).await;
        let answer = self.fleet.enrolment.answer(&node.request(Some(&token)).encode(), NOW).await.unwrap();
        assert!(matches!(answer, Answer::Joined(..)));
        node
    }

    /// An assignment for a node.
    pub(crate) async fn assignment(&self, node: &TestNode, version: u64) -> Assignment {
        let row = self.fleet.control.node(&node.name).await.unwrap().unwrap();
        Assignment {
            fleet: self.id.clone(),
            node: node.name.clone(),
            tls_pin: row.tls_pin,
            x25519: row.x25519,
            streams: BTreeMap::from([("group/edge".parse().unwrap(), Revision::new(1, 1))]),
            labels: BTreeMap::from([("site".to_owned(), "<b>here</b>".to_owned())]),
            issued: NOW,
            revision: Revision::new(1, version),
            revoked: false,
        }
    }

    /// A config for `group/edge`.
    pub(crate) fn config(&self, version: u64, body: &str) -> ConfigDoc {
        ConfigDoc {
            fleet: self.id.clone(),
            stream: "group/edge".parse().unwrap(),
            revision: Revision::new(1, version),
            issued: NOW,
            not_after: None,
            min_agent: AgentVersion::ANY,
            body: body.into(),
            secrets: Vec::new(),
        }
    }
}

impl TestNode {
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        Self { name: name.parse().unwrap(), csr, key: X25519Key::generate().unwrap() }
    }

    pub(crate) fn request(&self, token: Option<&Token>) -> EnrolRequest {
        EnrolRequest::new(self.name.clone(), self.csr.clone(), self.key.public(), random().unwrap(), token)
    }
}
