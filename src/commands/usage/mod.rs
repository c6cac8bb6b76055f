//! Usage counters: counted, read, taken, handed over by leases.

pub mod flush;
pub mod get;
pub mod incr;
pub mod lease;
pub mod settle;
pub mod take;
