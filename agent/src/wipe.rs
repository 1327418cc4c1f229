//! Memory that may have held secrets is overwritten before it is given back.
//!
//! Redaction takes secrets out of records, but a line passes through many hands before: read buffers, joined entries,
//! parsed fields, vectors that grew. Whoever gets at the process's memory, by a core dump or through a swap file, would
//! find them in what was freed. So while any input redacts, the allocator itself wipes what is freed: no copy that some
//! code forgets can stay behind. Without redaction it costs one load of a flag.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_ON: AtomicBool = AtomicBool::new(false);

/// From now on freed memory is overwritten. It stays so: what was allocated before may hold secrets too.
pub fn begin() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// The system's allocator, wiping what is freed once [`begin`] was called.
#[derive(Debug)]
pub struct Wiping;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator with the layout that it was made with. What is overwritten is the
// block that the caller gives up, in its full length and before it is given back.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if IS_ON.load(Ordering::Relaxed) {
            // SAFETY: the block has this size and nobody else uses it any more.
            unsafe { block.write_bytes(0, layout.size()) };
            // Or the stores, which nobody seems to read, would be left out.
            std::hint::black_box(block);
        }
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !IS_ON.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are the same.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the size is not zero and fits with the alignment, by the caller's promise; both blocks are at least
        // as long as what is copied, and they do not overlap.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "the allocator is called as programs do")]
    fn blocks_keep_their_content_when_they_move() {
        begin();
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: blocks are written and read within their sizes, and freed with the layout they have.
        unsafe {
            let block = Wiping.alloc(layout);
            block.write_bytes(7, 100);
            let longer = Wiping.realloc(block, layout, 5000);
            assert!(std::slice::from_raw_parts(longer, 100).iter().all(|b| *b == 7));
            let longer_layout = Layout::from_size_align(5000, 8).unwrap();
            let shorter = Wiping.realloc(longer, longer_layout, 10);
            assert!(std::slice::from_raw_parts(shorter, 10).iter().all(|b| *b == 7));
            Wiping.dealloc(shorter, Layout::from_size_align(10, 8).unwrap());
        }
    }
}
