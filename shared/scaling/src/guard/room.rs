//! What is free of a node.

use super::{NodeState, Resources, Settings, Want};

/// What is left and what may be used in all; `None` where that is not known. Less than nothing may be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) cpu: Option<Left>,
    pub(super) memory: Option<Left>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) left: i64,
    pub(super) all: i64,
}

impl Room {
    /// Of memory, what is neither used or about to be, nor asked for. Of cores, what is not asked for: what is used of
    /// them beyond is shared.
    pub(super) fn of(settings: &Settings, node: &NodeState, wants: &[Want], started: Resources) -> Self {
        let asked = wants.iter().fold(Resources::default(), |sum, want| sum.plus(want.request.times(want.current)));
        #[expect(clippy::cast_possible_truncation, reason = "part of what there is, and casts saturate")]
        let part = |all: u64, ratio: f64| (all as f64 * ratio) as i64;
        let left = |all: i64, taken: u64| Left { left: all.saturating_sub(signed(taken)), all };
        let all = node.allocatable.unwrap_or_default();
        let used = node.used.map_or(0, |used| used.memory_bytes.saturating_add(started.memory_bytes));
        let cpu = left(part(all.cpu_milli, settings.cpu_max_ratio), asked.cpu_milli);
        let memory = left(part(all.memory_bytes, settings.memory_max_ratio), asked.memory_bytes.max(used));
        Self { cpu: (all.cpu_milli > 0).then_some(cpu), memory: (all.memory_bytes > 0).then_some(memory) }
    }

    /// How many replicas of this request fit, with so large a part of everything left beyond them.
    pub(super) fn fits(&self, request: Resources, margin: Option<u64>) -> u32 {
        let fits = |room: Option<Left>, each: u64| match room {
            None => u32::MAX,
            Some(room) => {
                let margin = margin.map_or(0, |parts| room.all / signed(parts));
                let left = room.left.saturating_sub(margin);
                match (left < 0, signed(each)) {
                    (true, _) => 0,
                    (false, 0) => u32::MAX,
                    (false, each) => u32::try_from(left / each).unwrap_or(u32::MAX),
                }
            }
        };
        fits(self.cpu, request.cpu_milli).min(fits(self.memory, request.memory_bytes))
    }

    /// Takes from it.
    pub(super) fn take(&mut self, what: Resources) {
        let take = |room: Option<Left>, what: u64| {
            room.map(|room| Left { left: room.left.saturating_sub(signed(what)), ..room })
        };
        (self.cpu, self.memory) = (take(self.cpu, what.cpu_milli), take(self.memory, what.memory_bytes));
    }

    /// Gives back to it.
    pub(super) fn give(&mut self, what: Resources) {
        let give = |room: Option<Left>, what: u64| {
            room.map(|room| Left { left: room.left.saturating_add(signed(what)), ..room })
        };
        (self.cpu, self.memory) = (give(self.cpu, what.cpu_milli), give(self.memory, what.memory_bytes));
    }

    /// What is lacking for this: nothing where it fits.
    pub(super) fn lacking(&self, what: Resources) -> Resources {
        let lacking = |room: Option<Left>, what: u64| {
            let left = room.map_or(i64::MAX, |room| room.left);
            signed(what).saturating_sub(left).max(0).unsigned_abs()
        };
        Resources {
            cpu_milli: lacking(self.cpu, what.cpu_milli),
            memory_bytes: lacking(self.memory, what.memory_bytes),
        }
    }

    /// Why a replica of this request does not fit.
    pub(super) fn why(&self, request: Resources) -> String {
        let mib = |bytes: i64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
        match (self.memory, self.cpu) {
            (Some(memory), _) if memory.left < signed(request.memory_bytes).max(0) || memory.left < 0 => {
                let (request, left, all) =
                    (mib(signed(request.memory_bytes)), mib(memory.left.max(0)), mib(memory.all));
                format!("memory: a replica asks for {request}, {left} are left of {all}")
            }
            (_, Some(cpu)) => {
                let left = cpu.left.max(0);
                format!("cpu: a replica asks for {}m, {left}m are left of {}m", request.cpu_milli, cpu.all)
            }
            _ => "no room".to_owned(),
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
