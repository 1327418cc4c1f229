//! Time zones of this machine, for those who read local times.

use std::io::Read;
use std::path::Path;

/// Largest file of a zone that is read; the largest of the database has under 4 KiB.
const BYTES_MAX: u64 = 64 << 10;

/// What the machine's time zone database says of a zone, as TZif; `local` is the machine's own. `None` where it has no
/// such zone, or no database, as in an image from scratch.
///
/// A name that leads out of its folder is none.
#[must_use]
pub fn read_zone(name: &str) -> Option<Vec<u8>> {
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return None;
    }
    let path = if name == "local" { "/etc/localtime".into() } else { Path::new("/usr/share/zoneinfo").join(name) };
    let mut data = Vec::new();
    let read = std::fs::File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut data);
    read.is_ok_and(|len| len > 0).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_of_the_database_are_read() {
        if !Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
            println!("skipped: this machine has no time zone database");
            return;
        }
        let data = read_zone("Europe/Berlin").expect("the file");
        assert!(data.starts_with(b"TZif"));
        assert_eq!(read_zone("Europe/Nowhere"), None);
        assert_eq!(read_zone("Europe"), None, "a folder is no zone");
        assert_eq!(read_zone("../zoneinfo/UTC"), None);
        assert_eq!(read_zone("/usr/share/zoneinfo/UTC"), None);
    }
}
