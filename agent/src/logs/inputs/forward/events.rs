//! Makes records of events, and joins the parts in which Docker sends long lines.

use crate::logs::inputs::source::{Draft, Source};
use crate::logs::inputs::stats::Count;
use crate::logs::intake::Batch;
use skerry_logs::wire::event::Event;
use skerry_logs::wire::forward::{Entry, When};
use skerry_logs::wire::msgpack::Fault;
use skerry_model::{Level, LossReason};

/// Lines in parts that one connection may have open, and their bytes together.
const OPEN_MAX: usize = 16;
const OPEN_BYTES_MAX: usize = 1 << 20;

/// Lines of which parts have come.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    open: Vec<(String, Draft)>,
}

impl Joiner {
    /// Takes an entry. `joins`: parts of lines may wait in memory for the others. Where the sender waits for the
    /// acknowledgement of each part they cannot: then each part is a record, and its fields say of which line.
    ///
    /// # Errors
    /// [`Fault`] if the entry's record is no map of texts.
    pub(super) fn take(
        &mut self,
        entry: Entry<'_>,
        tag: &[u8],
        peer: &str,
        joins: bool,
        source: &Source,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let at = match entry.when {
            When::Mark => return Ok(()),
            When::At(at) => Some(at),
            When::Unknown => None,
        };
        let event = Event::parse(entry.record)?;
        let tag = String::from_utf8_lossy(&tag[..tag.len().min(256)]).into_owned();
        let mut labels = vec![("tag", tag)];
        match event.container {
            Some((id, name)) => {
                labels.push(("container_id", id.chars().take(12).collect()));
                labels.push(("container", name));
            }
            None => labels.push(("host", peer.to_owned())),
        }
        let level = event.level.as_deref().and_then(Level::from_word);
        let mut draft = Draft {
            at,
            labels,
            output: event.output,
            level,
            fields: event.fields,
            line: event.line,
            is_cut: event.is_cut,
        };
        let Some(part) = event.part else {
            source.take(draft, batch);
            return Ok(());
        };
        if !joins {
            draft.fields.push(("partial_id".to_owned(), part.id));
            draft.fields.push(("partial_ordinal".to_owned(), part.ordinal.to_string()));
            draft.fields.push(("partial_last".to_owned(), part.is_last.to_string()));
            source.take(draft, batch);
            return Ok(());
        }
        match self.open.iter_mut().find(|(id, _)| *id == part.id) {
            Some((_, begun)) => {
                begun.is_cut |= draft.is_cut || begun.line.len() + draft.line.len() > source.line_bytes_max;
                let room = source.line_bytes_max.saturating_sub(begun.line.len()).min(draft.line.len());
                begun.line.extend_from_slice(&draft.line[..room]);
            }
            None => self.open.push((part.id.clone(), draft)),
        }
        if part.is_last {
            self.flush(|id| *id == part.id, source, batch);
        }
        while self.open.len() > OPEN_MAX
            || self.open.iter().map(|(_, draft)| draft.line.len()).sum::<usize>() > OPEN_BYTES_MAX
        {
            let oldest = self.open.remove(0);
            source.take(oldest.1, batch);
        }
        Ok(())
    }

    /// Hands on what has come of the lines that `which` names.
    pub(super) fn flush(&mut self, which: impl Fn(&String) -> bool, source: &Source, batch: &mut Batch) {
        for (_, draft) in self.open.extract_if(.., |(id, _)| which(id)) {
            source.take(draft, batch);
        }
    }
}

/// Notes events that could not be read.
pub(super) fn spoilt(fault: &dyn std::fmt::Display, peer: &str, source: &Source, batch: &mut Batch) {
    source.stats.add(Count::Invalid, 1);
    tracing::warn!(source = &*source.name, peer, %fault, "events of a sender cannot be read; the ledger counts them");
    source.lose(LossReason::Parse, None, batch);
}
