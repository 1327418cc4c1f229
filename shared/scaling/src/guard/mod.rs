//! Whether a node has room: memory, heat, power, and who gives way.
//!
//! Each round the policies of a node say what they want, and the guard says what each gets. Fewer replicas are always
//! granted. More are granted while they fit, higher priorities first and one by one among equals; what does not fit is
//! pending. Where a policy finds no room, or the node stays too hot, too full or short of power, policies of lower priority
//! give up replicas, the lowest first, down to their least.
//!
//! Invariants:
//! - Room is what neither requests nor real use have taken. What is given up counts once it is free; what was started
//!   counts with its request until its use shows.
//! - Nobody gives up a replica for a policy of the same or lower priority, nor for one that would not fit even then.
//! - Between two rounds of giving up lies [`GIVING_PAUSE`]; who gave up gets nothing back for [`HELD_FOR`] after the last
//!   need, and then only with a margin.

mod claims;
mod pressure;
mod room;
mod settings;

pub use settings::{REFERENCE, Settings};

use crate::Now;
use pressure::Pressure;
use room::Room;
use skerry_model::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

/// Time that replicas have to end, and sensors to show it, before more are given up.
pub const GIVING_PAUSE: Duration = Duration::from_secs(60);
/// Replicas that were given up stay so for this time after they were last needed, as long as the autoscaler's own window.
pub const HELD_FOR: Duration = Duration::from_secs(300);
/// Time until a replica's use of memory shows.
const WARM_FOR: Duration = Duration::from_secs(120);
/// Part of a node's memory and cores that has to be free beyond the request before who gave up gets a replica back.
const MARGIN: u64 = 20;
/// Most policies of which something is written down.
const POLICIES_MAX: usize = 256;
const VERSION: u8 = 1;

/// CPU and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

impl Resources {
    /// So many times as much.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        let times = |value: u64| value.saturating_mul(u64::from(count));
        Self { cpu_milli: times(self.cpu_milli), memory_bytes: times(self.memory_bytes) }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// What is left of it; nothing of what is less.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    /// Whether it fits into `other`.
    #[must_use]
    pub const fn fits(self, other: Self) -> bool {
        self.cpu_milli <= other.cpu_milli && self.memory_bytes <= other.memory_bytes
    }
}

/// A node as it is measured. What is not known does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NodeState {
    /// All that the node has: cores online, `node_memory_MemTotal_bytes`.
    pub allocatable: Option<Resources>,
    /// What is really used: busy CPU, MemTotal - MemAvailable.
    pub used: Option<Resources>,
    /// The hottest sensor.
    pub temperature_celsius: Option<f64>,
    /// The hardware slows itself down: thermal throttling, or a Raspberry Pi's under-voltage.
    pub is_throttled: bool,
    /// It runs on battery.
    pub is_on_battery: bool,
    /// Charge of the battery, 0 to 1.
    pub battery_ratio: Option<f64>,
    /// Power drawn.
    pub power_watts: Option<f64>,
}

/// What a policy wants on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Want {
    /// The policy's name, unique.
    pub policy: String,
    /// The higher, the later it gives way.
    pub priority: i32,
    /// Replicas that are wanted from the runtime now (`Observed::spec_replicas`).
    pub current: u32,
    /// Replicas it should have (`Decision::desired`).
    pub desired: u32,
    /// Below this it gives nothing up: `minReplicas`.
    pub min: u32,
    /// What one replica asks for; 0 where that is not known.
    pub request: Resources,
}

/// What a policy gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// The policy's name.
    pub policy: String,
    /// Replicas to scale to.
    pub replicas: u32,
    /// Wanted and not granted: `desired - replicas`.
    pub pending: u32,
    /// How long something has been pending.
    pub pending_for: Duration,
    /// Replicas that run and are given up in this round, though wanted.
    pub given_up: u32,
    /// Why something is pending or given up, as a clause; empty where nothing is.
    pub why: String,
}

/// A guard with what it remembers. Keeps nothing of policies that no longer ask.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    settings: Settings,
    pressure: Pressure,
    policies: BTreeMap<String, Memory>,
    /// When replicas were given up last.
    gave_at: Option<Mono>,
}

/// What is remembered of a policy.
#[derive(Debug, Clone, Default)]
struct Memory {
    pending_since: Option<Mono>,
    /// Replicas whose use shows, and since when there are more.
    warm: u32,
    grown_at: Option<Mono>,
    /// It gave up replicas.
    held: Option<Held>,
}

/// What is left to a policy that gave up replicas.
#[derive(Debug, Clone)]
struct Held {
    ceiling: u32,
    until: Mono,
}

impl Guard {
    /// With nothing remembered.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes other settings and keeps what it remembers.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What each policy gets, in the order of `wants`. Call it each round with all policies that scale something on this
    /// node, also those that want no change.
    pub fn room(&mut self, now: Now, node: &NodeState, wants: &[Want]) -> Vec<Grant> {
        if !self.settings.enabled {
            *self = Self::new(self.settings.clone());
            let grant = |want: &Want| Grant { policy: want.policy.clone(), replicas: want.desired, ..Grant::default() };
            return wants.iter().map(grant).collect();
        }
        self.pressure.update(now.mono, &self.settings, node);
        self.policies.retain(|name, _| wants.iter().any(|want| want.policy == *name));
        let mut started = Resources::default();
        for want in wants {
            let memory = self.policies.entry(want.policy.clone()).or_insert_with(|| Memory::of(want));
            started = started.plus(want.request.times(memory.started(want, now.mono)));
        }
        let room = Room::of(&self.settings, node, wants, started);
        let grants = claims::grant(self, now.mono, room, wants);
        for grant in &grants {
            if let Some(memory) = self.policies.get_mut(&grant.policy) {
                let since = memory.pending_since.unwrap_or(now.mono);
                memory.pending_since = (grant.pending > 0).then_some(since);
            }
        }
        let timed = |mut grant: Grant| {
            let since = self.policies.get(&grant.policy).and_then(|memory| memory.pending_since);
            grant.pending_for = since.map_or(Duration::ZERO, |since| now.mono.since(since));
            grant
        };
        grants.into_iter().map(timed).collect()
    }

    /// Why nothing may grow now, such as `82 °C, at most 80 °C`; for the board and explanations.
    #[must_use]
    pub fn pressure(&self) -> Option<&str> {
        self.pressure.get().map(|(why, _)| why)
    }

    /// Written down, to be kept over a restart: a few bytes for each policy that gave something up.
    #[must_use]
    pub fn to_bytes(&self, now: Now) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let held = self.policies.iter().filter_map(|(name, memory)| Some((name, memory.held.as_ref()?)));
        for (name, held) in held.take(POLICIES_MAX) {
            let left_ms = u32::try_from(held.until.since(now.mono).as_millis()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&held.ceiling.to_le_bytes());
            bytes.extend_from_slice(&left_ms.to_le_bytes());
            bytes.extend_from_slice(&u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }

    /// Takes back what was written down; what comes behind damage is left out.
    pub fn restore(&mut self, bytes: &[u8], now: Now) {
        let Some(mut rest) = bytes.strip_prefix(&[VERSION]) else { return };
        for _ in 0..POLICIES_MAX {
            let Some((head, behind)) = rest.split_first_chunk::<10>() else { return };
            let [a, b, c, d, e, f, g, h, i, j] = *head;
            let Some((name, behind)) = behind.split_at_checked(usize::from(u16::from_le_bytes([i, j]))) else { return };
            let Ok(name) = std::str::from_utf8(name) else { return };
            rest = behind;
            let left = Duration::from_millis(u64::from(u32::from_le_bytes([e, f, g, h]))).min(HELD_FOR);
            let ceiling = u32::from_le_bytes([a, b, c, d]);
            let held = Some(Held { ceiling, until: now.mono + left });
            self.policies.insert(name.to_owned(), Memory { warm: u32::MAX, held, ..Memory::default() });
        }
    }
}

impl Memory {
    /// Of a policy that is seen first: its replicas ran before.
    fn of(want: &Want) -> Self {
        Self { warm: want.current, ..Self::default() }
    }

    /// Replicas that were started so recently that their use does not show.
    fn started(&mut self, want: &Want, now: Mono) -> u32 {
        let is_warm = self.grown_at.is_none_or(|at| now.since(at) >= WARM_FOR);
        if want.current <= self.warm || is_warm {
            (self.warm, self.grown_at) = (want.current, None);
        }
        want.current - self.warm
    }
}

#[cfg(test)]
mod tests;
