//! What a command is, and how the server learns of it.
//!
//! A command is a type: its [`Spec`] is what COMMAND INFO, DOCS and GETKEYS say of it, and stands
//! beside its code in [`crate::commands`].

use crate::error::{Error, Result};
use crate::ffi::{self, Args, Ctx};
use crate::guard;
use crate::options;
use redis_module::raw;
use std::ffi::{c_int, CStr, CString};
use std::mem::zeroed;
use std::ptr::{null, null_mut};

pub trait Command {
    const SPEC: Spec;

    /// Runs the command: it has replied, or the error is the reply and nothing has changed.
    fn run(ctx: Ctx, args: Args) -> Result<()>;
}

/// Refuses an internal command from a client.
pub fn must_be_replayed(ctx: Ctx, name: &CStr) -> Result<()> {
    if ctx.is_replayed() {
        return Ok(());
    }
    let name = name.to_string_lossy();
    Err(Error::err(format_args!("{name} is internal: only for replication and loading")))
}

/// What the server is told of a command.
pub struct Spec {
    pub name: &'static CStr,
    /// The same command under a name with one dot: redis-py's cluster client refuses two.
    pub alias: Option<&'static CStr>,
    /// As RM_CreateCommand takes them.
    pub flags: &'static str,
    /// An operator's: `@dangerous`, where a module can say so (7.2).
    pub dangerous: bool,
    /// An argument may be a secret. Where the server can't redact (6.2), the whole command stays out
    /// of MONITOR and SLOWLOG.
    pub secret: bool,
    /// With the command's name; negative for at least.
    pub arity: i32,
    pub keys: Keys,
    pub summary: &'static CStr,
    pub complexity: &'static CStr,
    pub tips: Option<&'static CStr>,
    pub args: &'static [Arg],
}

/// The version since which a command exists.
const SINCE: &CStr = c"0.1.0";

/// Where a command's keys stand, and what it does to them.
pub enum Keys {
    None,
    /// The first argument.
    One(u32),
    /// All arguments.
    All(u32),
    /// Every second argument from this one on.
    EverySecond(c_int, u32),
    /// Every second argument behind the first, which is their number. The server's own way to find them
    /// takes a number of keys for one of arguments and would miss half of them (7.0.15), so that it is
    /// told not to rely on it and asks us (`getkeys-api`).
    Counted(u32),
}

pub const READS: u32 = raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS;
pub const OVERWRITES: u32 = raw::REDISMODULE_CMD_KEY_OW | raw::REDISMODULE_CMD_KEY_UPDATE;
/// Reads nothing to the caller: write permission is enough.
pub const MERGES: u32 = raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_UPDATE;
pub const DELETES: u32 = raw::REDISMODULE_CMD_KEY_RM | raw::REDISMODULE_CMD_KEY_DELETE;
pub const UPDATES: u32 =
    raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_ACCESS | raw::REDISMODULE_CMD_KEY_UPDATE;

/// An argument, as COMMAND DOCS shows it.
pub struct Arg {
    pub name: &'static CStr,
    pub kind: Kind,
    /// The word before it.
    pub token: Option<&'static CStr>,
    pub optional: bool,
    pub repeat: Repeat,
}

pub enum Kind {
    Key,
    String,
    Integer,
    UnixTime,
    /// The word alone.
    Token,
    OneOf(&'static [Arg]),
    Block(&'static [Arg]),
}

#[derive(Clone, Copy, PartialEq)]
pub enum Repeat {
    No,
    /// `TAGS 2 a b`: the argument.
    Value,
    /// `SCOPE a SCOPE b`: the argument with its token.
    WithToken,
}

impl Arg {
    const fn new(name: &'static CStr, kind: Kind) -> Self {
        Self { name, kind, token: None, optional: false, repeat: Repeat::No }
    }

    pub const fn key() -> Self {
        Self::new(c"key", Kind::Key)
    }

    pub const fn string(name: &'static CStr) -> Self {
        Self::new(name, Kind::String)
    }

    pub const fn integer(name: &'static CStr) -> Self {
        Self::new(name, Kind::Integer)
    }

    pub const fn unix_time(name: &'static CStr) -> Self {
        Self::new(name, Kind::UnixTime)
    }

    pub const fn word(name: &'static CStr, token: &'static CStr) -> Self {
        Self::new(name, Kind::Token).after(token)
    }

    pub const fn one_of(name: &'static CStr, args: &'static [Arg]) -> Self {
        Self::new(name, Kind::OneOf(args))
    }

    pub const fn block(name: &'static CStr, args: &'static [Arg]) -> Self {
        Self::new(name, Kind::Block(args))
    }

    pub const fn after(mut self, token: &'static CStr) -> Self {
        self.token = Some(token);
        self
    }

    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub const fn repeated(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }
}

/// The category of all commands of this module, where a module may add one.
const CATEGORY: &CStr = c"apikey";

/// Registers commands.
pub struct Registrar<'a> {
    ctx: Ctx<'a>,
    has_category: bool,
}

impl<'a> Registrar<'a> {
    pub fn new(ctx: Ctx<'a>) -> Result<Self> {
        let has_category = ffi::add_category(ctx, CATEGORY)
            .map_err(|_| Error::err("the ACL category apikey could not be added"))?;
        Ok(Self { ctx, has_category })
    }

    pub fn add<C: Command>(&self) -> Result<()> {
        let spec = &C::SPEC;
        for name in [Some(spec.name), spec.alias].into_iter().flatten() {
            self.add_named::<C>(spec, name).map_err(|_| {
                Error::err(format_args!(
                    "the server refused the command {}",
                    name.to_string_lossy()
                ))
            })?;
        }
        Ok(())
    }

    fn add_named<C: Command>(
        &self,
        spec: &Spec,
        name: &CStr,
    ) -> std::result::Result<(), ffi::Refused> {
        let mut flags = spec.flags.to_string();
        if spec.secret && !ffi::is_redis_7() {
            flags.push_str(" no-monitor no-slowlog");
        }
        if matches!(spec.keys, Keys::Counted(_)) {
            flags.push_str(" getkeys-api");
        }
        let range = match spec.keys {
            Keys::None | Keys::Counted(_) => (0, 0, 0),
            Keys::One(_) => (1, 1, 1),
            Keys::All(_) => (1, -1, 1),
            Keys::EverySecond(first, _) => (first, -1, 2),
        };
        let flags = CString::new(flags).map_err(|_| ffi::Refused)?;
        ffi::create_command(self.ctx, name, Some(call::<C>), &flags, range)?;
        self.set_info(spec, name)?;
        let categories = CString::new(self.categories(spec)).map_err(|_| ffi::Refused)?;
        ffi::set_command_categories(self.ctx, name, &categories)
    }

    /// The server derives them from the flags for its own commands alone.
    fn categories(&self, spec: &Spec) -> String {
        let has = |flag: &str| spec.flags.split(' ').any(|other| other == flag);
        let categories = [
            (self.has_category, "apikey"),
            (has("readonly"), "read"),
            (has("write"), "write"),
            (has("fast"), "fast"),
            (!has("fast"), "slow"),
            (has("admin"), "admin"),
            (spec.dangerous, "dangerous"),
        ];
        let named: Vec<_> =
            categories.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        named.join(" ")
    }

    fn set_info(&self, spec: &Spec, name: &CStr) -> std::result::Result<(), ffi::Refused> {
        let version = raw::RedisModuleCommandInfoVersion {
            version: 1,
            sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
            sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
            sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
        };
        let mut key_specs = key_specs(&spec.keys);
        let mut args = RawArgs::new(spec.args);
        let info = raw::RedisModuleCommandInfo {
            version: &version,
            summary: spec.summary.as_ptr(),
            complexity: spec.complexity.as_ptr(),
            since: SINCE.as_ptr(),
            history: null_mut(),
            tips: spec.tips.map_or(null(), CStr::as_ptr),
            arity: spec.arity,
            key_specs: key_specs.as_mut_ptr(),
            args: args.list.as_mut_ptr(),
        };
        // SAFETY: everything it points to is static or lives until the end of this function; the
        // arrays end with an element of zeros.
        unsafe { ffi::set_command_info(self.ctx, name, &info) }
    }
}

fn key_specs(keys: &Keys) -> Vec<raw::RedisModuleCommandKeySpec> {
    // SAFETY: a struct of numbers and pointers, for which zeros are the end of the array.
    let end: raw::RedisModuleCommandKeySpec = unsafe { zeroed() };
    let (flags, first, last, step) = match *keys {
        Keys::None => return vec![end],
        Keys::One(flags) => (flags, 1, 0, 1),
        Keys::All(flags) => (flags, 1, -1, 1),
        Keys::EverySecond(first, flags) => (flags, first, -1, 2),
        Keys::Counted(flags) => (flags, 1, -1, 2),
    };
    let mut spec = end;
    spec.flags = u64::from(flags);
    spec.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
    spec.bs.index.pos = first;
    if matches!(keys, Keys::Counted(_)) {
        spec.flags |= u64::from(raw::REDISMODULE_CMD_KEY_INCOMPLETE);
        spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_KEYNUM;
        spec.fk.keynum = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_2 {
            keynumidx: 0,
            firstkey: 1,
            keystep: step,
        };
        return vec![spec, end];
    }
    spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
    spec.fk.range = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 {
        lastkey: last,
        keystep: step,
        limit: 0,
    };
    vec![spec, end]
}

/// Arguments in the server's form, with those that they consist of.
struct RawArgs {
    list: Vec<raw::RedisModuleCommandArg>,
    _parts: Vec<RawArgs>,
}

impl RawArgs {
    fn new(args: &[Arg]) -> Self {
        let mut parts = Vec::new();
        let mut list: Vec<_> = args
            .iter()
            .map(|arg| {
                let subargs = match arg.kind {
                    Kind::OneOf(args) | Kind::Block(args) => {
                        let mut part = Self::new(args);
                        let start = part.list.as_mut_ptr();
                        parts.push(part);
                        start
                    }
                    _ => null_mut(),
                };
                // SAFETY: as in `key_specs`.
                let mut raw: raw::RedisModuleCommandArg = unsafe { zeroed() };
                raw.name = arg.name.as_ptr();
                raw.type_ = match arg.kind {
                    Kind::Key => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
                    Kind::String => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
                    Kind::Integer => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
                    Kind::UnixTime => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_UNIX_TIME,
                    Kind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
                    Kind::OneOf(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
                    Kind::Block(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
                };
                raw.key_spec_index = if matches!(arg.kind, Kind::Key) { 0 } else { -1 };
                raw.token = arg.token.map_or(null(), CStr::as_ptr);
                raw.subargs = subargs;
                if arg.optional {
                    raw.flags |= raw::REDISMODULE_CMD_ARG_OPTIONAL as c_int;
                }
                raw.flags |= match arg.repeat {
                    Repeat::No => 0,
                    Repeat::Value => raw::REDISMODULE_CMD_ARG_MULTIPLE as c_int,
                    Repeat::WithToken => {
                        (raw::REDISMODULE_CMD_ARG_MULTIPLE
                            | raw::REDISMODULE_CMD_ARG_MULTIPLE_TOKEN)
                            as c_int
                    }
                };
                raw
            })
            .collect();
        // SAFETY: as in `key_specs`.
        list.push(unsafe { zeroed() });
        Self { list, _parts: parts }
    }
}

/// The function that the server calls for a command.
unsafe extern "C" fn call<C: Command>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's arguments, valid for this call.
    let (ctx, args) = (Ctx::new(ctx), Args::new(argv, argc));
    // A result would be handed back through memory, in parts and read as a whole, which processors are
    // slow at; the closure deals with it.
    let has_run = guard::run("command", false, || {
        if let Err(Error(text)) = run::<C>(ctx, args) {
            ctx.reply_error(&text);
        }
        true
    });
    if !has_run {
        let Error(text) = Error::INTERNAL;
        ctx.reply_error(&text);
    }
    raw::REDISMODULE_OK as c_int
}

fn run<C: Command>(ctx: Ctx, args: Args) -> Result<()> {
    if let Keys::Counted(flags) = C::SPEC.keys {
        if ctx.asks_for_keys() {
            // Of a call that is wrong none is known; it changes nothing.
            let positions = options::counted_keys(args).into_iter().flatten();
            positions.for_each(|position| ctx.key_is_at(position, flags));
            return Ok(());
        }
    }
    if !arity_fits(C::SPEC.arity, args.len()) {
        // Servers before 7.0 are not told the arity.
        let name = args.get(0).map_or(&b""[..], |name| name.bytes());
        let name = String::from_utf8_lossy(name).to_lowercase();
        return Err(Error::err(format_args!("wrong number of arguments for '{name}' command")));
    }
    C::run(ctx, args)
}

fn arity_fits(arity: i32, len: usize) -> bool {
    let wanted = arity.unsigned_abs() as usize;
    if arity < 0 {
        len >= wanted
    } else {
        len == wanted
    }
}
