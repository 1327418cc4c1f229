//! What a container of Docker or Podman may use, read and changed: sizes out of the runtime's description, and what is to be
//! told to the runtime. Without I/O.

use crate::docker::Resources;
use serde_json::{Value, json};
use skerry_model::UnixMillis;
use skerry_scaling::quantity::Quantity;
use skerry_scaling::vpa::{Amounts, Gave, Given, Requests, Resource, Size};

/// What a container asks for by label, since Docker knows limits and weights alone.
const CPU_LABEL: &str = "skerry.io/cpu-request";
const MEMORY_LABEL: &str = "skerry.io/memory-request";
/// Weight of one core.
const SHARES: u64 = 1024;
/// A limit of memory that is set while a container runs stays above what it uses, by a tenth.
const ROOM_PERCENT: u64 = 110;

/// What a container asks for and may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sizes {
    pub(super) cpu: Size,
    pub(super) memory: Size,
    /// Its limit of CPU is a quota with a period of its own, and is written so again.
    has_quota: bool,
}

impl Sizes {
    /// From the description `GET /containers/ID/json`. `given` is what it asks for since it was given something.
    pub(super) fn read(raw: &Value, given: Option<Amounts>) -> Self {
        let given = |of: fn(&Amounts) -> u64| given.as_ref().map(of).filter(|amount| *amount > 0);
        let host = &raw["HostConfig"];
        let number = |key: &str| host[key].as_u64().filter(|number| *number > 0);
        let label = |name: &str| raw["Config"]["Labels"][name].as_str()?.parse::<Quantity>().ok();
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let quota = number("CpuQuota").map(|quota| quota.saturating_mul(1000) / number("CpuPeriod").unwrap_or(100_000));
        let cpu_limit = number("NanoCpus").map(|nanos| (nanos / 1_000_000).max(1)).or(quota);
        let cpu = given(|given| given.cpu_milli).or_else(|| positive(label(CPU_LABEL)?.milli));
        let cpu = cpu.or_else(|| number("CpuShares").map(|shares| shares.saturating_mul(1000) / SHARES));
        let memory = given(|given| given.memory).or_else(|| positive(label(MEMORY_LABEL)?.units()));
        Self {
            cpu: Size { request: cpu, limit: cpu_limit },
            memory: Size { request: memory.or_else(|| number("MemoryReservation")), limit: number("Memory") },
            has_quota: quota.is_some(),
        }
    }

    /// What counts as asked for: where nothing is, the limit.
    pub(super) fn asks(&self) -> Requests {
        Requests { cpu_milli: self.cpu.request.or(self.cpu.limit), memory: self.memory.request.or(self.memory.limit) }
    }

    /// These with what is given.
    pub(super) fn with(&self, given: &Given) -> Self {
        Self {
            cpu: given.resized(Resource::Cpu, self.cpu),
            memory: given.resized(Resource::Memory, self.memory),
            ..*self
        }
    }

    /// What it then has been given, for the next look.
    pub(super) fn given(&self, at: UnixMillis) -> Gave {
        let asks = self.asks();
        let amounts = |cpu_milli: Option<u64>, memory: Option<u64>| Amounts {
            cpu_milli: cpu_milli.unwrap_or(0),
            memory: memory.unwrap_or(0),
        };
        let limits = amounts(self.cpu.limit, self.memory.limit);
        Gave { asks: amounts(asks.cpu_milli, asks.memory), limits, at, is_told: false }
    }

    /// Whether the runtime took these resources as they were given.
    pub(super) fn has(&self, raw: &Value, given: &Gave, resources: &[Resource]) -> bool {
        let weight = |key: &str| raw["HostConfig"][key].as_u64().filter(|number| *number > 0);
        resources.iter().all(|resource| {
            let (own, asks, limit, weight) = match resource {
                Resource::Cpu => (self.cpu, shares(given.asks.cpu_milli), given.limits.cpu_milli, weight("CpuShares")),
                Resource::Memory => (self.memory, given.asks.memory, given.limits.memory, weight("MemoryReservation")),
            };
            own.limit.unwrap_or(0) == limit && weight.map_or(limit > 0, |weight| weight == asks)
        })
    }

    /// Leaves the memory as it is where its new limit would come too near to what is used; says whether that is so.
    pub(super) fn spare(&self, new: &mut Self, used_memory: u64) -> bool {
        let is_short = self.memory.limit != new.memory.limit
            && new
                .memory
                .limit
                .is_some_and(|limit| limit.saturating_mul(100) < used_memory.saturating_mul(ROOM_PERCENT));
        if is_short {
            new.memory = self.memory;
        }
        is_short
    }

    /// What to tell the runtime so that a running container has `new` sizes.
    pub(super) fn change(&self, new: &Self) -> Resources {
        let changed = |old: Option<u64>, new: Option<u64>| new.filter(|_| old != new);
        let memory = changed(self.memory.limit, new.memory.limit);
        // Of who has a limit alone the limit is what it asks for.
        let asks = |old: &Size, new: &Size| new.request.filter(|_| old.request.is_some() || old.limit == new.limit);
        let shares = asks(&self.cpu, &new.cpu).map(shares);
        let reservation = asks(&self.memory, &new.memory);
        Resources {
            cpu_milli: changed(self.cpu.limit, new.cpu.limit),
            cpu_shares: shares,
            memory,
            memory_reservation: reservation,
        }
    }

    /// Sets them in the body of a call that makes a container.
    pub(super) fn write(&self, new: &Self, body: &mut Value) {
        let change = self.change(new);
        let host = &mut body["HostConfig"];
        if let Some(milli) = new.cpu.limit.filter(|_| self.has_quota && self.cpu.limit != new.cpu.limit) {
            let period = host["CpuPeriod"].as_u64().filter(|period| *period > 0).unwrap_or(100_000);
            host["CpuQuota"] = (milli.saturating_mul(period) / 1000).into();
        }
        let numbers = [
            ("NanoCpus", change.cpu_milli.filter(|_| !self.has_quota).map(|milli| milli.saturating_mul(1_000_000))),
            ("CpuShares", change.cpu_shares),
            ("Memory", change.memory),
            // As where it is not set: twice the memory.
            ("MemorySwap", change.memory.map(|_| 0)),
            ("MemoryReservation", change.memory_reservation),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                host[key] = number.into();
            }
        }
        // Labels say it before all else.
        let labels = &mut body["Labels"];
        for (label, value) in [
            (CPU_LABEL, new.cpu.request.map(|milli| format!("{milli}m"))),
            (MEMORY_LABEL, new.memory.request.map(|bytes| bytes.to_string())),
        ] {
            if let (true, Some(value)) = (labels.get(label).is_some(), value) {
                labels[label] = json!(value);
            }
        }
    }
}

/// Why a container is changed and how, for people.
pub(super) fn told(name: &str, why: &str, before: &Sizes, after: &Sizes) -> String {
    let mut text = format!("{name} {why}:");
    for (what, unit, before, after) in
        [("cpu", "m", before.cpu, after.cpu), ("memory", "", before.memory, after.memory)]
    {
        for (word, before, after) in
            [("request", before.request.or(before.limit), after.request), ("limit", before.limit, after.limit)]
        {
            let shown = |size: Option<u64>| size.map_or_else(|| "none".to_owned(), |size| format!("{size}{unit}"));
            if before != after {
                text = format!("{text} {what} {word} {} -> {},", shown(before), shown(after));
            }
        }
    }
    text.trim_end_matches([',', ':']).to_owned()
}

/// Rounded up, so that it is read again as the same.
fn shares(milli: u64) -> u64 {
    milli.saturating_mul(SHARES).div_ceil(1000).clamp(2, 262_144)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_scaling::vpa::ControlledValues;

    fn sizes(host: Value, labels: Value) -> Sizes {
        Sizes::read(&json!({ "HostConfig": host, "Config": { "Labels": labels } }), None)
    }

    #[test]
    fn sizes_are_read_and_changed() {
        let both = ControlledValues::RequestsAndLimits;
        let given = Given { cpu_milli: Some(200), memory: Some(300 << 20), values: both, ..Given::default() };
        let size = |request, limit| Size { request, limit };
        for (host, labels, read, change) in [
            // Nothing is set: what it asks for is set, and no limit.
            (
                json!({}),
                json!({}),
                (Size::default(), Size::default()),
                Resources { cpu_shares: Some(205), memory_reservation: Some(300 << 20), ..Resources::default() },
            ),
            // Limits alone: they become what it asks for.
            (
                json!({ "NanoCpus": 500_000_000, "Memory": 100 << 20 }),
                json!({}),
                (size(None, Some(500)), size(None, Some(100 << 20))),
                Resources { cpu_milli: Some(200), memory: Some(300 << 20), ..Resources::default() },
            ),
            // Both: the limits keep their proportion.
            (
                json!({ "NanoCpus": 1_000_000_000, "CpuShares": 512, "Memory": 200 << 20, "MemoryReservation": 100 << 20 }),
                json!({}),
                (size(Some(500), Some(1000)), size(Some(100 << 20), Some(200 << 20))),
                Resources {
                    cpu_milli: Some(400),
                    cpu_shares: Some(205),
                    memory: Some(600 << 20),
                    memory_reservation: Some(300 << 20),
                },
            ),
            // Labels say it.
            (
                json!({ "CpuQuota": 50_000, "CpuPeriod": 100_000 }),
                json!({ CPU_LABEL: "250m", MEMORY_LABEL: "64Mi" }),
                (size(Some(250), Some(500)), size(Some(64 << 20), None)),
                Resources {
                    cpu_milli: Some(400),
                    cpu_shares: Some(205),
                    memory_reservation: Some(300 << 20),
                    ..Resources::default()
                },
            ),
        ] {
            let found = sizes(host.clone(), labels);
            assert_eq!((found.cpu, found.memory), read, "{host}");
            assert_eq!(found.change(&found.with(&given)), change, "{host}");
        }
    }

    #[test]
    fn memory_is_not_taken_from_who_uses_it() {
        let own = sizes(json!({ "Memory": 400 << 20, "NanoCpus": 100_000_000 }), json!({}));
        let given = Given { memory: Some(300 << 20), cpu_milli: Some(50), ..Given::default() };
        for (used, memory) in [(290 << 20, 400 << 20), (273 << 20, 400 << 20), (272 << 20, 300 << 20)] {
            let mut new = own.with(&given);
            assert_eq!(own.spare(&mut new, used), memory != 300 << 20, "{used}");
            assert_eq!((new.memory.limit, new.cpu.limit), (Some(memory), Some(50)), "the rest is given: {used}");
        }
    }

    #[test]
    fn what_a_crash_left_open_is_seen() {
        let labels = json!({ CPU_LABEL: "100m", MEMORY_LABEL: "64Mi" });
        let given = Given { cpu_milli: Some(200), memory: Some(96 << 20), ..Given::default() };
        for host in [
            json!({ "NanoCpus": 200_000_000, "Memory": 128 << 20 }),
            json!({ "CpuQuota": 20_000, "Memory": 128 << 20 }),
            json!({}),
            json!({ "CpuShares": 102, "MemoryReservation": 1 << 20 }),
        ] {
            let raw = |host: &Value| json!({ "HostConfig": host, "Config": { "Labels": labels } });
            let before = Sizes::read(&raw(&host), None);
            let after = before.with(&given);
            let gave = after.given(UnixMillis(5));
            assert!(!before.has(&raw(&host), &gave, &Resource::ALL), "not yet: {host}");
            let change = before.change(&after);
            let mut new = host.clone();
            let numbers = [
                ("NanoCpus", change.cpu_milli.filter(|_| host["CpuQuota"].is_null()).map(|milli| milli * 1_000_000)),
                ("CpuQuota", change.cpu_milli.filter(|_| host["CpuQuota"].is_u64()).map(|milli| milli * 100)),
                ("CpuShares", change.cpu_shares),
                ("Memory", change.memory),
                ("MemoryReservation", change.memory_reservation),
            ];
            for (key, number) in numbers.into_iter().filter_map(|(key, number)| Some((key, number?))) {
                new[key] = number.into();
            }
            let read = Sizes::read(&raw(&new), Some(gave.asks));
            assert!(read.has(&raw(&new), &gave, &Resource::ALL), "{new}");
            assert_eq!((read.cpu, read.memory), (after.cpu, after.memory), "{new}");
            // A limit in proportion to a label that is not true any more would grow with each change.
            assert_eq!(read.with(&given).cpu.limit, after.cpu.limit, "{new}");
        }
    }

    #[test]
    fn what_is_set_is_read_again() {
        for milli in 2..3000 {
            let host = json!({ "CpuShares": shares(milli) });
            assert_eq!(sizes(host, json!({})).cpu.request, Some(milli));
        }
    }

    #[test]
    fn what_was_given_counts_before_labels() {
        let raw = json!({ "HostConfig": {}, "Config": { "Labels": { CPU_LABEL: "250m" } } });
        let found = Sizes::read(&raw, Some(Amounts { cpu_milli: 70, memory: 5 }));
        assert_eq!(found.asks(), Requests { cpu_milli: Some(70), memory: Some(5) });
        assert_eq!(Sizes::read(&json!([]), None), Sizes::default());
    }

    #[test]
    fn bodies_are_written() {
        let given = Given { cpu_milli: Some(200), memory: Some(300 << 20), ..Given::default() };
        let config = json!({ "Labels": { CPU_LABEL: "1" } });
        let host = json!({ "CpuQuota": 200_000, "Memory": 100 });
        let own = Sizes::read(&json!({ "HostConfig": host, "Config": config }), None);
        let mut body = config;
        body["HostConfig"] = host;
        own.write(&own.with(&given), &mut body);
        let expected = json!({
            "Labels": { CPU_LABEL: "200m" },
            "HostConfig": { "CpuQuota": 40_000, "CpuShares": 205, "Memory": 300 << 20, "MemorySwap": 0 }
        });
        assert_eq!(body, expected);
    }
}
