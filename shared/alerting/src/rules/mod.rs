//! Prometheus's rules: files, groups, states of alerts.
