//! Which documents are adopted, and what that changes.

use super::stored::{self, Sealed, Stored, StoredTrial};
use crate::config::{Sections, read_document};
use crate::identity::Memory;
use crate::store::Change;
use skerry_model::{Mono, StreamName, UnixMillis};
use skerry_seal::{
    Accepted, AcceptedConfig, Assignment, Context, Floors, NodeIdentity, Refusal, Revision, RootUpdate, TrustError,
    TrustStore, TrustedClock, TrustedTime, Verdict, read_config, reopen_assignment, reopen_config, sha256,
    verify_assignment, verify_config,
};
use skerry_wire::{ConfigState, EventKind, Trust};
use std::collections::{BTreeMap, VecDeque};

/// After how many starts on trial a config is given up.
pub const STARTS_MAX: u8 = 3;
/// Refused documents that are remembered, so that one that the fleet sends again is told of once.
const REFUSED_MAX: usize = 64;
/// Longest reason in an event, in bytes.
const REASON_BYTES_MAX: usize = 1024;
/// No earlier than this did anybody build this version: begins the trusted time on a machine without a clock.
const BUILT: UnixMillis = UnixMillis(1_793_500_000_000);

/// What a decision changes. Changes are stored in one transaction with the events; if that fails, the [`Adoption`]
/// has to be restored from the store.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Keys of the store's state.
    pub changes: Vec<Change>,
    /// What happened.
    pub events: Vec<EventKind>,
    /// Whether other configs are to run now.
    pub restart: bool,
    /// Whether [`Adoption::memory`] changed.
    pub memory: bool,
}

/// A config as it runs.
#[derive(Debug, Clone)]
struct Running {
    revision: Revision,
    sealed: Sealed,
    spec: Sections,
}

/// A config on trial.
#[derive(Debug)]
struct Trial {
    running: Running,
    needs_link: bool,
    starts: u8,
}

impl Trial {
    fn stored(&self) -> StoredTrial {
        StoredTrial { sealed: self.running.sealed.clone(), needs_link: self.needs_link, starts: self.starts }
    }
}

/// The documents that this node obeys.
#[derive(Debug)]
pub struct Adoption {
    identity: NodeIdentity,
    trust: TrustStore,
    floors: Floors,
    clock: TrustedClock,
    assignment: Option<Assignment>,
    configs: BTreeMap<StreamName, Running>,
    trial: BTreeMap<StreamName, Trial>,
    failed: BTreeMap<StreamName, [u8; 32]>,
    refused: VecDeque<[u8; 32]>,
}

impl Adoption {
    /// Takes up what was stored. `roots` came with the enrolment, `memory` lies beside the keys; of both and of what
    /// the store has, the newest counts. What cannot be read any more is left out with a line for the log: the fleet
    /// sends it again.
    ///
    /// # Errors
    /// [`TrustError`] where no chain of roots holds: then nothing can be verified.
    pub fn restore(
        identity: NodeIdentity,
        roots: &[Vec<u8>],
        memory: Memory,
        stored: Stored,
        now: Mono,
    ) -> Result<(Self, Vec<String>), TrustError> {
        let mut told = Vec::new();
        let kept = match stored.trust.as_deref().map(Memory::decode) {
            Some(Ok(kept)) => kept,
            Some(Err(error)) => {
                told.push(format!("the stored trust state is damaged: {error}"));
                Memory::default()
            }
            None => Memory::default(),
        };
        let newest = [roots, &memory.roots, &kept.roots].into_iter().max_by_key(|chain| chain.len()).unwrap_or(roots);
        let trust = TrustStore::restore(newest).or_else(|error| {
            told.push(format!("the stored chain of roots does not hold: {error}"));
            TrustStore::restore(roots)
        })?;
        // The store and the copy beside the keys are written one after the other: either may be the older one.
        let mut last = memory;
        last.floors.raise_all(&kept.floors);
        last.time = last.time.max(kept.time);
        let mut clock = TrustedClock::new(BUILT, last.time, now);
        clock.raise(trust.current().issued, now);
        let mut adoption = Self {
            identity,
            trust,
            floors: last.floors,
            clock,
            assignment: None,
            configs: BTreeMap::new(),
            trial: BTreeMap::new(),
            failed: stored.failed,
            refused: VecDeque::new(),
        };
        if let Some(sealed) = stored.assignment {
            match reopen_assignment(&sealed.envelope, &sealed.hash, &adoption.identity) {
                Ok(assignment) => adoption.assignment = Some(assignment),
                Err(error) => told.push(format!("the stored assignment is left out: {error}")),
            }
        }
        for (stream, sealed) in stored.configs {
            match adoption.reopen(&sealed) {
                Ok(running) => drop(adoption.configs.insert(stream, running)),
                Err(error) => told.push(format!("the stored config of {stream} is left out: {error}")),
            }
        }
        for (stream, StoredTrial { sealed, needs_link, starts }) in stored.trial {
            match adoption.reopen(&sealed) {
                Ok(running) => drop(adoption.trial.insert(stream, Trial { running, needs_link, starts })),
                Err(error) => told.push(format!("the config of {stream} on trial is left out: {error}")),
            }
        }
        Ok((adoption, told))
    }

    fn reopen(&self, sealed: &Sealed) -> Result<Running, String> {
        let AcceptedConfig { doc, .. } =
            reopen_config(&sealed.envelope, &sealed.hash, &self.identity).map_err(|error| error.to_string())?;
        let spec = spec(&doc.stream, &doc.body)?;
        Ok(Running { revision: doc.revision, sealed: sealed.clone(), spec })
    }

    /// A start of the agent: counts it for configs on trial, and gives them up when it was one too many.
    pub fn begin(&mut self) -> Outcome {
        if self.trial.values().any(|trial| trial.starts >= STARTS_MAX) {
            return self.roll_back(&format!("the agent ended {STARTS_MAX} times while it was on trial"));
        }
        let mut outcome = Outcome::default();
        for (stream, trial) in &mut self.trial {
            trial.starts += 1;
            outcome.changes.push(stored::put_trial(stream, Some(&trial.stored())));
        }
        outcome
    }

    /// Roots and assignment.
    pub fn take_trust(&mut self, trust: &Trust, now: Mono) -> Outcome {
        let mut outcome = Outcome::default();
        for root in &trust.roots {
            match self.trust.update(root) {
                Ok(RootUpdate::Adopted) => {
                    self.clock.raise(self.trust.current().issued, now);
                    outcome.memory = true;
                }
                Ok(_) => {}
                Err(error) => self.refuse(&mut outcome, root, None, error.code(), &chain(&error)),
            }
        }
        if let Some(envelope) = &trust.assignment {
            self.take_assignment(envelope, now, &mut outcome);
        }
        if outcome.memory {
            outcome.changes.push(stored::put_trust(self.memory().encode()));
        }
        outcome
    }

    fn take_assignment(&mut self, envelope: &[u8], now: Mono, outcome: &mut Outcome) {
        let context = self.context(TrustedTime { at: self.clock.floor(), trusted: false });
        let accepted = match verify_assignment(envelope, &context) {
            Ok(Verdict::Adopt(accepted)) => accepted,
            // The database was lost: the floor stands, the document does not.
            Ok(Verdict::Unchanged) if self.assignment.is_none() => {
                let Some(floor) = self.floors.assignment() else { return };
                match reopen_assignment(envelope, &floor.hash, &self.identity) {
                    Ok(doc) => Accepted { doc, hash: floor.hash },
                    Err(error) => return self.refuse(outcome, envelope, None, error.code(), &chain(&error)),
                }
            }
            Ok(Verdict::Unchanged) => return,
            Err(error) => return self.refuse(outcome, envelope, None, error.code(), &chain(&error)),
        };
        self.floors.raise_assignment(&accepted);
        self.clock.raise(accepted.doc.issued, now);
        outcome.memory = true;
        let Accepted { doc, hash } = accepted;
        outcome.changes.push(stored::put_assignment(&Sealed { hash, envelope: envelope.to_vec() }));
        let Revision { epoch, version } = doc.revision;
        outcome.events.push(EventKind::AssignmentApplied { epoch, version, revoked: doc.revoked });
        let left: Vec<StreamName> =
            self.configs.keys().filter(|stream| !doc.streams.contains_key(stream)).cloned().collect();
        for stream in left {
            self.configs.remove(&stream);
            outcome.changes.push(stored::put_config(&stream, None));
            outcome.restart = true;
        }
        let left: Vec<StreamName> =
            self.trial.keys().filter(|stream| !doc.streams.contains_key(stream)).cloned().collect();
        for stream in left {
            self.trial.remove(&stream);
            outcome.changes.push(stored::put_trial(&stream, None));
            outcome.restart = true;
        }
        self.assignment = Some(doc);
    }

    /// A config. `rtc` is the machine's wall clock; `link_up` whether the fleet is reached now.
    pub fn take_config(&mut self, envelope: &[u8], link_up: bool, now: Mono, rtc: UnixMillis) -> Outcome {
        let mut outcome = Outcome::default();
        let accepted = match self.judge(envelope, now, rtc) {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return outcome,
            Err(error) => {
                let named =
                    read_config(envelope, &self.trust).ok().map(|read| state(&read.doc.stream, read.doc.revision));
                self.refuse(&mut outcome, envelope, named, error.code(), &chain(&error));
                return outcome;
            }
        };
        let (doc, hash) = (&accepted.doc, accepted.hash);
        let spec = match spec(&doc.stream, &doc.body) {
            Ok(spec) => spec,
            Err(faults) => {
                self.refuse(&mut outcome, envelope, Some(state(&doc.stream, doc.revision)), "config_invalid", &faults);
                return outcome;
            }
        };
        self.floors.raise_config(&accepted);
        self.clock.raise(doc.issued, now);
        let sealed = Sealed { hash, envelope: envelope.to_vec() };
        let running = Running { revision: doc.revision, sealed, spec };
        let trial = Trial { running, needs_link: link_up, starts: 0 };
        outcome.changes.push(stored::put_trial(&doc.stream, Some(&trial.stored())));
        self.trial.insert(doc.stream.clone(), trial);
        outcome.memory = true;
        outcome.changes.push(stored::put_trust(self.memory().encode()));
        outcome.restart = true;
        outcome
    }

    /// A config to adopt; `None` where there is nothing to do.
    fn judge(&self, envelope: &[u8], now: Mono, rtc: UnixMillis) -> Result<Option<AcceptedConfig>, Refusal> {
        match verify_config(envelope, &self.context(self.clock.read(now, Some(rtc))))? {
            Verdict::Adopt(accepted) => Ok(Some(accepted)),
            Verdict::Unchanged => {
                // Adopted before. If neither its content is here nor it is known to have failed, the database was lost.
                let stream = read_config(envelope, &self.trust)?.doc.stream;
                let Some(floor) = self.floors.config(&stream) else { return Ok(None) };
                let here = |running: &Running| running.sealed.hash == floor.hash;
                let held = self.configs.get(&stream).is_some_and(here)
                    || self.trial.get(&stream).is_some_and(|trial| here(&trial.running))
                    || self.failed.get(&stream) == Some(&floor.hash);
                if held { Ok(None) } else { reopen_config(envelope, &floor.hash, &self.identity).map(Some) }
            }
        }
    }

    /// The configs on trial have passed.
    pub fn confirm(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for (stream, Trial { running, .. }) in std::mem::take(&mut self.trial) {
            outcome.changes.push(stored::put_trial(&stream, None));
            outcome.changes.push(stored::put_config(&stream, Some(&running.sealed)));
            outcome.events.push(EventKind::ConfigApplied(state(&stream, running.revision)));
            self.configs.insert(stream, running);
        }
        outcome
    }

    /// The configs on trial have failed: what ran before runs again. The floors stay.
    pub fn roll_back(&mut self, reason: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for (stream, Trial { running, .. }) in std::mem::take(&mut self.trial) {
            let (hash, config) = (running.sealed.hash, state(&stream, running.revision));
            outcome.changes.push(stored::put_trial(&stream, None));
            outcome.changes.push(stored::put_failed(&stream, hash));
            outcome.events.push(EventKind::ConfigRolledBack { config, reason: cut(reason) });
            outcome.restart = true;
            self.failed.insert(stream, hash);
        }
        outcome
    }

    fn refuse(&mut self, outcome: &mut Outcome, what: &[u8], config: Option<ConfigState>, code: &str, reason: &str) {
        let hash = sha256(what);
        if self.refused.contains(&hash) {
            return;
        }
        self.refused.truncate(REFUSED_MAX - 1);
        self.refused.push_front(hash);
        outcome.events.push(EventKind::ConfigRefused { config, code: code.to_owned(), reason: cut(reason) });
    }

    fn context(&self, time: TrustedTime) -> Context<'_> {
        Context {
            trust: &self.trust,
            identity: &self.identity,
            assignment: self.assignment.as_ref(),
            floors: &self.floors,
            time,
        }
    }

    /// What lies beside the keys as well.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory { roots: self.trust.roots().to_vec(), floors: self.floors.clone(), time: Some(self.clock.floor()) }
    }

    /// The sections to lay over the local file's, in order; with the config on trial.
    #[must_use]
    pub fn layers(&self) -> Vec<Sections> {
        let trial = self.trial.iter().map(|(stream, trial)| (stream, &trial.running));
        let mut layers: BTreeMap<&StreamName, &Running> = self.configs.iter().collect();
        layers.extend(trial);
        layers.into_values().map(|running| running.spec.clone()).collect()
    }

    /// Configs that run and have passed their trial.
    #[must_use]
    pub fn states(&self) -> Vec<ConfigState> {
        self.configs.iter().map(|(stream, running)| state(stream, running.revision)).collect()
    }

    /// The configs on trial.
    #[must_use]
    pub fn trial(&self) -> Vec<ConfigState> {
        self.trial.iter().map(|(stream, trial)| state(stream, trial.running.revision)).collect()
    }

    /// Whether reaching the fleet is among the checks of the trial.
    #[must_use]
    pub fn trial_needs_link(&self) -> bool {
        self.trial.values().any(|trial| trial.needs_link)
    }

    /// Epoch and version of the assignment, and whether it takes the node out of service.
    #[must_use]
    pub fn assignment(&self) -> Option<(u64, u64, bool)> {
        self.assignment.as_ref().map(|a| (a.revision.epoch, a.revision.version, a.revoked))
    }

    /// Version of the newest root document.
    #[must_use]
    pub fn root_version(&self) -> u64 {
        self.trust.current().revision.version
    }

    /// Whether the machine's clock is believed.
    #[must_use]
    pub fn time_trusted(&self, now: Mono, rtc: UnixMillis) -> bool {
        self.clock.read(now, Some(rtc)).trusted
    }
}

fn spec(stream: &StreamName, body: &[u8]) -> Result<Sections, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("the config of {stream} is no text: {error}"))?;
    let document = read_document(stream.as_str(), text, Some(stream)).map_err(|faults| faults.to_string())?;
    Ok(document.spec)
}

fn state(stream: &StreamName, revision: Revision) -> ConfigState {
    ConfigState { stream: stream.clone(), epoch: revision.epoch, version: revision.version }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}
