//! The fields of the record that is at work: one text, and places in it, used again for each record.

use crate::parse::Value;

/// Most fields of one record, and most bytes of their names and values.
pub(super) const FIELDS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 4 << 20;
/// What is kept allocated between records.
const IDLE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Clone, Copy)]
struct Slot {
    name: (u32, u32),
    value: (u32, u32),
    mark: Mark,
    bare: bool,
}

/// What becomes of a field at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Later stages see it, and nobody after them.
    Seen,
    /// It is stored as structured metadata.
    Kept,
    /// It was removed, and hides what the record brought under its name.
    Gone,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) mark: Mark,
    /// A number or boolean of JSON.
    pub(super) bare: bool,
}

/// The fields of one record.
#[derive(Debug, Default)]
pub(super) struct Fields {
    text: String,
    slots: Vec<Slot>,
    /// Fields found no room.
    pub(super) full: bool,
    /// Memory that is given back is overwritten first.
    wipe: bool,
}

impl Fields {
    /// None yet. `wipe`: memory that is given back or used again is overwritten first.
    pub(super) fn new(wipe: bool) -> Self {
        Self { wipe, ..Self::default() }
    }

    /// Makes room for the next record.
    pub(super) fn clear(&mut self) {
        if self.wipe {
            wipe(&mut self.text);
        }
        self.text.clear();
        if self.text.capacity() > IDLE_BYTES_MAX {
            self.text = String::new();
            self.slots = Vec::new();
        }
        self.slots.clear();
        self.full = false;
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn part(&self, (from, to): (u32, u32)) -> &str {
        &self.text[from as usize..to as usize]
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| (slot.name.1 - slot.name.0) as usize == name.len() && self.part(slot.name) == name)
    }

    fn field(&self, slot: &Slot) -> Field<'_> {
        Field { name: self.part(slot.name), value: self.part(slot.value), mark: slot.mark, bare: slot.bare }
    }

    /// The field of that name, gone or not.
    pub(super) fn find(&self, name: &str) -> Option<Field<'_>> {
        self.position(name).map(|at| self.field(&self.slots[at]))
    }

    /// All fields, in the order they came, with those that are gone.
    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.slots.iter().map(|slot| self.field(slot))
    }

    fn append(&mut self, write: impl FnOnce(&mut String)) -> (u32, u32) {
        let from = self.text.len() as u32;
        write(&mut self.text);
        (from, self.text.len() as u32)
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let needed = self.text.len() + bytes;
        if needed > TEXT_BYTES_MAX {
            self.full = true;
            return false;
        }
        // Not left to the text itself, which would free its old memory as it is.
        if needed > self.text.capacity() {
            let mut wider = String::with_capacity(needed.max(2 * self.text.capacity()).max(1024));
            wider.push_str(&self.text);
            if self.wipe {
                wipe(&mut self.text);
            }
            self.text = wider;
        }
        true
    }

    /// Adds a field that a parser tells, from slot `since` on; the first of a name wins.
    pub(super) fn add(&mut self, since: usize, name: &str, value: Value<'_>) {
        if self.slots.len() == FIELDS_MAX {
            self.full = true;
            return;
        }
        let known = self.slots.get(since..).unwrap_or_default();
        if known.iter().any(|slot| self.part(slot.name) == name) {
            return;
        }
        let text = value.text_len_max();
        if !self.has_room(name.len() + text) {
            return;
        }
        let name = self.append(|text| text.push_str(name));
        let at = self.append(|text| value.append_to(text));
        self.slots.push(Slot { name, value: at, mark: Mark::Seen, bare: value.is_bare() });
    }

    /// Ends what a parser added from slot `since` on: fields of the same name that were there before it are replaced.
    pub(super) fn settle(&mut self, since: usize) {
        if since == 0 {
            return;
        }
        let added: Vec<Slot> = self.slots.drain(since..).collect();
        for slot in added {
            match self.slots.iter().position(|old| self.part(old.name) == self.part(slot.name)) {
                Some(at) => {
                    let kept = self.slots[at].mark == Mark::Kept;
                    self.slots[at] = Slot { mark: if kept { Mark::Kept } else { slot.mark }, ..slot };
                }
                None => self.slots.push(slot),
            }
        }
    }

    /// Takes back what was added from slot `since` on.
    pub(super) fn forget(&mut self, since: usize) {
        self.slots.truncate(since);
    }

    /// Sets a field.
    pub(super) fn set(&mut self, name: &str, value: &str, mark: Mark, bare: bool) {
        if !self.has_room(name.len() + value.len()) {
            return;
        }
        let value = self.append(|text| text.push_str(value));
        match self.position(name) {
            Some(at) => self.slots[at] = Slot { value, mark, bare, ..self.slots[at] },
            None if self.slots.len() == FIELDS_MAX => self.full = true,
            None => {
                let name = self.append(|text| text.push_str(name));
                self.slots.push(Slot { name, value, mark, bare });
            }
        }
    }

    /// Gives a field another name; one that had it is gone. Nothing happens where there is no such field.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let Some(at) = self.position(from).filter(|at| self.slots[*at].mark != Mark::Gone) else { return };
        if from == to || !self.has_room(to.len() + from.len()) {
            return;
        }
        self.mark(to, Mark::Gone);
        if let Some(old) = self.position(to) {
            // Two slots of one name would hide each other: the one that is gone gets the name that becomes free.
            self.slots[old].name = self.slots[at].name;
        }
        let name = self.append(|text| text.push_str(to));
        self.slots[at].name = name;
    }

    /// Marks a field, if it is there.
    pub(super) fn mark(&mut self, name: &str, mark: Mark) {
        if let Some(at) = self.position(name) {
            self.slots[at].mark = mark;
        }
    }

    /// Marks those fields of slot `since` on that are not gone.
    pub(super) fn mark_from(&mut self, since: usize, mark: Mark) {
        for slot in self.slots.iter_mut().skip(since).filter(|slot| slot.mark != Mark::Gone) {
            slot.mark = mark;
        }
    }

    /// Gives each value to `change`, which may return another for it.
    pub(super) fn replace(&mut self, mut change: impl FnMut(Field<'_>) -> Option<String>) {
        for at in 0..self.slots.len() {
            let slot = self.slots[at];
            if slot.mark == Mark::Gone {
                continue;
            }
            if let Some(new) = change(self.field(&slot)) {
                let new = if self.has_room(new.len()) { new } else { String::new() };
                let value = self.append(|text| text.push_str(&new));
                self.slots[at] = Slot { value, bare: false, ..slot };
            }
        }
    }
}

/// Overwrites a text and leaves it empty. Its length alone: `zeroize` goes through all memory that it could grow into, byte
/// by byte, and this runs for each record.
pub(super) fn wipe(text: &mut String) {
    let mut bytes = std::mem::take(text).into_bytes();
    bytes.fill(0);
    // Or the writes would be left out, since nobody reads them.
    std::hint::black_box(bytes.as_mut_slice());
    bytes.clear();
    *text = String::from_utf8(bytes).unwrap_or_default();
}
