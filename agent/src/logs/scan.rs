//! Finds files: expands globs, and lists the generations of a path.
//!
//! Invariants:
//! - One scan looks at no more than [`ENTRIES_MAX`] folder entries and descends no deeper than [`DEPTH_MAX`].
//! - A folder that cannot be read is reported and does not keep the others from being read.
//! - Nothing is told of a file that was looked at under a name that another one has by then.

use globset::{GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use super::content::{Content, Packing};
use super::file::{self, Meta};

/// Most folder entries that one scan looks at.
pub(super) const ENTRIES_MAX: usize = 50_000;
/// Most folders that `**` descends.
const DEPTH_MAX: usize = 16;
/// Most listings of a folder whose files move.
const LISTINGS_MAX: usize = 8;
/// Most links that one path is followed through.
const LINKS_MAX: usize = 16;
/// Most files that one scan takes.
pub(super) const HITS_MAX: usize = 20_000;

/// A glob of absolute paths, cut at its slashes so that only folders that can match are read.
#[derive(Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    whole: GlobMatcher,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Wild { matcher: GlobMatcher, dotted: bool },
    AnyDepth,
}

impl Pattern {
    /// The pattern, or what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!("{text:?} is no absolute path: a glob that begins with '/' is expected"));
        };
        let glob = |text: &str| {
            let built = GlobBuilder::new(text).literal_separator(true).build();
            built.map(|glob| glob.compile_matcher()).map_err(|error| format!("{text:?} is no glob: {}", error.kind()))
        };
        let mut parts = Vec::new();
        for part in relative.split('/') {
            parts.push(match part {
                "" | "." | ".." => return Err(format!("{text:?} has an empty, '.' or '..' part")),
                "**" => Part::AnyDepth,
                part if part.contains(['*', '?', '[', '{', '\\']) => {
                    Part::Wild { matcher: glob(part)?, dotted: part.starts_with('.') }
                }
                part => Part::Literal(part.to_owned()),
            });
        }
        if matches!(parts.last(), Some(Part::AnyDepth)) {
            return Err(format!("{text:?} ends in '**': a file name, such as '**/*.log', is expected"));
        }
        Ok(Self { parts, whole: glob(text)? })
    }

    /// Whether the pattern matches a path that need not exist.
    pub(super) fn matches(&self, path: &Path) -> bool {
        self.whole.is_match(path)
    }
}

/// One scan: what was found and what was in the way.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) hits: Vec<PathBuf>,
    pub(super) problems: Vec<(PathBuf, io::Error)>,
    /// The scan ended at a bound.
    pub(super) incomplete: bool,
    entries: usize,
}

impl Scan {
    /// Adds the regular files that match. Names that begin with a dot match only a part that does, as in a shell.
    pub(super) fn expand(&mut self, pattern: &Pattern) {
        self.descend(Path::new("/"), &pattern.parts, 0);
    }

    fn descend(&mut self, folder: &Path, parts: &[Part], depth: usize) {
        let Some((part, rest)) = parts.split_first() else { return };
        match part {
            Part::Literal(name) => self.take(folder.join(name), rest, depth),
            Part::Wild { matcher, dotted } => {
                for name in self.names(folder) {
                    if name.as_encoded_bytes().starts_with(b".") == *dotted && matcher.is_match(Path::new(&name)) {
                        self.take(folder.join(name), rest, depth);
                    }
                }
            }
            Part::AnyDepth => {
                self.descend(folder, rest, depth);
                if depth >= DEPTH_MAX {
                    return;
                }
                for name in self.names(folder) {
                    let path = folder.join(&name);
                    // Links are not followed into any depth: they may form a ring.
                    let is_folder = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
                    if is_folder && !name.as_encoded_bytes().starts_with(b".") {
                        self.descend(&path, parts, depth + 1);
                    }
                }
            }
        }
    }

    fn take(&mut self, path: PathBuf, rest: &[Part], depth: usize) {
        match fs::metadata(&path) {
            Ok(meta) if rest.is_empty() && meta.is_file() => {
                if self.hits.len() < HITS_MAX {
                    self.hits.push(path);
                } else {
                    self.incomplete = true;
                }
            }
            Ok(meta) if !rest.is_empty() && meta.is_dir() => self.descend(&path, rest, depth),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.problem(path, error),
        }
    }

    fn names(&mut self, folder: &Path) -> Vec<std::ffi::OsString> {
        let mut names = Vec::new();
        match fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    self.entries += 1;
                    if self.entries > ENTRIES_MAX {
                        self.incomplete = true;
                        break;
                    }
                    names.push(entry.file_name());
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => self.problem(folder.to_owned(), error),
        }
        names.sort_unstable();
        names
    }

    fn problem(&mut self, path: PathBuf, error: io::Error) {
        if self.problems.len() < 64 {
            self.problems.push((path, error));
        }
    }
}

/// What a file in a path's folder is to the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Rotated away, by its name; a lower number is older where times are equal.
    Rotated(i64),
    /// At the path itself.
    Current,
    /// Another file, listed for its inode alone.
    Other,
}

/// A file that may be a generation of a path.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    /// How it is compressed; `None`: it is not.
    pub(super) packing: Option<Packing>,
    pub(super) meta: Meta,
}

impl Candidate {
    /// Opens it, which must still be the file that was listed.
    ///
    /// # Errors
    /// [`is_moved`] where another file or none stands there by now, as while a rotator renames: what was listed says
    /// nothing then, and the folder has to be listed again.
    pub(super) fn open(&self) -> io::Result<(Content, Meta)> {
        match Content::open(&self.path, self.packing) {
            Ok((_, meta)) if meta.ident != self.meta.ident => Err(moved()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(moved()),
            opened => opened,
        }
    }
}

fn moved() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "files of its folder are renamed while they are looked at")
}

/// Whether nothing is wrong but the moment: files were renamed in it.
pub(super) fn is_moved(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// The files in the folder of `path` that may be generations of it, and those with one of the given inodes.
/// With a symbolic link also those in the folder it points to.
///
/// A rotator that renames between the listing and the looks at its files makes one of them miss: what was seen then is
/// looked at again, until nothing moved.
///
/// # Errors
/// If the folder cannot be listed; [`is_moved`] where files move each time.
pub(super) fn family(path: &Path, inodes: &[u64]) -> io::Result<Vec<Candidate>> {
    let (mut candidates, mut steady) = family_once(path, inodes)?;
    for _ in 1..LISTINGS_MAX {
        if steady {
            break;
        }
        let (again, moved_not) = family_once(path, inodes)?;
        // Where the listing tells other inodes than the files have, as on overlays, two equal listings do.
        let same = |(a, b): (&Candidate, &Candidate)| a.path == b.path && a.meta.ident == b.meta.ident;
        steady = moved_not || (again.len() == candidates.len() && again.iter().zip(&candidates).all(same));
        candidates = again;
    }
    // A file that was missed would be taken for one that is gone, and read again from its begin when it is seen.
    if steady { Ok(candidates) } else { Err(moved()) }
}

/// One listing, and whether it is known that nothing moved in it.
fn family_once(path: &Path, inodes: &[u64]) -> io::Result<(Vec<Candidate>, bool)> {
    let mut candidates = Vec::new();
    let mut steady = list(path, inodes, &mut candidates)?;
    if let Some(target) = target(path)
        && target.parent() != path.parent()
    {
        steady &= list(&target, inodes, &mut candidates)?;
        candidates.retain(|candidate| candidate.place != Place::Current || candidate.path == path);
    }
    drop_unfinished(&mut candidates);
    Ok((candidates, steady))
}

/// Where a symbolic link leads, through further links. What it leads to need not be there: between the two steps of a
/// rotation it is not, and the rotated files lie beside it all the same.
fn target(path: &Path) -> Option<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&at) {
            // An absolute target replaces the folder.
            Ok(next) => at = at.parent()?.join(next),
            Err(_) if at == path => return None,
            Err(_) => return Some(fs::canonicalize(at.parent()?).ok()?.join(at.file_name()?)),
        }
    }
    None
}

/// Whether each file was, when it was looked at, the one that was listed.
fn list(path: &Path, inodes: &[u64], candidates: &mut Vec<Candidate>) -> io::Result<bool> {
    let (Some(folder), Some(base)) = (path.parent(), path.file_name()) else { return Ok(true) };
    let mut steady = true;
    for entry in fs::read_dir(folder)?.flatten().take(ENTRIES_MAX) {
        let name = entry.file_name();
        let place = if name == base {
            Place::Current
        } else if let Some(rank) = rotation_rank(&name, base) {
            Place::Rotated(rank)
        } else if inodes.contains(&entry.ino()) {
            Place::Other
        } else {
            continue;
        };
        let path = entry.path();
        let packing = Packing::of(&name);
        // A file that vanishes between the listing and this look is no candidate.
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        match file::look(&path) {
            Ok(meta) => {
                steady &= is_link || meta.ident.ino == entry.ino();
                candidates.push(Candidate { path, place, packing, meta });
            }
            Err(error) => steady &= is_link || error.kind() != io::ErrorKind::NotFound,
        }
    }
    Ok(steady)
}

/// Whether the name ends as compressed files do.
pub(super) fn is_compressed(name: &OsStr) -> bool {
    without_compression(name.as_encoded_bytes()).is_some()
}

/// Takes out the compressed files whose original is still there: they are being made.
fn drop_unfinished(candidates: &mut Vec<Candidate>) {
    let originals: Vec<PathBuf> =
        candidates.iter().filter(|c| c.packing.is_none()).map(|candidate| candidate.path.clone()).collect();
    candidates
        .retain(|candidate| candidate.packing.is_none() || !originals.contains(&candidate.path.with_extension("")));
}

fn without_compression(name: &[u8]) -> Option<&[u8]> {
    [".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".zip", ".Z", ".br"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending.as_bytes()))
}

/// If `name` is what a rotator makes of `base`: its age rank, lower is older. Known are `base.N`, `base.DATE`,
/// `base-DATE`, `base.old` and `base.bak`, each with or without a compressor's ending.
fn rotation_rank(name: &OsStr, base: &OsStr) -> Option<i64> {
    let name = name.as_encoded_bytes();
    let rest = without_compression(name).unwrap_or(name).strip_prefix(base.as_encoded_bytes())?;
    let (separator, suffix) = rest.split_first()?;
    let digits = suffix.iter().take_while(|b| b.is_ascii_digit()).count();
    match (separator, suffix) {
        (b'.', b"old" | b"bak") => Some(0),
        (b'.', _) if digits == suffix.len() && (1..=5).contains(&digits) => {
            std::str::from_utf8(suffix).ok()?.parse::<i64>().ok().map(|n| -n)
        }
        (b'.' | b'-', _) if digits > 0 => {
            let dated =
                suffix.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b':' | b'T' | b'Z'));
            // Up to 18 digits of a date in the order they are written: later dates are larger.
            let number = suffix.iter().filter(|b| b.is_ascii_digit()).take(18);
            dated.then(|| number.fold(0i64, |sum, b| sum * 10 + i64::from(b - b'0')))
        }
        _ => None,
    }
}

/// The path that a rotated file's name was made from, if it looks like one.
pub(super) fn rotation_base(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let bytes = name.as_encoded_bytes();
    // The longest base wins, so that `app.log.1` belongs to `app.log` and not to `app`.
    (1..bytes.len()).rev().filter(|at| matches!(bytes[*at], b'.' | b'-')).find_map(|at| {
        let base = std::str::from_utf8(&bytes[..at]).ok()?;
        rotation_rank(name, OsStr::new(base))?;
        Some(path.with_file_name(base))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_find_files_as_a_shell_does() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a.log", "b.txt", ".hidden.log", "x/a.log", "x/y/z/deep.log", "x/y/c[1].log"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let find = |pattern: &str| {
            let mut scan = Scan::default();
            scan.expand(&Pattern::parse(&format!("{}/{pattern}", dir.path().display())).unwrap());
            assert!(scan.problems.is_empty());
            let relative = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
            scan.hits.iter().map(relative).collect::<Vec<_>>()
        };
        assert_eq!(find("*.log"), ["a.log"]);
        assert_eq!(find(".*.log"), [".hidden.log"]);
        assert_eq!(find("*/a.log"), ["x/a.log"]);
        assert_eq!(find("**/*.log"), ["a.log", "x/a.log", "x/y/c[1].log", "x/y/z/deep.log"]);
        assert_eq!(find("x/y/c\\[1\\].log"), ["x/y/c[1].log"]);
        assert_eq!(find("{a.log,b.txt}"), ["a.log", "b.txt"]);
        assert_eq!(find("gone/*.log"), [""; 0]);
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        for bad in ["a/*.log", "", "/a/../b", "/a//b", "/a/**", "/a/[", "/a/{b/c}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(Pattern::parse("/a/*/c.log").unwrap().matches(Path::new("/a/b/c.log")));
        assert!(!Pattern::parse("/a/*.log").unwrap().matches(Path::new("/a/b/c.log")));
    }

    #[test]
    fn what_moved_since_it_was_listed_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["app.log", "app.log.1", "app.log.2"] {
            fs::write(at(name), name).unwrap();
        }
        let listed = family(&at("app.log"), &[]).unwrap();
        let opened = |name: &str| listed.iter().find(|candidate| candidate.path == at(name)).unwrap().open();
        assert!(opened("app.log.1").is_ok());
        fs::rename(at("app.log.2"), at("app.log.3")).unwrap();
        fs::rename(at("app.log.1"), at("app.log.2")).unwrap();
        assert!(is_moved(&opened("app.log.2").unwrap_err()), "another file stands there");
        assert!(is_moved(&opened("app.log.1").unwrap_err()), "none stands there");
        assert!(opened("app.log").is_ok());
    }

    #[test]
    fn rotators_names_are_known_and_ordered() {
        let rank = |name: &str| rotation_rank(OsStr::new(name), OsStr::new("app.log"));
        assert!(rank("app.log.2") < rank("app.log.1"));
        assert!(rank("app.log.10.gz") < rank("app.log.9"));
        assert!(rank("app.log-20261119") < rank("app.log-20261120.xz"));
        assert!(rank("app.log.2026-11-19_10") < rank("app.log.2026-11-19_11"));
        for other in ["app.log", "app.log.worker", "app.logs", "app.log.", "app.log-x", "app.log.1a", "xapp.log.1"] {
            assert_eq!(rank(other), None, "{other}");
        }
        assert!(rank("app.log.old").is_some());
        assert_eq!(rotation_base(Path::new("/v/app.log.1.gz")), Some(PathBuf::from("/v/app.log")));
        assert_eq!(rotation_base(Path::new("/v/app.log.2026-11-19.1")), Some(PathBuf::from("/v/app.log.2026-11-19")));
        assert_eq!(rotation_base(Path::new("/v/app.log")), None);
    }
}
