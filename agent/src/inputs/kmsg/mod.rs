use crate::inputs::config::Kmsg;
use crate::inputs::source::{Source, StoreEnded};
use tokio_util::sync::CancellationToken;
pub(super) fn key(name: &str) -> String {
    format!("kmsg/{name}")
}
pub(super) async fn run(_: Kmsg, _: Source, _: Option<Vec<u8>>, stop: CancellationToken) -> Result<(), StoreEnded> {
    stop.cancelled().await;
    Ok(())
}
