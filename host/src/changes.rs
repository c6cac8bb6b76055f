//! What a change tells others: replicas and the AOF, keyspace notifications, subscribers.

use crate::api::{accepted, api, Refused};
use crate::context::Ctx;
use crate::server::avoids_replica_traffic;
use crate::strings::{Name, Text};
use redis_module::raw;
use std::ffi::{c_int, CStr};

/// Classes of keyspace notifications that a module raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Class {
    /// `g`: as the server tells of DEL and EXPIRE.
    Generic = raw::REDISMODULE_NOTIFY_GENERIC,
    /// `d`: what is the module's own.
    Module = raw::REDISMODULE_NOTIFY_MODULE,
}

impl Ctx<'_> {
    /// Replicates the command as it came. In a callback where none has come, nothing is: the server would
    /// write an empty command into its AOF, which it then can't load.
    pub fn replicate_verbatim(&mut self) {
        if self.is_commands() {
            // SAFETY: the context is valid. It has no other result.
            unsafe { api!(RedisModule_ReplicateVerbatim(self.raw())) };
        }
    }

    /// Whether nothing may be replicated now: unasked, while replicas are to be left alone, which the server
    /// asserts. What has a client pause others in a transaction goes on in it.
    fn may_not_replicate(&self) -> bool {
        !self.is_commands() && !self.flags().are_in_multi() && avoids_replica_traffic(self.lock())
    }

    /// Replicates a command with these arguments in place of the one that came: first `same`, strings
    /// that the server has already, then `others`. Refused where the server knows no such command; and,
    /// other than by a command, while replicas are to be left alone
    /// ([`avoids_replica_traffic`](crate::server::avoids_replica_traffic)).
    pub fn replicate(
        &mut self,
        command: &CStr,
        same: &[Name],
        others: &[&[u8]],
    ) -> Result<(), Refused> {
        self.replicate_as(c"v", command, same, others)
    }

    /// Has replicas, and not the AOF, run a command with these arguments. Refused like
    /// [`replicate`](Self::replicate).
    pub fn replicate_to_replicas(
        &mut self,
        command: &CStr,
        words: &[&[u8]],
    ) -> Result<(), Refused> {
        self.replicate_as(c"vA", command, &[], words)
    }

    fn replicate_as(
        &mut self,
        format: &CStr,
        command: &CStr,
        same: &[Name],
        others: &[&[u8]],
    ) -> Result<(), Refused> {
        if self.may_not_replicate() {
            return Err(Refused);
        }
        let strings: Vec<_> = others.iter().map(|bytes| Text::new(bytes)).collect();
        let mut pointers = Vec::with_capacity(same.len() + others.len());
        pointers.extend(same.iter().map(|name| name.as_ptr()));
        pointers.extend(strings.iter().map(|string| string.name().as_ptr()));
        // SAFETY: the context is valid; "v" takes a vector of strings and its length, and the server
        // keeps references of its own; "A" takes nothing.
        accepted(unsafe {
            api!(RedisModule_Replicate(
                self.raw(),
                command.as_ptr(),
                format.as_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
            ))
        })
    }

    /// Replicates a command with a string that the server has already, and bytes, as its arguments, in
    /// place of the one that came. Refused like [`replicate`](Self::replicate).
    pub fn replicate_value(
        &mut self,
        command: &CStr,
        same: Name,
        bytes: &[u8],
    ) -> Result<(), Refused> {
        if self.may_not_replicate() {
            return Err(Refused);
        }
        // SAFETY: the context is valid; "sb" takes a string, and bytes with their length.
        accepted(unsafe {
            api!(RedisModule_Replicate(
                self.raw(),
                command.as_ptr(),
                c"sb".as_ptr(),
                same.as_ptr(),
                bytes.as_ptr(),
                bytes.len(),
            ))
        })
    }

    /// Publishes a message to all who subscribe to the channel, on this node, its replicas and the other
    /// nodes of a cluster. Refused where PUBLISH can't be called (`rename-command`); and, other than by a
    /// command, while replicas are to be left alone
    /// ([`avoids_replica_traffic`](crate::server::avoids_replica_traffic)).
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> Result<(), Refused> {
        if self.may_not_replicate() {
            return Err(Refused);
        }
        // SAFETY: the context is valid; "!bb" takes byte strings with their lengths, and replicates
        // the call where the server would; the reply is freed.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"PUBLISH".as_ptr(),
                c"!bb".as_ptr(),
                channel.as_ptr(),
                channel.len(),
                message.as_ptr(),
                message.len(),
            ));
            if reply.is_null() {
                return Err(Refused);
            }
            api!(RedisModule_FreeCallReply(reply));
        }
        Ok(())
    }

    /// Tells keyspace notifications that something of this module's happened to a key. Other modules may do
    /// anything in theirs.
    pub fn notify(&mut self, class: Class, event: &CStr, key: Name) {
        // SAFETY: context and name are valid; the event is a C string.
        unsafe {
            api!(RedisModule_NotifyKeyspaceEvent(
                self.raw(),
                class as c_int,
                event.as_ptr(),
                key.as_ptr()
            ))
        };
    }
}
