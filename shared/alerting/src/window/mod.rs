//! Samples that rules read, kept in memory.
