//! What the runtimes answer, with names. Every field may be missing.

use serde_json::Value;
use skerry_model::UnixMillis;

/// A container as a list has it: `GET /containers/json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// 64 hex digits.
    pub id: String,
    /// Without the leading slash; the first where it has several.
    pub name: String,
    /// The image as it was asked for, or its id where that name is another image's now.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// What it does.
    pub status: Status,
    /// For people, such as `Up 3 minutes (healthy)`.
    pub told: String,
    /// Labels in the order of their names.
    pub labels: Vec<(String, String)>,
    /// When it was created.
    pub created: UnixMillis,
}

impl Listed {
    pub(super) fn read(entry: &Value) -> Option<Self> {
        let name = entry["Names"][0].as_str().unwrap_or_default();
        Some(Self {
            id: entry["Id"].as_str().filter(|id| is_id(id))?.to_owned(),
            name: name.trim_start_matches('/').to_owned(),
            image: text(&entry["Image"]).to_owned(),
            image_id: text(&entry["ImageID"]).to_owned(),
            status: Status::read(text(&entry["State"])),
            told: text(&entry["Status"]).to_owned(),
            labels: labels(&entry["Labels"]),
            created: UnixMillis(entry["Created"].as_i64().unwrap_or(0).saturating_mul(1000)),
        })
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Made, never started. Podman also says `configured` or `initialized`.
    Created,
    /// Runs.
    Running,
    /// Frozen.
    Paused,
    /// Ended, and the runtime starts it again after a pause.
    Restarting,
    /// Is being removed.
    Removing,
    /// Ended. Podman also says `stopped`.
    Exited,
    /// Could not be removed, and cannot be started.
    Dead,
    /// A word of a newer runtime.
    Other,
}

impl Status {
    fn read(word: &str) -> Self {
        match word {
            "created" | "configured" | "initialized" => Self::Created,
            // Podman's `stopping` runs still.
            "running" | "stopping" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" | "stopped" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Other,
        }
    }
}

/// A container as `GET /containers/ID/json` describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Container(Value);

impl Container {
    /// From the runtime's JSON; `None` where that has no id.
    #[must_use]
    pub fn read(raw: Value) -> Option<Self> {
        raw["Id"].as_str().is_some_and(is_id).then_some(Self(raw))
    }

    /// All that the runtime says: `Config`, `HostConfig`, `State`, `Mounts`, `NetworkSettings`, …
    #[must_use]
    pub const fn raw(&self) -> &Value {
        &self.0
    }

    /// 64 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        text(&self.0["Id"])
    }

    /// Without the leading slash.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.0["Name"]).trim_start_matches('/')
    }

    /// The image as it was asked for.
    #[must_use]
    pub fn image(&self) -> &str {
        text(&self.0["Config"]["Image"])
    }

    /// The image's id: `sha256:` and 64 hex digits; Podman leaves the prefix out.
    #[must_use]
    pub fn image_id(&self) -> &str {
        text(&self.0["Image"])
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0["Config"]["Labels"][name].as_str()
    }

    /// What it does.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::read(text(&self.0["State"]["Status"]))
    }

    /// The code it ended with last; 0 where it never ended.
    #[must_use]
    pub fn exit_code(&self) -> i64 {
        self.0["State"]["ExitCode"].as_i64().unwrap_or(0)
    }

    /// The kernel ended one of its processes for want of memory, in its last run.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        self.0["State"]["OOMKilled"].as_bool().unwrap_or(false)
    }

    /// Why it could not be started or ended, where the runtime says so.
    #[must_use]
    pub fn problem(&self) -> &str {
        text(&self.0["State"]["Error"])
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Option<UnixMillis> {
        time(&self.0["Created"])
    }

    /// When it was started last.
    #[must_use]
    pub fn started(&self) -> Option<UnixMillis> {
        time(&self.0["State"]["StartedAt"])
    }

    /// When it ended last.
    #[must_use]
    pub fn finished(&self) -> Option<UnixMillis> {
        time(&self.0["State"]["FinishedAt"])
    }

    /// How often the runtime started it again by its restart policy.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.0["RestartCount"].as_u64().unwrap_or(0)
    }

    /// Its first process, as the node numbers it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.0["State"]["Pid"].as_u64().and_then(|pid| pid.try_into().ok()).filter(|pid| *pid > 0)
    }

    /// What its health check says; `None` without one.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        health_of(&self.0)
    }

    /// Its address in the first of its networks that gave it one; IPv4 before IPv6. `None` where it has the node's network
    /// or none.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        let networks = self.0["NetworkSettings"]["Networks"].as_object()?;
        let of = |key: &'static str| {
            networks.values().map(move |network| text(&network[key])).find(|address| !address.is_empty())
        };
        of("IPAddress").or_else(|| of("GlobalIPv6Address"))
    }

    /// How long it is given to end, where it says so itself, in seconds. Podman says 0 where nothing was said.
    #[must_use]
    pub fn stop_seconds(&self) -> Option<u64> {
        self.0["Config"]["StopTimeout"].as_u64().filter(|seconds| *seconds > 0)
    }
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// It passes.
    pub is_healthy: bool,
    /// It has neither passed nor failed often enough yet.
    pub is_starting: bool,
    /// Since when the runs that are remembered (five at most) say so; `None` where none is remembered.
    pub since: Option<UnixMillis>,
}

/// The health in a container's description.
#[must_use]
pub fn health_of(container: &Value) -> Option<Health> {
    // Older Podman says `Healthcheck`.
    let state = &container["State"];
    let health = if state["Health"].is_object() { &state["Health"] } else { &state["Healthcheck"] };
    // Without a check Podman's status is empty and Docker's may be `none`.
    let status = health["Status"].as_str().filter(|status| !["", "none"].contains(status))?;
    let is_healthy = status == "healthy";
    let log = health["Log"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last = log.iter().rev().take_while(|run| (run["ExitCode"].as_i64() == Some(0)) == is_healthy).last();
    Some(Health { is_healthy, is_starting: status == "starting", since: last.and_then(|run| time(&run["End"])) })
}

/// An image as `GET /images/NAME/json` or a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:` and 64 hex digits.
    pub id: String,
    /// Names, such as `nginx:1`.
    pub tags: Vec<String>,
    /// Names with the digest of a registry's manifest, such as `nginx@sha256:…`; none for one that was built or loaded here.
    pub digests: Vec<String>,
    /// Size in bytes.
    pub bytes: u64,
}

impl Image {
    pub(super) fn read(entry: &Value) -> Option<Self> {
        let id = entry["Id"].as_str().filter(|id| !id.is_empty())?;
        let id = if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") };
        let names = |key: &str| {
            let list = entry[key].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter()
                .filter_map(Value::as_str)
                .filter(|name| !name.starts_with("<none>"))
                .map(str::to_owned)
                .collect()
        };
        Some(Self {
            id,
            tags: names("RepoTags"),
            digests: names("RepoDigests"),
            bytes: entry["Size"].as_u64().unwrap_or(0),
        })
    }
}

/// Whether a text names a container in full: 64 hex digits.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Labels of an object of texts, by name.
#[must_use]
pub fn labels(object: &Value) -> Vec<(String, String)> {
    let object = object.as_object().into_iter().flatten();
    object.filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned()))).collect()
}

/// A time of RFC 3339; `None` for the year 1, which stands for never.
#[must_use]
pub fn time(value: &Value) -> Option<UnixMillis> {
    let at = value.as_str()?.parse::<jiff::Timestamp>().ok()?;
    Some(UnixMillis(at.as_millisecond())).filter(|at| at.0 > 0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
