//! Calls of the module API.

use redis_module::raw;
use std::ffi::c_int;

pub const OK: c_int = raw::REDISMODULE_OK as c_int;
pub const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// Calls a function of the module API; every supported server has those that are called here.
macro_rules! api {
    ($name:ident($($argument:expr),* $(,)?)) => {
        // The server fills the table before OnLoad continues and never writes it again.
        match redis_module::raw::$name {
            Some(function) => function($($argument),*),
            None => panic!(concat!("the server has no ", stringify!($name))),
        }
    };
}
pub(crate) use api;
