//! Who calls a command, and in whose name.
//!
//! Nothing that the server says of a context tells it alone. MULTI and the running of a script are the
//! server's, so that the client of another module's call inside EXEC looks like a connection. That client may
//! have the id of a connection that a thread of some module has worked for, since the server uses such
//! clients again and leaves the id. Asking for the address of a client without a connection ends Valkey 9.1,
//! and asking for the user of one without a user any server.
//!
//! So an id is a connection's if CLIENT LIST has it; and the context's client is that one if it sees the
//! database that is selected in the context.

use crate::api::{accepted, api, OK};
use crate::context::Ctx;
use crate::lock::Locked;
use crate::strings::{Name, Text};
use ahash::AHashSet;
use redis_module::raw;
use std::cell::RefCell;
use std::ffi::{c_longlong, c_void, CStr};
use std::ptr::NonNull;

/// Who calls. Made once by a command that wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client over its connection, in MULTI or not.
    Connection(Address),
    /// A script or a function.
    Script,
    /// Another module.
    Module,
    /// A primary, or an AOF that is loaded: the caller's checks were made where the caller was.
    Replayed,
}

/// Where a connection comes from; a Unix socket's path has the port 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// An IP address without brackets, or a path.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Ids of clients that CLIENT LIST had, which are never given twice. To ask it costs Valkey 9.1 a tenth of a
/// microsecond for every client that there is, so that a connection is asked for once.
static CONNECTIONS: Locked<RefCell<Option<AHashSet<u64>>>> = Locked::new(RefCell::new(None));

/// How many ids are kept, before all are forgotten.
const MAX_CONNECTIONS: usize = 10_000;

impl Ctx<'_> {
    /// Who calls the running command.
    pub fn caller(&mut self) -> Caller {
        if self.is_replayed() {
            return Caller::Replayed;
        }
        // While one runs, no connection's command does.
        if self.is_in_script() {
            return Caller::Script;
        }
        // SAFETY: the context is valid.
        let id = unsafe { api!(RedisModule_GetClientId(self.raw())) };
        if !self.is_connections(id) || !self.is_client(id) {
            return Caller::Module;
        }
        client(id).map_or(Caller::Module, |(address, _)| Caller::Connection(address))
    }

    /// Whether the context's client is the one of this id, which is a connection's. Where there is but one
    /// database (in a cluster) that can't be told, and the id is believed.
    fn is_client(&mut self, id: u64) -> bool {
        let here = self.database();
        let other = i32::from(here == 0);
        if !self.select(other) {
            return true;
        }
        let seen = client(id).map(|(_, database)| database);
        self.select(here);
        seen == Some(other)
    }

    /// Whether the id is a connection's.
    fn is_connections(&mut self, id: u64) -> bool {
        let known = CONNECTIONS.get(self.lock());
        if known.borrow().as_ref().is_some_and(|ids| ids.contains(&id)) {
            return true;
        }
        if !self.is_listed(id) {
            return false;
        }
        let mut known = known.borrow_mut();
        let ids = known.get_or_insert_with(AHashSet::default);
        if ids.len() == MAX_CONNECTIONS {
            ids.clear();
        }
        ids.insert(id);
        true
    }

    /// Whether CLIENT LIST has the client: not where CLIENT can't be called (`rename-command`).
    fn is_listed(&mut self, id: u64) -> bool {
        // SAFETY: the context is valid; "ccl" takes two C strings and a number; the reply is freed, its text
        // not used after.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"CLIENT".as_ptr(),
                c"ccl".as_ptr(),
                c"LIST".as_ptr(),
                c"ID".as_ptr(),
                id as c_longlong,
            ));
            if reply.is_null() {
                return false;
            }
            let mut len = 0;
            let start = api!(RedisModule_CallReplyStringPtr(reply, &mut len));
            let is_listed = !start.is_null()
                && std::slice::from_raw_parts(start.cast::<u8>(), len).starts_with(b"id=");
            api!(RedisModule_FreeCallReply(reply));
            is_listed
        }
    }

    /// The user in whose name the call is made; `None` for another module that calls in its own, for what is
    /// replayed, and where the server does not tell (6.2, but for a connection).
    pub fn user(&mut self) -> Option<User> {
        if self.is_replayed() {
            return None;
        }
        // SAFETY: reads the table; the context is valid, and its client is known to have a user before it is
        // asked for; the string is ours, since no automatic memory is used.
        let name = unsafe {
            match raw::RedisModule_GetCurrentUserName {
                Some(name) if self.has_user() => name(self.raw()),
                Some(_) => return None,
                None => {
                    let id = api!(RedisModule_GetClientId(self.raw()));
                    raw::RedisModule_GetClientUserNameById?(self.raw(), id)
                }
            }
        };
        // SAFETY: as above.
        Some(User { name: unsafe { Text::from_raw(NonNull::new(name)?) } })
    }

    /// Whether the context's client has a user (7.0). The server looks for one ("C") before it looks whether
    /// the format is one, which this is not, so that nothing is run, checked or logged.
    fn has_user(&mut self) -> bool {
        // SAFETY: the context is valid; the format takes no argument. No known server replies; who does has
        // its reply freed.
        unsafe {
            let reply = api!(RedisModule_Call(self.raw(), c"PING".as_ptr(), c"C@".as_ptr()));
            let error = std::io::Error::last_os_error().raw_os_error();
            if !reply.is_null() {
                api!(RedisModule_FreeCallReply(reply));
                return false;
            }
            error == Some(libc::EBADF)
        }
    }
}

/// The address of a client that has a connection, and the number of its database.
fn client(id: u64) -> Option<(Address, i32)> {
    // SAFETY: reads the table. A structure of numbers and an array, in the version that it names, which the
    // server fills and ends with a NUL.
    let (host, port, database) = unsafe {
        let mut info: raw::RedisModuleClientInfo = std::mem::zeroed();
        info.version = u64::from(raw::REDISMODULE_CLIENTINFO_VERSION);
        let data: *mut c_void = (&raw mut info).cast();
        accepted(raw::RedisModule_GetClientInfoById?(data, id)).ok()?;
        (info.addr.map(|byte| byte as u8), info.port, info.db)
    };
    let host = CStr::from_bytes_until_nul(&host).ok()?.to_string_lossy().into_owned();
    Some((Address { host, port }, i32::from(database)))
}

/// What a user may do to keys of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Access {
    /// Read them.
    Read = raw::REDISMODULE_CMD_KEY_ACCESS,
    /// Change and delete them.
    Write = raw::REDISMODULE_CMD_KEY_UPDATE | raw::REDISMODULE_CMD_KEY_DELETE,
}

/// A user of the server's.
pub struct User {
    name: Text,
}

impl User {
    /// What ACL WHOAMI calls it.
    pub fn name(&self) -> &[u8] {
        self.name.name().bytes()
    }

    /// The first of the keys, counted from 0, to which the user may not do this; `None` where there is none,
    /// and on servers that can't tell (before 7.0).
    pub fn first_denied(&self, access: Access, keys: &[Name]) -> Option<usize> {
        // SAFETY: reads the table; the names are valid, the server's user is freed after use.
        unsafe {
            let (Some(find), Some(free), Some(check)) = (
                raw::RedisModule_GetModuleUserFromUserName,
                raw::RedisModule_FreeModuleUser,
                raw::RedisModule_ACLCheckKeyPermissions,
            ) else {
                return None;
            };
            let user = find(self.name.name().as_ptr());
            if user.is_null() {
                return Some(0);
            }
            let denied = keys.iter().position(|key| check(user, key.as_ptr(), access as _) != OK);
            free(user);
            denied
        }
    }
}
