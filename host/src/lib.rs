//! A Redis server as a module sees it, made safe.
//!
//! A module is a library that the server loads and calls. This crate is for modules whose authors would
//! rather not think of pointers, of who frees what, of what may be called when, and of a panic that takes the
//! server with it: a command, a data type, a listener is a trait, its module is safe Rust throughout, and a
//! bug in it is an error for one client and a line in the log. It stands on the bindings of the SDK
//! ([`redis-module`] 2.0.8), serves Redis 6.2, 7.0 and 8.2 and Valkey 9.1 with one binary, and knows nothing
//! of what the module is for.
//!
//! [`redis-module`]: https://docs.rs/redis-module/2.0.8
//!
//! # A module
//!
//! This is all of `examples/toy.rs`, which tests load into the four servers. In `Cargo.toml` it is a `cdylib`.
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/toy.rs")]
#![doc = "# fn main() {}"]
#![doc = "```"]
//!
//! # What it gives beyond the SDK
//!
//! | subject | the SDK, 2.0.8 | here |
//! | --- | --- | --- |
//! | panics | leave an `extern "C"` function, and so end the server | Every entry has a guard, with nothing to write for it: commands, timers, answers, jobs, walks, events, all methods of a data type, settings, INFO, the load. The log has the place, not the message, which may quote a client |
//! | what a client sees of one | | one reply: an error, or the rest of the reply filled with errors ([`Reply`]); so too of a command that says less than it announced |
//! | a save or rewrite that panics | | fails, and leaves the file that was there, which can be loaded ([`DataType::save`]) |
//! | the server's lock | `RedisGILGuard` gives a `&mut` to whoever asks, also the second time, and can be shared whatever is in it | [`Lock`] is proof that the lock is held, [`Locked`] lends a shared reference for it; what may run on another thread (the value's `Drop`) is handed none |
//! | arguments | a `Vec` for each call, in which each is retained and released | [`Args`] borrows the server's, [`Name`] one of them |
//! | replies | a tree of `RedisValue`, or calls for some kinds | [`Reply`] writes at once, without a tree |
//! | a command | a function, with its description in an attribute | [`Command`]; one [`Spec`](command::spec::Spec) is what COMMAND INFO, DOCS and GETKEYS say, and how its [options](command::grammar::Options) are read and their errors said |
//! | secrets among arguments | nothing | [`hides`](command::spec::Spec::hides): out of MONITOR and SLOWLOG, and of a wrong call all that could be one |
//! | who calls | `get_current_user`, which takes a null where there is no user for a string | [`Ctx::caller`]: a connection with its address, a script, another module; [`Ctx::user`], and what of keys that user may not do |
//! | keys | as many open at once as one likes; `get_value` gives a `&mut T` that outlives the key, for a `T` that nobody checks | [`Ctx::open`], [`Ctx::open_mut`]: a borrow of the context, so that nothing can take the value away; [`Handle`] knows its type |
//! | a data type | a structure of function pointers, each `unsafe extern "C"` and yours | [`DataType`], with values of [any size](WithBytes) behind one word |
//! | active defragmentation | pointers are moved, in `unsafe`, by whoever knows their layout; one function for all that is no value, without an end | [`Mover`](defrag::Mover) moves a value, and any `Vec` or `Box` that it is lent; the [rest](defrag::Globals) in steps |
//! | a walk over keys | the closure is shared and called as if it were not | [`Walk`](key::walk::Walk), in steps; with [`Jobs`](job::Jobs) its client waits and the server does not |
//! | timers | the closure may borrow what is gone when it runs; to stop one needs its type guessed | [`Ctx::after`]: a `'static` closure; while one is to come the module is not unloaded. It comes also where the wall clock, by which the server goes, was set back |
//! | clients that wait | no reply where the handle is dropped, and no word of who hangs up | [`Ctx::block`] gives a [`Waiting`](blocked::Waiting): an answer in a closure, an error if dropped, and whether the client is there still; of a command alone, and once, since the server ends otherwise |
//! | events | flush without its database, none for SWAPDB; keyspace events by bits and text | [`ServerEvent`](events::ServerEvent), [`KeyEvent`](events::KeyEvent) |
//! | a cluster's messages | nothing | [`Ctx::send_to_node`], and a [`Receiver`](cluster::Receiver) behind a guard, with ids as values and who owns slots |
//! | the end of a change | nothing | [`Loading::after_each`] command that writes and each event |
//! | settings | read as arguments where a name is found; that one was refused is not looked at | [`settings`]: one static is the argument, CONFIG SET's name, its bounds and its errors; what is unknown or refused keeps the module from loading |
//! | replication | from any callback | the same, but for what ends the server or breaks its AOF: [refused](Ctx::replicate) |
//! | the log | the message is `printf`'s format: `%s` in it reads the stack; a NUL in it is a panic | [`log()`] writes what it is given |
//! | a load that fails | listeners and timers stay with the server, which then calls what is gone | [`Loading`] sets them when nothing can fail any more |
//! | memory | aligned to what malloc gives (16), whatever was asked for | aligned; the server's as well, so that `maxmemory` counts it |
//!
//! # What makes it sound
//!
//! A callback is handed what it may use, for as long as it runs: no [`Ctx`], [`Lock`], [`Name`], [`Reply`] or
//! key can be kept.
//!
//! ```compile_fail,E0521
//! # use host::*;
//! static KEPT: std::sync::Mutex<Option<&'static [u8]>> = std::sync::Mutex::new(None);
//! fn run(_: &mut Ctx, args: Args, _: Reply) {
//!     *KEPT.lock().unwrap() = args.get(1).map(Name::bytes);
//! }
//! ```
//!
//! An open key has the context for itself, and with it everything that could delete the key or bring another
//! module in: a second key, a notification, a command.
//!
//! ```compile_fail,E0499
//! # use host::*;
//! fn run(ctx: &mut Ctx, one: Name, other: Name) {
//!     let key = ctx.open(one);
//!     let second = ctx.open(other);
//!     drop(key);
//! }
//! ```
//!
//! A value is borrowed from its key, and replaced by whoever has the key for itself.
//!
//! ```compile_fail,E0502
//! # use host::*;
//! fn longer<T: DataType<Value = Vec<u8>>>(mut key: KeyMut, handle: &'static Handle<T>) -> Result<usize> {
//!     let value = key.get(handle)?.ok_or(Error::WRONG_TYPE)?;
//!     key.set(handle, Box::new(vec![0]), None)?;
//!     Ok(value.len())
//! }
//! ```
//!
//! A reply calls nobody back, and so needs no context: it can be written while a value is looked at. What
//! belongs to the lock's holder is a static that is reached by showing a [`Lock`], which no other thread has, and
//! no `Drop`; of what is in it only shared references are given, so that two of them are a `RefCell`'s business.
//! What goes to another thread (values, timers' and answers' closures, jobs) is [`Send`].
//!
//! ```compile_fail,E0061
//! # use host::*;
//! # use std::cell::Cell;
//! static COUNT: Locked<Cell<u64>> = Locked::new(Cell::new(0));
//! struct Value;
//! impl Drop for Value {
//!     fn drop(&mut self) {
//!         COUNT.get().set(0);
//!     }
//! }
//! ```
//!
//! # What it does not do
//!
//! The server's own types (strings, hashes, lists, ..), commands of others but PUBLISH, work on threads that
//! takes the server's lock, and authentication: for these there is the SDK, whose raw
//! bindings are beside this crate in any module. [`DataType`]s have no effort to say for UNLINK, so
//! that the server frees one value where it stands, and in the background only with its database.
//!
//! The guard catches panics, if the module is built to unwind (`panic = "unwind"`, the default). It can't catch
//! what Rust itself does not: a panic in the `Drop` of something that a panic unwinds, a stack that overflows,
//! memory that runs out, a loop without end. A [`DataType::load`] that panics is data that can't be loaded: an
//! error of RESTORE, a resync that fails, and a server that does not start from its file. And a module may
//! still do nonsense: reply twice, or replicate what replicas can't run.
//!
//! `entry!` says `#[allow(unsafe_code)]` for the functions that the server looks for; the rest of a module can
//! `#![deny(unsafe_code)]`.
//!
//! # Where to read on
//!
//! | item | holds |
//! | --- | --- |
//! | [`Module`], [`Loading`], [`entry!`] | the load of a module |
//! | [`command`] | commands, their description, their options |
//! | [`key`] | keys, data types, walks |
//! | [`Ctx`] | what a callback may ask of the server |
//! | [`caller`], [`changes`], [`blocked`] | what more a command may: who calls, whom a change is told to, to wait |
//! | [`job`] | work in slices |
//! | [`events`] | what the server tells unasked |
//! | [`cluster`] | other nodes, and messages to their modules |
//! | [`slots`] | the slot of a key, and slots that move as a whole |
//! | [`defrag`] | active defragmentation |
//! | [`settings`], [`Info`] | CONFIG and INFO |
//! | [`Lock`], [`Locked`] | what only the lock's holder reaches |
//! | [`log()`], [`server`] | what needs no context |

pub mod blocked;
pub mod caller;
pub mod changes;
pub mod cluster;
pub mod command;
pub mod defrag;
pub mod events;
pub mod job;
pub mod key;
pub mod module;
pub mod server;
pub mod settings;
pub mod slots;

mod after;
mod api;
mod arrival;
mod call;
mod context;
mod error;
mod guard;
mod info;
mod lock;
mod log;
mod memory;
mod reply;
mod strings;
mod timer;

pub use api::{is_redis_7, Refused};
pub use command::spec::Command;
pub use context::{Ctx, ServerInfo};
pub use error::{Error, Result};
pub use info::{Info, InfoOut};
pub use key::{
    data_type::DataType,
    handle::Handle,
    open::{Held, Key, KeyMut},
    thin::WithBytes,
};
pub use lock::{Lock, Locked};
pub use log::{log, Level};
pub use module::{Loading, Module};
pub use reply::Reply;
pub use server::now;
pub use strings::{Args, Name, Text};
