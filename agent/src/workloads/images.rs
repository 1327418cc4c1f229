//! Images that workloads need: in the runtime already, in the folder of images, or in a registry.

use super::archive::{self, Held};
use crate::docker::{Engine, EngineError};
use skerry_scaling::workload::{Failure, Image, PullPolicy};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Most files of the folder that are looked into.
const FILES_MAX: usize = 256;
/// How long looking into a file may take.
const LOOK_INTO_MAX: Duration = Duration::from_secs(600);
/// How long a registry may take.
const PULL_MAX: Duration = Duration::from_secs(600);

/// The folder, and what is known of its files.
pub(super) struct Images {
    folder: PathBuf,
    known: Mutex<BTreeMap<PathBuf, Known>>,
    /// One file at a time: the next one may need the same.
    loading: tokio::sync::Mutex<()>,
    /// One registry at a time, for the same reason. What is in the folder does not wait for it.
    pulling: tokio::sync::Mutex<()>,
}

/// A file that was looked into.
#[derive(Clone)]
struct Known {
    stamp: Stamp,
    held: Result<Vec<Held>, String>,
}

/// Length and time of change.
type Stamp = (u64, Option<SystemTime>);

impl Images {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            known: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            pulling: tokio::sync::Mutex::default(),
        }
    }

    /// The files and their stamps: when this changes, images may be there that were not. Blocks shortly.
    pub(super) fn stamps(&self) -> Vec<(PathBuf, Stamp)> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let is_image = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
        };
        let stamped = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let facts = path.metadata().ok().filter(|facts| facts.is_file() && is_image(&path))?;
            Some((path, (facts.len(), facts.modified().ok())))
        });
        let mut files: Vec<_> = stamped.take(FILES_MAX).collect();
        files.sort();
        files
    }

    /// Makes sure that the runtime has an image, and gives what a container is to be made from: a name that means this
    /// image, or its id.
    pub(super) async fn ensure(&self, engine: &Engine, image: &Image, pull: PullPolicy) -> Result<String, Failure> {
        if let Some(found) = find(engine, image).await? {
            return Ok(found);
        }
        if let Some(found) = self.load(engine, image).await? {
            return Ok(found);
        }
        if pull == PullPolicy::Never {
            let damaged = self.damaged();
            let message = format!(
                "image {} is not here, and imagePullPolicy is Never; put a file of docker save into {}{damaged}",
                image.text,
                self.folder.display()
            );
            return Err(Failure { reason: "ErrImageNeverPull", message });
        }
        // A registry gives what it is asked for by digest, or refuses.
        let named = match &image.digest {
            Some(digest) if !image.repository.is_empty() => format!("{}@{digest}", image.repository),
            Some(_) => String::new(),
            None => image.tagged.clone(),
        };
        if named.is_empty() {
            let message = format!(
                "image {} is not here and has no name to ask a registry for; put a file of docker save into {}",
                image.text,
                self.folder.display()
            );
            return Err(Failure { reason: "ErrImagePull", message });
        }
        let _alone = self.pulling.lock().await;
        if let Some(found) = find(engine, image).await? {
            return Ok(found);
        }
        tracing::info!(image = named, "an image is pulled");
        engine.pull(&named, PULL_MAX).await.map_err(|error| {
            let hint = format!(
                "{error}; without a link, put a file of docker save into {}{}",
                self.folder.display(),
                self.damaged()
            );
            Failure { reason: "ErrImagePull", message: format!("image {}: {hint}", image.text) }
        })?;
        find(engine, image).await?.ok_or_else(|| Failure {
            reason: "ErrImagePull",
            message: format!("{named} was pulled, and {} is not there", image.text),
        })
    }

    /// Loads an image from the folder; `None` where no file there holds it.
    async fn load(&self, engine: &Engine, image: &Image) -> Result<Option<String>, Failure> {
        let _alone = self.loading.lock().await;
        if let Some(found) = find(engine, image).await? {
            return Ok(Some(found));
        }
        let Some(file) = self.file_with(image).await else { return Ok(None) };
        tracing::info!(image = image.text, file = %file.display(), "an image is loaded from a file");
        engine.load(&file).await.map_err(|error| failure("ErrImageLoad", &image.text, &error))?;
        find(engine, image).await?.map(Some).ok_or_else(|| Failure {
            reason: "ErrImageLoad",
            message: format!("{} was loaded, and {} is not there: is it another image?", file.display(), image.text),
        })
    }

    /// The file that holds an image. Files are looked into once, and again when they changed.
    async fn file_with(&self, image: &Image) -> Option<PathBuf> {
        for (path, stamp) in self.stamps() {
            let known = self.lock().get(&path).filter(|known| known.stamp == stamp).cloned();
            let known = match known {
                Some(known) => known,
                None => {
                    let file = path.clone();
                    let held = tokio::task::spawn_blocking(move || archive::images(&file));
                    let held = match timeout(LOOK_INTO_MAX, held).await {
                        Ok(held) => held.ok()?.map_err(|error| error.to_string()),
                        // A stick that was pulled, or a name that leads to what can be read without end.
                        Err(_) => Err(format!("it was not read within {} s", LOOK_INTO_MAX.as_secs())),
                    };
                    if let Err(problem) = &held {
                        tracing::warn!(file = %path.display(), problem, "a file in the folder of images is passed over");
                    }
                    let known = Known { stamp, held };
                    self.lock().insert(path.clone(), known.clone());
                    known
                }
            };
            if known.held.iter().flatten().any(|held| is_held(image, held)) {
                return Some(path);
            }
        }
        None
    }

    /// Files that cannot be read, for whoever looks for an image in vain.
    fn damaged(&self) -> String {
        let told = |(path, known): (&PathBuf, &Known)| {
            known.held.as_ref().err().map(|problem| format!("; {} is passed over: {problem}", path.display()))
        };
        self.lock().iter().filter_map(told).take(3).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_held(image: &Image, held: &Held) -> bool {
    match &image.digest {
        Some(digest) => held.id == *digest,
        None => held.tags.iter().any(|tag| plain(tag) == plain(&image.tagged)),
    }
}

/// A name without what runtimes put before it.
fn plain(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("localhost/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// What the runtime has: by digest where one is declared, else by name.
async fn find(engine: &Engine, image: &Image) -> Result<Option<String>, Failure> {
    let ask = async |name: &str| match engine.image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(failure("ErrImageInspect", &image.text, &error)),
    };
    let Some(digest) = &image.digest else {
        return Ok(ask(&image.tagged).await?.map(|_| image.tagged.clone()));
    };
    if let Some(found) = ask(digest).await?.filter(|found| found.id == *digest) {
        // By its name where that means the same: names stand in metrics and logs.
        let tagged = if image.tagged.is_empty() { None } else { ask(&image.tagged).await? };
        let is_same = tagged.is_some_and(|tagged| tagged.id == found.id);
        return Ok(Some(if is_same { image.tagged.clone() } else { found.id }));
    }
    if image.repository.is_empty() {
        return Ok(None);
    }
    let named = format!("{}@{digest}", image.repository);
    let found = ask(&named).await?;
    let ending = format!("@{digest}");
    Ok(found.filter(|found| found.digests.iter().any(|one| one.ends_with(&ending))).map(|_| named))
}

/// What a failed call means for a container.
pub(super) fn failure(reason: &'static str, subject: &str, error: &EngineError) -> Failure {
    let reason = match error {
        EngineError::Unreachable { .. } | EngineError::Timeout { .. } => Failure::UNREACHABLE,
        _ => reason,
    };
    Failure { reason, message: format!("{subject}: {error}") }
}
