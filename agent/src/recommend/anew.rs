//! Makes a container anew with other sizes, under its name, with its volumes, networks, ports and addresses.
//!
//! ```text
//! create NAME-skerry-new ─> stop NAME ─> NAME becomes NAME-skerry-old ─> NAME-skerry-new becomes NAME ─> start ─> remove old
//! ```
//!
//! The old one is removed last. Where the new one does not start, the old one gets its name back and is started again. After
//! a crash in between, [`mend`] does the same with what is left.

use super::resize::Sizes;
use crate::docker::{Container, Engine, EngineError, Status};
use serde_json::{Map, Value, json};
use std::time::Duration;

const NEW: &str = "-skerry-new";
const OLD: &str = "-skerry-old";
/// Of containers that are made anew, so that those left by a crash are found.
pub(super) const LABEL: &str = "skerry.io/resized";
/// How long a container that says nothing of it is given to end, as with Docker.
const GRACE: Duration = Duration::from_secs(10);

/// The body of the call that makes it, and networks that it is put into afterwards.
fn recipe(of: &Container, before: &Sizes, after: &Sizes) -> (Value, Vec<(String, Value)>) {
    let raw = of.raw();
    let mut body = raw["Config"].as_object().cloned().unwrap_or_default();
    let mut host = raw["HostConfig"].as_object().cloned().unwrap_or_default();
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default().to_owned();
    let hostname = body.get("Hostname").and_then(Value::as_str).unwrap_or_default();
    if hostname.is_empty() || of.id().starts_with(hostname) || mode == "host" || mode.starts_with("container:") {
        body.remove("Hostname");
        body.remove("Domainname");
    }
    host.remove("ContainerIDFile");
    keep_volumes(raw, &mut host);
    let (own, others) = networks(raw, of, &mode);
    if let Some((network, endpoint)) = own {
        body.insert("NetworkingConfig".into(), json!({ "EndpointsConfig": { network: endpoint } }));
    }
    let labels = body.entry("Labels").or_insert(Value::Null);
    if !labels.is_object() {
        *labels = json!({});
    }
    labels[LABEL] = of.name().into();
    body.insert("HostConfig".into(), host.into());
    let mut body = Value::from(body);
    before.write(after, &mut body);
    (body, others)
}

/// Volumes that the runtime named itself are mounted by that name, or the data would stay behind.
fn keep_volumes(raw: &Value, host: &mut Map<String, Value>) {
    let list = |key: &str| host.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut binds, mounts) = (list("Binds"), list("Mounts"));
    for mount in raw["Mounts"].as_array().into_iter().flatten() {
        let (Some("volume"), Some(name), Some(place)) =
            (mount["Type"].as_str(), mount["Name"].as_str(), mount["Destination"].as_str())
        else {
            continue;
        };
        let is_bound = binds.iter().filter_map(Value::as_str).any(|bind| bind.split(':').nth(1) == Some(place));
        let is_mounted = mounts.iter().any(|mount| mount["Target"] == place && mount["Source"] == name);
        if !is_bound && !is_mounted {
            let access = if mount["RW"] == false { ":ro" } else { "" };
            binds.push(format!("{name}:{place}{access}").into());
        }
    }
    let is_kept =
        |mount: &Value| mount["Type"] != "volume" || mount["Source"].as_str().is_some_and(|source| !source.is_empty());
    host.insert("Mounts".into(), mounts.into_iter().filter(is_kept).collect());
    host.insert("Binds".into(), binds.into());
}

/// A network and what its endpoint is to be.
type Endpoint = (String, Value);

fn networks(raw: &Value, of: &Container, mode: &str) -> (Option<Endpoint>, Vec<Endpoint>) {
    let (mut own, mut others) = (None, Vec::new());
    for (network, settings) in raw["NetworkSettings"]["Networks"].as_object().into_iter().flatten() {
        let is_builtin = ["bridge", "host", "none", "podman"].contains(&network.as_str());
        if is_builtin || mode.starts_with("container:") {
            continue;
        }
        let aliases = settings["Aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let aliases: Vec<&str> = aliases.filter(|alias| !of.id().starts_with(alias)).collect();
        let mut endpoint = json!({ "Aliases": aliases });
        for key in ["IPAMConfig", "DriverOpts", "Links", "MacAddress", "GwPriority"] {
            let given = settings.get(key).filter(|value| !value.is_null() && **value != "");
            // A MAC that the runtime chose belongs to an address that it chose.
            if let Some(value) = given.filter(|_| key != "MacAddress" || settings["IPAMConfig"].is_object()) {
                endpoint[key] = value.clone();
            }
        }
        if network == mode || settings["NetworkID"] == mode {
            own = Some((network.clone(), endpoint));
        } else {
            others.push((network.clone(), endpoint));
        }
    }
    (own, others)
}

/// Makes it anew.
///
/// # Errors
/// The runtime's, as text. The old one runs again then, as far as the runtime allows.
pub(super) async fn make(engine: &Engine, of: &Container, before: &Sizes, after: &Sizes) -> Result<String, String> {
    let (name, told) = (of.name(), |error: EngineError| error.to_string());
    if of.raw()["HostConfig"]["AutoRemove"] == true {
        return Err("it removes itself when it ends, so nothing could be brought back".into());
    }
    let (body, others) = recipe(of, before, after);
    let new = engine.create(&format!("{name}{NEW}"), &body).await.map_err(told)?;
    let outcome = async {
        for (network, endpoint) in &others {
            engine.connect(network, &new, endpoint).await?;
        }
        let grace = of.stop_seconds().map_or(GRACE, Duration::from_secs);
        engine.stop(of.id(), grace).await?;
        engine.rename(of.id(), &format!("{name}{OLD}")).await?;
        engine.rename(&new, name).await?;
        engine.start(&new).await
    };
    let outcome = outcome.await;
    if let Err(error) = outcome {
        let back = undo(engine, of.id(), &new, name).await;
        let back = back.map_or_else(
            |error| format!("and what was before could not be brought back: {error}"),
            |()| "what was before runs again".into(),
        );
        return Err(format!("{error}; {back}"));
    }
    // What is left here is removed by the next look.
    let _ = engine.remove(of.id()).await;
    Ok(new)
}

async fn undo(engine: &Engine, old: &str, new: &str, name: &str) -> Result<(), EngineError> {
    engine.remove(new).await?;
    match engine.rename(old, name).await {
        // It still has its name.
        Ok(()) | Err(EngineError::Refused { .. } | EngineError::Conflict { .. }) => {}
        Err(error) => return Err(error),
    }
    engine.start(old).await
}

/// Ends what a crash has left: where the new one runs under its name, the old one goes; else the old one comes back.
///
/// # Errors
/// The runtime's; the next look tries again.
pub(super) async fn mend(engine: &Engine) -> Result<(), EngineError> {
    for new in engine.list(&[(LABEL, "")]).await? {
        let Some(name) = new.label(LABEL).map(str::to_owned) else { continue };
        let (is_named, is_waiting) = (new.name == name, new.name == format!("{name}{NEW}"));
        // Clones bear the label too.
        if !is_named && !is_waiting {
            continue;
        }
        let old = match engine.inspect(&format!("{name}{OLD}")).await {
            Err(EngineError::NotFound { .. }) if is_waiting => engine.inspect(&name).await?,
            Err(EngineError::NotFound { .. }) => continue,
            found => found?,
        };
        if is_named && new.status == Status::Running {
            engine.remove(old.id()).await?;
        } else {
            undo(engine, old.id(), &new.id, &name).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_scaling::vpa::Given;

    #[test]
    fn data_addresses_and_names_are_kept() {
        let id = "0123456789abcdef".repeat(4);
        let raw = json!({
            "Id": id, "Name": "/web",
            "Config": { "Hostname": "0123456789ab", "Image": "web:1", "Labels": { "a": "b" }, "Volumes": { "/data": {} } },
            "HostConfig": { "NetworkMode": "front", "Binds": ["/srv:/srv:ro"], "PortBindings": { "80/tcp": [{ "HostPort": "80" }] }, "Mounts": [{ "Type": "volume", "Target": "/tmp/x" }] },
            "Mounts": [
                { "Type": "volume", "Name": "v1", "Destination": "/data", "RW": true },
                { "Type": "volume", "Name": "v2", "Destination": "/tmp/x", "RW": false },
                { "Type": "bind", "Source": "/srv", "Destination": "/srv" },
            ],
            "NetworkSettings": { "Networks": {
                "front": { "NetworkID": "n1", "Aliases": ["0123456789ab", "www"], "IPAMConfig": { "IPv4Address": "10.0.0.5" }, "MacAddress": "02:42" },
                "back": { "NetworkID": "n2", "Aliases": null, "IPAMConfig": null, "MacAddress": "02:43" },
            } },
        });
        let of = Container::read(raw.clone()).unwrap();
        let before = Sizes::read(&raw, None);
        let after = before.with(&Given { memory: Some(1 << 30), ..Given::default() });
        let (body, others) = recipe(&of, &before, &after);
        let expected = json!({
            "Image": "web:1", "Labels": { "a": "b", "skerry.io/resized": "web" }, "Volumes": { "/data": {} },
            "HostConfig": {
                "NetworkMode": "front", "Binds": ["/srv:/srv:ro", "v1:/data", "v2:/tmp/x:ro"], "Mounts": [],
                "PortBindings": { "80/tcp": [{ "HostPort": "80" }] }, "MemoryReservation": 1 << 30,
            },
            "NetworkingConfig": { "EndpointsConfig": { "front": {
                "Aliases": ["www"], "IPAMConfig": { "IPv4Address": "10.0.0.5" }, "MacAddress": "02:42"
            } } },
        });
        assert_eq!(body, expected);
        assert_eq!(others, [("back".to_owned(), json!({ "Aliases": [] }))]);
    }
}
