//! Slots of the cluster: which one a key has, and those that move as a whole (Valkey 9, CLUSTER MIGRATESLOTS).
//!
//! Of such a migration the node that gets the slots has their keys before it owns them: no client reaches them, but a
//! module that lists its own keys does, and a command that writes there comes as from a primary. They are deleted where
//! the migration fails. The node that gives them away passes on what is replicated of one slot alone: of a command
//! without keys nothing, and where one has keys of several slots the migration fails.

use crate::after;
use crate::api::{accepted, api, Refused};
use crate::call::Part;
use crate::context::Ctx;
use crate::guard;
use redis_module::raw;
use std::ffi::{c_int, c_void};

/// The id of a migration: 40 characters, alike on all nodes that have to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationId([u8; ID_BYTES]);

const ID_BYTES: usize = raw::REDISMODULE_NODE_ID_LEN as usize;

/// Slots that move as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its id.
    pub id: MigrationId,
    /// Whether they come to this node, or to the primary of this replica; else they leave it.
    pub is_import: bool,
    /// The first and the last of each range.
    pub ranges: Vec<(u16, u16)>,
}

impl Migration {
    /// Whether a slot is one of them.
    pub fn has(&self, slot: u16) -> bool {
        self.ranges.iter().any(|&(first, last)| (first..=last).contains(&slot))
    }
}

/// Who is told.
pub trait Migrations: 'static {
    /// Slots move from now on. A replica that is given an RDB meanwhile is not told: [`Ctx::migrations`].
    fn began(ctx: &mut Ctx, migration: Migration);

    /// They have moved, or stay where they were.
    fn ended(ctx: &mut Ctx, id: MigrationId);
}

/// The slot of a key; `None` where the server does not say.
pub fn slot_of(key: &[u8]) -> Option<u16> {
    // SAFETY: reads the table; so many bytes.
    let slot = unsafe { raw::RedisModule_ClusterKeySlotC?(key.as_ptr().cast(), key.len()) };
    u16::try_from(slot).ok()
}

impl Ctx<'_> {
    /// The migrations that are under way; none where the server does not say.
    pub fn migrations(&self) -> Vec<Migration> {
        const ENDED: [&[u8]; 3] = [b"success", b"failed", b"cancelled"];
        let Some(reply) = self.call(c"CLUSTER", &[c"GETSLOTMIGRATIONS"]) else { return Vec::new() };
        let migration = |one: Part| {
            // In RESP2 a map is an array.
            let fields: Vec<&[u8]> =
                one.elements().map(|field| field.text().unwrap_or_default()).collect();
            let get = |name: &[u8]| {
                let mut pairs = fields.chunks_exact(2);
                pairs.find(|pair| pair.first() == Some(&name)).and_then(|pair| pair.get(1).copied())
            };
            if ENDED.contains(&get(b"state")?) {
                return None;
            }
            Some(Migration {
                id: MigrationId(get(b"name")?.try_into().ok()?),
                is_import: get(b"operation") == Some(b"IMPORT"),
                ranges: ranges(get(b"slot_ranges").unwrap_or_default()),
            })
        };
        reply.whole().elements().filter_map(migration).collect()
    }
}

/// Ranges as the server writes them: `0-100 200-200`.
fn ranges(text: &[u8]) -> Vec<(u16, u16)> {
    let text = String::from_utf8_lossy(text);
    let range = |range: &str| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(' ').filter_map(range).collect()
}

/// Valkey's number of the event, its kinds, and the option by which a module says that it knows of them.
const EVENT: u64 = 19;
const IMPORT_BEGAN: u64 = 0;
const EXPORT_BEGAN: u64 = 1;
pub(crate) const OPTION: u32 = 1 << 5;

/// What Valkey hands over with it.
#[repr(C)]
struct Info {
    version: u64,
    name: [u8; ID_BYTES + 1],
    ranges: *const Range,
    count: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    first: c_int,
    last: c_int,
}

/// Has the module told of migrations; refused where the server has none, or more than one database: Valkey 9.1.2 hands
/// what comes, with its SELECT, on to its own replicas, and takes them for being where they were.
///
/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn subscribe<M: Migrations>(ctx: &mut Ctx) -> Result<(), Refused> {
    // Another server may have another event of this number, and another option.
    if !ctx.is_valkey() || ctx.has_databases() {
        return Err(Refused);
    }
    let event = raw::RedisModuleEvent { id: EVENT, dataver: 1 };
    let callback: raw::RedisModuleEventCallback = Some(on_migration::<M>);
    // SAFETY: the context is OnLoad's; the callback is a function of this module.
    accepted(unsafe { api!(RedisModule_SubscribeToServerEvent(ctx.raw(), event, callback)) })
}

unsafe extern "C" fn on_migration<M: Migrations>(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard::run("slot migration event", (), || {
        // SAFETY: the server's context, and what it hands over with this event: so many ranges.
        let (mut ctx, id, ranges) = unsafe {
            let Some(info) = data.cast::<Info>().as_ref() else { return };
            let ranges = match info.ranges.is_null() {
                true => &[][..],
                false => std::slice::from_raw_parts(info.ranges, info.count as usize),
            };
            let mut id = [0; ID_BYTES];
            id.iter_mut().zip(info.name).for_each(|(to, from)| *to = from);
            (Ctx::new(ctx), MigrationId(id), ranges)
        };
        match subevent {
            IMPORT_BEGAN | EXPORT_BEGAN => {
                let slot = |slot: c_int| u16::try_from(slot).ok();
                let range = |range: &Range| Some((slot(range.first)?, slot(range.last)?));
                let ranges = ranges.iter().filter_map(range).collect();
                let is_import = subevent == IMPORT_BEGAN;
                M::began(&mut ctx, Migration { id, is_import, ranges });
            }
            _ => M::ended(&mut ctx, id),
        }
        after::run(&mut ctx);
    });
}
