//! What can go wrong with keys and certificates.

use std::path::PathBuf;
use std::time::Duration;

/// Why a key or certificate could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused to make it.
    #[error("cannot issue {what}")]
    Issue {
        /// What was to be issued.
        what: &'static str,
        /// The library's reason.
        source: rcgen::Error,
    },
    /// A text is no such PEM.
    #[error("{what} is not valid: {cause}; expected PEM as 'skerry init' writes it")]
    Pem {
        /// What was to be read.
        what: &'static str,
        /// The parser's reason.
        cause: String,
    },
    /// A text does not hold the key or certificate it should.
    #[error("{what} is not valid; expected PEM as 'skerry init' writes it")]
    Malformed {
        /// What was to be read.
        what: &'static str,
        /// The library's reason.
        source: rcgen::Error,
    },
    /// Certificate and key do not belong together.
    #[error("the CA key does not belong to the CA certificate; restore both from the same backup")]
    KeyMismatch,
    /// A certificate cannot be read.
    #[error("the certificate cannot be used: {cause}")]
    Certificate {
        /// What is wrong with it.
        cause: String,
    },
    /// A signing request is refused.
    #[error("the certificate request is refused: {cause}; let the node make a new one")]
    Csr {
        /// What is wrong with it.
        cause: String,
    },
    /// The names of a server certificate are unusable.
    #[error("the server's names are not valid: {cause}; give the DNS names or IP addresses that nodes connect to")]
    Names {
        /// What is wrong with them.
        cause: String,
    },
    /// The validity asked for is out of range.
    #[error("a validity of {} hours is out of range: 1 hour to 30 years are possible", validity.as_secs() / 3600)]
    Validity {
        /// What was asked for.
        validity: Duration,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
