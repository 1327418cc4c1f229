//! What is recommended for whom, who may be changed, and what they were given.

use super::{Candidate, Core, HERE_MS, Live};
use crate::recommend::subject::Subject;
use crate::recommend::{Policy, Recommended};
use skerry_scaling::vpa::{Amounts, ContainerMode, ContainerPolicy, Gave, Given, UpdateMode, recommend};
use std::collections::BTreeMap;

impl Core {
    /// All that is recommended, by target and container.
    pub(in crate::recommend) fn recommendations(&self) -> Vec<Recommended> {
        let mut live: BTreeMap<&Subject, usize> = BTreeMap::new();
        let is_here = |live: &&Live| self.last_ms < live.seen_ms + HERE_MS;
        for subject in self.live.values().filter(is_here).filter_map(|live| live.subject.as_ref()) {
            *live.entry(subject).or_default() += 1;
        }
        let of = |subject: &Subject| self.recommended(subject, live.get(subject).copied().unwrap_or(0));
        self.used.keys().filter_map(of).collect()
    }

    fn recommended(&self, subject: &Subject, live: usize) -> Option<Recommended> {
        let (policy, of_container) = self.policy(subject);
        if of_container.mode == ContainerMode::Off {
            return None;
        }
        let used = self.used.get(subject)?;
        let first = Subject { target: subject.target.clone(), container: String::new() };
        let siblings = self.used.range(first..).take_while(|(other, _)| other.target == subject.target);
        let siblings = siblings.filter(|(_, used)| used.aggregate.samples > 0).count();
        let containers = u32::try_from(siblings).unwrap_or(u32::MAX);
        let amounts = recommend(&used.aggregate, containers, &self.settings, &of_container.bounds)?;
        Some(Recommended {
            target: subject.target.clone(),
            container: subject.container.clone(),
            policy: policy.map(|policy| policy.name.clone()),
            mode: policy.map_or(UpdateMode::Off, |policy| policy.vertical.update_mode),
            amounts,
            samples: used.aggregate.samples,
            live,
        })
    }

    fn policy(&self, subject: &Subject) -> (Option<&Policy>, ContainerPolicy) {
        let policy = self.policies.iter().find(|policy| policy.target == subject.target);
        (policy, policy.map_or_else(ContainerPolicy::default, |policy| policy.vertical.policy(&subject.container)))
    }

    /// What a container that is about to be made should ask for; `None` where no policy wants that or nothing is known.
    pub(in crate::recommend) fn initial(&self, subject: &Subject) -> Option<Given> {
        let (policy, of_container) = self.policy(subject);
        if policy?.vertical.update_mode == UpdateMode::Off {
            return None;
        }
        Some(Given::of(&self.recommended(subject, 0)?.amounts, &of_container, self.settings.most))
    }

    /// Containers that run and whose policies change such.
    pub(in crate::recommend) fn candidates(&self) -> Vec<Candidate> {
        let is_here = |live: &Live| self.last_ms < live.seen_ms + HERE_MS;
        let all = self.live.iter().filter(|(_, live)| is_here(live)).filter_map(|(id, live)| {
            let subject = live.subject.as_ref()?;
            let (policy, of_container) = self.policy(subject);
            let policy = policy
                .filter(|policy| !matches!(policy.vertical.update_mode, UpdateMode::Off | UpdateMode::Initial))?;
            Some(Candidate {
                id: id.clone(),
                policy: policy.name.clone(),
                target: subject.target.clone(),
                container: subject.container.clone(),
                mode: policy.vertical.update_mode,
                recommended: self.recommended(subject, 0)?.amounts,
                most: self.settings.most,
                of_container,
                is_scaled: policy.is_scaled,
                given: live.instance.given,
                started: live.started,
                early_oom: live.early_oom,
                working: live.working,
            })
        });
        all.collect()
    }

    /// Takes in what a container was given while it runs; `None` where it was not given after all.
    pub(in crate::recommend) fn gave(&mut self, id: &str, given: Option<Gave>) {
        let Some(live) = self.live.get_mut(id) else { return };
        live.instance.given = given;
        live.early_oom &= given.is_none_or(|given| !given.is_told);
        let subject = live.subject.clone();
        if let Some(used) = subject.and_then(|subject| self.used.get_mut(&subject)) {
            used.is_saved = false;
        }
    }

    /// What a container asks for that was given something while it ran.
    pub(in crate::recommend) fn given(&self, id: &str) -> Option<Amounts> {
        self.live.get(id)?.instance.given.map(|given| given.asks)
    }
}
