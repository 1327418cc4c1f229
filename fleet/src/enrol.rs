//! Joining: a node's request in, its certificate and the fleet's root documents out.

use crate::control::{Control, ControlError, Take, TakeError, Taken};
use crate::pki::{FleetCa, PkiError, csr_pin};
use crate::remote::receive::is_reserved;
use crate::trust::Trust;
use skerry_model::{NodeId, UnixMillis};
use skerry_seal::{EnrolError, EnrolRequest, EnrolResponse, NewNode, fingerprint_words};
use std::sync::Arc;
use std::time::Duration;

/// What takes nodes in; cheap to clone.
#[derive(Clone)]
pub struct Enrolment {
    /// Tokens and nodes.
    pub control: Control,
    /// Root documents that a node is given.
    pub trust: Trust,
    /// What signs its certificate.
    pub ca: Arc<FleetCa>,
    /// How long that lasts.
    pub validity: Duration,
    /// Where it is told to connect, such as `mqtts://fleet.example:8883`.
    pub mqtt_url: String,
}

/// What a node is answered.
#[derive(Debug)]
pub enum Answer {
    /// It has joined: an [`EnrolResponse`], encoded.
    Joined(NodeId, Vec<u8>),
    /// It waits for an administrator, who compares these words.
    Pending(NodeId, [&'static str; 6]),
}

/// Why a node is refused.
#[derive(Debug, thiserror::Error)]
pub enum EnrolRefusal {
    /// The request cannot be read.
    #[error(transparent)]
    Request(#[from] EnrolError),
    /// Its name belongs to remote-write senders.
    #[error("the name '{0}' stands for senders of remote write; give the node another one")]
    Reserved(NodeId),
    /// Its certificate request cannot be used.
    #[error("the certificate request cannot be used: {0}")]
    Csr(PkiError),
    /// It was decided so.
    #[error(transparent)]
    Take(#[from] TakeError),
}

impl EnrolRefusal {
    /// Stable name for API errors and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::Reserved(_) => "name_reserved",
            Self::Csr(_) => "csr_invalid",
            Self::Take(error) => error.code(),
        }
    }

    /// Whether it is the server's fault.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(self, Self::Take(TakeError::Control(_)))
    }
}

impl Enrolment {
    /// Decides on an encoded [`EnrolRequest`].
    ///
    /// # Errors
    /// [`EnrolRefusal`]; a token is not used up then.
    pub async fn answer(&self, request: &[u8], now: UnixMillis) -> Result<Answer, EnrolRefusal> {
        let request = EnrolRequest::decode(request)?;
        let node = request.node.clone();
        if is_reserved(&node) {
            return Err(EnrolRefusal::Reserved(node));
        }
        let pin = csr_pin(&request.csr_der).map_err(EnrolRefusal::Csr)?;
        // Made before it is decided on: a request that no certificate can be made for uses up no token.
        let cert = self.ca.issue_node(&request.csr_der, &node, self.validity, now).map_err(EnrolRefusal::Csr)?;
        let take = Take { request: request.clone(), pin, not_after: cert.not_after, now };
        match self.control.take(take).await? {
            Taken::Pending => {
                let words = fingerprint_words(&pin, &request.x25519);
                tracing::info!(%node, fingerprint = words.join(" "), "a node waits for approval");
                Ok(Answer::Pending(node, words))
            }
            Taken::Admitted(secret) => {
                let trust = self.trust.current();
                let given = NewNode {
                    node: node.clone(),
                    fleet: trust.fleet().clone(),
                    cert_chain: vec![cert.der.to_vec()],
                    ca_der: self.ca.cert_der().to_vec(),
                    roots: trust.roots().to_vec(),
                    mqtt_url: self.mqtt_url.clone(),
                };
                tracing::info!(%node, "a node joined");
                Ok(Answer::Joined(node, EnrolResponse::new(given, &request, &secret).encode()))
            }
        }
    }
}

impl From<ControlError> for EnrolRefusal {
    fn from(error: ControlError) -> Self {
        Self::Take(TakeError::Control(error))
    }
}
