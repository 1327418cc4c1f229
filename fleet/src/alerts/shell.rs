//! The way from routing to what carries notices.

use super::task::Tell;
use crate::notify::Shell;
use skerry_alerting::Now;
use skerry_alerting::notify::{Data, Integration, Outcome, Templates};
use std::sync::Arc;
use std::time::Duration;

/// Tells receivers by the texts of the fleet's own templates; cheap to clone.
#[derive(Clone)]
pub struct Notices {
    /// What carries them.
    pub shell: Arc<Shell>,
    /// Their texts.
    pub templates: Arc<Templates>,
}

impl Tell for Notices {
    async fn tell(&self, integration: &Integration, data: &Data, within: Duration, now: Now) -> Outcome {
        self.shell.tell(integration, data, &self.templates, now, within).await
    }
}
