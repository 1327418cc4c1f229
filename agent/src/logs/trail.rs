//! The trail of one path: the file that stands there and the rotated ones that are not read to their end.
//!
//! The oldest generation is read first. A rotated one is kept open until its end and a grace period after its last
//! growth, because its writer may still hold it; in that time the newer ones are read as well.
//!
//! Invariants:
//! - The position of a trail and the records before it leave in the same batch.
//! - A generation is given up only when it is read to its end, or with an entry in the losses.
//! - A trail holds at most [`GENERATIONS_MAX`] files; further ones are opened when one of these is done.

mod begin;
mod discover;

use skerry_model::Mono;
use std::io;
use std::path::PathBuf;

use super::config::Format;
use super::file::{self, Meta};
use super::generation::{Generation, Role, Turn};
use super::position::{GENERATIONS_MAX, Ident, Known, PartialMark, Position};
use super::record::{Joiner, Origin};
use super::scan;
use super::shared::{Shared, Unopened};

/// Looks in a row that may meet files being renamed before that is told as trouble.
const MOVED_MAX: u32 = 20;

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
    /// Looks in a row that met files being renamed.
    moved: u32,
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
            moved: 0,
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
        let partials = std::array::from_fn(|slot| {
            let begun = self.joiner.begun(slot)?;
            Some(PartialMark { mark: index(begun.generation)?, start: begun.start })
        });
        Position { marks: self.generations.iter().map(Generation::mark).collect(), partials, known: self.known.clone() }
    }

    /// Finds the files of a stored position, so that no other trail takes them for new.
    pub(super) fn resume(&mut self, shared: &mut Shared) {
        if matches!(self.phase, Phase::Saved(_)) && self.retry_at <= shared.round.mono {
            let taken = shared.round.batch.taken();
            let begun = self.begin(shared);
            self.note(begun, shared);
            self.in_batch |= shared.round.batch.taken() > taken;
        }
    }

    /// One turn: looks at the files, if that is due, and reads what is new.
    pub(super) fn advance(&mut self, shared: &mut Shared) -> Advance {
        let now = shared.round.mono;
        let taken = shared.round.batch.taken();
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
        // One that has to wait is looked at, so that no rotation is missed, and read when there is room.
        let is_closed = shared.gate.is_closed(&self.origin.labels);
        self.unread = is_closed || self.read(shared) == Advance::More || self.finish(shared) == Advance::More;
        if !self.unread {
            // While there is more to read, the next line may stand there already.
            let (mut sink, _) = shared.round.sink(&self.origin);
            self.dirty |= self.joiner.flush_due(&mut sink);
        }
        self.in_batch |= shared.round.batch.taken() > taken;
        if self.unread && !is_closed { Advance::More } else { Advance::Idle }
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
                Err(error) if is_stale(&error) => {
                    self.reopen(shared);
                    return Advance::Idle;
                }
                Err(error) => {
                    shared.round.window.forget();
                    if self.generations[index].content.is_packed() && is_damage(error.kind()) {
                        self.give_up_packed(index, &error, shared);
                        continue;
                    }
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
            if let Ok(sibling) = generation.sibling() {
                self.known.insert(sibling);
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
            let looked = generation.content.look();
            let intact = match looked.and_then(|meta| generation.observe(&meta, now)) {
                Ok(intact) => intact,
                Err(error) if is_stale(&error) => {
                    self.reopen(shared);
                    return Ok(());
                }
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

    /// Lets go of all files, to find them again by the position as after a restart. A network file system's handles end
    /// when its server forgets them, and the files may be there all the same.
    pub(super) fn reopen(&mut self, shared: &mut Shared) {
        let position = self.position();
        for generation in std::mem::take(&mut self.generations) {
            shared.release(generation.ident);
        }
        self.joiner.forget(&mut shared.round.partial_bytes);
        shared.round.window.forget();
        self.phase = Phase::Saved(position);
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
                self.remember(&candidates);
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
                (self.waiting, self.moved) = (false, 0);
                self.recovered("open", shared);
            }
            Err(Unopened::NoRoom) => {
                self.waiting = true;
                self.retry_at = Mono(shared.round.mono.0.saturating_add(shared.retry_ms));
            }
            // A rotator is at work: the next look finds the files where they are then.
            Err(Unopened::Io(error)) if scan::is_moved(&error) && self.moved < MOVED_MAX => self.moved += 1,
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

fn is_stale(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StaleNetworkFileHandle
}

/// Whether an error of reading compressed content is the content's, and will be the same again.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other
    )
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
