//! Reading all of a node that checks are made of, once and before any is made.

mod clock;
mod kernel;
pub mod node;
pub mod seen;

pub use clock::Clock;
#[cfg(test)]
pub use kernel::Kernel;
pub use node::look_at;
pub use seen::Seen;
