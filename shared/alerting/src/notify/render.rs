//! Makes of a notice what goes over the wire.

use super::config::{Integration, Settings};
use super::{Data, Delivery, HttpDelivery, Outcome, Templates, Wire};
use crate::Now;
use std::path::Path;

/// Reads a small text file, such as `url_file`; an error says what, and why not.
pub type Files<'a> = dyn Fn(&Path) -> Result<String, String> + 'a;

/// Why there is nothing to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A file cannot be read; it may come back.
    #[error("{0}")]
    File(String),
    /// What the templates made cannot be sent.
    #[error("{0}")]
    Unusable(String),
}

impl From<RenderError> for Outcome {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::File(error) => Self::retry(error),
            RenderError::Unusable(error) => Self::failed(error),
        }
    }
}

/// What `integration` is sent about `data`. Templates that fail are in [`Delivery::problems`].
///
/// # Errors
/// [`RenderError`] where a file that settings name cannot be read, or where what must be there (an address, a key) is
/// missing after templates were carried out.
pub fn render(
    integration: &Integration,
    data: &Data,
    _templates: &Templates,
    files: &Files<'_>,
    _now: Now,
) -> Result<Delivery, RenderError> {
    let wire = match &integration.settings {
        Settings::Webhook(webhook) => {
            let url = match &webhook.url {
                super::config::Secret::Text(url) => url.clone(),
                super::config::Secret::File(path) => files(path).map_err(RenderError::File)?,
            };
            Wire::Http(vec![HttpDelivery {
                method: "POST",
                url,
                headers: vec![("Content-Type".into(), "application/json".into())],
                body: data.webhook_json(webhook.alerts_max),
                tls: integration.http.tls.clone(),
                follow_redirects: integration.http.follow_redirects,
            }])
        }
        _ => return Err(RenderError::Unusable(format!("{} is not rendered yet", integration.kind()))),
    };
    Ok(Delivery { kind: integration.kind(), wire, problems: Vec::new(), timeout: integration.timeout })
}
