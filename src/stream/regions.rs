//! REGIONS: `text`. What is set of regions, to replicas alone: they have what their primary says, since one of them may
//! be promoted. An AOF has no need of it: it is configuration.

use super::send::note;
use apikey_engine::cache::policy::Policies;
use host::{Args, Ctx, Error, Result};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.regions";

/// Says it.
pub fn write(ctx: &mut Ctx, policies: &Policies) {
    let outcome = ctx.replicate_to_replicas(NAME, &[policies.show().as_bytes()]);
    note(ctx, NAME, outcome);
}

pub fn read(args: Args) -> Result<Policies> {
    let text = args.get(1).ok_or(Error::SYNTAX)?;
    let text = std::str::from_utf8(text.bytes()).map_err(|_| Error::SYNTAX)?;
    Policies::parse(text).map_err(Error::err)
}
