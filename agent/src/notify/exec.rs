//! Programs that are run for alerts: a buzzer, a text message by a modem.
//!
//! They get the alert group as JSON on standard input; what they say is in the error where they fail.

use crate::program::{self, Ends, Program, Voices};
use skerry_alerting::notify::{ExecDelivery, Outcome};
use std::io;
use tokio::time::Instant;

/// Most bytes of what a program says that are kept.
const KEPT_BYTES_MAX: usize = 1 << 10;

/// Runs the program until its own limit or `until`, whichever is earlier.
pub(super) async fn run(exec: ExecDelivery, until: Instant) -> Outcome {
    let limit = until.min(Instant::now() + exec.timeout);
    let ExecDelivery { program: path, args, env, stdin, .. } = exec;
    let (voices, ends) = (Voices::Joined, Ends::Everything);
    let program = Program { path, args, env, stdin, voices, bytes_max: KEPT_BYTES_MAX, ends };
    match program::run(&program, limit).await {
        Ok(ran) => ran.failure(&program.path).map_or(Outcome::Sent, Outcome::retry),
        Err(error) => {
            let text = format!("run {}: {error}", program.path.display());
            let is_final = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
            if is_final { Outcome::failed(text) } else { Outcome::retry(text) }
        }
    }
}
