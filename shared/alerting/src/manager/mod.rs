//! Alertmanager without its I/O: routes, groups, inhibition, silences, repeated notices.
