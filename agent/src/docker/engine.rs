//! Containers: what there are, and what is done with them.

use super::EngineError;
use super::answer::{Container, Listed};
use super::call::{Call, escaped, filters, id_of};
use hyper::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most containers that a list gives; those beyond are left out.
const LISTED_MAX: usize = 2048;
/// Longest list and longest description of a container.
const LIST_BYTES_MAX: usize = 8 << 20;
pub(super) const INSPECT_BYTES_MAX: usize = 1 << 20;
/// How long a runtime may take to say what there is. A daemon that hangs would otherwise hold its caller for ever.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(5);
/// How long a runtime may take to do something short. Podman waits up to 20 s for the end of one that it kills.
pub(super) const ACT_MAX: Duration = Duration::from_secs(30);
/// How long making, starting and removing may take: with a driver that copies layers they write the whole image.
const MAKE_MAX: Duration = Duration::from_secs(60);
/// What is added to the time that a container is given to end.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// What is spoken where the runtime lets us choose: no call here needs more, and Docker 29 speaks nothing older.
const SPOKEN: (u32, u32) = (1, 44);

/// Period of a CPU quota where none is set, in microseconds.
pub const CPU_PERIOD_US: u64 = 100_000;

/// A runtime on its socket.
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
    /// As it said; asked for again after it was out of reach.
    version: Mutex<Option<Version>>,
}

/// Which runtime it is and what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Version of the API that is used.
    pub spoken: (u32, u32),
    /// It is Podman.
    pub is_podman: bool,
}

impl Version {
    /// From `GET /version`: ours, or the nearest that the runtime speaks. Podman speaks 1.24 to 1.41 or so.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let number = |key: &str| {
            let (major, minor) = answer[key].as_str()?.split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        };
        let newest = number("ApiVersion")?;
        let oldest = number("MinAPIVersion").unwrap_or(newest);
        let components = answer["Components"].as_array().into_iter().flatten();
        let is_podman =
            components.into_iter().any(|part| part["Name"].as_str().is_some_and(|name| name.starts_with("Podman")));
        Some(Self { spoken: SPOKEN.min(newest).max(oldest), is_podman })
    }
}

/// What a container may use; `None` leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Limit of CPU, in thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Weight of CPU beside others, 2 to 262144; 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// Limit of memory, in bytes.
    pub memory: Option<u64>,
    /// Memory that is left to it when memory is short, in bytes.
    pub memory_reservation: Option<u64>,
}

impl Resources {
    /// Beside the limits that a container has, Docker's `HostConfig`.
    pub(super) fn as_docker(&self, host: &Value) -> Value {
        let mut body = json!({});
        if let Some(milli) = self.cpu_milli {
            if host["CpuQuota"].as_i64().is_some_and(|quota| quota > 0) {
                (body["CpuPeriod"], body["CpuQuota"]) = quota(milli, host);
            } else {
                body["NanoCpus"] = milli.saturating_mul(1_000_000).into();
            }
        }
        if let Some(bytes) = self.memory {
            (body["Memory"], body["MemorySwap"]) = (bytes.into(), with_swap(bytes, host));
        }
        for (key, value) in [("CpuShares", self.cpu_shares), ("MemoryReservation", self.memory_reservation)] {
            if let Some(value) = value {
                body[key] = value.into();
            }
        }
        body
    }

    /// In the form of the OCI's runtime specification, as Podman's own API takes it: before version 5 it has no other. What it
    /// tells afterwards are the old limits, until version 5.
    pub(super) fn as_oci(&self, host: &Value) -> Value {
        let mut body = json!({});
        if let Some(milli) = self.cpu_milli {
            (body["cpu"]["period"], body["cpu"]["quota"]) = quota(milli, host);
        }
        if let Some(shares) = self.cpu_shares {
            body["cpu"]["shares"] = shares.into();
        }
        if let Some(bytes) = self.memory {
            (body["memory"]["limit"], body["memory"]["swap"]) = (bytes.into(), with_swap(bytes, host));
        }
        if let Some(bytes) = self.memory_reservation {
            body["memory"]["reservation"] = bytes.into();
        }
        body
    }
}

/// Period and quota of so much CPU.
fn quota(milli: u64, host: &Value) -> (Value, Value) {
    let period = host["CpuPeriod"].as_u64().filter(|period| *period > 0).unwrap_or(CPU_PERIOD_US);
    (period.into(), (milli.saturating_mul(period) / 1000).into())
}

/// The limit of memory and swap together: as much swap as before.
fn with_swap(bytes: u64, host: &Value) -> Value {
    let (memory, both) = (host["Memory"].as_i64().unwrap_or(0), host["MemorySwap"].as_i64().unwrap_or(0));
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    if both > 0 { bytes.saturating_add(both.saturating_sub(memory)).into() } else { (-1).into() }
}

impl Engine {
    /// A runtime that listens there. No I/O: it may come later.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), version: Mutex::default() }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Which runtime it is. Asked once, and again after it was out of reach.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn version(&self) -> Result<Version, EngineError> {
        let known = *self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known {
            return Ok(known);
        }
        let told = self.ask_version().await?;
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        Ok(told)
    }

    pub(super) fn forget_version(&self) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Containers that have all of these labels (`""` as value: any), also those that do not run; at most 2,048.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list(&self, labels: &[(&str, &str)]) -> Result<Vec<Listed>, EngineError> {
        let mut path = "/containers/json?all=1".to_owned();
        if !labels.is_empty() {
            path = format!("{path}&filters={}", filters(labels));
        }
        let mut listed = Vec::new();
        let mut take = |entry: Value| {
            if listed.len() < LISTED_MAX {
                listed.extend(Listed::read(&entry));
            }
        };
        self.items(Call::get(path, LOOK_MAX, LIST_BYTES_MAX), &mut take).await?;
        Ok(listed)
    }

    /// A container by id or name.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] and others.
    pub async fn inspect(&self, id: &str) -> Result<Container, EngineError> {
        let call = Call::get(format!("/containers/{}/json", escaped(id)), LOOK_MAX, INSPECT_BYTES_MAX);
        let answer = self.json(call).await?;
        Container::read(answer)
            .ok_or_else(|| EngineError::Malformed { message: format!("{id} is described without an id") })
    }

    /// Makes a container and gives its id. `body` is as in the API: the fields of `Config`, `HostConfig`,
    /// `NetworkingConfig`.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where the name is taken, [`EngineError::NotFound`] where the image is not there.
    pub async fn create(&self, name: &str, body: &Value) -> Result<String, EngineError> {
        let answer =
            self.json(post(format!("/containers/create?name={}", escaped(name)), Some(body), MAKE_MAX)).await?;
        id_of(&answer, "create")
    }

    /// Starts a container; one that runs stays as it is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        self.call(post(container(id, "start"), None, MAKE_MAX)).await.map(drop)
    }

    /// Asks a container to end with its own signal, kills it after `grace`, and waits until it has ended; one that does not
    /// run stays as it is. Dropped or late, the runtime goes on with it.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let path = format!("{}?t={}", container(id, "stop"), grace.as_secs());
        self.call(post(path, None, grace.saturating_add(STOP_MARGIN))).await.map(drop)
    }

    /// Sends a signal, by name or number.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where it does not run.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        self.call(post(format!("{}?signal={}", container(id, "kill"), escaped(signal)), None, ACT_MAX)).await.map(drop)
    }

    /// Removes a container with its anonymous volumes, also one that runs; one that is gone or going is no error.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let path = format!("/containers/{}?force=1&v=1", escaped(id));
        let call = Call { method: Method::DELETE, ..Call::get(path, MAKE_MAX, INSPECT_BYTES_MAX) };
        match self.call(call).await {
            Ok(_) | Err(EngineError::NotFound { .. }) => Ok(()),
            // One that removes itself at its end.
            Err(EngineError::Conflict { message }) if message.contains("already in progress") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where the name is taken.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        self.call(post(format!("{}?name={}", container(id, "rename"), escaped(name)), None, ACT_MAX)).await.map(drop)
    }

    /// Sets what a container may use, while it runs. A limit of CPU takes the form that the container has, and swap grows
    /// and shrinks with the memory.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the node's cgroups or the runtime cannot, or memory is below what is in use.
    pub async fn update(&self, id: &str, resources: &Resources) -> Result<(), EngineError> {
        let now = self.inspect(id).await?;
        let host = &now.raw()["HostConfig"];
        let (path, body) = if self.version().await?.is_podman {
            (format!("/libpod{}", container(id, "update")), resources.as_oci(host))
        } else {
            (container(id, "update"), resources.as_docker(host))
        };
        self.call(post(path, Some(&body), ACT_MAX)).await.map(drop)
    }

    /// Waits until a container has ended, at most `limit`, and gives its exit code.
    ///
    /// # Errors
    /// [`EngineError::Timeout`] where it still runs, and others.
    pub async fn wait(&self, id: &str, limit: Duration) -> Result<i64, EngineError> {
        let answer = self.json(post(container(id, "wait"), None, limit)).await?;
        answer["StatusCode"]
            .as_i64()
            .ok_or_else(|| EngineError::Malformed { message: format!("{id} ended without a code") })
    }

    /// Puts a container that does not run yet into one more network. `endpoint` is the API's `EndpointConfig`.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where the network is not there.
    pub async fn connect(&self, network: &str, id: &str, endpoint: &Value) -> Result<(), EngineError> {
        let body = json!({ "Container": id, "EndpointConfig": endpoint });
        self.call(post(format!("/networks/{}/connect", escaped(network)), Some(&body), ACT_MAX)).await.map(drop)
    }
}

pub(super) const fn post(path: String, body: Option<&Value>, limit: Duration) -> Call<'_> {
    Call { method: Method::POST, path, body, file: None, limit, bytes_max: INSPECT_BYTES_MAX }
}

fn container(id: &str, verb: &str) -> String {
    format!("/containers/{}/{verb}", escaped(id))
}
