//! Active defragmentation: the server moves what is handed to it.
//!
//! Values are handed over one by one ([`crate::types`]), the indices in steps, since nothing else that the module
//! has is of many small allocations.

use crate::state;
use apikey_engine::defrag::Defrag;
use host::defrag::{Globals, Mover};
use host::Lock;

/// The server, as the engine sees it.
pub struct Server<'m, 'a>(pub &'m mut Mover<'a>);

impl Defrag for Server<'_, '_> {
    fn vec<T>(&mut self, values: &mut Vec<T>) {
        self.0.vec(values);
    }

    fn boxed<T>(&mut self, value: &mut Box<T>) {
        self.0.boxed(value);
    }

    fn text(&mut self, text: &mut Box<str>) {
        self.0.text(text);
    }
}

/// The indices of all databases.
pub struct Indices;

impl Globals for Indices {
    fn defrag(lock: Lock, mover: &mut Mover) -> bool {
        state::with(lock, |state| {
            while state.defrag_step(&mut Server(mover)) {
                if mover.should_stop() {
                    return true;
                }
            }
            false
        })
    }
}
