//! Cases of files and of upstream.
