//! Files that lamps, pins and the like are switched by.

use skerry_alerting::notify::{FileDelivery, Outcome};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Writes at once. One that hangs in the kernel keeps its place until it returns.
pub(super) const WRITES_MAX: usize = 2;

/// Writes the text, whole.
pub(super) async fn write(file: FileDelivery, places: &Arc<Semaphore>) -> Outcome {
    let Ok(place) = places.clone().acquire_owned().await else {
        return Outcome::retry("files are not written any more");
    };
    let path = file.path.display().to_string();
    let written = tokio::task::spawn_blocking(move || {
        let _place = place;
        // A pipe without a reader is an error, instead of a wait for one.
        let mut open = std::fs::OpenOptions::new();
        open.write(true).create(file.may_create).truncate(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        open.open(&file.path)?.write_all(file.text.as_bytes())
    });
    match written.await {
        Ok(Ok(())) => Outcome::Sent,
        Ok(Err(error)) => Outcome::retry(format!("write {path}: {error}")),
        Err(error) => Outcome::retry(format!("write {path}: {error}")),
    }
}
