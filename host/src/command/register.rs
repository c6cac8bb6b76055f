//! How the server learns of a command, and calls it.

use super::grammar;
use super::spec::{Arg, Command, Hides, Keys, Kind, Repeat, Spec, Use, Values};
use crate::after;
use crate::api::{accepted, api, is_redis_7, Refused, OK};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::guard;
use crate::log::{log, Level};
use crate::reply::Reply;
use crate::strings::{Args, Name};
use redis_module::raw;
use std::cell::Cell;
use std::ffi::{c_int, CStr, CString};
use std::io::{Error as Errno, ErrorKind};
use std::mem::zeroed;
use std::ptr::{null, null_mut};

/// Adds an ACL category; false where the server knows no such thing (before 7.4). One that is there already is
/// the same: of a module that was loaded and unloaded again, or that did not load after all, the server keeps it.
///
/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn add_category(
    ctx: *mut raw::RedisModuleCtx,
    name: &CStr,
) -> std::result::Result<bool, Refused> {
    // SAFETY: reads the table; the context is OnLoad's, the server copies the name.
    unsafe {
        match raw::RedisModule_AddACLCategory {
            Some(add) => {
                let added = accepted(add(ctx, name.as_ptr()));
                let is_there = || Errno::last_os_error().kind() == ErrorKind::ResourceBusy;
                added.or_else(|refused| if is_there() { Ok(()) } else { Err(refused) })?;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Registers a command under its names, in the categories that follow from its flags and in one of the
/// module's.
///
/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn register<C: Command>(
    ctx: *mut raw::RedisModuleCtx,
    category: Option<&CStr>,
) -> Result<()> {
    let spec = &C::SPEC;
    for name in [Some(spec.name), spec.alias].into_iter().flatten() {
        // SAFETY: the context is OnLoad's.
        unsafe { register_as::<C>(ctx, spec, name, category) }.map_err(|Refused| {
            Error::err(format_args!("the server refused the command {}", name.to_string_lossy()))
        })?;
    }
    Ok(())
}

/// # Safety
/// `ctx` is OnLoad's.
unsafe fn register_as<C: Command>(
    ctx: *mut raw::RedisModuleCtx,
    spec: &Spec,
    name: &CStr,
    category: Option<&CStr>,
) -> std::result::Result<(), Refused> {
    let mut flags = spec.flags.to_string();
    if takes_a_secret(spec) && !is_redis_7() {
        flags.push_str(" no-monitor no-slowlog");
    }
    if matches!(spec.keys, Keys::Counted(..) | Keys::OneAndCounted(..)) {
        flags.push_str(" getkeys-api");
    }
    let (first, last, step) = match spec.keys {
        Keys::None | Keys::Counted(..) => (0, 0, 0),
        Keys::One(_) | Keys::OneAndCounted(..) => (1, 1, 1),
        Keys::All(_) => (1, -1, 1),
        Keys::From(first, _) => (first, -1, 1),
        Keys::EverySecond(first, _) => (first, -1, 2),
    };
    let flags = CString::new(flags).map_err(|_| Refused)?;
    let function: raw::RedisModuleCmdFunc = Some(call::<C>);
    // SAFETY: the context is OnLoad's; the server copies the texts.
    accepted(unsafe {
        api!(RedisModule_CreateCommand(
            ctx,
            name.as_ptr(),
            function,
            flags.as_ptr(),
            first,
            last,
            step
        ))
    })?;
    // SAFETY: as above; reads the table.
    unsafe {
        let Some(get) = raw::RedisModule_GetCommand else { return Ok(()) };
        let command = get(ctx, name.as_ptr());
        if command.is_null() {
            return Err(Refused);
        }
        set_info(command, spec)?;
        if let Some(set) = raw::RedisModule_SetCommandACLCategories {
            let categories = CString::new(categories(spec, category)).map_err(|_| Refused)?;
            accepted(set(command, categories.as_ptr()))?;
        }
    }
    Ok(())
}

/// Whether one of the options has a secret behind it.
fn takes_a_secret(spec: &Spec) -> bool {
    let is_secret = |arg: &Arg| {
        arg.token.is_some_and(|token| {
            spec.hides.behind.iter().any(|secret| secret.as_bytes() == token.to_bytes())
        })
    };
    let has_secret = spec.options.iter().any(|arg| match arg.kind {
        Kind::OneOf(args) => args.iter().any(is_secret),
        _ => is_secret(arg),
    });
    has_secret || spec.hides.values != Values::None
}

/// The server derives them from the flags for its own commands alone.
fn categories(spec: &Spec, own: Option<&CStr>) -> String {
    let has = |flag: &str| spec.flags.split(' ').any(|other| other == flag);
    let categories = [
        (own.is_some(), own.and_then(|own| own.to_str().ok()).unwrap_or_default()),
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

/// Tells the server what a command is, where it wants to know (7.0).
///
/// # Safety
/// `command` is one of this module's.
unsafe fn set_info(
    command: *mut raw::RedisModuleCommand,
    spec: &Spec,
) -> std::result::Result<(), Refused> {
    // SAFETY: reads the table.
    let Some(set) = (unsafe { raw::RedisModule_SetCommandInfo }) else { return Ok(()) };
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut key_specs = key_specs(&spec.keys);
    let mut args = RawArgs::new(spec.fixed.iter().chain(spec.options));
    let info = raw::RedisModuleCommandInfo {
        version: &version,
        summary: spec.summary.as_ptr(),
        complexity: spec.complexity.as_ptr(),
        since: spec.since.as_ptr(),
        history: null_mut(),
        tips: spec.tips.map_or(null(), CStr::as_ptr),
        arity: spec.arity,
        key_specs: key_specs.as_mut_ptr(),
        args: args.list.as_mut_ptr(),
    };
    // SAFETY: everything it points to is static or lives until the end of this function; the arrays end
    // with an element of zeros.
    accepted(unsafe { set(command, &info) })
}

fn key_specs(keys: &Keys) -> Vec<raw::RedisModuleCommandKeySpec> {
    // SAFETY: a struct of numbers and pointers, for which zeros are the end of the array.
    let end: raw::RedisModuleCommandKeySpec = unsafe { zeroed() };
    let range = |to: Use, first, lastkey, keystep| {
        let mut spec = end;
        spec.flags = u64::from(to.0);
        spec.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
        spec.bs.index.pos = first;
        spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
        spec.fk.range = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 {
            lastkey,
            keystep,
            limit: 0,
        };
        spec
    };
    let counted = |to: Use, at, keystep| {
        let mut spec = range(to, at, 0, 0);
        spec.flags |= u64::from(raw::REDISMODULE_CMD_KEY_INCOMPLETE);
        spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_KEYNUM;
        spec.fk.keynum = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_2 {
            keynumidx: 0,
            firstkey: 1,
            keystep,
        };
        spec
    };
    match *keys {
        Keys::None => vec![end],
        Keys::One(to) => vec![range(to, 1, 0, 1), end],
        Keys::All(to) => vec![range(to, 1, -1, 1), end],
        Keys::From(first, to) => vec![range(to, first, -1, 1), end],
        Keys::EverySecond(first, to) => vec![range(to, first, -1, 2), end],
        Keys::Counted(at, to) => vec![counted(to, at, 2), end],
        Keys::OneAndCounted(first, to) => vec![range(first, 1, 0, 1), counted(to, 2, 1), end],
    }
}

/// Arguments in the server's form, with those that they consist of.
struct RawArgs {
    list: Vec<raw::RedisModuleCommandArg>,
    _parts: Vec<RawArgs>,
}

impl RawArgs {
    fn new(args: impl Iterator<Item = &'static Arg>) -> Self {
        let mut parts = Vec::new();
        // Each key among them is of a key spec of its own.
        let mut keys = 0..;
        let mut list: Vec<_> = args
            .map(|arg| {
                let subargs = match arg.kind {
                    Kind::OneOf(args) | Kind::Block(args) | Kind::Read(args, _) => {
                        let mut part = Self::new(args.iter());
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
                    Kind::String(_) | Kind::Checked(..) => {
                        raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING
                    }
                    Kind::Pattern => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PATTERN,
                    Kind::Integer(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
                    Kind::UnixTime(_) => {
                        raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_UNIX_TIME
                    }
                    Kind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
                    Kind::OneOf(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
                    Kind::Block(_) | Kind::Read(..) => {
                        raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK
                    }
                };
                raw.key_spec_index = match arg.kind {
                    Kind::Key => keys.next().unwrap_or(0),
                    _ => -1,
                };
                raw.token = match arg.kind {
                    // Its first part says it.
                    Kind::Block(_) | Kind::Read(..) => null(),
                    _ => arg.token.map_or(null(), CStr::as_ptr),
                };
                raw.subargs = subargs;
                if arg.optional {
                    raw.flags |= raw::REDISMODULE_CMD_ARG_OPTIONAL as c_int;
                }
                raw.flags |= match arg.repeat {
                    Repeat::No => 0,
                    Repeat::Value => raw::REDISMODULE_CMD_ARG_MULTIPLE as c_int,
                    Repeat::WithToken(_) => {
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
    let owed = Cell::new(1);
    // SAFETY: the server's arguments, valid for this call.
    let (mut ctx, args, reply) =
        unsafe { (Ctx::of_command(ctx), Args::new(argv, argc), Reply::new(ctx, &owed)) };
    // A result would be handed back through memory, in parts and read as a whole, which processors are
    // slow at; the closure deals with it.
    let has_run = guard::run("command", false, || {
        if let Err(Error(text)) = run::<C>(&mut ctx, args, reply) {
            if C::SPEC.hides.errors {
                hide_all::<C>(&ctx, args);
            }
            // Who waits is told by `Waiting`.
            if !ctx.is_waiting() {
                if reply.is_untouched() {
                    reply.error(&text);
                }
                reply.fill();
            }
            after::failed(&mut ctx, C::SPEC.name, &text);
        }
        true
    });
    if !has_run {
        if C::SPEC.hides.errors {
            hide_all::<C>(&ctx, args);
        }
        if !ctx.is_waiting() {
            // Nothing in it can panic.
            reply.fill();
        }
        after::failed(&mut ctx, C::SPEC.name, "it panicked");
    }
    ctx.go_home();
    OK
}

fn run<C: Command>(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
    if let Keys::Counted(at, to) = C::SPEC.keys {
        if ctx.asks_for_keys() {
            // Of a call that is wrong none is known; it changes nothing.
            let positions = grammar::counted_keys(args, at).into_iter().flatten();
            positions.for_each(|position| ctx.key_is_at(position, to.0));
            return Ok(());
        }
    }
    if let Keys::OneAndCounted(first, to) = C::SPEC.keys {
        if ctx.asks_for_keys() {
            let positions = grammar::counted_names(args, 2).into_iter().flatten();
            ctx.key_is_at(1, first.0);
            positions.for_each(|position| ctx.key_is_at(position, to.0));
            return Ok(());
        }
    }
    hide::<C>(ctx, args);
    if !arity_fits(C::SPEC.arity, args.len()) {
        // Servers before 7.0 are not told the arity.
        let name = args.get(0).map_or(&b""[..], Name::bytes);
        let name = String::from_utf8_lossy(name).to_lowercase();
        return Err(Error::err(format_args!("wrong number of arguments for '{name}' command")));
    }
    C::run(ctx, args, reply)?;
    if !reply.is_whole() && !ctx.is_waiting() {
        let name = C::SPEC.name.to_string_lossy();
        log(Level::Warning, &format!("bug: {name} replied less than it said; please report it"));
        reply.fill();
    }
    if const { writes(C::SPEC.flags) } {
        // It has replied.
        ctx.waits();
        after::run(ctx);
    }
    Ok(())
}

/// Keeps what may be a secret out of MONITOR and SLOWLOG, also where the call is malformed.
fn hide<C: Command>(ctx: &Ctx, args: Args) {
    let Hides { values, behind: words, errors } = const { C::SPEC.hides };
    match values {
        Values::None => {}
        Values::At(position) if position < args.len() => ctx.redact(position),
        Values::At(_) => {}
        Values::OfCountedKeys => {
            if let Keys::Counted(at, _) = const { C::SPEC.keys } {
                let keys = grammar::counted_keys(args, at).into_iter().flatten();
                keys.for_each(|position| ctx.redact(position + 1));
            }
        }
    }
    if words.is_empty() {
        return;
    }
    // Options stand behind what is fixed, in a call that is right; one that is wrong may be hidden whole.
    let first = if errors { 1 + const { C::SPEC.fixed.len() } } else { 1 };
    for position in first..args.len().saturating_sub(1) {
        let argument = args.get(position).map(Name::bytes).unwrap_or_default();
        if words.iter().any(|word| grammar::is_word(argument, word.as_bytes())) {
            ctx.redact(position + 1);
        }
    }
}

/// Keeps all of a call out of them, but for the argument that it must begin with.
#[cold]
fn hide_all<C: Command>(ctx: &Ctx, args: Args) {
    let has_first = !matches!(C::SPEC.fixed, [] | [Arg { optional: true, .. }, ..]);
    (1 + usize::from(has_first)..args.len()).for_each(|position| ctx.redact(position));
}

/// Whether `write` is among the flags, which it begins.
const fn writes(flags: &str) -> bool {
    matches!(flags.as_bytes(), [b'w', b'r', b'i', b't', b'e', ..])
}

fn arity_fits(arity: i32, len: usize) -> bool {
    let wanted = arity.unsigned_abs() as usize;
    if arity < 0 {
        len >= wanted
    } else {
        len == wanted
    }
}
