//! Whom a request wants to be answered by.

use crate::params::Bad;
use crate::{Params, Refusal};
use std::time::Duration;

/// Most nodes that a request names one by one.
const NAMES_MAX: usize = 1000;

/// A request that is to be answered by nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Nodes by name: `node`, which may stand several times.
    pub nodes: Vec<String>,
    /// Nodes by label: `node_selector`.
    pub selector: Option<String>,
    /// How long to wait for answers: `timeout`.
    pub timeout: Option<Duration>,
    /// Most items in the answer: `limit`.
    pub limit: Option<usize>,
}

impl Wanted {
    /// Of a request; `None` where it is for the centre itself.
    ///
    /// # Errors
    /// [`Refusal`] where a parameter cannot be used.
    pub fn of(params: &Params) -> Result<Option<Self>, Refusal> {
        let nodes: Vec<String> = params.all("node").map(str::to_owned).collect();
        let selector = params.first("node_selector").map(str::to_owned);
        if nodes.is_empty() && selector.is_none() {
            return Ok(None);
        }
        if nodes.len() > NAMES_MAX {
            let problem = format!("{} names, at most {NAMES_MAX} are taken; use node_selector", nodes.len());
            return Err(Bad { parameter: "node", problem }.into());
        }
        Ok(Some(Self { nodes, selector, timeout: params.duration("timeout")?, limit: params.limit()? }))
    }
}
