use crate::inputs::source::{Source, StoreEnded};
use tokio_util::sync::CancellationToken;
pub(super) async fn run(_: Source, stop: CancellationToken) -> Result<(), StoreEnded> {
    stop.cancelled().await;
    Ok(())
}
