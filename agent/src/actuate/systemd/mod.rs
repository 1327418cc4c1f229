//! Instances of a systemd template unit: `name@1.service`, `name@2.service` and on.
//!
//! ```text
//! systemctl show name@1.service name@*.service ─> units ─> instances by number ─> Observed, Usage
//!                              scale: start the lowest numbers that are absent, stop the highest that are there
//! ```
//!
//! How many are wanted is how many are there: started, starting or failed. So nothing has to be remembered, and what an
//! operator starts or stops by hand counts, once it has come to its end. A failed instance counts until it is stopped, because when it is tried
//! again is its unit's own matter (`Restart=`); scaling up tries it again. An instance that fails while this actuator
//! stops it is gone.
//!
//! Requests are the unit's bounds: `CPUQuota=` and `MemoryMax=`, else `MemoryHigh=`.
//!
//! Invariants:
//! - Only instances whose name is a number from 1 to [`INSTANCES_MAX`], without leading zeros, are counted and touched:
//!   `name@blue.service` and `name@8080.service` are somebody else's.
//! - `systemctl` neither asks nor pages, has [`TIME`] and a bound on what it says, and never waits for a job.

mod plan;
mod show;
#[cfg(test)]
mod tests;

use super::exec::run;
use super::{Acting, Actuator, ActuatorError, Usage};
use crate::clock::Clock;
use crate::program::{Ends, Program, Voices};
use plan::plan;
use show::{Instance, State};
use skerry_model::{Labels, Mono, UnixMillis};
use skerry_scaling::target::{Observed, Phase, Pod, PodContainer, PodMetric, Ready, TargetRef};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Largest number of an instance.
pub(super) const INSTANCES_MAX: u32 = 1000;
/// Time for one call of `systemctl`.
const TIME: Duration = Duration::from_secs(10);
/// Most that it may say: some 400 bytes for each instance.
const SAID_BYTES_MAX: usize = 1 << 20;
/// Most templates that are remembered; more than that, and all are forgotten.
const KNOWN_MAX: usize = 256;
/// Longest name of a template.
const NAME_BYTES_MAX: usize = 200;
/// Where `systemctl` is looked for where the agent has no PATH.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Scales template units by `systemctl`.
pub struct SystemdActuator {
    clock: Clock,
    search: String,
    memory: Mutex<Memory>,
}

/// What is remembered from call to call; without it the next call is worth less, not wrong.
#[derive(Debug, Default)]
struct Memory {
    /// Units that were stopped here, until they are gone, and when that run of each began.
    stopped: BTreeMap<String, u64>,
    /// Templates that were looked at. What is stopping at the first look was told to by the run before.
    known: BTreeSet<String>,
    /// CPU time of units, and when it was read.
    cpu: BTreeMap<String, Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Mono,
    nanos: u64,
    /// Tells one run of a unit from the next.
    began_us: u64,
}

impl SystemdActuator {
    /// By the `systemctl` on the agent's PATH.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        let search = std::env::var("PATH").ok().filter(|path| !path.is_empty()).unwrap_or_else(|| SEARCH_PATH.into());
        Self::searching(clock, search)
    }

    /// By the `systemctl` in the first of these folders that has one; written as PATH is.
    #[must_use]
    pub fn searching(clock: &Clock, search: String) -> Self {
        Self { clock: clock.clone(), search, memory: Mutex::default() }
    }

    /// The loaded instances of a template, by their numbers.
    async fn instances(&self, target: &TargetRef) -> Result<BTreeMap<u32, Instance>, ActuatorError> {
        let name = checked(target)?;
        let (first, pattern) = (unit(name, 1), format!("{}@*.service", name.replace('\\', "\\\\")));
        let mut args = vec!["show".to_owned(), format!("--property={}", show::PROPERTIES)];
        args.extend(["--".to_owned(), first, pattern]);
        let said = self.systemctl(args).await?;
        let found = show::read(&String::from_utf8_lossy(&said), name);
        if found.get(&1).is_none_or(|first| first.is_missing) {
            let message = format!(
                "systemd knows no template {name}@.service; install it, for instance in /etc/systemd/system, and run \
                 `systemctl daemon-reload`"
            );
            return Err(ActuatorError { reason: "NotFound", message });
        }
        Ok(found)
    }

    /// Those that count.
    async fn present(&self, target: &TargetRef) -> Result<BTreeMap<u32, Instance>, ActuatorError> {
        let mut found = self.instances(target).await?;
        let mut gone = Vec::new();
        let (stopped, is_first) = self.take_stopped(&target.name);
        found.retain(|number, instance| {
            let unit = unit(&target.name, *number);
            // It may be seen before its stop has begun.
            let is_ours =
                stopped.get(&unit) == Some(&instance.began_us) || (is_first && instance.state == State::Stopping);
            let mark = is_ours.then_some(instance.began_us);
            match instance.state {
                State::Inactive => return false,
                State::Failed if mark.is_some() => {
                    gone.push(unit);
                    return false;
                }
                State::Active | State::Starting | State::Stopping | State::Failed => {}
            }
            instance.is_told = mark.is_some();
            self.memory().stopped.extend(mark.map(|began_us| (unit, began_us)));
            true
        });
        if !gone.is_empty() {
            // They failed as they were stopped, and would be listed for ever; where it fails they are told apart again.
            let mut args = vec!["reset-failed".to_owned(), "--".to_owned()];
            args.extend(gone);
            let _ = self.systemctl(args).await;
        }
        Ok(found)
    }

    /// What was remembered as stopped of a template, and is not any more; and whether this is the first look at it.
    fn take_stopped(&self, name: &str) -> (BTreeMap<String, u64>, bool) {
        let mut memory = self.memory();
        if memory.known.len() >= KNOWN_MAX {
            memory.known.clear();
        }
        let is_first = memory.known.insert(name.to_owned());
        let all = std::mem::take(&mut memory.stopped);
        let (ours, others) = all.into_iter().partition(|(unit, _)| is_of(unit, name));
        memory.stopped = others;
        (ours, is_first)
    }

    async fn systemctl(&self, mut args: Vec<String>) -> Result<Vec<u8>, ActuatorError> {
        let missing = || ActuatorError {
            reason: "Unreachable",
            message: format!("there is no `systemctl` on the agent's PATH {}", self.search),
        };
        let places = self.search.split(':').filter(|folder| folder.starts_with('/'));
        let path = places.map(|folder| PathBuf::from(folder).join("systemctl")).find(|path| path.is_file());
        let path = path.ok_or_else(missing)?;
        args.splice(0..0, ["--no-pager", "--no-ask-password"].map(str::to_owned));
        let mut env = vec![("PATH".to_owned(), self.search.clone()), ("LC_ALL".to_owned(), "C".to_owned())];
        for name in ["DBUS_SYSTEM_BUS_ADDRESS", "SYSTEMCTL_SKIP_SYSV"] {
            env.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
        }
        let (voices, ends) = (Voices::Apart, Ends::Group);
        let program = Program { path, args, env, stdin: Vec::new(), voices, bytes_max: SAID_BYTES_MAX, ends };
        run(&program, TIME).await.map_err(explained)
    }

    fn pod(&self, name: String, instance: &Instance) -> Pod {
        let at = |began_us: u64| {
            let ago = self.clock.awake().saturating_sub(Duration::from_micros(began_us));
            UnixMillis(self.clock.wall().0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
        };
        let is_ready = instance.state == State::Active;
        let began = (instance.began_us > 0).then(|| at(instance.began_us));
        let since = if is_ready && instance.active_us > 0 { Some(at(instance.active_us)) } else { began };
        let container = PodContainer {
            name: name.clone(),
            id: None,
            cpu_request_milli: instance.cpu_milli_max,
            memory_request: instance.memory_max,
        };
        Pod {
            labels: Labels::new([("name", name.as_str())]).unwrap_or_default(),
            name,
            phase: if instance.state == State::Failed { Phase::Failed } else { Phase::Running },
            is_deleting: instance.state == State::Stopping,
            started_at: began,
            ready: since.map(|since| Ready { is_ready, since }),
            containers: vec![container],
        }
    }

    fn used(&self, target: &TargetRef, found: &BTreeMap<u32, Instance>) -> Usage {
        let (now, wall, mut usage) = (self.clock.mono(), self.clock.wall(), Usage::default());
        let mut memory = self.memory();
        let (before, others) =
            std::mem::take(&mut memory.cpu).into_iter().partition(|(unit, _)| is_of(unit, &target.name));
        let before: BTreeMap<String, Reading> = before;
        memory.cpu = others;
        for (number, instance) in found {
            let name = unit(&target.name, *number);
            let key = (name.clone(), name.clone());
            if let Some(bytes) = instance.memory_bytes {
                let milli = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(1000);
                usage.memory.insert(key.clone(), PodMetric { milli, at: wall, window: Duration::ZERO });
            }
            let Some(nanos) = instance.cpu_nanos else { continue };
            let reading = Reading { at: now, nanos, began_us: instance.began_us };
            if let Some(last) = before.get(&name).filter(|last| last.began_us == reading.began_us) {
                let window = now.0.saturating_sub(last.at.0);
                if window == 0 {
                    // Asked twice in the same millisecond: the earlier one stays, so that a span comes about.
                    memory.cpu.insert(name, *last);
                    continue;
                }
                // Nanoseconds in milliseconds are millionths; thousandths are wanted, rounded up.
                let milli = nanos.saturating_sub(last.nanos).div_ceil(window.saturating_mul(1000));
                let milli = i64::try_from(milli).unwrap_or(i64::MAX);
                usage.cpu.insert(key, PodMetric { milli, at: wall, window: Duration::from_millis(window) });
            }
            memory.cpu.insert(name, reading);
        }
        usage
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Actuator for SystemdActuator {
    fn observe<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Observed> {
        Box::pin(async {
            let found = self.present(target).await?;
            let count = found.values().filter(|instance| instance.is_there()).count();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let mut pods: Vec<Pod> =
                found.iter().map(|(number, instance)| self.pod(unit(&target.name, *number), instance)).collect();
            pods.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(Observed { spec_replicas: count, status_replicas: count, pods })
        })
    }

    fn scale<'a>(&'a self, target: &'a TargetRef, replicas: u32) -> Acting<'a, ()> {
        Box::pin(async move {
            if replicas > INSTANCES_MAX {
                let message = format!("{replicas} instances are too many: at most {INSTANCES_MAX} are run");
                return Err(ActuatorError { reason: "Invalid", message });
            }
            let found = self.present(target).await?;
            let plan = plan(&found, replicas);
            let units = |numbers: &[u32]| numbers.iter().map(|number| unit(&target.name, *number)).collect::<Vec<_>>();
            let (starts, stops) = (units(&plan.starts), units(&plan.stops));
            let began = |number: &u32| found.get(number).map_or(0, |instance| instance.began_us);
            self.memory().stopped.extend(stops.iter().cloned().zip(plan.stops.iter().map(began)));
            let started = self.job("start", starts).await;
            let stopped = self.job("stop", stops).await;
            match (started, stopped) {
                (Err(error), _) | (Ok(()), Err(error)) => Err(error),
                (Ok(()), Ok(())) => Ok(()),
            }
        })
    }

    /// By the accounting of systemd, page cache included; CPU from the second call on.
    fn usage<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Option<Usage>> {
        Box::pin(async {
            let mut found = self.instances(target).await?;
            found.retain(|_, instance| matches!(instance.state, State::Active | State::Starting));
            Ok(Some(self.used(target, &found)))
        })
    }
}

impl SystemdActuator {
    async fn job(&self, verb: &str, units: Vec<String>) -> Result<(), ActuatorError> {
        if units.is_empty() {
            return Ok(());
        }
        let mut args = vec![verb.to_owned(), "--no-block".to_owned(), "--".to_owned()];
        args.extend(units);
        self.systemctl(args).await.map(drop)
    }
}

/// A template's name that can stand in a unit's name and in a pattern.
fn checked(target: &TargetRef) -> Result<&str, ActuatorError> {
    let name = target.name.as_str();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | '\\' | '-');
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits) && !name.starts_with('-');
    if is_name && !name.ends_with(".service") {
        return Ok(name);
    }
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    let message = format!("{name:?} is no name of a template unit: what stands before '@' is expected, such as worker");
    Err(ActuatorError { reason: "Invalid", message })
}

/// Whether a unit is an instance of the template `name`.
fn is_of(unit: &str, name: &str) -> bool {
    unit.split_once('@').is_some_and(|(template, _)| template == name)
}

fn unit(name: &str, number: u32) -> String {
    format!("{name}@{number}.service")
}

/// Tells what stands behind the words of `systemctl`.
fn explained(error: ActuatorError) -> ActuatorError {
    let ActuatorError { reason, message } = error;
    let says = |part: &str| message.contains(part);
    let reason = match () {
        () if says("not been booted with systemd") || says("Failed to connect to bus") => "Unreachable",
        () if says("not found") || says("not loaded") => "NotFound",
        () if says("Access denied") || says("authentication required") || says("ermission denied") => "Forbidden",
        () => reason,
    };
    ActuatorError { reason, message }
}
