//! Reads volumes, and where containers mount them.

use super::{bounded, items, name};
use crate::quantity::Quantity;
use crate::workload::{Container, Mount, MountSource};
use skerry_yaml::values::{Checks, Mapping};

/// A volume of a workload.
pub(super) struct Volume {
    name: String,
    key: String,
    source: MountSource,
}

/// The workload's volumes.
pub(super) fn volumes(spec: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for (key, item) in items(spec, "volumes", checks) {
        let mut item = Mapping::new(Some(item), &key, checks);
        let name = name(&mut item, "name", checks);
        if volumes.iter().any(|other| other.name == name) {
            checks.fault(&item.at("name"), format!("{name:?} stands twice"));
        }
        let found = [
            item.child("hostPath", checks).map(|from| host_path(from, checks)),
            item.child("emptyDir", checks).map(|from| empty(from, checks)),
            item.child("volume", checks).map(|from| named(from, "name", checks)),
            item.child("persistentVolumeClaim", checks).map(|from| named(from, "claimName", checks)),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(source), None) => volumes.push(Volume { name, key, source }),
            _ => checks.fault(&key, "one of hostPath, emptyDir, volume or persistentVolumeClaim is expected"),
        }
        item.finish(checks);
    }
    volumes
}

fn host_path(mut from: Mapping<'_>, checks: &mut Checks<'_>) -> MountSource {
    let path = from.text_or("path", "", checks);
    absolute(&path, &from.at("path"), checks);
    let kind = from.text_or("type", "", checks);
    // What is there has to be there; the runtime says so when it makes the container.
    let known = ["", "Directory", "DirectoryOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
    if !known.contains(&kind.as_str()) {
        checks.fault(&from.at("type"), format!("{kind:?} is unknown: one of {} is expected", known[1..].join(", ")));
    }
    from.finish(checks);
    MountSource::Host { path, creates: kind == "DirectoryOrCreate" }
}

fn empty(mut from: Mapping<'_>, checks: &mut Checks<'_>) -> MountSource {
    let is_memory = super::choice(&mut from, "medium", &[("", false), ("Memory", true)], checks);
    let limit = from.text("sizeLimit", checks);
    let limit = match limit.map(|text| text.parse::<Quantity>()) {
        Some(Ok(quantity)) => u64::try_from(quantity.units()).ok().filter(|bytes| *bytes > 0),
        Some(Err(error)) => {
            checks.fault(&from.at("sizeLimit"), error.to_string());
            None
        }
        None => None,
    };
    if limit.is_some() && !is_memory {
        checks.fault(
            &from.at("sizeLimit"),
            "room on the disk cannot be limited here: medium: Memory is expected beside it",
        );
    }
    from.finish(checks);
    if is_memory { MountSource::Memory(limit) } else { MountSource::Scratch }
}

fn named(mut from: Mapping<'_>, key: &str, checks: &mut Checks<'_>) -> MountSource {
    let volume = name(&mut from, key, checks);
    from.finish(checks);
    MountSource::Volume(volume)
}

/// What a container mounts.
pub(super) fn mounts(from: &mut Mapping<'_>, volumes: &[Volume], checks: &mut Checks<'_>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for (key, item) in items(from, "volumeMounts", checks) {
        let mut item = Mapping::new(Some(item), &key, checks);
        let name = name(&mut item, "name", checks);
        let target = item.text_or("mountPath", "", checks);
        absolute(&target, &item.at("mountPath"), checks);
        if mounts.iter().any(|other| other.target == target) {
            checks.fault(&item.at("mountPath"), format!("{target:?} is mounted twice"));
        }
        let is_read_only = item.flag("readOnly", checks).unwrap_or(false);
        let below = item.text("subPath", checks);
        let source = volumes.iter().find(|volume| volume.name == name).map(|volume| volume.source.clone());
        let source = match (source, below) {
            (Some(MountSource::Host { path, creates }), Some(below)) => {
                if below.starts_with('/') || below.split('/').any(|part| part == "..") {
                    checks.fault(&item.at("subPath"), "a path below the volume, without '..', is expected");
                }
                Some(MountSource::Host { path: format!("{path}/{below}"), creates })
            }
            (Some(_), Some(_)) => {
                checks.fault(&item.at("subPath"), "is possible in a hostPath alone");
                None
            }
            (Some(source), None) => Some(source),
            (None, _) => {
                checks.fault(&item.at("name"), format!("no volume {name:?} is declared under spec.volumes"));
                None
            }
        };
        item.finish(checks);
        mounts.extend(source.map(|source| Mount { target, source, is_read_only }));
    }
    mounts
}

/// Room that goes with a container cannot be that of another one.
pub(super) fn check(volumes: &[Volume], containers: &[Container], checks: &mut Checks<'_>) {
    let passing = |source: &MountSource| matches!(source, MountSource::Scratch | MountSource::Memory(_));
    // Sources do not say which volume they are of: with one volume of the kind every mount is of it.
    for volume in volumes.iter().filter(|volume| passing(&volume.source)) {
        let alike = volumes.iter().filter(|other| other.source == volume.source).count();
        let users = containers.iter().filter(|c| c.mounts.iter().any(|mount| mount.source == volume.source)).count();
        if alike == 1 && users > 1 {
            checks.fault(
                &volume.key,
                "an emptyDir is of one container here; a volume of the runtime can be shared: volume: {name: …}",
            );
        }
    }
}

fn absolute(path: &str, key: &str, checks: &mut Checks<'_>) {
    if !path.starts_with('/') || path.contains(':') || path.split('/').any(|part| part == "..") {
        checks.fault(key, "an absolute path without '..' and ':' is expected");
    }
    let _ = bounded(path.to_owned(), key, checks);
}
