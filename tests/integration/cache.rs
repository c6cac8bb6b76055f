//! Regions of a cache: the commands `CACHE.*`, on the index and the fence that the key cache has.

mod bounds;
mod calls;
mod clustered;
mod figures;
mod heard;
mod kept;
mod leases;
mod moved;
mod patterns;
mod replies;
mod settings;
mod stale;
mod tenants;
mod wrong_calls;
