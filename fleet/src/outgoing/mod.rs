//! What everything that sends to other stores has in common: the keys of an endpoint, connections, pauses between
//! tries, what is counted of each target.

pub(crate) mod backoff;
pub(crate) mod connect;
pub mod endpoint;
pub(crate) mod failing;
pub(crate) mod http;
pub(crate) mod stats;
pub(crate) mod tls;
