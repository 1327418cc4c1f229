//! How a new node joins: the token an administrator hands out, and one message each way.
//!
//! The token carries a secret and the hash of root number 1. The request proves that the node holds the secret; the
//! response proves that the fleet does, and its root chain must begin with that hash. So neither a stranger's node
//! nor a stranger's server gets in between, whatever carries the messages: HTTP without TLS or a USB stick.
//!
//! Invariants: both proofs cover every field of their message, the response's also the request it answers; they
//! are compared in constant time; the secret is wiped when dropped and never printed by `Debug`.

mod message;
mod token;
mod words;

pub use message::{EnrolError, EnrolRequest, EnrolResponse, Enrolled, NewNode, TokenProof};
pub use token::{InvalidToken, Token, TokenId, TokenSecret};
pub use words::fingerprint_words;
