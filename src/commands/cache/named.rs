//! The region that a call names: by its name, and by NS, which may stand behind.

use crate::grammar;
use apikey_engine::entry::region_tag::{RegionTag, MAX_REGION_BYTES};
use host::command::grammar::{bytes, Options};
use host::command::spec::Arg;
use host::{Error, Name, Result};

/// The region's argument.
pub const REGION: Arg = Arg::string(c"region");

/// The options of who takes no others.
pub const ONLY_NAMESPACE: &[Arg] = &[grammar::NAMESPACE];

/// The tag of a region.
pub fn region(name: Name, options: &Options) -> Result<RegionTag> {
    let name = bytes(name, "region", 1, MAX_REGION_BYTES)?;
    let namespace = options.value("NS").unwrap_or_default();
    RegionTag::new(namespace, name).ok_or(Error::SYNTAX)
}
