//! Who may tell a node what to do, and how a node finds out whether it was them.
//!
//! A fleet has a *root* document: it names the roles (`root`, `config`, `assign`, `job`, `release`), the Ed25519
//! keys of each and how many of them must sign. A node learns root number 1 by its hash, which the enrolment
//! token carries, and follows the chain from there ([`TrustStore`]). Everything a node acts on is a document in a
//! signed [`Envelope`]: the [`Assignment`] says who the node is and which config streams it follows, a
//! [`ConfigDoc`] is one revision of one stream. [`verify_config`] and [`verify_assignment`] decide, in one fixed
//! order, whether a document is adopted. [`Floors`] remember what was adopted, so that nothing older is taken
//! again; a [`TrustedClock`] bounds the time on machines whose clock may be wrong. Secrets inside a config are
//! encrypted to each node ([`seal_secret`]). [`Token`], [`EnrolRequest`] and [`EnrolResponse`] bring a new node in.
//!
//! The server that carries all this holds no signing key: it can withhold documents, never make one.
//!
//! Invariants:
//! - Nothing here does I/O or reads a clock; only key and token making asks the system for randomness.
//! - No byte from outside reaches a decoder before the strict check of `skerry-preflight`; no document is parsed
//!   before its signatures hold. The one exception is root number 1, which is held by its hash instead.
//! - A signature counts for one role of one fleet: both are part of what is signed.
//! - Private keys and opened secrets are wiped when dropped and never printed.

mod cbor;
mod clock;
mod doc;
mod enrol;
mod envelope;
mod fleet;
mod floors;
mod keys;
mod secret;
mod trust;
mod verify;

pub use cbor::DocError;
pub use clock::{TrustedClock, TrustedTime};
pub use doc::{AgentVersion, Assignment, ConfigDoc, InvalidAgentVersion, InvalidRoleKeys, Revision, RoleKeys, RootDoc};
pub use enrol::{
    EnrolError, EnrolRequest, EnrolResponse, Enrolled, InvalidToken, NewNode, Token, TokenId, TokenProof, TokenSecret,
    fingerprint_words,
};
pub use envelope::{
    ENVELOPE_BYTES_MAX, Envelope, EnvelopeError, InvalidRole, Role, SIGNATURES_MAX, SignError, Verified, add_signature,
    open, sign,
};
pub use fleet::{FleetId, InvalidFleetId};
pub use floors::{Floor, Floors};
pub use keys::{InvalidKey, KeyId, PublicKey, RandomError, SigningKey, hex, random, sha256};
pub use secret::{
    SealedSecret, SecretContext, SecretError, SecretValue, X25519Key, X25519Public, open_secret, seal_secret,
};
pub use trust::{RootUpdate, TrustError, TrustStore, root_hash};
pub use verify::{
    Accepted, AcceptedConfig, Context, NodeIdentity, Refusal, Verdict, read_assignment, read_config, reopen_assignment,
    reopen_config, verify_assignment, verify_config,
};

#[cfg(test)]
mod testkit;
