//! Templates of rules: Prometheus's functions and variables.
