//! Values as keys have them: by a pointer of one word, also where their size is not known.
//!
//! The tests below need no server. Valgrind finds nothing in them; Miri, which would see what the compiler may
//! take for granted as well, comes with a nightly toolchain alone, and so is no part of scripts/test:
//! `cargo +nightly miri test -p redis-module-host thin`. Everything else in this crate calls the server.

use std::alloc::{alloc, handle_alloc_error, Layout};
use std::ffi::c_void;
use std::mem::offset_of;

/// A value that a pointer of one word finds. Sized values are, and [`WithBytes`].
///
/// # Safety
/// The pointer of `into_raw` is where the box's allocation begins, and `find` finds the value by any pointer to where
/// its bytes stand.
pub unsafe trait Thin {
    /// Gives the value away.
    fn into_raw(self: Box<Self>) -> *mut c_void;

    /// Where the value is.
    ///
    /// # Safety
    /// A pointer that `into_raw` made of a value of this type, which is still there.
    unsafe fn find(value: *mut c_void) -> *mut Self;

    /// Takes the value back.
    ///
    /// # Safety
    /// A pointer that `into_raw` made of a value of this type, and that nobody uses afterwards.
    unsafe fn from_raw(value: *mut c_void) -> Box<Self> {
        // SAFETY: as the caller says; it was a box before.
        unsafe { Box::from_raw(Self::find(value)) }
    }
}

// SAFETY: the pointer is the box's.
unsafe impl<T> Thin for T {
    fn into_raw(self: Box<Self>) -> *mut c_void {
        Box::into_raw(self).cast()
    }

    unsafe fn find(value: *mut c_void) -> *mut Self {
        value.cast()
    }
}

/// Something of a known size, and bytes, whose number stands before them: one allocation.
#[derive(Debug)]
#[repr(C)]
pub struct WithBytes<H> {
    /// What stands in front of the bytes.
    pub head: H,
    len: u32,
    bytes: [u8],
}

/// All of a [`WithBytes`] but the bytes, at the same places.
#[repr(C)]
struct Front<H> {
    head: H,
    len: u32,
}

impl<H> WithBytes<H> {
    /// Where the bytes begin: right behind their number.
    const BYTES_AT: usize = offset_of!(Front<H>, len) + size_of::<u32>();

    /// The head and a copy of the bytes, of which there may be 4 GiB; what is beyond is left out.
    pub fn new(head: H, bytes: &[u8]) -> Box<Self> {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let bytes = bytes.get(..len as usize).unwrap_or_default();
        let size = Self::BYTES_AT.saturating_add(bytes.len());
        let Ok(layout) = Layout::from_size_align(size, align_of::<Front<H>>()) else {
            panic!("more bytes than there is memory");
        };
        let layout = layout.pad_to_align();
        // SAFETY: the layout is that of this type with so many bytes: both structures are C's, and so have
        // the head and the number at the same places, the bytes behind them, and the same alignment. It is
        // at least as large as the front, whose end is padded likewise. All of it is written before it is
        // used. The number of bytes is the fat pointer's second half, for a structure that ends with them.
        unsafe {
            let start = alloc(layout);
            if start.is_null() {
                handle_alloc_error(layout);
            }
            start.cast::<Front<H>>().write(Front { head, len });
            let behind = start.add(Self::BYTES_AT);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), behind, bytes.len());
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, bytes.len()) as *mut Self)
        }
    }

    /// What a value with so many bytes takes, as `size_of_val` tells of one.
    pub const fn size_of(bytes: usize) -> usize {
        Self::BYTES_AT.saturating_add(bytes).saturating_add(align_of::<Front<H>>() - 1)
            / align_of::<Front<H>>()
            * align_of::<Front<H>>()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

// SAFETY: the pointer is that of the box's front, where the number of bytes stands that makes it whole again.
unsafe impl<H> Thin for WithBytes<H> {
    fn into_raw(self: Box<Self>) -> *mut c_void {
        Box::into_raw(self).cast()
    }

    unsafe fn find(value: *mut c_void) -> *mut Self {
        // Not by a reference to the front, which would be to the front alone.
        // SAFETY: a value of this type stands there, so its number does.
        let len = unsafe { (&raw const (*value.cast::<Front<H>>()).len).read() };
        std::ptr::slice_from_raw_parts_mut(value.cast::<u8>(), len as usize) as *mut Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_a_pointer<H>(head: H, bytes: &[u8]) -> Box<WithBytes<H>> {
        let raw = WithBytes::new(head, bytes).into_raw();
        // SAFETY: the pointer of `into_raw`, used by nobody else.
        unsafe {
            assert_eq!((*WithBytes::<H>::find(raw)).bytes(), bytes);
            WithBytes::from_raw(raw)
        }
    }

    #[test]
    fn a_value_comes_back_whole_through_a_pointer_of_one_word() {
        for len in [0, 1, 3, 4, 7, 8, 9, 1000] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            assert_eq!(through_a_pointer(7u8, &bytes).head, 7);
            assert_eq!(through_a_pointer(7u64, &bytes).head, 7);
            assert_eq!(through_a_pointer((), &bytes).bytes(), bytes);
            assert_eq!(through_a_pointer(1u128, &bytes).head, 1);
            assert_eq!(through_a_pointer([1u32; 4], &bytes).head, [1; 4]);
        }
    }

    #[test]
    fn the_bytes_stand_right_behind_their_number() {
        assert_eq!(size_of_val(&*WithBytes::new([0u32; 4], b"abc")), 24);
        assert_eq!(size_of_val(&*WithBytes::new(0u64, b"")), 16);
        assert_eq!(size_of_val(&*WithBytes::new(0u64, b"abcd")), 16);
    }

    #[test]
    fn the_head_is_dropped_once() {
        let head = std::rc::Rc::new(());
        drop(through_a_pointer(head.clone(), b"bytes"));
        assert_eq!(std::rc::Rc::strong_count(&head), 1);
    }

    #[test]
    fn the_head_can_be_changed_where_it_is() {
        let mut value = WithBytes::new(String::from("a"), b"bytes");
        value.head.push('b');
        assert_eq!((value.head.as_str(), value.bytes()), ("ab", &b"bytes"[..]));
    }
}
