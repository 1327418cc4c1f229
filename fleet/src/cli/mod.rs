//! Admin CLI.
