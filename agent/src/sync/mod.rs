//! Sync with the fleet: outbox and MQTT link.

pub mod outbox;
