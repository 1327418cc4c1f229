//! Who this node is: the keys it made itself, and what the fleet gave it when it joined.
//!
//! Both lie as files below `DATA_DIR/identity`, apart from the database, so that a node whose database is damaged or
//! deleted is still the same node. Keys never leave the folder.
//!
//! Invariants:
//! - Files are replaced whole, by rename after fsync, with mode 0600 in a folder of mode 0700.
//! - A key file that cannot be read is an error and never a reason to make another key: the fleet knows this one.

mod enrolment;
mod files;
mod keys;
mod memory;

pub use enrolment::Enrolment;
pub use files::IdentityError;
pub use keys::Keys;
pub use memory::Memory;

use std::path::{Path, PathBuf};

/// The folder of the identity below the data folder.
#[must_use]
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("identity")
}
