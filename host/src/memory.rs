//! A module's memory: the server's, so that `used_memory` and `maxmemory` count it.

use redis_module::alloc::RedisAlloc;
use std::alloc::{GlobalAlloc, Layout};

/// The allocator that [`entry!`](crate::entry) sets: the SDK's, but for what has to be aligned to more than
/// malloc's word for everything (a server may be built on malloc, Valkey's are): of that the start is found
/// in a block that is larger.
#[derive(Debug)]
pub struct Memory;

/// What malloc aligns everything to.
const ALIGN: usize = 16;

/// The block that a value of this layout is found in, which has room for its start, and for where it is.
fn block(layout: Layout) -> Option<Layout> {
    Layout::from_size_align(layout.size().checked_add(layout.align())?, ALIGN).ok()
}

/// Whether what is allocated for this layout begins where the server's block does.
pub(crate) fn begins_its_block(layout: Layout) -> bool {
    layout.align() <= ALIGN
}

// SAFETY: small alignments are the SDK's. For others the start is aligned and within the block, which is as
// long as both together, and behind at least a word of it: block and alignment are multiples of 16, so that the
// way to the first aligned place behind the block's start is between 16 and the alignment. In the word before
// the start stands the block's.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGN {
            // SAFETY: as the caller says.
            return unsafe { RedisAlloc.alloc(layout) };
        }
        let Some(block) = block(layout) else { return std::ptr::null_mut() };
        // SAFETY: see above; a layout that is not empty.
        unsafe {
            let whole = RedisAlloc.alloc(block);
            if whole.is_null() {
                return whole;
            }
            let way = layout.align() - whole.addr() % layout.align();
            let start = whole.add(way);
            start.cast::<*mut u8>().sub(1).write(whole);
            start
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as the caller says: `alloc` has made it, for the same layout.
        unsafe {
            match block(layout) {
                Some(block) if layout.align() > ALIGN => {
                    RedisAlloc.dealloc(start.cast::<*mut u8>().sub(1).read(), block);
                }
                _ => RedisAlloc.dealloc(start, layout),
            }
        }
    }
}
