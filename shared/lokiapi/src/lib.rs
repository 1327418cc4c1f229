//! Loki's HTTP API for queries (`/loki/api/v1/query` and its neighbours), without the HTTP: parameters in, status and
//! JSON out. Node and centre answer with this very code, so that Grafana and every other client finds the same API at
//! both.

mod member;
pub mod scan;

pub use member::Member;
