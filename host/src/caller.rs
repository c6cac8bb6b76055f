//! Who calls a command, and in whose name.
//!
//! Nothing that the server says of a context tells it alone. MULTI and the running of a script are the
//! server's, so that the client of another module's call inside EXEC looks like a connection. That client may
//! have the id of a connection that a thread of some module has worked for, since the server uses such
//! clients again and leaves the id. Asking for the address of a client without a connection ends Valkey 9.1,
//! and asking for the user of one without a user any server.
//!
//! So what can't be a connection is told by what it lacks: a user, or the leave to wait outside of MULTI. Of
//! the rest the client is the one of the context's id if it sees the database that is selected in the context.

use crate::api::{accepted, api, OK};
use crate::context::{Ctx, Flags};
use crate::lock::Locked;
use crate::strings::{Name, Text};
use ahash::AHashMap;
use redis_module::raw;
use std::cell::RefCell;
use std::ffi::{c_void, CStr, CString};
use std::ptr::NonNull;
use std::sync::Arc;

/// Who calls. Made once by a command that wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client over its connection, in MULTI or not.
    Connection(Arc<Address>),
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

type Addresses = AHashMap<u64, Arc<Address>>;

/// Addresses of connections by their ids, which are never given twice: to ask the server takes a microsecond and a
/// system call, and on Valkey, by CLIENT LIST, a tenth of a microsecond for every client that there is.
static KNOWN: Locked<RefCell<Option<Addresses>>> = Locked::new(RefCell::new(None));

/// How many are kept, before all are forgotten.
const MAX_KNOWN: usize = 10_000;

impl Ctx<'_> {
    /// Who calls the running command, and in whose [name](Self::user).
    pub fn caller(&mut self) -> (Caller, Option<User>) {
        let flags = self.flags();
        if flags.are_of_replayed() {
            return (Caller::Replayed, None);
        }
        let lacks_user = self.knows_users() && !self.has_user();
        let user = if lacks_user { None } else { self.current_user() };
        // While one runs, no connection's command does.
        if flags.are_in_script() {
            return (Caller::Script, user);
        }
        if lacks_user || (flags.deny_waiting() && !flags.are_in_multi()) {
            return (Caller::Module, user);
        }
        (self.address(flags).map_or(Caller::Module, Caller::Connection), user)
    }

    /// The address of the connection that has the id of the context's client, if that is the one.
    /// What was learnt once is believed outside of MULTI: there a client that has the id of another's
    /// connection, a user, and the leave to wait, is taken for that connection.
    fn address(&mut self, flags: Flags) -> Option<Arc<Address>> {
        // SAFETY: the context is valid.
        let id = unsafe { api!(RedisModule_GetClientId(self.raw())) };
        let known = KNOWN.get(self.lock());
        if !flags.are_in_multi() {
            if let Some(address) = known.borrow().as_ref().and_then(|known| known.get(&id)) {
                return Some(Arc::clone(address));
            }
        }
        // Valkey finds the running client where it is asked for the one of its id, though that is another's, and
        // ends where the running client has no connection.
        let address = match self.is_valkey() {
            true => self.if_it_is_the_client(listed, id),
            false => self.if_it_is_the_client(client, id),
        };
        let address = Arc::new(address?);
        let mut known = known.borrow_mut();
        let known = known.get_or_insert_with(AHashMap::default);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(id, Arc::clone(&address));
        Some(address)
    }

    /// The address that `ask` tells of the client of this id, with its database, if the context's client is
    /// that one. Where there is but one database (in a cluster) that can't be told, and the id is believed.
    fn if_it_is_the_client(
        &mut self,
        ask: impl FnOnce(&mut Self, u64) -> Option<(Address, i32)>,
        id: u64,
    ) -> Option<Address> {
        let here = self.database();
        let other = i32::from(here == 0);
        if !self.select(other) {
            return ask(self, id).map(|(address, _)| address);
        }
        let seen = ask(self, id);
        self.select(here);
        seen.filter(|(_, database)| *database == other).map(|(address, _)| address)
    }

    /// The user in whose name the call is made; `None` for another module that calls in its own, for what is
    /// replayed, and where the server does not tell (6.2, but for a connection).
    pub fn user(&mut self) -> Option<User> {
        if self.is_replayed() || (self.knows_users() && !self.has_user()) {
            return None;
        }
        self.current_user()
    }

    /// The user of the context's client, which has one where the server [can tell](Self::knows_users).
    fn current_user(&mut self) -> Option<User> {
        // SAFETY: reads the table; the context is valid, and its client has a user; the string is ours, since no
        // automatic memory is used.
        let name = unsafe {
            match raw::RedisModule_GetCurrentUserName {
                Some(name) => name(self.raw()),
                // 6.2.
                None => {
                    let id = api!(RedisModule_GetClientId(self.raw()));
                    raw::RedisModule_GetClientUserNameById?(self.raw(), id)
                }
            }
        };
        // SAFETY: as above.
        Some(User { name: unsafe { Text::from_raw(NonNull::new(name)?) } })
    }

    /// Whether the server can tell whether a client has a user (7.0).
    fn knows_users(&self) -> bool {
        // SAFETY: reads the table.
        unsafe { { raw::RedisModule_GetCurrentUserName }.is_some() }
    }

    /// Whether the context's client has a user, where the server [can tell](Self::knows_users). The server looks for one ("C") before it looks whether
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

/// The address of the client of this id, and the number of its database, from the server. Not from Valkey.
fn client(_: &mut Ctx, id: u64) -> Option<(Address, i32)> {
    // SAFETY: reads the table. A structure of numbers and an array, in the version that it names, which the
    // server fills and ends with a NUL. It finds clients with a connection alone.
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

/// The same from CLIENT LIST, which has clients with a connection alone. None where CLIENT can't be called
/// (`rename-command`).
fn listed(ctx: &mut Ctx, id: u64) -> Option<(Address, i32)> {
    let id = CString::new(id.to_string()).ok()?;
    let reply = ctx.call(c"CLIENT", &[c"LIST", c"ID", &id])?;
    parse(&String::from_utf8_lossy(reply.whole().text()?))
}

/// Address and database of a line of CLIENT LIST.
fn parse(line: &str) -> Option<(Address, i32)> {
    let field = |name: &str| {
        line.split(' ').find_map(|field| field.trim_end().strip_prefix(name)?.strip_prefix('='))
    };
    let (host, port) = field("addr")?.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
    Some((Address { host, port: port.parse().ok()? }, field("db")?.parse().ok()?))
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

/// Why ACL LOG has something.
const DENIED_KEY: raw::RedisModuleACLLogEntryReason =
    raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY;

/// A user of the server's.
pub struct User {
    name: Text,
}

impl User {
    /// The user of this name, whether there is one or not.
    pub fn named(name: &[u8]) -> Self {
        Self { name: Text::new(name) }
    }

    /// Which of the keys the user may do this to; all of them on servers that can't tell (before 7.0), none where there
    /// is no such user. Nothing is logged.
    pub fn allowed(&self, _: &Ctx, access: Access, keys: &[Name]) -> Vec<bool> {
        // SAFETY: as in `first_denied`.
        unsafe {
            let (Some(find), Some(free), Some(check)) = (
                raw::RedisModule_GetModuleUserFromUserName,
                raw::RedisModule_FreeModuleUser,
                raw::RedisModule_ACLCheckKeyPermissions,
            ) else {
                return vec![true; keys.len()];
            };
            let user = find(self.name.name().as_ptr());
            if user.is_null() {
                return vec![false; keys.len()];
            }
            let may = |key: &Name| check(user, key.as_ptr(), access as _) == OK;
            let allowed = keys.iter().map(may).collect();
            free(user);
            allowed
        }
    }

    /// What ACL WHOAMI calls it.
    pub fn name(&self) -> &[u8] {
        self.name.name().bytes()
    }

    /// The first of the keys, counted from 0, to which the user may not do this; `None` where there is none,
    /// and on servers that can't tell (before 7.0). ACL LOG has it then, as it has a command's key.
    pub fn first_denied(&self, ctx: &mut Ctx, access: Access, keys: &[Name]) -> Option<usize> {
        // SAFETY: reads the table; context and names are valid, the server's user is freed after use.
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
            if let (Some(key), Some(log)) =
                (denied.and_then(|at| keys.get(at)), raw::RedisModule_ACLAddLogEntry)
            {
                log(ctx.raw(), user, key.as_ptr(), DENIED_KEY);
            }
            free(user);
            denied
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<(String, u16, i32)> {
        parse(line).map(|(address, database)| (address.host, address.port, database))
    }

    #[test]
    fn a_line_of_client_list_tells_address_and_database() {
        let line = "id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=8 name= db=3 cmd=ping\n";
        assert_eq!(of(line), Some(("127.0.0.1".into(), 5000, 3)));
        let line = "id=7 addr=[::1]:5000 laddr=[::1]:6379 fd=8 name=addr=x db=0 user=default";
        assert_eq!(of(line), Some(("::1".into(), 5000, 0)));
        let line = "id=7 addr=/run/redis.sock:0 db=15\n";
        assert_eq!(of(line), Some(("/run/redis.sock".into(), 0, 15)));
    }

    #[test]
    fn no_line_is_no_connection() {
        assert_eq!(of(""), None);
        assert_eq!(of("\n"), None);
    }
}
