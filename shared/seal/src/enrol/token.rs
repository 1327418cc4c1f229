//! The enrolment token and its text form.

use crate::cbor::{self, DocError, Fields};
use crate::keys::{InvalidKey, RandomError, hex, random, unhex};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;
use ring::hmac;
use skerry_preflight::Limits;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

const NAME: &str = "the token";
const PREFIX: &str = "skt1_";
const URL_BYTES_MAX: usize = 512;
const TEXT_BYTES_MAX: usize = 1024;
const LIMITS: Limits<'_> = Limits { bytes_max: TEXT_BYTES_MAX, depth_max: 2, items_max: 16, tags: &[] };

/// Names a token without telling its secret. Text form: 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub [u8; 8]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for TokenId {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unhex(text).map(Self)
    }
}

/// What only the token's holder and the fleet know, wiped when dropped. Text form: 32 hex digits.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<[u8; 16]>);

impl TokenSecret {
    /// The secret of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 16]> {
        self.0.clone()
    }

    /// The secret as hex digits, for the one message that brings it to the server.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(&self.0[..]))
    }

    pub(super) fn mac(&self, transcript: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.key(), transcript);
        let mut mac = [0; 32];
        mac.copy_from_slice(tag.as_ref());
        mac
    }

    /// Compares in constant time.
    pub(super) fn verifies(&self, transcript: &[u8], mac: &[u8; 32]) -> bool {
        hmac::verify(&self.key(), transcript, mac).is_ok()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0[..])
    }
}

impl FromStr for TokenSecret {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The text is not repeated in the error: it may be a secret but for one digit.
        unhex(text).map(Self::from_bytes).map_err(|_| InvalidKey::Hex { text: "…".to_owned(), digits: 32 })
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// What a node needs to join a fleet. Text form: `skt1_` and base64url without padding, about 150 characters, so that
/// it fits a kernel argument, a file and a QR code.
#[derive(Debug, Clone)]
pub struct Token {
    /// By which the fleet finds the secret.
    pub id: TokenId,
    /// The secret that both ends prove to hold.
    pub secret: TokenSecret,
    /// Hash of root number 1, see [`crate::root_hash`].
    pub root_hash: [u8; 32],
    /// Where to enrol: `http://` or `https://`, at most 512 bytes.
    pub url: String,
}

/// Why a text is no [`Token`]. The text is not repeated: it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It begins otherwise.
    #[error("an enrolment token begins with {PREFIX}; copy it whole from `skerry enrol token`")]
    Prefix,
    /// It is too long.
    #[error("an enrolment token has at most {TEXT_BYTES_MAX} characters, this has {0}; copy it alone")]
    TooLong(usize),
    /// A character that no token has, or a number of them that no token has.
    #[error("the enrolment token has a wrong character or was cut off; copy it whole from `skerry enrol token`")]
    Base64,
    /// What it encodes is no token.
    #[error("the enrolment token was cut off or changed ({0}); copy it whole from `skerry enrol token`")]
    Content(DocError),
    /// The address is not usable.
    #[error(
        "the address in the enrolment token is not one: http:// or https:// and at most {URL_BYTES_MAX} visible \
             characters are expected; make a new token"
    )]
    Url,
}

impl Token {
    /// A new token of random id and secret.
    ///
    /// # Errors
    /// [`RandomError`] if the system gives no randomness.
    pub fn generate(root_hash: [u8; 32], url: &str) -> Result<Self, RandomError> {
        let secret = TokenSecret::from_bytes(random()?);
        Ok(Self { id: TokenId(random()?), secret, root_hash, url: url.to_owned() })
    }

    /// The text form. Whoever has it can enrol a node.
    ///
    /// # Errors
    /// [`InvalidToken::Url`] if the address would be refused by the reader.
    pub fn to_text(&self) -> Result<Zeroizing<String>, InvalidToken> {
        check_url(&self.url)?;
        let bytes = Zeroizing::new(cbor::encode(cbor::map([
            (1, Some(Value::Bytes(self.id.0.to_vec()))),
            (2, Some(Value::Bytes(self.secret.0.to_vec()))),
            (3, Some(Value::Bytes(self.root_hash.to_vec()))),
            (4, Some(self.url.as_str().into())),
        ])));
        Ok(Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes[..]))))
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    /// Reads the text form; space and line ends around it are read over.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidToken::TooLong(text.len()));
        }
        let body = text.strip_prefix(PREFIX).ok_or(InvalidToken::Prefix)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| InvalidToken::Base64)?);
        let token = decode(&bytes).map_err(InvalidToken::Content)?;
        check_url(&token.url)?;
        Ok(token)
    }
}

fn decode(bytes: &[u8]) -> Result<Token, DocError> {
    let mut fields = Fields::decode(NAME, bytes, &LIMITS)?;
    let id = TokenId(fields.array(1, "id")?);
    let secret = TokenSecret::from_bytes(fields.array(2, "secret")?);
    let root_hash = fields.array(3, "root_hash")?;
    let url = fields.text(4, "url", URL_BYTES_MAX)?;
    fields.finish()?;
    Ok(Token { id, secret, root_hash, url })
}

fn check_url(url: &str) -> Result<(), InvalidToken> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let good = !host.is_empty() && url.len() <= URL_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(()) } else { Err(InvalidToken::Url) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> Token {
        Token {
            id: TokenId([1; 8]),
            secret: TokenSecret::from_bytes([2; 16]),
            root_hash: [3; 32],
            url: "https://fleet.example:9480".to_owned(),
        }
    }

    fn text(token: &Token) -> String {
        token.to_text().unwrap().to_string()
    }

    #[test]
    fn a_token_is_one_short_line() {
        let line = text(&token());
        assert_eq!(
            line,
            "skt1_pAFIAQEBAQEBAQECUAICAgICAgICAgICAgICAgIDWCADAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwR4Gmh0dHBzOi8vZmxlZXQuZXhhbXBsZTo5NDgw"
        );
        let read: Token = format!(" {line}\n").parse().unwrap();
        assert_eq!((read.id, read.root_hash, &read.url), (token().id, [3; 32], &token().url));
        assert_eq!(read.secret.to_bytes(), token().secret.to_bytes());
    }

    #[test]
    fn faults_are_named() {
        let line = text(&token());
        let read = |text: &str| text.parse::<Token>().unwrap_err();
        assert_eq!(read(""), InvalidToken::Prefix);
        assert_eq!(read(&line[1..]), InvalidToken::Prefix);
        assert_eq!(read(&format!("{line}{}", "A".repeat(1024))), InvalidToken::TooLong(line.len() + 1024));
        assert_eq!(read(&line.replace('A', "*")), InvalidToken::Base64);
        assert_eq!(read("skt1_A"), InvalidToken::Base64);
        assert!(matches!(read("skt1_"), InvalidToken::Content(_)));
        assert!(matches!(read(&line[..line.len() - 4]), InvalidToken::Content(_)));
        for url in
            ["", "fleet:9480", "http://", "ftp://x", "https://a b", "https://é", &format!("http://{}", "x".repeat(506))]
        {
            let token = Token { url: url.to_owned(), ..token() };
            assert_eq!(token.to_text().unwrap_err(), InvalidToken::Url, "{url:?}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let shown = format!("{:?} {:?}", token(), "0x".parse::<TokenSecret>());
        assert!(shown.contains("TokenSecret(…)") && !shown.contains("2, 2"), "{shown}");
        assert_eq!(token().secret.to_hex().parse::<TokenSecret>().unwrap().to_bytes(), token().secret.to_bytes());
    }

    #[test]
    fn generated_tokens_differ() {
        let (one, other) =
            (Token::generate([0; 32], "http://a").unwrap(), Token::generate([0; 32], "http://a").unwrap());
        assert_ne!(one.id, other.id);
        assert_ne!(one.secret.to_bytes(), other.secret.to_bytes());
    }

    proptest! {
        #[test]
        fn random_texts_are_refused(text in "skt1_[A-Za-z0-9_-]{0,200}", noise in "\\PC{0,50}") {
            prop_assert!(text.parse::<Token>().is_err());
            prop_assert!(noise.parse::<Token>().is_err());
        }

        #[test]
        fn every_prefix_is_refused(cut in 0usize..130) {
            let line = text(&token());
            prop_assume!(cut < line.len());
            prop_assert!(line[..cut].parse::<Token>().is_err());
        }
    }
}
