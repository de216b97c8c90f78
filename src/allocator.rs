//! The allocator of a program that is linked with musl.
//!
//! With musl's own allocator a batch of calls takes three times the CPU time that it takes with dlmalloc. But musl lets a
//! large block grow without a copy, which keeps the memory of a long message close to its size. So each allocates the sizes
//! that it is good at.

use std::alloc::{GlobalAlloc, Layout};

/// Blocks of at least this many bytes are large. musl maps them separately, and so can move their pages.
const LARGE: usize = 128 * 1024;

/// Takes small blocks from one allocator and large ones from another.
pub struct BySize<S, L> {
    /// For blocks of less than [`LARGE`] bytes.
    pub small: S,
    /// For all other blocks.
    pub large: L,
}

impl<S: GlobalAlloc, L: GlobalAlloc> BySize<S, L> {
    fn of(&self, size: usize) -> &dyn GlobalAlloc {
        if size < LARGE { &self.small } else { &self.large }
    }
}

// SAFETY: each block is allocated and freed by the allocator that its size selects. The layout is the same both times,
// as the contract of `GlobalAlloc` demands, and `realloc` copies a block whose new size selects the other allocator.
#[expect(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]
unsafe impl<S: GlobalAlloc, L: GlobalAlloc> GlobalAlloc for BySize<S, L> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this method, which is that of the called one.
        unsafe { self.of(layout.size()).alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { self.of(layout.size()).alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `layout` is the block's own, so that the allocator it came from is selected again.
        unsafe { self.of(layout.size()).dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if (layout.size() < LARGE) == (new_size < LARGE) {
            // SAFETY: as in `dealloc`, and the new size selects the same allocator.
            return unsafe { self.of(new_size).realloc(block, layout, new_size) };
        }
        // SAFETY: the caller has checked that `new_size` fits the alignment; the blocks are different, and both hold at
        // least as many bytes as are copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(unsafe_code, reason = "blocks are allocated as the runtime does it")]

    use super::*;
    use std::alloc::System;
    use std::cell::Cell;

    /// The system's allocator, with the number of bytes that are allocated through it.
    #[derive(Default)]
    struct Counted(Cell<usize>);

    // SAFETY: everything is passed on to the system's allocator.
    unsafe impl GlobalAlloc for Counted {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.0.set(self.0.get() + layout.size());
            // SAFETY: the caller keeps the contract.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.0.set(self.0.get() - layout.size());
            // SAFETY: the caller keeps the contract.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[test]
    fn a_block_moves_between_the_allocators_with_its_content() -> Result<(), std::alloc::LayoutError> {
        let allocator = BySize { small: Counted::default(), large: Counted::default() };
        let allocated = || (allocator.small.0.get(), allocator.large.0.get());
        let [few, below, at, above, fewer] =
            [16, LARGE - 1, LARGE, LARGE + 1, 5].map(|size| Layout::from_size_align(size, 8));
        let (few, below, at, above, fewer) = (few?, below?, at?, above?, fewer?);
        // SAFETY: each layout has a size and describes the block at that moment; only allocated bytes are read.
        unsafe {
            let block = allocator.alloc(few);
            block.copy_from(b"sixteen bytes...".as_ptr(), 16);
            assert_eq!(allocated(), (16, 0));

            let block = allocator.realloc(block, few, LARGE - 1);
            assert_eq!(allocated(), (LARGE - 1, 0));

            let block = allocator.realloc(block, below, LARGE);
            assert_eq!(allocated(), (0, LARGE));
            assert_eq!(std::slice::from_raw_parts(block, 16), b"sixteen bytes...");

            let block = allocator.realloc(block, at, 5);
            assert_eq!(allocated(), (5, 0));
            assert_eq!(std::slice::from_raw_parts(block, 5), b"sixte");

            allocator.dealloc(block, fewer);
            let block = allocator.alloc_zeroed(above);
            assert_eq!(allocated(), (0, LARGE + 1));
            assert!(std::slice::from_raw_parts(block, LARGE + 1).iter().all(|byte| *byte == 0));
            allocator.dealloc(block, above);
            assert_eq!(allocated(), (0, 0));
        }
        Ok(())
    }
}
