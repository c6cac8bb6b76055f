//! The commands, a file for each family.

pub mod absent;
pub mod apply;
pub mod check;
#[cfg(debug_assertions)]
pub mod debug;
pub mod describe;
pub mod dropped;
pub mod health;
pub mod lease;
pub mod list;
pub mod log;
pub mod msetval;
pub mod record;
pub mod scopes;
pub mod tags;
pub mod tagscan;
pub mod usage;

use crate::command::Registrar;
use crate::error::Result;
use crate::ffi::Ctx;

pub fn register(ctx: Ctx) -> Result<()> {
    let commands = Registrar::new(ctx)?;
    commands.add::<record::SetVal>()?;
    commands.add::<absent::SetAbsent>()?;
    commands.add::<msetval::MSetVal>()?;
    commands.add::<msetval::StoredMany>()?;
    commands.add::<record::Validate>()?;
    commands.add::<scopes::SetScope>()?;
    commands.add::<scopes::CheckScope>()?;
    commands.add::<list::SetList>()?;
    commands.add::<list::GetList>()?;
    commands.add::<record::TokenOf>()?;
    commands.add::<record::Inval>()?;
    commands.add::<tags::TagInval>()?;
    commands.add::<tags::Killed>()?;
    commands.add::<tags::Tags>()?;
    commands.add::<tagscan::TagCard>()?;
    commands.add::<tagscan::TagScan>()?;
    commands.add::<describe::Describe>()?;
    commands.add::<usage::Incr>()?;
    commands.add::<usage::Get>()?;
    commands.add::<usage::Take>()?;
    commands.add::<usage::Flush>()?;
    commands.add::<lease::Lease>()?;
    commands.add::<lease::Ack>()?;
    commands.add::<lease::Nack>()?;
    commands.add::<lease::Leased>()?;
    commands.add::<health::Health>()?;
    commands.add::<log::Log>()?;
    commands.add::<check::Check>()?;
    commands.add::<apply::Apply>()?;
    commands.add::<dropped::Dropped>()?;
    #[cfg(debug_assertions)]
    commands.add::<debug::Debug>()?;
    Ok(())
}
