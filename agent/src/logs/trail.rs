//! The trail of one path: the file that stands there and the rotated ones that are not read to their end.
//!
//! The oldest generation is read first. A rotated one is kept open until its end and a grace period after its last
//! growth, because its writer may still hold it; in that time the newer ones are read as well.
//!
//! Invariants:
//! - The position of a trail and the records before it leave in the same batch.
//! - A generation is given up only when it is read to its end, or with an entry in the losses.
//! - A trail holds at most [`GENERATIONS_MAX`] files; further ones are opened when one of these is done.

use skerry_model::Mono;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::config::Format;
use super::file::{self, Meta};
use super::generation::{Generation, Role, Round, Turn};
use super::identity::{self, Found};
use super::position::{GENERATIONS_MAX, Ident, Known, Mark, PartialMark, Position, Sibling, digest};
use super::record::{Joiner, Origin};
use super::scan::{self, Candidate, Place};
use super::stats::LogStats;

/// What the trails share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) round: Round,
    pub(super) stats: Arc<LogStats>,
    /// Files that are open, by device and inode.
    pub(super) open: HashMap<(u64, u64), u32>,
    pub(super) open_count: usize,
    pub(super) files_max: usize,
    pub(super) grace_ms: u64,
    pub(super) poll_ms: u64,
    pub(super) retry_ms: u64,
    pub(super) next_id: u64,
}

impl Shared {
    /// Whether some trail reads this file.
    pub(super) fn is_open(&self, ident: Ident) -> bool {
        self.open.contains_key(&(ident.dev, ident.ino))
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn hold(&mut self, ident: Ident) {
        *self.open.entry((ident.dev, ident.ino)).or_insert(0) += 1;
        self.open_count += 1;
    }

    fn release(&mut self, ident: Ident) {
        if let Some(count) = self.open.get_mut(&(ident.dev, ident.ino)) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&(ident.dev, ident.ino));
            }
        }
        self.open_count = self.open_count.saturating_sub(1);
    }
}

/// How to begin with a path that has no stored position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirstLook {
    /// It appeared while its input was known: everything of it is new, rotated generations too.
    All,
    /// It was there before its input: read it, and these rotated generations.
    Listed(Vec<PathBuf>),
    /// It was there before its input: read what is added from now on.
    End,
}

/// What becomes of a trail when the folder of its path is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FolderGone {
    /// The folder may come back, as with a disk that is not mounted: wait.
    Wait,
    /// The folder belongs to the log, as with a container: the log is gone.
    GiveUp,
}

#[derive(Debug)]
enum Phase {
    First(FirstLook),
    Saved(Position),
    Live,
}

/// How a trail's turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advance {
    /// Everything there is was read.
    Idle,
    /// There is more to read.
    More,
}

/// Why a generation was not opened.
enum Unopened {
    Io(io::Error),
    /// As many files are open as may be.
    NoRoom,
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The trail of one path.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) key: String,
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
    /// The writer has ended, as a stopped container: what it left unfinished stays so.
    pub(super) ended: bool,
    /// The position has changed since it was passed on.
    pub(super) dirty: bool,
    /// The batch holds records or losses that the position covers.
    pub(super) in_batch: bool,
    format: Format,
    folder_gone: FolderGone,
    phase: Phase,
    generations: Vec<Generation>,
    known: Known,
    joiner: Joiner,
    checked_at: Option<Mono>,
    retry_at: Mono,
    /// The last turn ended before the end of the file.
    unread: bool,
    /// Rotated files may be there that could not be opened yet.
    incomplete: bool,
    trouble: Option<(&'static str, io::ErrorKind)>,
    waiting: bool,
    /// The file at the path belongs to another trail.
    yielded: bool,
}

/// What a trail is made of.
#[derive(Debug)]
pub(super) struct NewTrail {
    pub(super) key: String,
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
    pub(super) format: Format,
    pub(super) folder_gone: FolderGone,
}

impl Trail {
    /// A path without a stored position.
    pub(super) fn first(new: NewTrail, look: FirstLook) -> Self {
        Self::new(new, Phase::First(look))
    }

    /// A path with a stored position.
    pub(super) fn resumed(new: NewTrail, position: Position) -> Self {
        Self::new(new, Phase::Saved(position))
    }

    fn new(new: NewTrail, phase: Phase) -> Self {
        Self {
            key: new.key,
            path: new.path,
            origin: new.origin,
            format: new.format,
            folder_gone: new.folder_gone,
            phase,
            ended: false,
            dirty: false,
            in_batch: false,
            generations: Vec::new(),
            known: Known::default(),
            joiner: Joiner::default(),
            checked_at: None,
            retry_at: Mono::default(),
            unread: false,
            incomplete: false,
            trouble: None,
            waiting: false,
            yielded: false,
        }
    }

    /// Whether it was looked at for the first time with success.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Whether a file of it waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether a file of it cannot be read.
    pub(super) fn is_unreadable(&self) -> bool {
        self.trouble.is_some()
    }

    /// The stored form of how far it was read.
    pub(super) fn position(&self) -> Position {
        let index = |id: u64| self.generations.iter().position(|generation| generation.id == id);
        let partials = self.joiner.partials().each_ref().map(|partial| {
            let partial = partial.as_ref()?;
            Some(PartialMark { mark: index(partial.generation)?, start: partial.start })
        });
        Position { marks: self.generations.iter().map(Generation::mark).collect(), partials, known: self.known.clone() }
    }

    /// Finds the files of a stored position, so that no other trail takes them for new.
    pub(super) fn resume(&mut self, shared: &mut Shared) {
        if matches!(self.phase, Phase::Saved(_)) && self.retry_at <= shared.round.mono {
            let losses = shared.round.batch.losses.len();
            let begun = self.begin(shared);
            self.note(begun, shared);
            self.in_batch |= shared.round.batch.losses.len() > losses;
        }
    }

    /// One turn: looks at the files, if that is due, and reads what is new.
    pub(super) fn advance(&mut self, shared: &mut Shared) -> Advance {
        let now = shared.round.mono;
        let batch = (shared.round.batch.records.len(), shared.round.batch.losses.len());
        let due = self.checked_at.is_none_or(|at| now.0.saturating_sub(at.0) >= shared.poll_ms);
        if due {
            self.checked_at = Some(now);
            if self.is_live() {
                let checked = self.check(shared);
                self.note(checked, shared);
            } else if self.retry_at <= now {
                let begun = self.begin(shared);
                self.note(begun, shared);
            }
        } else if !self.unread {
            return Advance::Idle;
        }
        self.unread = self.read(shared) == Advance::More || self.finish(shared) == Advance::More;
        self.in_batch |= batch != (shared.round.batch.records.len(), shared.round.batch.losses.len());
        if self.unread { Advance::More } else { Advance::Idle }
    }

    /// Reads the generations from the oldest on. A read error of one does not keep the others from being read.
    fn read(&mut self, shared: &mut Shared) -> Advance {
        let mut index = 0;
        let mut rewrites = 0;
        while index < self.generations.len() {
            let generation = &mut self.generations[index];
            if !generation.has_more() {
                index += 1;
                continue;
            }
            if generation.is_unlisted(shared.round.mono) {
                // Nothing of it was read, so nothing tells whether it was copied away and truncated since it was
                // opened. The copy would lie beside it.
                generation.listed_at = Some(shared.round.mono);
                let discovered = self.discover(shared);
                self.note(discovered, shared);
                continue;
            }
            let before = generation.offset;
            let turn = generation.read(self.format, &mut self.joiner, &self.origin, &mut shared.round);
            self.dirty |= generation.offset != before;
            let unread = generation.scanned != generation.offset;
            if turn.is_ok() {
                self.recovered("read", shared);
            }
            match turn {
                Ok(Turn::End) => index += 1,
                Ok(Turn::More) => return Advance::More,
                Ok(Turn::Rewritten) if rewrites < GENERATIONS_MAX => {
                    rewrites += 1;
                    self.replaced(index, unread, shared);
                }
                Ok(Turn::Rewritten) => return Advance::Idle,
                Err(error) => {
                    shared.round.window.forget();
                    self.report("read", &error, shared);
                    index += 1;
                }
            }
        }
        Advance::Idle
    }

    /// Lets go of rotated files that are read to their end and have been quiet for the grace period.
    fn finish(&mut self, shared: &mut Shared) -> Advance {
        let now = shared.round.mono;
        let quiet = |generation: &Generation| now.0.saturating_sub(generation.quiet_since.0) >= shared.grace_ms;
        if self.ended && !self.joiner.is_empty() && self.generations.iter().all(|g| quiet(g) && !g.has_more()) {
            let (mut sink, _) = shared.round.sink(&self.origin);
            self.dirty |= self.joiner.flush_of(None, &mut sink);
        }
        let mut index = 0;
        while index < self.generations.len() {
            let generation = &mut self.generations[index];
            let done = generation.role == Role::Rotated
                && now.0.saturating_sub(generation.quiet_since.0) >= shared.grace_ms
                && !generation.has_more();
            if !done {
                index += 1;
                continue;
            }
            if shared.round.batch.is_full() {
                return Advance::More;
            }
            let finished = generation.finish(self.format, &mut self.joiner, &self.origin, &mut shared.round);
            if let Err(error) = finished {
                // It stays, and is tried again: what it holds is not given up for a read error.
                self.report("read", &error, shared);
                index += 1;
                continue;
            }
            if let Ok(meta) = file::look_open(&generation.file) {
                self.known.insert(meta.sibling());
            }
            self.drop_generation(index, shared);
        }
        Advance::Idle
    }

    fn drop_generation(&mut self, index: usize, shared: &mut Shared) -> Generation {
        let generation = self.generations.remove(index);
        shared.release(generation.ident);
        self.dirty = true;
        generation
    }

    /// Looks at what stands at the path now, and at the rotated files.
    fn check(&mut self, shared: &mut Shared) -> Result<(), Unopened> {
        let now = shared.round.mono;
        let mut result = Ok(());
        match file::look(&self.path) {
            Ok(meta) => self.incomplete |= self.check_path(&meta, shared),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.demote(shared),
            // The path cannot be looked at, but what is open can.
            Err(error) => result = Err(error.into()),
        }
        let mut index = 0;
        while index < self.generations.len() {
            let generation = &mut self.generations[index];
            let looked = file::look_open(&generation.file);
            let intact = match looked.and_then(|meta| generation.observe(&meta, now)) {
                Ok(intact) => intact,
                Err(error) => {
                    result = Err(error.into());
                    true
                }
            };
            if intact {
                index += 1;
            } else {
                let unread = generation.size > generation.offset;
                self.replaced(index, unread, shared);
                // A copy that took its place is whole; any other generation there is looked at in its turn.
            }
        }
        if self.incomplete && !self.yielded && self.retry_at <= now {
            self.verify(shared);
            result = result.and(self.discover(shared));
        }
        result
    }

    /// Compares what changed, before it is decided which files are new: a file that was truncated and then renamed
    /// is both.
    fn verify(&mut self, shared: &mut Shared) {
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

    /// Whether generations are there that are not open.
    fn check_path(&mut self, meta: &Meta, shared: &mut Shared) -> bool {
        let same = |ident: Ident| (ident.dev, ident.ino) == (meta.ident.dev, meta.ident.ino);
        let current = self.generations.iter().position(|generation| generation.role == Role::Current);
        if current.is_some_and(|at| same(self.generations[at].ident)) {
            return false;
        }
        self.demote(shared);
        if let Some(back) = self.generations.iter().position(|generation| same(generation.ident)) {
            // Renamed away and back again.
            self.generations[back].role = Role::Current;
            self.generations[back..].rotate_left(1);
            self.dirty = true;
            return false;
        }
        // Another trail reads this very file: it is a second name of it, or a rotated file of another path that came
        // to stand where an older one had a trail of its own. From now on the other trail follows it.
        self.yielded |= shared.is_open(meta.ident);
        !self.yielded
    }

    /// The current generation, if there is one, is no longer what the path names.
    fn demote(&mut self, shared: &mut Shared) {
        for generation in &mut self.generations {
            if generation.role == Role::Current {
                generation.role = Role::Rotated;
                generation.quiet_since = shared.round.mono;
                shared.stats.rotations.add(1);
                self.dirty = true;
            }
        }
    }

    /// The content of a generation was replaced: truncated or rewritten in place. If its bytes were copied away
    /// before, as copytruncate does, the copy goes on in its stead; else what was unread is lost.
    fn replaced(&mut self, index: usize, unread: bool, shared: &mut Shared) {
        shared.stats.truncations.add(1);
        shared.round.window.forget();
        let old = self.drop_generation(index, shared);
        let mark = old.mark();
        let candidates = scan::family(&self.path, &[]).unwrap_or_default();
        let found = identity::find(
            &mark,
            &candidates,
            &self.known,
            |ident| shared.is_open(ident) || ident.same_inode(mark.ident),
            |candidate| holds(candidate, &mark),
        );
        if let Ok(Found::Copied(at)) = found
            && let Ok(copy) = self.open(&candidates[at], Role::Rotated, Some(&mark), old.id, shared)
        {
            self.generations.insert(index, copy);
        } else if mark.offset > 0 || identity::unread(&candidates, &self.known, |i| i.same_inode(mark.ident)).is_empty()
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
        let discovered = self.discover_among(candidates, shared);
        self.note(discovered, shared);
    }

    fn discover(&mut self, shared: &mut Shared) -> Result<(), Unopened> {
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
    fn discover_among(&mut self, candidates: Vec<Candidate>, shared: &mut Shared) -> Result<(), Unopened> {
        let present: Vec<Sibling> = rotated(&candidates).map(|candidate| candidate.meta.sibling()).collect();
        self.known.retain(&present);
        for candidate in rotated(&candidates) {
            let ident = candidate.meta.ident;
            if shared.is_open(ident) && !self.generations.iter().any(|generation| generation.ident == ident) {
                // Another trail reads it and will have read it when it lets go.
                self.known.insert(candidate.meta.sibling());
            }
        }
        let unread = identity::unread(&candidates, &self.known, |ident| shared.is_open(ident));
        self.open_all(unread.into_iter().map(|at| &candidates[at]), shared)
    }

    fn open_all<'a>(
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
                Err(Unopened::Io(error)) if error.kind() == io::ErrorKind::NotFound => self.incomplete = true,
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
    fn open(
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
        let (file, meta) = file::open(&candidate.path)?;
        if meta.ident != candidate.meta.ident {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        let mut generation = Generation::begin(id, file, meta, role, &shared.round);
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

    /// The first look at the path.
    fn begin(&mut self, shared: &mut Shared) -> Result<(), Unopened> {
        match &self.phase {
            Phase::Live => Ok(()),
            Phase::First(look) => {
                let look = look.clone();
                self.begin_first(&look, shared)
            }
            Phase::Saved(position) => {
                let position = position.clone();
                self.begin_saved(&position, shared)
            }
        }
    }

    fn begin_first(&mut self, look: &FirstLook, shared: &mut Shared) -> Result<(), Unopened> {
        let candidates = match scan::family(&self.path, &[]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            candidates => candidates?,
        };
        // The file at the path decides whether the look succeeds: nothing is settled before it could be opened.
        if let Some(current) = candidates.iter().find(|candidate| candidate.place == Place::Current)
            && !shared.is_open(current.meta.ident)
        {
            if shared.open_count >= shared.files_max {
                return Err(Unopened::NoRoom);
            }
            drop(file::open(&current.path)?);
        }
        let listed = |candidate: &&Candidate| match look {
            FirstLook::All => true,
            FirstLook::Listed(paths) => paths.contains(&candidate.path),
            FirstLook::End => false,
        };
        self.known = Known::default();
        for candidate in rotated(&candidates).filter(|candidate| !listed(candidate)) {
            self.known.insert(candidate.meta.sibling());
        }
        self.phase = Phase::Live;
        self.dirty = true;
        let opened = self.discover_among(candidates, shared);
        if *look == FirstLook::End {
            for generation in &mut self.generations {
                generation.go_to_end(shared.round.line_bytes_max)?;
            }
        }
        opened
    }

    fn begin_saved(&mut self, position: &Position, shared: &mut Shared) -> Result<(), Unopened> {
        let inodes: Vec<u64> = position.marks.iter().map(|mark| mark.ident.ino).collect();
        let candidates = match scan::family(&self.path, &inodes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder_gone == FolderGone::GiveUp => {
                Vec::new()
            }
            candidates => candidates?,
        };
        self.known = position.known.clone();
        // Opened all or none: on an error this look is made again from the stored position.
        let mut opened: Vec<(usize, Generation, bool)> = Vec::new();
        let mut gone = Vec::new();
        for (index, mark) in position.marks.iter().enumerate() {
            let taken = |ident: Ident| {
                shared.is_open(ident) || opened.iter().any(|(_, generation, _)| generation.ident == ident)
            };
            let found = identity::find(mark, &candidates, &self.known, taken, |candidate| holds(candidate, mark));
            let at = match found {
                Ok(Found::Same(at) | Found::Copied(at)) => at,
                Ok(Found::Gone) => {
                    gone.push(index);
                    continue;
                }
                Err(error) => return Err(self.close(opened, error.into(), shared)),
            };
            let current = candidates[at].place == Place::Current;
            let role = if current { Role::Current } else { Role::Rotated };
            let id = shared.fresh_id();
            match self.open(&candidates[at], role, Some(mark), id, shared) {
                Ok(generation) => opened.push((index, generation, current)),
                Err(error) => return Err(self.close(opened, error, shared)),
            }
        }
        let replayed = self.restore_partials(position, &opened, shared);
        if let Err(error) = replayed {
            self.joiner = Joiner::default();
            return Err(self.close(opened, error, shared));
        }
        let newest_in_place = opened.last().is_some_and(|(_, _, current)| *current);
        self.phase = Phase::Live;
        self.dirty |= !gone.is_empty() || !newest_in_place;
        for index in gone {
            self.given_up(&position.marks[index], shared);
        }
        self.generations = opened.into_iter().map(|(_, generation, _)| generation).collect();
        if newest_in_place {
            return Ok(());
        }
        self.discover_among(candidates, shared)
    }

    /// Lets go of what was opened, for another attempt.
    fn close(&self, opened: Vec<(usize, Generation, bool)>, error: Unopened, shared: &mut Shared) -> Unopened {
        for (_, generation, _) in opened {
            shared.release(generation.ident);
        }
        error
    }

    fn given_up(&self, mark: &Mark, shared: &mut Shared) {
        if mark.finished {
            return;
        }
        tracing::warn!(
            path = %self.path.display(),
            offset = mark.offset,
            "a log file that was not read to its end is gone, truncated or compressed: lines are missing; \
             keep rotated files uncompressed for longer than the agent may be down (delaycompress)"
        );
        shared.round.lose_file(&self.origin, mark.read_at);
    }

    /// Reads the begins of unfinished joined records again, from the generations and the marks they belong to.
    fn restore_partials(
        &mut self,
        position: &Position,
        opened: &[(usize, Generation, bool)],
        shared: &mut Shared,
    ) -> Result<(), Unopened> {
        for (slot, partial) in position.partials.iter().enumerate() {
            let Some(partial) = partial else { continue };
            if !opened.iter().any(|(index, ..)| *index == partial.mark) {
                // Its file is gone, which stands in the losses.
                continue;
            }
            for (index, generation, _) in opened.iter().filter(|(index, ..)| *index >= partial.mark) {
                let start = if *index == partial.mark { partial.start } else { 0 };
                let span = start..generation.offset;
                generation.replay(span, slot, &mut self.joiner, &self.origin, &mut shared.round)?;
            }
        }
        Ok(())
    }

    /// Whether nothing of it is left: no file of its own, and no rotated sibling that must be remembered.
    pub(super) fn is_gone(&mut self) -> bool {
        let settled = !matches!(self.phase, Phase::Saved(_));
        if !settled || !self.generations.is_empty() || !self.joiner.is_empty() {
            return false;
        }
        if self.yielded {
            return true;
        }
        match scan::family(&self.path, &[]) {
            Ok(candidates) => {
                let present: Vec<Sibling> = rotated(&candidates).map(|candidate| candidate.meta.sibling()).collect();
                self.known.retain(&present);
                candidates.is_empty() && self.known.is_empty()
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Takes note of how a look ended; reports when that changed.
    fn note(&mut self, result: Result<(), Unopened>, shared: &mut Shared) {
        match result {
            // While generations are missing the look is not over: it was only put off.
            Ok(()) if self.incomplete && !self.yielded => {}
            Ok(()) => {
                self.waiting = false;
                self.recovered("open", shared);
            }
            Err(Unopened::NoRoom) => {
                self.waiting = true;
                self.retry_at = Mono(shared.round.mono.0.saturating_add(shared.retry_ms));
            }
            Err(Unopened::Io(error)) => self.report("open", &error, shared),
        }
    }

    fn report(&mut self, action: &'static str, error: &io::Error, shared: &mut Shared) {
        shared.stats.read_errors.add(1);
        self.retry_at = Mono(shared.round.mono.0.saturating_add(shared.retry_ms));
        let trouble = Some((action, error.kind()));
        if std::mem::replace(&mut self.trouble, trouble) != trouble {
            let advice = advice(error.kind());
            tracing::warn!(path = %self.path.display(), action, %error, advice, "log file cannot be read");
            let problem = format!("cannot {action} {}: {error}; {advice}", self.path.display());
            shared.stats.problem(&self.path, problem);
        }
    }

    fn recovered(&mut self, action: &'static str, shared: &mut Shared) {
        if self.trouble.is_some_and(|(failed, _)| failed == action) {
            self.trouble = None;
            shared.stats.solved(&self.path);
            tracing::info!(path = %self.path.display(), action, "log file can be read again");
        }
    }
}

/// What to do about a file that cannot be read.
fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "give the agent's user the right to read it (group adm, an ACL, or CAP_DAC_READ_SEARCH); it is tried again"
        }
        io::ErrorKind::NotFound => "mount or create its folder, or take it out of logs.files; it is tried again",
        io::ErrorKind::InvalidInput => "leave it out with logs.files[].exclude: only regular files can be read",
        _ => "check the disk or the network mount it lies on; it is tried again",
    }
}

fn rotated(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    candidates.iter().filter(|candidate| matches!(candidate.place, Place::Rotated(_)) && !candidate.compressed)
}

/// Whether the content of a candidate before a mark's offset is the mark's.
fn holds(candidate: &Candidate, mark: &Mark) -> io::Result<bool> {
    let (file, _) = file::open(&candidate.path)?;
    let print = file::Print::read(&file, mark.offset)?;
    Ok(print.is_some_and(|print| digest(&print.head) == mark.head && digest(&print.tail) == mark.tail))
}
