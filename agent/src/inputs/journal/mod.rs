use crate::inputs::config::Journal;
use crate::inputs::source::{Source, StoreEnded};
use tokio_util::sync::CancellationToken;
pub(super) fn key(name: &str) -> String {
    format!("journal/{name}")
}
pub(super) async fn run(_: Journal, _: Source, _: Option<Vec<u8>>, stop: CancellationToken) -> Result<(), StoreEnded> {
    stop.cancelled().await;
    Ok(())
}
