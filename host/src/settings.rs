//! Settings: `CONFIG SET MODULE.NAME` (7.0), and `NAME value` as arguments of the module.
//!
//! A setting is a static of the module. Arguments are what it is registered with as its default, so that a
//! line of redis.conf wins over them and CONFIG REWRITE writes what differs from them.

use crate::api::{accepted, api, is_redis_7, Refused, ERR, OK};
use crate::error::{Error, Result};
use crate::guard;
use crate::lock::{Lock, Locked};
use crate::strings::{Args, Name, Text};
use redis_module::raw;
use std::cell::{Ref, RefCell};
use std::ffi::{c_char, c_int, c_longlong, c_void, CStr, CString};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::OnceLock;

/// A setting of any kind.
pub trait Setting: Sync {
    /// Its name, without the module's.
    fn name(&self) -> &'static CStr;

    /// Sets it from an argument; the error says what it must be.
    fn set(&self, lock: Lock, value: &[u8]) -> std::result::Result<(), String>;

    /// Tells the server of it.
    ///
    /// # Safety
    /// `ctx` is OnLoad's.
    #[doc(hidden)]
    unsafe fn register(
        &'static self,
        ctx: *mut raw::RedisModuleCtx,
        lock: Lock,
    ) -> std::result::Result<(), Refused>;
}

/// What the module does when a number was set.
static APPLIED: OnceLock<fn(Lock)> = OnceLock::new();

/// Has `hook` run when CONFIG SET has set all the numbers that it was to set.
pub(crate) fn when_set(hook: fn(Lock)) {
    let _ = APPLIED.set(hook);
}

/// Reads the module's arguments and registers the settings.
///
/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn load(
    ctx: *mut raw::RedisModuleCtx,
    lock: Lock,
    args: Args,
    settings: &[&'static dyn Setting],
) -> Result<()> {
    let mut position = 0;
    while let Some(name) = args.get(position) {
        let name = String::from_utf8_lossy(name.bytes()).into_owned();
        let Some(value) = args.get(position + 1) else {
            return Err(Error::err(format_args!("argument {name} has no value")));
        };
        let Some(setting) = settings.iter().find(|own| own.name().to_bytes() == name.as_bytes())
        else {
            return Err(Error::err(format_args!("unknown argument {name}")));
        };
        setting.set(lock, value.bytes()).map_err(|why| Error::err(format_args!("{name} {why}")))?;
        position += 2;
    }
    if !is_redis_7() {
        return Ok(());
    }
    // SAFETY: OnLoad's context; reads the table.
    unsafe {
        for setting in settings {
            setting.register(ctx, lock)?;
        }
        accepted(raw::RedisModule_LoadConfigs.map_or(OK, |load| load(ctx)))
            .map_err(|_| Error::err("a setting of the module in the configuration was refused"))
    }
}

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
    /// A number, with its default and its bounds.
    pub const fn new(name: &'static CStr, default: i64, least: i64, most: i64) -> Self {
        Self { name, least, most, fixed: false, value: AtomicI64::new(default) }
    }

    /// Only the load of the module sets it: CONFIG SET is refused.
    pub const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    /// The number as a size; 0 where it is negative.
    pub fn size(&self) -> usize {
        usize::try_from(self.get()).unwrap_or(0)
    }
}

impl Setting for Number {
    fn name(&self) -> &'static CStr {
        self.name
    }

    fn set(&self, _: Lock, value: &[u8]) -> std::result::Result<(), String> {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match text.parse() {
            Ok(value) if (self.least..=self.most).contains(&value) => {
                self.value.store(value, Relaxed);
                Ok(())
            }
            _ => Err(format!("must be between {} and {}", self.least, self.most)),
        }
    }

    unsafe fn register(
        &'static self,
        ctx: *mut raw::RedisModuleCtx,
        _: Lock,
    ) -> std::result::Result<(), Refused> {
        let get: raw::RedisModuleConfigGetNumericFunc = Some(get_number);
        let set: raw::RedisModuleConfigSetNumericFunc = Some(set_number);
        let apply: raw::RedisModuleConfigApplyFunc = Some(applied);
        let flags = match self.fixed {
            true => raw::REDISMODULE_CONFIG_IMMUTABLE,
            false => raw::REDISMODULE_CONFIG_DEFAULT,
        };
        // SAFETY: OnLoad's context; a static text; the callbacks take the private data for what it is.
        accepted(unsafe {
            api!(RedisModule_RegisterNumericConfig(
                ctx,
                self.name.as_ptr(),
                self.get(),
                flags,
                self.least,
                self.most,
                get,
                set,
                apply,
                private(self),
            ))
        })
    }
}

/// Yes or no.
pub struct Switch {
    name: &'static CStr,
    value: AtomicBool,
}

impl Switch {
    /// A switch, with its default.
    pub const fn new(name: &'static CStr, default: bool) -> Self {
        Self { name, value: AtomicBool::new(default) }
    }

    /// Whether it is yes.
    pub fn get(&self) -> bool {
        self.value.load(Relaxed)
    }
}

impl Setting for Switch {
    fn name(&self) -> &'static CStr {
        self.name
    }

    fn set(&self, _: Lock, value: &[u8]) -> std::result::Result<(), String> {
        let value = match value.to_ascii_lowercase().as_slice() {
            b"yes" => true,
            b"no" => false,
            _ => return Err("must be yes or no".to_string()),
        };
        self.value.store(value, Relaxed);
        Ok(())
    }

    unsafe fn register(
        &'static self,
        ctx: *mut raw::RedisModuleCtx,
        _: Lock,
    ) -> std::result::Result<(), Refused> {
        let get: raw::RedisModuleConfigGetBoolFunc = Some(get_switch);
        let set: raw::RedisModuleConfigSetBoolFunc = Some(set_switch);
        // SAFETY: as in `Number`.
        accepted(unsafe {
            api!(RedisModule_RegisterBoolConfig(
                ctx,
                self.name.as_ptr(),
                c_int::from(self.get()),
                raw::REDISMODULE_CONFIG_DEFAULT,
                get,
                set,
                None,
                private(self),
            ))
        })
    }
}

/// A text, and what the module makes of it.
pub struct Parsed<T: 'static> {
    name: &'static CStr,
    parse: fn(&str) -> std::result::Result<T, String>,
    show: fn(&T) -> String,
    value: Locked<RefCell<T>>,
    /// What the getter gave to the server last, which has to stay until it is asked again.
    shown: Locked<RefCell<Shown>>,
}

/// A text of a static's, which is never dropped but where another takes its place, under the lock.
struct Shown(Option<Text>);

// SAFETY: see above.
unsafe impl Send for Shown {}

impl<T: Send> Parsed<T> {
    /// A text, with what its default is taken for; how one is read, where the error says what it must be; and
    /// how it is shown.
    pub const fn new(
        name: &'static CStr,
        default: T,
        parse: fn(&str) -> std::result::Result<T, String>,
        show: fn(&T) -> String,
    ) -> Self {
        let value = Locked::new(RefCell::new(default));
        Self { name, parse, show, value, shown: Locked::new(RefCell::new(Shown(None))) }
    }

    /// What was made of the text. It is not to be held across a call into the server, which may set it.
    pub fn get<'l>(&'static self, lock: Lock<'l>) -> Ref<'l, T> {
        self.value.get(lock).borrow()
    }

    /// Changes what was made of the text, as a command of the module's does.
    pub fn change<R>(&self, lock: Lock, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut self.value.get(lock).borrow_mut())
    }

    /// Lends what was made of the text.
    pub fn with<R>(&self, lock: Lock, body: impl FnOnce(&T) -> R) -> R {
        body(&self.value.get(lock).borrow())
    }
}

impl<T: Send> Setting for Parsed<T> {
    fn name(&self) -> &'static CStr {
        self.name
    }

    fn set(&self, lock: Lock, value: &[u8]) -> std::result::Result<(), String> {
        let text = std::str::from_utf8(value).map_err(|_| "must be UTF-8".to_string())?;
        *self.value.get(lock).borrow_mut() = (self.parse)(text)?;
        Ok(())
    }

    unsafe fn register(
        &'static self,
        ctx: *mut raw::RedisModuleCtx,
        lock: Lock,
    ) -> std::result::Result<(), Refused> {
        let default = CString::new(self.with(lock, self.show)).unwrap_or_default();
        let get: raw::RedisModuleConfigGetStringFunc = Some(get_text::<T>);
        let set: raw::RedisModuleConfigSetStringFunc = Some(set_text::<T>);
        // SAFETY: as in `Number`; the server copies the default.
        accepted(unsafe {
            api!(RedisModule_RegisterStringConfig(
                ctx,
                self.name.as_ptr(),
                default.as_ptr(),
                raw::REDISMODULE_CONFIG_DEFAULT,
                get,
                set,
                None,
                private(self),
            ))
        })
    }
}

fn private<T>(setting: &'static T) -> *mut c_void {
    std::ptr::from_ref(setting).cast_mut().cast()
}

// For all callbacks below: the private data is the static that was registered with them, to which all
// references are shared; the server's lock is held.

unsafe extern "C" fn get_number(_: *const c_char, own: *mut c_void) -> c_longlong {
    // SAFETY: see above.
    guard::run("config", 0, || unsafe { &*own.cast::<Number>() }.get())
}

unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    own: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // The server has checked the bounds.
    guard::run("config", (), || {
        // SAFETY: see above.
        unsafe { &*own.cast::<Number>() }.value.store(value, Relaxed);
    });
    OK
}

unsafe extern "C" fn applied(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard::run("config", (), || {
        if let Some(hook) = APPLIED.get() {
            // SAFETY: see above.
            hook(unsafe { Lock::held() });
        }
    });
    OK
}

unsafe extern "C" fn get_switch(_: *const c_char, own: *mut c_void) -> c_int {
    // SAFETY: see above.
    guard::run("config", 0, || c_int::from(unsafe { &*own.cast::<Switch>() }.get()))
}

unsafe extern "C" fn set_switch(
    _: *const c_char,
    value: c_int,
    own: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard::run("config", (), || {
        // SAFETY: see above.
        unsafe { &*own.cast::<Switch>() }.value.store(value != 0, Relaxed);
    });
    OK
}

unsafe extern "C" fn get_text<T: Send + 'static>(
    _: *const c_char,
    own: *mut c_void,
) -> *mut raw::RedisModuleString {
    guard::run("config", null_mut(), || {
        // SAFETY: see above.
        let (own, lock) = unsafe { (&*own.cast::<Parsed<T>>(), Lock::held()) };
        let text = Text::new(own.with(lock, own.show).as_bytes());
        let raw = text.name().as_ptr();
        own.shown.get(lock).borrow_mut().0 = Some(text);
        raw
    })
}

unsafe extern "C" fn set_text<T: Send + 'static>(
    _: *const c_char,
    value: *mut raw::RedisModuleString,
    own: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard::run("config", ERR, || {
        // SAFETY: see above; the value is the server's, valid for this call.
        let (own, lock, value) =
            unsafe { (&*own.cast::<Parsed<T>>(), Lock::held(), Name::new(value)) };
        match own.set(lock, value.map_or(&[], Name::bytes)) {
            Ok(()) => OK,
            Err(why) => {
                if !error.is_null() {
                    // SAFETY: where the server takes an error, which is its own from here on.
                    unsafe { *error = Text::new(why.as_bytes()).into_raw() };
                }
                ERR
            }
        }
    })
}
