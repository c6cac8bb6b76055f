//! Configuration: `CONFIG SET apikey.NAME` (7.0), and `NAME value` as arguments of the module.
//!
//! Arguments are what the settings are registered with as defaults, so that a line of redis.conf wins
//! over them and CONFIG REWRITE writes what differs from them.

use crate::error::{Error, Result};
use crate::ffi::{self, Args, Ctx, Setting, Text};
use crate::guard;
use crate::locked::Locked;
use crate::state;
use apikey_engine::sanitise::{ExtraFields, Limits, MAX_EXTRA_FIELDS};
use redis_module::raw;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_longlong, c_void, CStr, CString};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// A whole number between two bounds.
pub struct Number {
    name: &'static CStr,
    least: i64,
    most: i64,
    /// Whether only the load of the module sets it.
    fixed: bool,
    value: AtomicI64,
}

impl Number {
    const fn new(name: &'static CStr, default: i64, least: i64, most: i64) -> Self {
        Self { name, least, most, fixed: false, value: AtomicI64::new(default) }
    }

    const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    pub fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    pub fn size(&self) -> usize {
        usize::try_from(self.get()).unwrap_or(0)
    }
}

/// Yes or no.
pub struct Switch {
    name: &'static CStr,
    value: AtomicBool,
}

impl Switch {
    const fn new(name: &'static CStr, default: bool) -> Self {
        Self { name, value: AtomicBool::new(default) }
    }

    pub fn get(&self) -> bool {
        self.value.load(Relaxed)
    }
}

/// Names, separated by commas. Spaces are taken as well, but CONFIG REWRITE does not quote what it writes
/// back as arguments of the module.
pub struct Names {
    name: &'static CStr,
    /// What they are names of.
    of: &'static str,
    most: usize,
    /// Names that may not be among them, and why.
    never: (&'static [&'static str], &'static str),
    value: Locked<RefCell<Vec<String>>>,
    /// What the getter gave to the server last, which has to stay until it is asked again.
    shown: Locked<RefCell<Option<Text>>>,
}

const MAX_NAME_BYTES: usize = 128;

impl Names {
    const fn new(
        name: &'static CStr,
        of: &'static str,
        most: usize,
        never: (&'static [&'static str], &'static str),
    ) -> Self {
        // SAFETY: settings are read and written by commands and the server's configuration, which hold
        // the lock.
        let value = unsafe { Locked::new(RefCell::new(Vec::new())) };
        // SAFETY: as above.
        let shown = unsafe { Locked::new(RefCell::new(None)) };
        Self { name, of, most, never, value, shown }
    }

    /// The first of them, if there is one.
    pub fn first(&self) -> Option<String> {
        self.value.borrow().first().cloned()
    }

    fn text(&self) -> String {
        self.value.borrow().join(",")
    }

    fn set(&self, text: &[u8]) -> std::result::Result<(), String> {
        let text = std::str::from_utf8(text).map_err(|_| "must be UTF-8".to_string())?;
        let names: Vec<String> = text
            .split(|c: char| c == ',' || c.is_ascii_whitespace())
            .filter(|name| !name.is_empty())
            .map(str::to_string)
            .collect();
        if names.len() > self.most {
            return Err(match self.most {
                1 => format!("must be the name of one {}", self.of),
                most => format!("must be at most {most} names of {}s", self.of),
            });
        }
        if names.iter().any(|name| name.len() > MAX_NAME_BYTES) {
            return Err(format!("must be names of at most {MAX_NAME_BYTES} bytes"));
        }
        let (never, why) = self.never;
        if let Some(name) = names.iter().find(|name| never.contains(&name.as_str())) {
            return Err(format!("must not be {name}: {why}"));
        }
        *self.value.borrow_mut() = names;
        Ok(())
    }
}

const YEAR_IN_SECONDS: i64 = 31_536_000;

/// The most refused validations that LOG can keep.
pub const MAX_LOG_LEN: i64 = 10_000;

pub static VALIDATION_TTL: Number = Number::new(c"validation-ttl", 300, 1, YEAR_IN_SECONDS);
pub static ABSENT_TTL: Number = Number::new(c"absent-ttl", 30, 1, YEAR_IN_SECONDS);
pub static SCOPE_TTL: Number = Number::new(c"scope-ttl", 600, 1, YEAR_IN_SECONDS);
pub static LIST_TTL: Number = Number::new(c"list-ttl", 1800, 1, YEAR_IN_SECONDS);
pub static MAX_NAME_LENGTH: Number = Number::new(c"max-name-length", 100, 1, 65_536);
pub static MAX_RECORD_BYTES: Number = Number::new(c"max-record-bytes", 16_384, 64, 1_048_576);
pub static MAX_SCOPES: Number = Number::new(c"max-scopes", 64, 0, 4096);
pub static MAX_TAGS: Number =
    Number::new(c"max-tags", 16, 0, apikey_engine::tags::MAX_CALLER_TAGS as i64);
pub static MAX_DECISIONS: Number =
    Number::new(c"max-decisions", 1024, 1, apikey_engine::decisions::MAX_DECISIONS as i64);
pub static FENCE_SLOTS: Number = Number::new(c"fence-slots", 65_536, 1, 16_777_216).fixed();
pub static TOKEN_TTL_MS: Number = Number::new(c"token-ttl-ms", 30_000, 1, 86_400_000);
pub static SYNC_RECLAIM: Number = Number::new(c"sync-reclaim", 256, 0, 100_000);
pub static RECLAIM_BUDGET_US: Number = Number::new(c"reclaim-budget-us", 500, 10, 100_000);
pub static LOG_MAX_LEN: Number = Number::new(c"log-max-len", 128, 0, MAX_LOG_LEN);
pub static MIN_HIT_RATE: Number = Number::new(c"min-hit-rate", 80, 0, 100);
pub static MAX_MEMORY_PERCENT: Number = Number::new(c"max-memory-percent", 90, 1, 100);
pub static TRUST_LOADED: Switch = Switch::new(c"trust-loaded", false);
pub static TRUST_PROMOTED: Switch = Switch::new(c"trust-promoted", true);
pub static ENABLED: Switch = Switch::new(c"enabled", true);
pub static WRITES_ENABLED: Switch = Switch::new(c"writes-enabled", true);
pub static EXTRA_FIELDS: Names = Names::new(
    c"extra-fields",
    "field",
    MAX_EXTRA_FIELDS,
    (&["key_hash"], "a secret's hash is not kept in a record"),
);
pub static DIGEST_FIELD: Names = Names::new(
    c"digest-field",
    "field",
    1,
    (&apikey_engine::sanitise::KEPT_FIELDS, "a record keeps that field"),
);
pub static INVALIDATION_CHANNEL: Names =
    Names::new(c"invalidation-channel", "channel", 1, (&[], ""));

static NUMBERS: [&Number; 16] = [
    &ABSENT_TTL,
    &SCOPE_TTL,
    &LIST_TTL,
    &MAX_DECISIONS,
    &SYNC_RECLAIM,
    &RECLAIM_BUDGET_US,
    &FENCE_SLOTS,
    &TOKEN_TTL_MS,
    &VALIDATION_TTL,
    &MAX_NAME_LENGTH,
    &MAX_RECORD_BYTES,
    &MAX_SCOPES,
    &MAX_TAGS,
    &LOG_MAX_LEN,
    &MIN_HIT_RATE,
    &MAX_MEMORY_PERCENT,
];
static SWITCHES: [&Switch; 4] = [&TRUST_LOADED, &TRUST_PROMOTED, &ENABLED, &WRITES_ENABLED];
static NAMES: [&Names; 3] = [&EXTRA_FIELDS, &DIGEST_FIELD, &INVALIDATION_CHANNEL];

/// Calls `body` with what a record of a client's may be.
pub fn with_record_limits<T>(body: impl FnOnce(&Limits) -> T) -> T {
    let extra = EXTRA_FIELDS.value.borrow();
    let digest = DIGEST_FIELD.value.borrow();
    body(&Limits {
        max_record_bytes: MAX_RECORD_BYTES.size(),
        max_name_bytes: MAX_NAME_LENGTH.size(),
        max_scopes: MAX_SCOPES.size(),
        extra_fields: ExtraFields::Named(&extra),
        digest_field: digest.first().map(String::as_str),
    })
}

/// Reads the module's arguments and registers what can be configured.
pub fn load(ctx: Ctx, args: Args) -> Result<()> {
    let mut position = 0;
    while let Some(name) = args.get(position) {
        let name = String::from_utf8_lossy(name.bytes()).into_owned();
        let Some(value) = args.get(position + 1) else {
            return Err(Error::err(format_args!("argument {name} has no value")));
        };
        set_by_argument(&name, value.bytes())?;
        position += 2;
    }
    if ffi::is_redis_7() {
        register(ctx)?;
    }
    Ok(())
}

fn set_by_argument(name: &str, value: &[u8]) -> Result<()> {
    let is = |setting: &CStr| setting.to_bytes() == name.as_bytes();
    if let Some(number) = NUMBERS.iter().find(|number| is(number.name)) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        return match text.parse() {
            Ok(value) if (number.least..=number.most).contains(&value) => {
                number.value.store(value, Relaxed);
                Ok(())
            }
            _ => Err(Error::between(name, number.least, number.most)),
        };
    }
    if let Some(switch) = SWITCHES.iter().find(|switch| is(switch.name)) {
        let value = match value.to_ascii_lowercase().as_slice() {
            b"yes" => true,
            b"no" => false,
            _ => return Err(Error::err(format_args!("{name} must be yes or no"))),
        };
        switch.value.store(value, Relaxed);
        return Ok(());
    }
    match NAMES.iter().find(|names| is(names.name)) {
        Some(names) => names.set(value).map_err(|why| Error::err(format_args!("{name} {why}"))),
        None => Err(Error::err(format_args!("unknown argument {name}"))),
    }
}

fn register(ctx: Ctx) -> Result<()> {
    for own in NUMBERS {
        let setting = Setting { name: own.name, own, fixed: own.fixed };
        ffi::register_number(
            ctx,
            setting,
            own.get(),
            (own.least, own.most),
            (Some(get_number), Some(set_number), Some(apply_number)),
        )?;
    }
    for own in SWITCHES {
        let setting = Setting { name: own.name, own, fixed: false };
        ffi::register_bool(ctx, setting, own.get(), Some(get_switch), Some(set_switch))?;
    }
    for own in NAMES {
        let setting = Setting { name: own.name, own, fixed: false };
        let default = CString::new(own.text()).unwrap_or_default();
        ffi::register_string(ctx, setting, &default, Some(get_names), Some(set_names))?;
    }
    ffi::load_configs(ctx)
        .map_err(|_| Error::err("a setting of apikey.* in the configuration was refused"))
}

// SAFETY, for all callbacks below: the private data is the static that `register` gave with them.

unsafe extern "C" fn get_number(_: *const c_char, own: *mut c_void) -> c_longlong {
    guard::run("config", 0, || (*own.cast::<Number>()).get())
}

unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    own: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // The server has checked the bounds.
    guard::run("config", (), || (*own.cast::<Number>()).value.store(value, Relaxed));
    raw::REDISMODULE_OK as c_int
}

/// CONFIG SET has set all that it was to set.
unsafe extern "C" fn apply_number(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard::run("config", (), || state::with(|state| state.refusals.trim(LOG_MAX_LEN.size())));
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn get_switch(_: *const c_char, own: *mut c_void) -> c_int {
    guard::run("config", 0, || c_int::from((*own.cast::<Switch>()).get()))
}

unsafe extern "C" fn set_switch(
    _: *const c_char,
    value: c_int,
    own: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard::run("config", (), || (*own.cast::<Switch>()).value.store(value != 0, Relaxed));
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn get_names(_: *const c_char, own: *mut c_void) -> *mut raw::RedisModuleString {
    guard::run("config", null_mut(), || {
        let names = &*own.cast::<Names>();
        let text = Text::new(names.text().as_bytes());
        let raw = text.name().as_ptr();
        *names.shown.borrow_mut() = Some(text);
        raw
    })
}

unsafe extern "C" fn set_names(
    _: *const c_char,
    value: *mut raw::RedisModuleString,
    own: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard::run("config", raw::REDISMODULE_ERR as c_int, || {
        match (*own.cast::<Names>()).set(ffi::Name::new(value).bytes()) {
            Ok(()) => raw::REDISMODULE_OK as c_int,
            Err(why) => {
                ffi::set_config_error(error, &why);
                raw::REDISMODULE_ERR as c_int
            }
        }
    })
}
