//! Alertmanager's API v2 over a manager, without the HTTP.
