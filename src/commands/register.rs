//! All commands, as the server is told of them.

use super::cache::{
    clear, fail, get as cache_get, mset, patinval, region, set, setabsent as cache_absent, stats,
    taginval as cache_taginval, top,
};
use super::check::Check;
#[cfg(debug_assertions)]
use super::debug::Debug;
use super::describe::Describe;
use super::health::Health;
use super::internal::{changed, died, leased, regions, settled, stored, version};
use super::limits::{admit, credit, levels, settle as settle_request};
use super::list::{GetList, SetList};
use super::log::Log;
use super::record::{inval, msetval, setabsent, setval, token, validate};
use super::scopes::{CheckScope, SetScope};
use super::tags::{of, tagcard, taginval, tagscan};
use super::usage::{flush, get, incr, lease, settle, take};
use host::{Loading, Result};

pub fn register(loading: &mut Loading) -> Result<()> {
    loading.category(c"apikey")?;
    loading.command::<setval::SetVal>()?;
    loading.command::<setabsent::SetAbsent>()?;
    loading.command::<msetval::MSetVal>()?;
    loading.command::<validate::Validate>()?;
    loading.command::<SetScope>()?;
    loading.command::<CheckScope>()?;
    loading.command::<SetList>()?;
    loading.command::<GetList>()?;
    loading.command::<token::TokenOf>()?;
    loading.command::<inval::Inval>()?;
    loading.command::<taginval::TagInval>()?;
    loading.command::<taginval::TagInvalNode>()?;
    loading.command::<of::Tags>()?;
    loading.command::<tagcard::TagCard>()?;
    loading.command::<tagscan::TagScan>()?;
    loading.command::<Describe>()?;
    loading.command::<incr::Incr>()?;
    loading.command::<get::Get>()?;
    loading.command::<take::Take>()?;
    loading.command::<flush::Flush>()?;
    loading.command::<lease::Lease>()?;
    loading.command::<settle::Ack>()?;
    loading.command::<settle::Nack>()?;
    loading.command::<admit::Admit>()?;
    loading.command::<credit::Credit>()?;
    loading.command::<settle_request::Settle>()?;
    loading.command::<levels::Limits>()?;
    loading.category(c"cache")?;
    loading.command::<cache_get::Get>()?;
    loading.command::<cache_get::MGet>()?;
    loading.command::<set::Set>()?;
    loading.command::<mset::MSet>()?;
    loading.command::<cache_absent::SetAbsent>()?;
    loading.command::<fail::Fail>()?;
    loading.command::<cache_taginval::TagInval>()?;
    loading.command::<clear::Clear>()?;
    loading.command::<patinval::PatInval>()?;
    loading.command::<region::Region>()?;
    loading.command::<stats::Stats>()?;
    loading.command::<top::Top>()?;
    loading.category(c"apikey")?;
    loading.command::<Health>()?;
    loading.command::<Log>()?;
    loading.command::<Check>()?;
    loading.command::<stored::Stored>()?;
    loading.command::<stored::Apply>()?;
    loading.command::<stored::Replaced>()?;
    loading.command::<died::Killed>()?;
    loading.command::<died::Softened>()?;
    loading.command::<died::Dropped>()?;
    loading.command::<died::Gone>()?;
    loading.command::<died::Reclaimed>()?;
    loading.command::<leased::Leased>()?;
    loading.command::<settled::Settled>()?;
    loading.command::<changed::Changed>()?;
    loading.command::<version::Stream>()?;
    loading.command::<regions::Regions>()?;
    #[cfg(debug_assertions)]
    loading.command::<Debug>()?;
    Ok(())
}
