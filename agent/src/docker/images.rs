//! Images: which there are, and how they come.

use super::EngineError;
use super::answer::Image;
use super::call::{Call, escaped};
use super::engine::{Engine, INSPECT_BYTES_MAX, LOOK_MAX, post};
use super::events::Lines;
use crate::http::FileBody;
use hyper::Method;
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest list of images.
const LIST_BYTES_MAX: usize = 8 << 20;
/// Most images that a list gives; those beyond are left out.
const LISTED_MAX: usize = 4096;
/// How long an image may take to be loaded from a file: flash and vfs are slow.
const LOAD_MAX: Duration = Duration::from_secs(600);
/// How long a registry may say nothing before it counts as hanging; writing a layer to slow flash is silent too.
const PULL_SILENCE: Duration = Duration::from_secs(120);
/// Longest account of loading or pulling.
const PROGRESS_BYTES_MAX: usize = 16 << 20;
/// Most images of one file.
const LOADED_MAX: usize = 64;

impl Engine {
    /// An image by name, digest or id. Asks no registry.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] and others.
    pub async fn image(&self, name: &str) -> Result<Image, EngineError> {
        let answer =
            self.json(Call::get(format!("/images/{}/json", escaped(name)), LOOK_MAX, INSPECT_BYTES_MAX)).await?;
        Image::read(&answer)
            .ok_or_else(|| EngineError::Malformed { message: format!("{name} is described without an id") })
    }

    /// Images that are here; at most 4,096.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn images(&self) -> Result<Vec<Image>, EngineError> {
        let mut listed = Vec::new();
        let mut take = |entry: Value| {
            if listed.len() < LISTED_MAX {
                listed.extend(Image::read(&entry));
            }
        };
        self.items(Call::get("/images/json".into(), LOOK_MAX, LIST_BYTES_MAX), &mut take).await?;
        Ok(listed)
    }

    /// Loads images from a file as `docker save` writes it, plain or compressed, and gives their names or ids. The file is
    /// sent as it is read.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the file cannot be read or is no such archive.
    pub async fn load(&self, file: &Path) -> Result<Vec<String>, EngineError> {
        let body = FileBody::open(file).await;
        let body = body.map_err(|error| EngineError::Refused {
            status: 0,
            message: format!("{} cannot be read: {error}", file.display()),
        })?;
        let call = Call {
            method: Method::POST,
            file: Some(body),
            ..Call::get("/images/load?quiet=1".into(), LOAD_MAX, PROGRESS_BYTES_MAX)
        };
        let mut loaded = Vec::new();
        self.progress(call, &format!("{}", file.display()), &mut |told| {
            // `Loaded image: NAME`, `Loaded image ID: sha256:…`, and Podman's `Loaded image: NAME,NAME`.
            let names = told["stream"].as_str().and_then(|text| text.trim().strip_prefix("Loaded image"));
            let names = names.and_then(|rest| rest.split_once(": ")).map(|(_, names)| names);
            let names = names.into_iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned());
            loaded.extend(names.take(LOADED_MAX));
            loaded.truncate(LOADED_MAX);
        })
        .await?;
        Ok(loaded)
    }

    /// Pulls an image, by name with tag or digest, from its registry, without credentials.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] or [`EngineError::Refused`] where it cannot be had; [`EngineError::Timeout`] after
    /// `limit`, or after two minutes in which nothing came.
    pub async fn pull(&self, name: &str, limit: Duration) -> Result<(), EngineError> {
        // Without a tag Docker pulls every tag there is.
        let last = name.rsplit('/').next().unwrap_or_default();
        let tag = if last.contains(':') || last.contains('@') { "" } else { "&tag=latest" };
        let mut call = post(format!("/images/create?fromImage={}{tag}", escaped(name)), None, limit);
        call.bytes_max = PROGRESS_BYTES_MAX;
        let said = AtomicUsize::new(0);
        let mut hear = |_: &Value| {
            said.fetch_add(1, Ordering::Relaxed);
        };
        let silence = async {
            let mut before = usize::MAX;
            while before != said.load(Ordering::Relaxed) {
                before = said.load(Ordering::Relaxed);
                tokio::time::sleep(PULL_SILENCE).await;
            }
        };
        tokio::select! {
            pulled = self.progress(call, name, &mut hear) => pulled,
            () = silence => Err(EngineError::Timeout { call: format!("pulling {name}"), limit: PULL_SILENCE }),
        }
    }

    /// Reads an account of lines of JSON; a failure stands in it, after a good status.
    async fn progress(
        &self,
        call: Call<'_>,
        subject: &str,
        told: &mut (dyn FnMut(&Value) + Send),
    ) -> Result<(), EngineError> {
        let mut lines = Lines::default();
        let mut problem = None;
        let mut each = |line: &Value| {
            if let Some(error) = line["error"].as_str() {
                problem = Some(error.to_owned());
            }
            told(line);
            Ok(())
        };
        let outcome = self.stream(call, &mut |chunk| lines.feed(chunk, &mut each)).await;
        outcome?;
        lines.end(&mut each).map_err(|message| EngineError::Malformed { message })?;
        match problem {
            Some(error) => Err(EngineError::Refused { status: 200, message: format!("{subject}: {error}") }),
            None => Ok(()),
        }
    }
}
