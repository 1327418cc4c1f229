//! What everything that sends to other stores has in common: the keys of an endpoint, connections, pauses between tries.

pub(crate) mod backoff;
pub(crate) mod connect;
pub mod endpoint;
pub(crate) mod failing;
pub(crate) mod http;
pub(crate) mod tls;
