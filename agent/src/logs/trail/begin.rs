//! The first look of a trail: at a path that is new, or for the files of a stored position.

use std::io;

use super::super::file;
use super::super::generation::{Generation, Role};
use super::super::identity::{self, Found};
use super::super::position::{Ident, Known, Mark, Position};
use super::super::scan::{self, Candidate, Place};
use super::super::shared::{Shared, Unopened};
use super::discover::{holds, is_unread_packed, rotated, sibling_of};
use super::{FirstLook, FolderGone, Phase, Trail};

impl Trail {
    /// The first look at the path.
    pub(super) fn begin(&mut self, shared: &mut Shared) -> Result<(), Unopened> {
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
            self.known.insert(sibling_of(candidate));
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
            self.joiner.forget(&mut shared.round.partial_bytes);
            return Err(self.close(opened, error, shared));
        }
        let newest_in_place = opened.last().is_some_and(|(_, _, current)| *current);
        self.phase = Phase::Live;
        self.dirty |= !gone.is_empty() || !newest_in_place;
        let packed = candidates.iter().any(|candidate| is_unread_packed(candidate, &self.known));
        for index in gone {
            let mark = &position.marks[index];
            // Of which nothing was read, is read from the begin of its compressed file.
            if mark.offset > 0 || !packed {
                self.given_up(mark, shared);
            }
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
                generation.replay(self.format, span, slot, &mut self.joiner, &self.origin, &mut shared.round)?;
            }
        }
        Ok(())
    }
}
