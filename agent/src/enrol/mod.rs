//! Joining a fleet: a token goes in, an [`Enrolment`] comes out.
//!
//! The request carries the node's public keys and a proof made with the token's secret; the answer carries a
//! certificate, the fleet's CA and its root documents, proved with the same secret. So neither needs a channel that is
//! already trusted, and the secret itself never travels.
//!
//! Until it succeeds the agent does everything it can do alone.

use crate::board::Board;
use crate::config::Enrol;
use crate::http;
use crate::identity::{Enrolment, Keys};
use skerry_model::NodeId;
use skerry_seal::{EnrolRequest, EnrolResponse, Token, fingerprint_words, random};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// First wait after a failed attempt; doubles.
const RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest wait between attempts.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How often a token file that is not there is looked for.
const FILE_EVERY: Duration = Duration::from_secs(10);
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Source of the problem on the board.
const PROBLEM: &str = "enrolment";

/// Why the node has not joined yet, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Attempt {
    #[error("no token is there yet: {0} cannot be read; put the token of `skerry enrol token` there")]
    NoFile(PathBuf),
    #[error("{0}")]
    Failed(String),
}

/// Tries to join until it succeeds.
pub struct EnrolTask {
    /// Where the token is.
    pub source: Enrol,
    /// The name that this node asks for.
    pub node: NodeId,
    /// The node's keys.
    pub keys: Arc<Keys>,
    /// Where problems are put up.
    pub board: Board,
}

impl EnrolTask {
    /// Tries until `stop`; `None` when it was stopped or there is no token to try with.
    pub async fn run(self, stop: CancellationToken) -> Option<Enrolment> {
        if self.source == Enrol::default() {
            tracing::info!("this node has joined no fleet and has no token; it works alone");
            return None;
        }
        let words = fingerprint_words(&self.keys.tls_pin(), &self.keys.x25519.public()).join(" ");
        tracing::info!(node = %self.node, fingerprint = words, "joining the fleet");
        let (mut wait, mut said) = (RETRY_MIN, None);
        loop {
            let error = tokio::select! {
                () = stop.cancelled() => return None,
                outcome = self.attempt() => match outcome {
                    Ok(enrolment) => {
                        self.board.solved(PROBLEM);
                        tracing::info!(fleet = %enrolment.fleet, endpoint = enrolment.url(), "joined the fleet");
                        return Some(enrolment);
                    }
                    Err(error) => error,
                },
            };
            self.board.problem(PROBLEM, &error.to_string());
            if said.as_ref() != Some(&error) {
                tracing::warn!(%error, "not joined yet; it is tried again");
            }
            let pause = if matches!(error, Attempt::NoFile(_)) { FILE_EVERY } else { wait };
            wait = (wait * 2).min(RETRY_MAX);
            said = Some(error);
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn attempt(&self) -> Result<Enrolment, Attempt> {
        let failed = |text: String| Attempt::Failed(text);
        let text = match (&self.source.token, &self.source.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) => std::fs::read_to_string(path).map_err(|_| Attempt::NoFile(path.clone()))?,
            (None, None) => return Err(failed("no token is set".into())),
        };
        let token: Token = text.trim().parse().map_err(|error: skerry_seal::InvalidToken| failed(error.to_string()))?;
        let csr = self.keys.signing_request().map_err(|error| failed(error.to_string()))?;
        let nonce = random().map_err(|error| failed(error.to_string()))?;
        let request = EnrolRequest::new(self.node.clone(), csr, self.keys.x25519.public(), nonce, Some(&token));
        let url = format!("{}/api/v1/enrol", token.url.trim_end_matches('/'));
        let answer = http::post(&url, "application/cbor", request.encode(), ANSWER_BYTES_MAX)
            .await
            .map_err(|error| failed(error.to_string()))?;
        match answer.status {
            200 => {}
            202 => return Err(failed("the fleet waits for an administrator's approval of this node".into())),
            status => return Err(failed(refusal(status, &answer.body))),
        }
        let enrolled =
            EnrolResponse::accept(&answer.body, &request, &token).map_err(|error| failed(error.to_string()))?;
        Enrolment::new(enrolled.given).map_err(failed)
    }
}

/// The server's words, cut to what fits a status line.
fn refusal(status: u16, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        error: Words,
    }
    #[derive(serde::Deserialize)]
    struct Words {
        code: String,
        message: String,
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { error: Words { code, message } }) => {
            format!("the fleet refused ({code}): {}", message.chars().take(200).collect::<String>())
        }
        Err(_) => format!("the fleet answered with HTTP status {status}; check the address in the token"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(source: Enrol) -> (EnrolTask, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keys::load_or_create(folder.path()).unwrap());
        let task = EnrolTask { source, node: "pi-4".parse().unwrap(), keys, board: Board::default() };
        (task, folder)
    }

    #[tokio::test]
    async fn without_a_token_there_is_nothing_to_try() {
        let (task, _folder) = task(Enrol::default());
        assert_eq!(task.run(CancellationToken::new()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missing_is_put_up_for_people() {
        let (task, folder) = task(Enrol { token: None, token_file: Some("/nowhere/token".into()) });
        let (board, stop) = (task.board.clone(), CancellationToken::new());
        let run = tokio::spawn(task.run(stop.clone()));
        while board.read().problems().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(board.read().problems()[0].contains("/nowhere/token"));
        stop.cancel();
        assert_eq!(run.await.unwrap(), None);
        drop(folder);
    }

    #[test]
    fn the_servers_words_are_repeated() {
        let told = refusal(409, br#"{"error":{"code":"node_exists","message":"choose another name"}}"#);
        assert_eq!(told, "the fleet refused (node_exists): choose another name");
        assert!(refusal(502, b"<html>").contains("502"));
    }
}
