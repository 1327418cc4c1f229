//! Who grows, who waits and who gives way in one round.

use super::room::Room;
use super::{GIVING_PAUSE, Grant, Guard, HELD_FOR, Held, MARGIN, Resources, Want};
use skerry_model::Mono;

/// A round over all wants; each has its grant at the same place.
struct Round<'a> {
    guard: &'a mut Guard,
    now: Mono,
    wants: &'a [Want],
    grants: Vec<Grant>,
    /// What is free now.
    room: Room,
    /// What will be free once all that ends in this round has ended, without what is claimed of it.
    later: Room,
    /// The highest priority that waits for lower ones to give way.
    claimed: Option<i32>,
}

/// What each want gets.
pub(super) fn grant(guard: &mut Guard, now: Mono, room: Room, wants: &[Want]) -> Vec<Grant> {
    let start = |want: &Want| {
        let replicas = want.desired.min(want.current);
        Grant { policy: want.policy.clone(), replicas, pending: want.desired - replicas, ..Grant::default() }
    };
    let grants: Vec<Grant> = wants.iter().map(start).collect();
    let mut round = Round { guard, now, wants, grants, room, later: room, claimed: None };
    for (want, grant) in wants.iter().zip(&round.grants) {
        round.later.give(want.request.times(want.current - grant.replicas));
    }
    let is_pressed = round.guard.pressure.get().is_some();
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by(|a, b| {
        wants[*b].priority.cmp(&wants[*a].priority).then_with(|| wants[*a].policy.cmp(&wants[*b].policy))
    });
    for group in order.chunk_by(|a, b| wants[*a].priority == wants[*b].priority) {
        if !is_pressed && round.claimed.is_none() {
            round.grow(group);
        }
        for &at in group {
            round.explain(at);
        }
        for &at in group {
            if !is_pressed && round.grants[at].pending > 0 && !round.is_held(at) && round.claim(at) {
                round.claimed = round.claimed.or(Some(wants[at].priority));
            }
        }
    }
    round.relieve(&order);
    round.hold();
    round.grants
}

impl Round<'_> {
    /// Grants what fits to policies of one priority: in turn, a sixteenth of what is missing at a time.
    fn grow(&mut self, group: &[usize]) {
        let mut open: Vec<usize> = group.iter().copied().filter(|at| self.grants[*at].pending > 0).collect();
        while !open.is_empty() {
            open.retain(|&at| {
                let (want, held) = (&self.wants[at], self.held(at));
                let fits = self.room.fits(want.request, held.map(|_| MARGIN));
                let ceiling = held.filter(|held| self.now < held.until).map(|held| held.ceiling);
                let grant = &mut self.grants[at];
                let fits = ceiling.map_or(fits, |ceiling| fits.min(ceiling.saturating_sub(grant.replicas)));
                let step = grant.pending.div_ceil(16).min(fits);
                grant.replicas += step;
                grant.pending -= step;
                let taken = want.request.times(step);
                self.room.take(taken);
                self.later.take(taken);
                step > 0 && grant.pending > 0
            });
        }
    }

    /// Has given up replicas and must not have them back yet.
    fn is_held(&self, at: usize) -> bool {
        self.held(at).is_some_and(|held| self.now < held.until)
    }

    fn held(&self, at: usize) -> Option<&Held> {
        self.guard.policies.get(&self.wants[at].policy)?.held.as_ref()
    }

    /// Says why something is pending.
    fn explain(&mut self, at: usize) {
        if self.grants[at].pending == 0 || self.grants[at].given_up > 0 {
            return;
        }
        let why = match self.guard.pressure() {
            Some(why) => why.to_owned(),
            None if self.is_held(at) => "it gave up replicas for a higher priority or for the node".to_owned(),
            None if self.claimed.is_some() => "what is free is kept for a higher priority".to_owned(),
            None => self.room.why(self.wants[at].request),
        };
        self.grants[at].why = why;
    }

    /// Sees to room for as many of a want's pending replicas as lower priorities can make; whether they can for one.
    fn claim(&mut self, at: usize) -> bool {
        let (want, pending) = (&self.wants[at], self.grants[at].pending);
        let mut whole = self.later;
        for victim in self.victims(want.priority) {
            whole.give(self.wants[victim].request.times(self.spare(victim)));
        }
        let count = whole.fits(want.request, None).min(pending);
        if count == 0 {
            return false;
        }
        let claimed = want.request.times(count);
        let is_paused = self.guard.gave_at.is_some_and(|gave| self.now.since(gave) < GIVING_PAUSE);
        if !is_paused {
            self.give_way(want.priority, claimed, &format!("for {} of priority {}", want.policy, want.priority));
        }
        self.later.take(claimed);
        true
    }

    /// Those below a priority that have replicas to spare: the lowest first, then those with most to spare.
    fn victims(&self, priority: i32) -> Vec<usize> {
        let has = |at: &usize| self.wants[*at].priority < priority && self.spare(*at) > 0;
        let mut victims: Vec<usize> = (0..self.wants.len()).filter(has).collect();
        victims.sort_by_key(|at| (self.wants[*at].priority, std::cmp::Reverse(self.spare(*at)), *at));
        victims
    }

    /// Replicas that a want can give up of those that run.
    fn spare(&self, at: usize) -> u32 {
        let (want, grant) = (&self.wants[at], &self.grants[at]);
        grant.replicas.min(want.current).saturating_sub(want.min)
    }

    /// Lower priorities give up as little as makes this fit later.
    fn give_way(&mut self, priority: i32, claimed: Resources, why: &str) {
        let victims = self.victims(priority);
        let mut given = vec![0; victims.len()];
        for (victim, given) in victims.iter().zip(&mut given) {
            let (request, spare) = (self.wants[*victim].request, self.spare(*victim));
            *given = needed(self.later.lacking(claimed), request).min(spare);
            self.later.give(request.times(*given));
        }
        // What a larger one gave may have made that of a smaller one needless: the highest gets it back first.
        for (victim, given) in victims.iter().zip(&mut given).rev() {
            while *given > 0 {
                let mut without = self.later;
                without.take(self.wants[*victim].request);
                if without.lacking(claimed) != Resources::default() {
                    break;
                }
                (self.later, *given) = (without, *given - 1);
            }
        }
        for (victim, given) in victims.into_iter().zip(given) {
            self.give_up(victim, given, why);
        }
    }

    /// Where the node has been at a limit for a while, the lowest priority gives up a quarter of what it can, if there is a
    /// higher one that runs.
    fn relieve(&mut self, order: &[usize]) {
        let Some((why, since)) = self.guard.pressure.get() else { return };
        let is_paused = self.guard.gave_at.is_some_and(|gave| self.now.since(gave) < GIVING_PAUSE);
        if is_paused || self.now.since(since) < GIVING_PAUSE {
            return;
        }
        let why = format!("so that higher priorities stay: {why}");
        let Some(top) = order.iter().find(|at| self.wants[**at].current > 0) else { return };
        if let Some(&victim) = self.victims(self.wants[*top].priority).first() {
            self.give_up(victim, self.spare(victim).div_ceil(4), &why);
        }
    }

    fn give_up(&mut self, at: usize, count: u32, why: &str) {
        if count == 0 {
            return;
        }
        let (want, grant) = (&self.wants[at], &mut self.grants[at]);
        grant.replicas -= count;
        grant.given_up += count;
        grant.pending = want.desired.saturating_sub(grant.replicas);
        grant.why = format!("gave up {} {why}", grant.given_up);
        if let Some(memory) = self.guard.policies.get_mut(&want.policy) {
            memory.held = Some(Held { ceiling: grant.replicas, until: self.now + HELD_FOR });
        }
        self.guard.gave_at = Some(self.now);
    }

    /// Notes who grew, and who has what was given up again or no longer wants it. While the node is at a limit, a higher
    /// priority waits, or a replica would not fit with the margin, time does not count.
    fn hold(&mut self) {
        let is_pressed = self.guard.pressure.get().is_some();
        let is_needed = |want: &Want| {
            let is_claimed = self.claimed.is_some_and(|claimed| want.priority < claimed);
            is_pressed || is_claimed || self.room.fits(want.request, Some(MARGIN)) == 0
        };
        for (want, grant) in self.wants.iter().zip(&self.grants) {
            let Some(memory) = self.guard.policies.get_mut(&want.policy) else { continue };
            if grant.replicas > want.current {
                memory.grown_at = Some(self.now);
            }
            let Some(held) = &mut memory.held else { continue };
            held.until = if is_needed(want) { self.now + HELD_FOR } else { held.until };
            if self.now >= held.until && (grant.pending == 0 || grant.replicas > held.ceiling) {
                memory.held = None;
            }
        }
    }
}

/// How many of these requests make up for what is lacking, for all of which they help.
fn needed(lacking: Resources, request: Resources) -> u32 {
    let needed = |lacking: u64, each: u64| match (lacking, each) {
        (0, _) | (_, 0) => 0,
        (lacking, each) => u32::try_from(lacking.div_ceil(each)).unwrap_or(u32::MAX),
    };
    needed(lacking.cpu_milli, request.cpu_milli).max(needed(lacking.memory_bytes, request.memory_bytes))
}
