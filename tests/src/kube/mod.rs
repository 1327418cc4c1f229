//! A test server that speaks the part of the Kubernetes API that scaling needs. It is not Kubernetes.
//!
//! ```text
//! TLS, bearer tokens, client certificates ─> answer: rights, versions, selectors, pages ─> objects
//!                                     mishaps: what a server can do to its clients
//! ```
//!
//! What it answers follows the API's conventions: `Status` objects with their codes, optimistic locking by
//! `resourceVersion`, merge patches, label selectors, lists in pages. That it does is tested with kubectl, where that is
//! installed. There are no controllers: pods follow their Deployment when a test says [`Kube::settle`].

mod answer;
mod objects;
mod serve;

pub use objects::{Deployment, Objects, PodState};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The server. It ends with the process that made it.
#[derive(Debug, Clone)]
pub struct Kube {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What the server knows; a test may change all of it while it runs.
#[derive(Debug)]
pub struct State {
    /// Objects.
    pub objects: Objects,
    /// The token that is taken.
    pub token: String,
    /// `VERB RESOURCE` that the account may not do, such as `patch deployments/scale`.
    pub forbidden: Vec<String>,
    /// Whether metrics.k8s.io is there.
    pub has_metrics: bool,
    /// What happens to requests whose `METHOD PATH` contains the text, so many times.
    pub mishaps: VecDeque<(String, usize, Mishap)>,
    /// Every request that came, as `METHOD PATH?QUERY`.
    pub asked: Vec<String>,
    tls: Arc<rustls::ServerConfig>,
    ca: String,
    client: (String, String),
}

/// What a server can do to its clients.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// This status, with a `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// 200 with this body.
    Body(String),
    /// A redirect.
    Redirect(String),
    /// No answer.
    Hang,
    /// An answer that stops in the middle.
    HangInBody,
    /// A body that does not end.
    Endless,
    /// Headers that do not end.
    EndlessHead,
    /// What is no HTTP.
    Garbage,
    /// The connection ends.
    Close,
    /// Somebody else changes the Deployments just before.
    Raced,
}

impl Kube {
    /// Listens on a free port of loopback, with a certificate of its own CA.
    ///
    /// # Errors
    /// If it cannot listen, or make its certificates.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (tls, ca, client) = certificates()?;
        let state = State {
            objects: Objects::default(),
            token: "token-1".into(),
            forbidden: Vec::new(),
            has_metrics: true,
            mishaps: VecDeque::new(),
            asked: Vec::new(),
            tls,
            ca,
            client,
        };
        let kube = Self { address, state: Arc::new(Mutex::new(state)) };
        let server = kube.clone();
        std::thread::Builder::new().name("kube".into()).spawn(move || serve::accept(&listener, &server))?;
        Ok(kube)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Its port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// PEM of the CA that its certificate is from.
    #[must_use]
    pub fn ca(&self) -> String {
        self.state().ca.clone()
    }

    /// PEM of a certificate that it takes for `system:node`, and of its key.
    #[must_use]
    pub fn client(&self) -> (String, String) {
        self.state().client.clone()
    }

    /// A kubeconfig with its token.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        let (url, ca, token) = (self.url(), encoded(&self.ca()), self.state().token.clone());
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: test, namespace: shop}}\n\
             clusters:\n- name: test\n  cluster: {{server: '{url}', certificate-authority-data: {ca}}}\n\
             users:\n- name: test\n  user: {{token: {token}}}\n"
        )
    }

    /// A kubeconfig with its client certificate.
    #[must_use]
    pub fn kubeconfig_with_certificate(&self) -> String {
        let (cert, key) = self.client();
        let user = format!("client-certificate-data: {}, client-key-data: {}", encoded(&cert), encoded(&key));
        let token = format!("token: {}", self.state().token);
        self.kubeconfig().replace(&token, &user)
    }

    /// Gets another CA and certificates, as when a cluster's are rotated.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn rotate(&self) -> anyhow::Result<()> {
        let (tls, ca, client) = certificates()?;
        let mut state = self.state();
        (state.tls, state.ca, state.client) = (tls, ca, client);
        Ok(())
    }

    /// Makes the next `times` requests that contain `part` end in a mishap.
    pub fn mishap(&self, part: &str, times: usize, mishap: Mishap) {
        self.state().mishaps.push_back((part.into(), times, mishap));
    }

    /// Lets the pods of all Deployments follow, and be ready.
    pub fn settle(&self) {
        self.state().objects.settle();
    }

    /// Requests that came since the last look.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// All that it knows. It answers nobody meanwhile.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mishap that is due for a request, if one is.
    fn due(&self, request: &str) -> Option<Mishap> {
        let mut state = self.state();
        let at = state.mishaps.iter().position(|(part, ..)| request.contains(part.as_str()))?;
        let (_, times, mishap) = &mut state.mishaps[at];
        let mishap = mishap.clone();
        *times = times.saturating_sub(1);
        if *times == 0 {
            state.mishaps.remove(at);
        }
        Some(mishap)
    }
}

fn encoded(pem: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(pem)
}

type Certificates = (Arc<rustls::ServerConfig>, String, (String, String));

fn certificates() -> anyhow::Result<Certificates> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "test server");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let cert = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?.signed_by(&key, &ca)?;
    let client_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "system:node");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    let client = params.signed_by(&client_key, &ca)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der().clone())?;
    let wants = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let wants = wants.allow_unauthenticated().build()?;
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(wants)
        .with_single_cert(vec![cert.der().clone()], key.into())
        .context("the server's certificate")?;
    Ok((Arc::new(config), ca.pem(), (client.pem(), client_key.serialize_pem())))
}
