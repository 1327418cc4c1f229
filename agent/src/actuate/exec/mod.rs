//! Programs that are told how many: for whatever no other actuator knows.
//!
//! ```text
//! PROGRAM get      says {"replicas": 3} as JSON, or more of it: see [`answer`]
//! PROGRAM set 4    makes it four, and ends with status 0; what it says on standard error is in the condition else
//! ```
//!
//! Variables: `SKERRY_POLICY`, `SKERRY_TARGET` (as it is shown), `SKERRY_SCOPE` (the target's namespace, so that one
//! program can serve several targets), and `PATH`.
//!
//! Invariants:
//! - Only programs that the node's own file allows are run.
//! - When a call has ended, nothing that the program began lives on: what is scaled has to belong to somebody else.

mod answer;
#[cfg(test)]
mod tests;

use super::{Acting, Actuator, ActuatorError};
use crate::program::{self, Ends, Program, Voices};
use skerry_scaling::target::{Observed, TargetRef};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Time for `get`.
const GET_TIME: Duration = Duration::from_secs(10);
/// Time for `set`.
const SET_TIME: Duration = Duration::from_secs(60);
/// Most that a program may say.
const SAID_BYTES_MAX: usize = 256 << 10;
/// Where programs find others.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Scales by programs.
#[derive(Debug)]
pub struct ExecActuator {
    allowed: Vec<PathBuf>,
    policies: BTreeMap<TargetRef, String>,
    /// For `get` and for `set`.
    times: (Duration, Duration),
}

impl ExecActuator {
    /// Of these programs alone; `policies` names the policy of each target, for the program to know.
    #[must_use]
    pub const fn new(allowed: Vec<PathBuf>, policies: BTreeMap<TargetRef, String>) -> Self {
        Self { allowed, policies, times: (GET_TIME, SET_TIME) }
    }

    async fn call(&self, target: &TargetRef, args: Vec<String>, time: Duration) -> Result<Vec<u8>, ActuatorError> {
        let path = Path::new(&target.name);
        if !self.allowed.iter().any(|allowed| allowed == path) {
            let message = format!(
                "{} is not among `exec_allow` of this node's own file; add it there if it may be run",
                path.display()
            );
            return Err(ActuatorError { reason: "NotAllowed", message });
        }
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = vec![
            variable("PATH", SEARCH_PATH),
            variable("SKERRY_POLICY", self.policies.get(target).map_or("", String::as_str)),
            variable("SKERRY_SCOPE", &target.scope),
            variable("SKERRY_TARGET", &target.to_string()),
        ];
        let (voices, ends) = (Voices::Apart, Ends::Everything);
        let (path, stdin) = (path.to_owned(), Vec::new());
        let program = Program { path, args, env, stdin, voices, bytes_max: SAID_BYTES_MAX, ends };
        run(&program, time).await
    }
}

/// What a program says where it ends with status 0 in time.
pub(super) async fn run(program: &Program, time: Duration) -> Result<Vec<u8>, ActuatorError> {
    let ran = program::run(program, Instant::now() + time).await.map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let reason = if is_missing { "NotFound" } else { "Refused" };
        ActuatorError { reason, message: format!("{} cannot be run: {error}", program.path.display()) }
    })?;
    let Some(message) = ran.failure(&program.path) else { return Ok(ran.stdout) };
    let reason = match ran.end {
        program::End::Late | program::End::Stuck => "Timeout",
        program::End::Loud => "Invalid",
        program::End::Code(_) | program::End::Signal(_) => "Refused",
    };
    Err(ActuatorError { reason, message })
}

impl Actuator for ExecActuator {
    fn observe<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Observed> {
        Box::pin(async {
            let said = self.call(target, vec!["get".into()], self.times.0).await?;
            let unfit = |why: String| ActuatorError {
                reason: "Invalid",
                message: format!("what `{} get` says cannot be used: {why}", target.name),
            };
            answer::read(&said).map_err(unfit)
        })
    }

    fn scale<'a>(&'a self, target: &'a TargetRef, replicas: u32) -> Acting<'a, ()> {
        Box::pin(
            async move { self.call(target, vec!["set".into(), replicas.to_string()], self.times.1).await.map(drop) },
        )
    }
}
