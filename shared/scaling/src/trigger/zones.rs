//! Time zones, each read once for all triggers.

use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Gives the content of a zone's file of the time zone database (TZif) by its name, such as `Europe/Berlin`.
pub type ReadZone = Box<dyn Fn(&str) -> Option<Vec<u8>> + Send>;

/// Most zones that are kept; what a node's policies name beyond them is read each time.
const ZONES_MAX: usize = 32;

/// Time zones by name. Shared by all policies of a process: one is some kilobytes large.
pub struct Zones {
    inner: Mutex<(ReadZone, BTreeMap<String, TimeZone>)>,
}

impl Zones {
    /// Zones that are read by this function.
    #[must_use]
    pub fn new(read: ReadZone) -> Self {
        Self { inner: Mutex::new((read, BTreeMap::new())) }
    }

    /// A zone: `""` and `UTC`, a name of the database, or a POSIX rule such as `CET-1CEST,M3.5.0,M10.5.0/3`, which needs no
    /// database.
    ///
    /// # Errors
    /// That nobody knows it.
    pub(super) fn zone(&self, name: &str) -> Result<TimeZone, String> {
        // Whoever panicked within left a whole map.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, known) = &mut *inner;
        if let Some(zone) = known.get(name) {
            return Ok(zone.clone());
        }
        let zone = skerry_calendar::zone(name, read)?;
        if known.len() < ZONES_MAX {
            known.insert(name.to_owned(), zone.clone());
        }
        Ok(zone)
    }
}

impl fmt::Debug for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zones")
    }
}
