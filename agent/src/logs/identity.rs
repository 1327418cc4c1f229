//! Decides which file is which: where a generation that was being read is now, and what was never read.
//!
//! Invariants:
//! - A generation goes on only in a file whose content before the offset is the same; an inode alone proves nothing.
//! - What cannot be told apart is read twice rather than not at all.

use super::content::Packing;
use super::position::{Ident, Known, Mark};
use super::scan::{Candidate, Place, is_moved};
use std::io;

/// Where a generation is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// In this candidate, which is the same file.
    Same(usize),
    /// In this candidate, which is a copy: the file itself was truncated or removed.
    Copied(usize),
    /// Nowhere.
    Gone,
}

/// Finds a generation among the files of its folder. `taken` tells files that are being read already; `holds` reads
/// whether a candidate's content before the mark's offset is the mark's.
///
/// # Errors
/// If the very file of the mark cannot be read, or any has moved since it was listed: then nothing can be decided yet.
pub(super) fn find(
    mark: &Mark,
    candidates: &[Candidate],
    known: &Known,
    taken: impl Fn(Ident) -> bool,
    mut holds: impl FnMut(&Candidate) -> io::Result<bool>,
) -> io::Result<Found> {
    for (at, candidate) in candidates.iter().enumerate() {
        let ident = candidate.meta.ident;
        if !mark.ident.same_inode(ident) || taken(ident) || is_too_short(candidate, mark) {
            continue;
        }
        // Without content to compare the device must be the same too.
        if if mark.offset == 0 { mark.ident.dev == ident.dev } else { holds(candidate)? } {
            return Ok(Found::Same(at));
        }
    }
    if mark.offset == 0 {
        return Ok(Found::Gone);
    }
    let mut copies: Vec<usize> = (0..candidates.len()).filter(|at| may_be_unread(&candidates[*at], known)).collect();
    copies.retain(|at| {
        let candidate = &candidates[*at];
        candidate.place != Place::Current && !is_too_short(candidate, mark) && !taken(candidate.meta.ident)
    });
    sort_by_age(&mut copies, candidates);
    for at in copies {
        match holds(&candidates[at]) {
            Ok(true) => return Ok(Found::Copied(at)),
            Err(error) if is_moved(&error) => return Err(error),
            // A copy that cannot be read is passed over: it may be any file of that name.
            Ok(false) | Err(_) => {}
        }
    }
    Ok(Found::Gone)
}

/// The candidates that were never read, oldest first.
pub(super) fn unread(candidates: &[Candidate], known: &Known, taken: impl Fn(Ident) -> bool) -> Vec<usize> {
    let mut unread: Vec<usize> = (0..candidates.len())
        .filter(|at| may_be_unread(&candidates[*at], known) && !taken(candidates[*at].meta.ident))
        .collect();
    sort_by_age(&mut unread, candidates);
    unread
}

fn may_be_unread(candidate: &Candidate, known: &Known) -> bool {
    candidate.packing.is_none_or(Packing::is_read)
        && match candidate.place {
            Place::Current => true,
            Place::Rotated(_) => !known.contains(candidate.meta.sibling()),
            Place::Other => false,
        }
}

fn is_too_short(candidate: &Candidate, mark: &Mark) -> bool {
    // The length of compressed content is not known yet.
    candidate.packing.is_none() && candidate.meta.size < mark.offset
}

/// Oldest first: by the time of the last change, then by the rotator's numbering, and the path itself last.
fn sort_by_age(indices: &mut [usize], candidates: &[Candidate]) {
    indices.sort_by_key(|at| {
        let candidate = &candidates[*at];
        (candidate.place == Place::Current, candidate.meta.modified_ns, candidate.place)
    });
}

#[cfg(test)]
mod tests {
    use super::super::file::Meta;
    use super::*;
    use skerry_model::UnixMillis;
    use std::path::PathBuf;

    fn candidate(ino: u64, born_ns: i64, size: u64, modified_ms: i128, place: Place) -> Candidate {
        let ident = Ident { dev: 1, ino, born_ns };
        let meta = Meta { ident, size, modified_ns: modified_ms * 1_000_000, links: 1 };
        Candidate { path: PathBuf::from(format!("/v/{ino}")), place, packing: None, meta }
    }

    fn mark(ino: u64, born_ns: i64, offset: u64) -> Mark {
        let ident = Ident { dev: 1, ino, born_ns };
        Mark { ident, offset, head: 0, tail: 0, read_at: UnixMillis(0), skipping: false, finished: false }
    }

    /// Finds with files of these inodes holding the content.
    fn run(mark: &Mark, candidates: &[Candidate], holding: &[u64]) -> Found {
        let holds = |candidate: &Candidate| Ok(holding.contains(&candidate.meta.ident.ino));
        find(mark, candidates, &Known::default(), |_| false, holds).unwrap()
    }

    #[test]
    fn a_renamed_file_is_the_same_wherever_it_lies() {
        let files = [candidate(8, 5, 10, 2, Place::Current), candidate(7, 4, 100, 1, Place::Other)];
        assert_eq!(run(&mark(7, 4, 50), &files, &[7]), Found::Same(1));
    }

    #[test]
    fn a_reused_inode_is_not_the_same_file() {
        let by_birth = [candidate(7, 9, 100, 1, Place::Current)];
        assert_eq!(run(&mark(7, 4, 50), &by_birth, &[7]), Found::Gone);
        let by_content = [candidate(7, 0, 100, 1, Place::Current)];
        assert_eq!(run(&mark(7, 0, 50), &by_content, &[]), Found::Gone);
        let by_size = [candidate(7, 0, 49, 1, Place::Current)];
        assert_eq!(run(&mark(7, 0, 50), &by_size, &[7]), Found::Gone);
    }

    #[test]
    fn a_changed_device_number_matters_only_without_content() {
        let mut files = [candidate(7, 4, 100, 1, Place::Current)];
        files[0].meta.ident.dev = 2;
        assert_eq!(run(&mark(7, 4, 50), &files, &[7]), Found::Same(0));
        assert_eq!(run(&mark(7, 4, 0), &files, &[7]), Found::Gone);
    }

    #[test]
    fn a_truncated_file_goes_on_in_its_oldest_copy() {
        let files = [
            candidate(7, 4, 10, 9, Place::Current),
            candidate(8, 6, 80, 8, Place::Rotated(-1)),
            candidate(9, 5, 80, 7, Place::Rotated(-2)),
        ];
        assert_eq!(run(&mark(7, 4, 50), &files, &[8, 9]), Found::Copied(2));
        assert_eq!(run(&mark(7, 4, 50), &files, &[]), Found::Gone);
    }

    #[test]
    fn nothing_is_decided_while_files_move() {
        let files = [candidate(7, 4, 100, 2, Place::Current), candidate(8, 5, 100, 1, Place::Rotated(-1))];
        let find = |mark: &Mark, at: u64, kind: io::ErrorKind| {
            let holds =
                |candidate: &Candidate| if candidate.meta.ident.ino == at { Err(kind.into()) } else { Ok(false) };
            find(mark, &files, &Known::default(), |_| false, holds).map_err(|error| error.kind())
        };
        let moved = io::ErrorKind::ResourceBusy;
        assert_eq!(find(&mark(7, 4, 50), 7, moved), Err(moved), "the file itself");
        assert_eq!(find(&mark(9, 4, 50), 8, moved), Err(moved), "one that may be its copy");
        assert_eq!(find(&mark(9, 4, 50), 8, io::ErrorKind::PermissionDenied), Ok(Found::Gone));
    }

    #[test]
    fn the_unread_are_ordered_by_time_then_number_and_the_path_comes_last() {
        let mut files = vec![
            candidate(1, 0, 1, 1, Place::Current),
            candidate(2, 0, 1, 5, Place::Rotated(-1)),
            candidate(3, 0, 1, 5, Place::Rotated(-2)),
            candidate(4, 0, 1, 2, Place::Rotated(-9)),
            candidate(5, 0, 1, 3, Place::Other),
            candidate(6, 0, 1, 3, Place::Rotated(-4)),
            candidate(7, 0, 1, 3, Place::Rotated(-5)),
        ];
        files[6].packing = Some(Packing::Other);
        let mut known = Known::default();
        known.insert(files[5].meta.sibling());
        assert_eq!(unread(&files, &known, |_| false), [3, 2, 1, 0]);
        assert_eq!(unread(&files, &known, |ident| ident.ino == 3), [3, 1, 0]);
    }
}
