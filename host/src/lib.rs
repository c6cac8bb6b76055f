//! A Redis server as a module sees it, made safe.

pub mod blocked;
pub mod caller;
pub mod changes;
pub mod command;
pub mod events;
pub mod job;
pub mod key;
pub mod module;
pub mod server;
pub mod settings;

mod after;
mod api;
mod context;
mod error;
mod guard;
mod info;
mod lock;
mod log;
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
