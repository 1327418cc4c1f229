//! The fleet store: SQLite.
