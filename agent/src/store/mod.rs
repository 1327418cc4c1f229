//! The node store: one SQLite file, one writer.
