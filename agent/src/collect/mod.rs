//! Node and container metrics.
