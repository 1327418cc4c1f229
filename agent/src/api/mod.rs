//! Local HTTP on loopback.
