//! The allocator of a program that is linked with musl.
//!
//! With musl's own allocator a batch of calls takes three times the CPU time that it takes with dlmalloc. But musl lets
//! a large block grow without a copy, which keeps the memory of a long message close to its size. So each allocates the
//! sizes that it is good at. dlmalloc takes a lock for each block, so the main thread, which does nearly all the work,
//! keeps the blocks of up to 8 KiB that it frees for itself: that takes another fifth off a batch.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr;

/// Blocks of at least this many bytes are large. musl maps them separately, and so can move their pages.
const LARGE: usize = 128 << 10;

/// Takes small blocks from one allocator and large ones from another.
pub struct BySize<S, L> {
    /// For blocks of less than [`LARGE`] bytes.
    pub small: S,
    /// For all other blocks.
    pub large: L,
}

// SAFETY: each block is allocated and freed by the allocator that its size selects. The layout is the same both times,
// as the contract of `GlobalAlloc` demands, and `realloc` copies a block whose new size selects the other allocator.
#[expect(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]
unsafe impl<S: GlobalAlloc, L: GlobalAlloc> GlobalAlloc for BySize<S, L> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this method, which is that of the called one.
        unsafe { if layout.size() < LARGE { self.small.alloc(layout) } else { self.large.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { if layout.size() < LARGE { self.small.alloc_zeroed(layout) } else { self.large.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `layout` is the block's own, so that the allocator it came from is selected again.
        unsafe {
            if layout.size() < LARGE { self.small.dealloc(block, layout) } else { self.large.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`; if the sizes are both small or both large, they select the same allocator.
        unsafe {
            match (layout.size() < LARGE, new_size < LARGE) {
                (true, true) => self.small.realloc(block, layout, new_size),
                (false, false) => self.large.realloc(block, layout, new_size),
                _ => move_block(self, block, layout, new_size),
            }
        }
    }
}

/// Copies a block into another of the new size, and frees it. The contract is that of `realloc`.
#[expect(unsafe_code, reason = "blocks are raw memory")]
unsafe fn move_block(allocator: &impl GlobalAlloc, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller has checked that `new_size` fits the alignment; the blocks are different, and both hold at
    // least as many bytes as are copied.
    unsafe {
        let moved = allocator.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
            allocator.dealloc(block, layout);
        }
        moved
    }
}

/// How many sizes of blocks are kept: those up to 520 bytes in steps of 16 bytes, those up to 8 KiB in steps of 1 KiB.
/// The future of a call is one of these.
const SIZES: usize = 40;
const SMALL_SIZES: usize = 32;
/// How many blocks of each size are kept: 2 MiB of all sizes at most.
const MAX_KEPT: u16 = 48;

/// The blocks of one size that a thread keeps: a list that is linked through the blocks themselves.
struct KeptBlocks {
    first: Cell<*mut u8>,
    count: Cell<u16>,
}

thread_local! {
    static KEPT: [KeptBlocks; SIZES] = const { [const { KeptBlocks { first: Cell::new(ptr::null_mut()), count: Cell::new(0) } }; SIZES] };
    static KEEPS: Cell<bool> = const { Cell::new(false) };
}

/// Lets this thread keep blocks that it frees. They are lost when it ends, so it is for a thread that does not.
pub fn keep_blocks() {
    KEEPS.set(true);
}

/// Keeps small blocks of another allocator for the next request of the same size.
pub struct Keeping<A>(pub A);

impl<A> Keeping<A> {
    /// The class of sizes that this layout is rounded up to, if such blocks are kept.
    fn size_class(layout: Layout) -> Option<usize> {
        let size = layout.size().saturating_sub(9);
        let number = if size / 16 < SMALL_SIZES { size / 16 } else { SMALL_SIZES + size / 1024 };
        (number < SIZES && layout.align() <= 16).then_some(number)
    }

    /// What is allocated for the layout. dlmalloc has 24, 40, 56 … usable bytes in a block.
    fn rounded(layout: Layout, number: usize) -> Layout {
        let size = if number < SMALL_SIZES { 24 + 16 * number } else { 1032 + 1024 * (number - SMALL_SIZES) };
        Layout::from_size_align(size, layout.align()).unwrap_or(layout)
    }
}

// SAFETY: a block is kept in the list of its size, and is in one list at most: the caller frees it once. What is not
// kept is passed on with the layout that it was allocated with, which depends only on the layout of the caller.
#[expect(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]
unsafe impl<A: GlobalAlloc> GlobalAlloc for Keeping<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(number) = Self::size_class(layout) else {
            // SAFETY: the caller keeps the contract of this method, which is that of the called one.
            return unsafe { self.0.alloc(layout) };
        };
        KEPT.with(|kept| {
            let KeptBlocks { first, count } = &kept[number];
            let block = first.get();
            if block.is_null() {
                // SAFETY: as above; the size is not zero.
                return unsafe { self.0.alloc(Self::rounded(layout, number)) };
            }
            // SAFETY: a kept block begins with the address of the next one.
            first.set(unsafe { block.cast::<*mut u8>().read() });
            count.set(count.get() - 1);
            block
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(number) = Self::size_class(layout) else {
            // SAFETY: as in `alloc`.
            return unsafe { self.0.dealloc(block, layout) };
        };
        KEPT.with(|kept| {
            let KeptBlocks { first, count } = &kept[number];
            if count.get() == MAX_KEPT || !KEEPS.get() {
                // SAFETY: this is the layout that it was allocated with.
                return unsafe { self.0.dealloc(block, Self::rounded(layout, number)) };
            }
            // SAFETY: the block is free, large enough for an address, and aligned for one by dlmalloc.
            unsafe { block.cast::<*mut u8>().write(first.get()) };
            first.set(block);
            count.set(count.get() + 1);
        });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller has checked that the size fits the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (Self::size_class(layout), Self::size_class(new_layout)) {
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: as in `alloc`.
            (None, None) => unsafe { self.0.realloc(block, layout, new_size) },
            // SAFETY: as above.
            _ => unsafe { move_block(self, block, layout, new_size) },
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

    #[test]
    fn a_thread_that_keeps_blocks_reuses_them() -> Result<(), std::alloc::LayoutError> {
        let allocator = Keeping(Counted::default());
        let allocated = || allocator.0.0.get();
        let [small, grown, medium, large] = [25, 41, 600, 9000].map(|size| Layout::from_size_align(size, 8));
        let (small, grown, medium, large) = (small?, grown?, medium?, large?);
        // SAFETY: each layout has a size and describes the block at that moment; only allocated bytes are read.
        unsafe {
            let block = allocator.alloc(small);
            assert_eq!(allocated(), 40, "rounded up");
            allocator.dealloc(block, small);
            assert_eq!(allocated(), 0, "this thread keeps nothing yet");

            keep_blocks();
            let block = allocator.alloc(small);
            block.copy_from(b"sixteen bytes...".as_ptr(), 16);
            assert_eq!(allocator.realloc(block, small, 40), block, "it is large enough");
            let moved = allocator.realloc(block, small, 41);
            assert_eq!(std::slice::from_raw_parts(moved, 16), b"sixteen bytes...");
            assert_eq!((allocated(), allocator.alloc(small)), (40 + 56, block), "the same block again");
            allocator.dealloc(block, small);

            let other = allocator.realloc(moved, grown, 600);
            assert_eq!(std::slice::from_raw_parts(other, 16), b"sixteen bytes...");
            assert_eq!(allocated(), 40 + 56 + 1032);
            let outgrown = allocator.realloc(other, medium, 9000);
            assert_eq!(std::slice::from_raw_parts(outgrown, 16), b"sixteen bytes...");
            allocator.dealloc(outgrown, large);
            assert_eq!(allocated(), 40 + 56 + 1032, "large blocks are not kept");

            let blocks: Vec<*mut u8> = (0..2 * MAX_KEPT).map(|_| allocator.alloc(small)).collect();
            blocks.into_iter().for_each(|block| allocator.dealloc(block, small));
            assert_eq!(allocated(), 40 * usize::from(MAX_KEPT) + 56 + 1032, "more are not kept");
        }
        Ok(())
    }
}
