//! Finds and opens the generations of a trail that were not read yet, and the copies of those that were truncated.

use skerry_model::UnixMillis;
use std::io;

use super::super::content::{Content, Packing};
use super::super::file::Print;
use super::super::generation::{Generation, Role};
use super::super::identity::{self, Found};
use super::super::position::{GENERATIONS_MAX, Ident, Known, Mark, PRINT_BYTES, Sibling};
use super::super::scan::{self, Candidate, Place, is_moved};
use super::super::shared::{Shared, Unopened};
use super::Trail;

/// How often the copy of a truncated file is looked for while files move.
const COPY_TRIES: usize = 8;

impl Trail {
    /// Compares what changed, before it is decided which files are new: a file that was truncated and then renamed
    /// is both.
    pub(super) fn verify(&mut self, shared: &mut Shared) {
        let mut index = 0;
        while index < self.generations.len() {
            let generation = &self.generations[index];
            // What cannot be read now is compared when it is read.
            if generation.has_more() && !generation.is_intact().unwrap_or(true) {
                let unread = generation.scanned != generation.offset;
                self.replaced(index, unread, shared);
            }
            index += 1;
        }
    }

    /// The content of a generation was replaced: truncated or rewritten in place. If its bytes were copied away
    /// before, as copytruncate does, the copy goes on in its stead; else what was unread is lost.
    pub(super) fn replaced(&mut self, index: usize, unread: bool, shared: &mut Shared) {
        shared.stats.truncations.add(1);
        shared.round.window.forget();
        let old = self.drop_generation(index, shared);
        let mark = old.mark();
        let (candidates, copy) = self.find_copy(&mark, old.id, shared);
        if let Some(copy) = copy {
            self.generations.insert(index, copy);
        } else if mark.offset > 0
            || candidates.as_ref().is_none_or(|candidates| self.has_none_unread(candidates, &mark))
        {
            tracing::warn!(
                path = %self.path.display(),
                unread,
                "log file was truncated and no copy of it is there: lines written just before are missing; \
                 rotate by rename, or with copytruncate keep the copy uncompressed for a while (delaycompress)"
            );
            if unread {
                shared.round.lose_file(&self.origin, old.read_at);
            }
            let (mut sink, _) = shared.round.sink(&self.origin);
            self.joiner.flush_of(Some(old.id), &mut sink);
        }
        match candidates {
            Some(candidates) => {
                let discovered = self.discover_among(candidates, shared);
                self.note(discovered, shared);
            }
            // What is there is not known now, so nothing is forgotten either.
            None => self.incomplete = true,
        }
    }

    fn has_none_unread(&self, candidates: &[Candidate], mark: &Mark) -> bool {
        identity::unread(candidates, &self.known, |ident| ident.same_inode(mark.ident)).is_empty()
    }

    /// The files that are there, where they can be listed, and among them the copy of one that was truncated, opened.
    /// While files move they are listed again, for a while: the content is gone, and nobody can wait for a better moment.
    fn find_copy(&self, mark: &Mark, id: u64, shared: &mut Shared) -> (Option<Vec<Candidate>>, Option<Generation>) {
        for _ in 0..COPY_TRIES {
            let candidates = match scan::family(&self.path, &[]) {
                Ok(candidates) => candidates,
                Err(error) if is_moved(&error) => continue,
                Err(_) => break,
            };
            let taken = |ident: Ident| shared.is_open(ident) || ident.same_inode(mark.ident);
            let found = identity::find(mark, &candidates, &self.known, taken, |candidate| holds(candidate, mark));
            let copy = match found {
                Ok(Found::Copied(at)) => self.open(&candidates[at], Role::Rotated, Some(mark), id, shared).map(Some),
                Ok(_) => Ok(None),
                Err(error) => Err(error.into()),
            };
            match copy {
                Err(Unopened::Io(error)) if is_moved(&error) => {}
                copy => return (Some(candidates), copy.ok().flatten()),
            }
        }
        (None, None)
    }

    pub(super) fn discover(&mut self, shared: &mut Shared) -> Result<(), Unopened> {
        let candidates = match scan::family(&self.path, &[]) {
            Ok(candidates) => candidates,
            Err(error) => {
                self.incomplete = true;
                return Err(error.into());
            }
        };
        self.discover_among(candidates, shared)
    }

    /// Opens every generation that was never read, oldest first.
    pub(super) fn discover_among(&mut self, candidates: Vec<Candidate>, shared: &mut Shared) -> Result<(), Unopened> {
        self.remember(&candidates);
        for candidate in rotated(&candidates) {
            let ident = candidate.meta.ident;
            if shared.is_open(ident) && !self.generations.iter().any(|generation| generation.ident == ident) {
                // Another trail reads it and will have read it when it lets go.
                self.known.insert(sibling_of(candidate));
            }
        }
        self.give_up_unreadable(&candidates, shared);
        let mut unread = identity::unread(&candidates, &self.known, |ident| shared.is_open(ident));
        let being_read: Vec<u64> = self
            .generations
            .iter()
            .filter_map(|generation| {
                let size = generation.content.look().ok()?.size;
                (!generation.content.is_packed()).then(|| generation.content.whole(size).ok()).flatten()
            })
            .collect();
        // What was compressed while it is read is read to its end where it is open.
        unread.retain(|at| {
            let candidate = &candidates[*at];
            candidate.packing.is_none() || !being_read.contains(&sibling_of(candidate).content)
        });
        let found = unread.len();
        let now = shared.round.wall;
        let young = |candidate: &Candidate| {
            candidate.meta.size == 0 && now.0 - candidate.meta.sibling().modified_ms < shared.retry_ms.cast_signed()
        };
        unread.retain(|at| candidates[*at].place == Place::Current || !young(&candidates[*at]));
        let growing = unread.len() < found;
        unread.retain(|at| !self.is_copy(&candidates[*at], &candidates));
        let opened = self.open_all(unread.into_iter().map(|at| &candidates[at]), shared);
        // An empty file may be a copy that has just begun.
        self.incomplete |= growing;
        opened
    }

    /// Whether a rotated file holds what stands in a file that is read anyway, as far as it goes: copytruncate copies,
    /// and has not truncated yet. When it has, the copy is found by its content.
    fn is_copy(&self, candidate: &Candidate, candidates: &[Candidate]) -> bool {
        let size = candidate.meta.size;
        if candidate.place == Place::Current || size == 0 {
            return false;
        }
        let print = |content: &Content| Print::read(content, size).ok().flatten();
        let open = |candidate: &Candidate| candidate.open().ok();
        let Some(own) = open(candidate).and_then(|(content, _)| print(&content)) else { return false };
        let current = candidates.iter().find(|candidate| candidate.place == Place::Current).and_then(open);
        let read = self.generations.iter().map(|generation| &generation.content).filter(|content| !content.is_packed());
        read.chain(current.iter().map(|(content, _)| content)).any(|content| print(content) == Some(own))
    }

    /// Forgets the siblings that are not there any more; those that were compressed since are the same.
    pub(super) fn remember(&mut self, candidates: &[Candidate]) {
        let mut present = Vec::new();
        for candidate in rotated(candidates) {
            let mut sibling = candidate.meta.sibling();
            if candidate.packing.is_some_and(Packing::is_read) && !self.known.contains(sibling) {
                sibling = sibling_of(candidate);
                if self.known.has_content(sibling.content) {
                    self.known.insert(sibling);
                }
            }
            present.push(sibling);
        }
        self.known.retain(&present);
    }

    /// Rotated files that were compressed in a way that is not read here, and that are not known by their time: what
    /// they hold is given up, once.
    fn give_up_unreadable(&mut self, candidates: &[Candidate], shared: &mut Shared) {
        for candidate in rotated(candidates).filter(|candidate| candidate.packing == Some(Packing::Other)) {
            let sibling = candidate.meta.sibling();
            let is_read = |generation: &Generation| {
                generation.modified_ns / 1_000_000_000 == candidate.meta.modified_ns / 1_000_000_000
            };
            if self.known.contains(sibling) {
                continue;
            }
            if !self.known.has_time(sibling.modified_ms) && !self.generations.iter().any(is_read) {
                tracing::warn!(
                    path = %candidate.path.display(),
                    "a rotated log file was compressed before it was read, in a way that cannot be read: lines may be \
                     missing; compress with gzip or zstd, or later (delaycompress)"
                );
                shared.round.lose_file(&self.origin, UnixMillis(sibling.modified_ms));
            }
            self.known.insert(sibling);
            self.dirty = true;
        }
    }

    /// A compressed file is damaged: what was not read of it is lost.
    pub(super) fn give_up_packed(&mut self, index: usize, error: &io::Error, shared: &mut Shared) {
        let generation = self.drop_generation(index, shared);
        tracing::warn!(path = %self.path.display(), %error, "a compressed log file is damaged: lines are missing");
        shared.stats.read_errors.add(1);
        shared.round.lose_file(&self.origin, generation.read_at);
        if let Ok(meta) = generation.content.look() {
            self.known.insert(meta.sibling());
        }
        let (mut sink, _) = shared.round.sink(&self.origin);
        self.joiner.flush_of(Some(generation.id), &mut sink);
    }

    pub(super) fn open_all<'a>(
        &mut self,
        unread: impl Iterator<Item = &'a Candidate>,
        shared: &mut Shared,
    ) -> Result<(), Unopened> {
        self.incomplete = false;
        let mut result = Ok(());
        for candidate in unread {
            if self.generations.len() >= GENERATIONS_MAX {
                self.incomplete = true;
                break;
            }
            let role = if candidate.place == Place::Current { Role::Current } else { Role::Rotated };
            let id = shared.fresh_id();
            match self.open(candidate, role, None, id, shared) {
                Ok(generation) => {
                    self.generations.push(generation);
                    self.dirty = true;
                }
                Err(Unopened::Io(error)) if is_moved(&error) => self.incomplete = true,
                Err(Unopened::NoRoom) => {
                    self.incomplete = true;
                    result = Err(Unopened::NoRoom);
                    break;
                }
                Err(error) => {
                    self.incomplete = true;
                    result = Err(error);
                }
            }
        }
        // What was found beside generations of which nothing was read yet may be older than they, and is older than
        // the current one.
        let begun = self.generations.iter().rposition(|generation| generation.offset > 0).map_or(0, |at| at + 1);
        self.generations[begun..].sort_by_key(|generation| generation.modified_ns);
        if let Some(at) = self.generations.iter().position(|generation| generation.role == Role::Current) {
            self.generations[at..].rotate_left(1);
        }
        result
    }

    /// Opens a candidate, which must still be the file that was looked at.
    pub(super) fn open(
        &self,
        candidate: &Candidate,
        role: Role,
        mark: Option<&Mark>,
        id: u64,
        shared: &mut Shared,
    ) -> Result<Generation, Unopened> {
        // What was open before a restart is opened whatever the limit is now, or it could wait for ever.
        if mark.is_none() && shared.open_count >= shared.files_max {
            return Err(Unopened::NoRoom);
        }
        let (content, meta) = candidate.open()?;
        let mut generation = Generation::begin(id, content, meta, role, &shared.round);
        if let Some(mark) = mark {
            if !generation.go_to(mark.offset, mark.skipping)? {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            generation.read_at = mark.read_at;
            generation.listed_at = None;
        }
        shared.hold(generation.ident);
        Ok(generation)
    }
}

pub(super) fn rotated(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    candidates.iter().filter(|candidate| matches!(candidate.place, Place::Rotated(_)))
}

/// A rotated file as it is remembered, with its content.
pub(super) fn sibling_of(candidate: &Candidate) -> Sibling {
    let content = candidate.open().and_then(|(content, meta)| content.whole(meta.size));
    Sibling { content: content.unwrap_or(0), ..candidate.meta.sibling() }
}

/// Whether it is a compressed file that was not read, and can be.
pub(super) fn is_unread_packed(candidate: &Candidate, known: &Known) -> bool {
    candidate.packing.is_some_and(Packing::is_read) && !known.contains(candidate.meta.sibling())
}

/// Whether the content of a candidate before a mark's offset is the mark's.
pub(super) fn holds(candidate: &Candidate, mark: &Mark) -> io::Result<bool> {
    let (content, _) = candidate.open()?;
    // The begin first: to look at the end of compressed content takes decompressing all before it.
    let begin = Print::read(&content, mark.offset.min(PRINT_BYTES as u64))?;
    if begin.is_none_or(|begin| begin.digests().0 != mark.head) {
        return Ok(false);
    }
    let print = Print::read(&content, mark.offset)?;
    Ok(print.is_some_and(|print| print.digests() == (mark.head, mark.tail)))
}
