//! A module's load, and its entry.

use crate::after;
use crate::api::{self, api, missing_functions, Refused, ERR, OK};
use crate::cluster::{self, Receiver};
use crate::command::register;
use crate::command::spec::Command;
use crate::context::Ctx;
use crate::defrag::{self, Globals};
use crate::error::{Error, Result};
use crate::events::{self, Listener};
use crate::guard;
use crate::info::{self, Info};
use crate::key::data_type::DataType;
use crate::key::handle::Handle;
use crate::lock::Lock;
use crate::log::{begin_lines_with, log, Level};
use crate::settings::{self, Setting};
use crate::slots::{self, Migrations};
use crate::strings::Args;
use crate::timer;
use std::ffi::{c_int, CStr};

#[doc(hidden)] // For `entry!`.
pub use crate::memory::Memory;
#[doc(hidden)] // For `entry!`.
pub use redis_module::raw;

/// A module.
pub trait Module: 'static {
    /// What MODULE LIST calls it; settings are named behind it.
    const NAME: &'static CStr;

    /// The version as the server wants it: a number.
    const VERSION: c_int;

    /// Registers what the module has. An error keeps it from being loaded, and stands in the log.
    fn load(loading: &mut Loading) -> Result<()>;
}

/// A module's load: what can only be registered then.
pub struct Loading<'a> {
    ctx: Ctx<'a>,
    args: Args<'a>,
    category: Option<&'static CStr>,
    /// What is done when nothing can fail any more: of a module that was not loaded after all the server
    /// forgets neither listeners nor timers, and would call what is there no more.
    last: Vec<Last>,
}

type Last = Box<dyn FnOnce(&mut Ctx) -> std::result::Result<(), Refused>>;

impl<'a> Loading<'a> {
    /// Proof that the server's lock is held.
    pub fn lock(&self) -> Lock<'a> {
        self.ctx.lock()
    }

    /// Runs `body` once, `ms` milliseconds from when the module is loaded, on the database 0.
    pub fn after(&mut self, ms: i64, body: impl FnOnce(&mut Ctx) + Send + 'static) {
        self.last.push(Box::new(move |ctx| {
            ctx.after(ms, body);
            Ok(())
        }));
    }

    /// Reads the module's arguments and registers its settings.
    pub fn settings(&mut self, settings: &[&'static dyn Setting]) -> Result<()> {
        // SAFETY: OnLoad's context.
        unsafe { settings::load(self.ctx.raw(), self.lock(), self.args, settings) }
    }

    /// Has `hook` run when CONFIG SET has set all the numbers that it was to set.
    pub fn when_set(&mut self, hook: fn(Lock)) {
        settings::when_set(hook);
    }

    /// Registers a data type.
    pub fn data_type<T: DataType>(&mut self, handle: &'static Handle<T>) -> Result<()> {
        // SAFETY: OnLoad's context.
        unsafe { handle.register(self.ctx.raw()) }.map_err(|_| {
            let name = T::NAME.to_string_lossy();
            Error::err(format_args!("the server refused the data type {name}"))
        })
    }

    /// Adds an ACL category, where the server knows such things (7.4), that all commands are in which are
    /// registered from now on.
    pub fn category(&mut self, name: &'static CStr) -> Result<()> {
        // SAFETY: OnLoad's context.
        let has = unsafe { register::add_category(self.ctx.raw(), name) }.map_err(|_| {
            let name = name.to_string_lossy();
            Error::err(format_args!("the ACL category {name} could not be added"))
        })?;
        self.category = has.then_some(name);
        Ok(())
    }

    /// Registers a command.
    pub fn command<C: Command>(&mut self) -> Result<()> {
        // SAFETY: OnLoad's context.
        unsafe { register::register::<C>(self.ctx.raw(), self.category) }
    }

    /// Has the listener told of what happens to keys and to the server, once the module is loaded. There is
    /// one: of two, only the last is told of the server.
    pub fn listen<L: Listener>(&mut self) {
        // SAFETY: OnLoad's context.
        self.last.push(Box::new(|ctx| unsafe { events::subscribe::<L>(ctx.raw()) }));
    }

    /// Has the receiver given messages of other nodes of the cluster, once the module is loaded; outside of a cluster
    /// none comes. Of two of a kind it is the last.
    pub fn receive<R: Receiver>(&mut self) {
        // The last of all, since it can't be taken back.
        self.last.push(Box::new(|ctx| {
            // SAFETY: OnLoad's context.
            unsafe { cluster::register::<R>(ctx.raw()) };
            Ok(())
        }));
    }

    /// Has the module told of slots that move as a whole, once it is loaded. The server moves none where a module does
    /// not say that it knows of it.
    pub fn follow_migrations<M: Migrations>(&mut self) {
        // It can't fail, so that nothing has to be taken back.
        self.last.push(Box::new(|ctx| {
            // SAFETY: OnLoad's context.
            if unsafe { slots::subscribe::<M>(ctx) }.is_ok() {
                set_options(ctx, OPTIONS | slots::OPTION);
            }
            Ok(())
        }));
    }

    /// Registers INFO sections: the last call says which.
    pub fn info<I: Info>(&mut self) -> Result<()> {
        // SAFETY: OnLoad's context.
        Ok(unsafe { info::register::<I>(self.ctx.raw()) }?)
    }

    /// Has `hook` run, with the command's name and its error, when a command that comes from a primary or an AOF
    /// fails: this node then lacks what the other has. There is one: the first.
    pub fn when_replay_fails(&mut self, hook: fn(&mut Ctx, &str, &str)) {
        after::set_failed(hook);
    }

    /// Has the server's active defragmentation asked for what the module has allocated beside values; the last call
    /// says whom.
    pub fn defrag<G: Globals>(&mut self) -> Result<()> {
        // SAFETY: OnLoad's context.
        Ok(unsafe { defrag::register::<G>(self.ctx.raw()) }?)
    }

    /// Has `hook` run at each turn of the server's cron (`hz` times a second): from the first on a timer can be set
    /// for good. (Redis 8.2 ends where a load that has set one fails by what it was given to configure.) There is
    /// one: the first.
    pub fn each_cron(&mut self, hook: fn(&mut Ctx)) {
        timer::set_each_cron(hook);
    }

    /// Has `hook` run at the end of every command that writes, and of every event. There is one: the first.
    pub fn after_each(&mut self, hook: fn(&mut Ctx)) {
        after::set(hook);
    }
}

/// Loads a module; [`entry!`](crate::entry) calls it.
///
/// # Safety
/// Called by the server alone, as OnLoad, with its context and the module's arguments.
#[doc(hidden)]
pub unsafe fn on_load<M: Module>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // Until the table of functions is set up nothing may be allocated.
    // SAFETY: as the caller says.
    if unsafe { api::init(ctx, M::NAME, M::VERSION) }.is_err() {
        return ERR;
    }
    guard::run("load", ERR, || {
        begin_lines_with(M::NAME);
        guard::log_panics();
        // SAFETY: as the caller says.
        let (ctx, args) = unsafe { (Ctx::new(ctx), Args::new(argv, argc)) };
        match load::<M>(ctx, args) {
            Ok(()) => OK,
            Err(Error(text)) => {
                log(Level::Warning, &format!("not loaded: {text}"));
                ERR
            }
        }
    })
}

/// Loads check for errors themselves (a broken RESTORE is then an error, not the end of the server), and what is opened
/// for writing is not always written.
const OPTIONS: u32 =
    raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED;

fn set_options(ctx: &Ctx, options: u32) {
    // SAFETY: the context is OnLoad's.
    unsafe { api!(RedisModule_SetModuleOptions(ctx.raw(), options as c_int)) };
}

fn load<M: Module>(ctx: Ctx, args: Args) -> Result<()> {
    let missing = missing_functions();
    if !missing.is_empty() {
        return Err(Error::err(format_args!(
            "the server is too old: it lacks {}",
            missing.join(", ")
        )));
    }
    let mut loading = Loading { ctx, args, category: None, last: Vec::new() };
    set_options(&loading.ctx, OPTIONS);
    M::load(&mut loading)?;
    let Loading { mut ctx, last, .. } = loading;
    // SAFETY: the context is OnLoad's.
    let watch = |ctx: &Ctx, is_on| unsafe { timer::watch(ctx.raw(), is_on) };
    let told =
        watch(&ctx, true).and_then(|()| last.into_iter().try_for_each(|last| last(&mut ctx)));
    told.map_err(|Refused| {
        // The module is not going to be there.
        let _ = watch(&ctx, false);
        Error::err("the server refused to tell of events")
    })
}

/// Whether a module may be unloaded; [`entry!`](crate::entry) asks. Of itself the server refuses where there
/// are data types or clients that wait, and before 7.0 not where there are timers.
#[doc(hidden)]
pub fn on_unload() -> c_int {
    if timer::is_any_set() {
        ERR
    } else {
        OK
    }
}

/// The entry of a module, and its allocator: memory comes from the server, so that `used_memory` and
/// `maxmemory` count it. Once in a crate of the type `cdylib`.
#[macro_export]
macro_rules! entry {
    ($module:ty) => {
        #[global_allocator]
        static ALLOCATOR: $crate::module::Memory = $crate::module::Memory;

        /// The server's entry.
        ///
        /// # Safety
        /// Called by the server alone, with its context and the module's arguments.
        #[allow(unsafe_code)]
        #[no_mangle]
        pub unsafe extern "C" fn RedisModule_OnLoad(
            ctx: *mut $crate::module::raw::RedisModuleCtx,
            argv: *mut *mut $crate::module::raw::RedisModuleString,
            argc: std::ffi::c_int,
        ) -> std::ffi::c_int {
            // SAFETY: it is the server that calls.
            unsafe { $crate::module::on_load::<$module>(ctx, argv, argc) }
        }

        /// The server asks whether it may unload the module.
        #[allow(unsafe_code)]
        #[no_mangle]
        pub extern "C" fn RedisModule_OnUnload(
            _: *mut $crate::module::raw::RedisModuleCtx,
        ) -> std::ffi::c_int {
            $crate::module::on_unload()
        }
    };
}
