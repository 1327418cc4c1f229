//! Cases of files.
