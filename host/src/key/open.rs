//! Open keys: a name and what stands under it.
//!
//! An open key has the context for itself until it is dropped. So of a module's own keys one is open at a
//! time, and a reference to its value can't outlive it.

use super::data_type::DataType;
use super::handle::{self, Handle};
use super::thin::Thin;
use crate::api::{accepted, api, Refused};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::server::now;
use crate::strings::Name;
use redis_module::raw;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::null_mut;

impl Ctx<'_> {
    /// Opens a key for reading. It counts as a use, by which the server evicts.
    pub fn open(&mut self, name: Name) -> Key<'_> {
        self.open_as(name, raw::REDISMODULE_READ)
    }

    /// Opens a key for reading, and leaves its idle time and frequency as they are.
    pub fn look(&mut self, name: Name) -> Key<'_> {
        self.open_as(name, raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH)
    }

    /// Opens a key for reading and writing.
    pub fn open_mut<'k>(&'k mut self, name: Name<'k>) -> KeyMut<'k> {
        let key = self.open_as(name, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE);
        KeyMut { key, name }
    }

    fn open_as(&mut self, name: Name, mode: u32) -> Key<'_> {
        // SAFETY: context and name are valid; the key is closed when this is dropped. The name is retained
        // by the server while the key is open.
        let raw =
            unsafe { api!(RedisModule_OpenKey(self.raw(), name.as_ptr(), mode as c_int)).cast() };
        // SAFETY: this context is borrowed, so that the other is the only one as long as the key is open.
        Key { raw, ctx: unsafe { Ctx::new(self.raw()) }, is_ours: true }
    }
}

/// A key that is open for reading, or an empty name.
pub struct Key<'k> {
    /// Null where the name is empty, and it was opened for reading.
    raw: *mut raw::RedisModuleKey,
    ctx: Ctx<'k>,
    /// Whether it is ours to close.
    is_ours: bool,
}

/// What a key holds.
pub enum Held<'v> {
    /// Nothing.
    Nothing,
    /// A value of a module's data type.
    Value(HeldValue<'v>),
    /// A value of the server's own.
    Other,
}

/// A value of some module's data type.
#[derive(Clone, Copy)]
pub struct HeldValue<'v> {
    data_type: *mut raw::RedisModuleType,
    value: *mut c_void,
    scope: PhantomData<&'v ()>,
}

impl<'v> HeldValue<'v> {
    /// The value, where it is of this type.
    pub fn of<T: DataType>(&self, handle: &'static Handle<T>) -> Option<&'v T::Value> {
        if self.data_type != handle.raw() {
            return None;
        }
        // SAFETY: a value of this type was put there by this handle's type, or loaded or copied by its
        // methods, and lives as long as the key is open (see the top of this file).
        Some(unsafe { &*T::Value::find(self.value) })
    }
}

impl<'k> Key<'k> {
    /// # Safety
    /// `raw` is a key that the server has opened, and will close, for the running callback of this context,
    /// or null; it is the only open key of the context.
    pub(super) unsafe fn borrow(
        ctx: *mut raw::RedisModuleCtx,
        raw: *mut raw::RedisModuleKey,
    ) -> Self {
        // SAFETY: as the caller says.
        Self { raw, ctx: unsafe { Ctx::new(ctx) }, is_ours: false }
    }

    /// The context, to ask the server by: what could take the key away wants it for itself.
    pub fn ctx(&self) -> &Ctx<'k> {
        &self.ctx
    }

    /// What the key holds.
    pub fn held(&self) -> Held<'_> {
        if self.raw.is_null() {
            return Held::Nothing;
        }
        // SAFETY: the key is open. Both functions take any key, and know a type of module values alone.
        unsafe {
            let data_type = api!(RedisModule_ModuleTypeGetType(self.raw));
            if !data_type.is_null() {
                let value = api!(RedisModule_ModuleTypeGetValue(self.raw));
                return Held::Value(HeldValue { data_type, value, scope: PhantomData });
            }
            match api!(RedisModule_KeyType(self.raw)) as isize {
                raw::REDISMODULE_KEYTYPE_EMPTY => Held::Nothing,
                _ => Held::Other,
            }
        }
    }

    /// The value of this type, if there is any; an error where the key holds something else.
    pub fn get<T: DataType>(&self, handle: &'static Handle<T>) -> Result<Option<&T::Value>> {
        match self.held() {
            Held::Nothing => Ok(None),
            Held::Value(value) => value.of(handle).map(Some).ok_or(Error::WRONG_TYPE),
            Held::Other => Err(Error::WRONG_TYPE),
        }
    }

    /// The number of the key's database. In the notification of a COPY or MOVE inside MULTI, Valkey 9
    /// opens the key where it has come to, while the context's database is where it came from.
    pub fn database(&self) -> i32 {
        // SAFETY: reads the table; the key is open.
        unsafe {
            match raw::RedisModule_GetDbIdFromModuleKey {
                Some(database) if !self.raw.is_null() => database(self.raw),
                _ => self.ctx.database(),
            }
        }
    }

    /// When the key expires, in epoch milliseconds. Not asked of an empty key: Redis 8 ends there.
    pub fn expires_at(&self) -> Option<i64> {
        if matches!(self.held(), Held::Nothing) {
            return None;
        }
        // SAFETY: reads the table; the key is open.
        unsafe {
            let at = match raw::RedisModule_GetAbsExpire {
                Some(get) => get(self.raw),
                None => within_one_millisecond(|now| {
                    let left = api!(RedisModule_GetExpire(self.raw));
                    if left == NO_EXPIRE {
                        NO_EXPIRE
                    } else {
                        left.saturating_add(now)
                    }
                }),
            };
            (at != NO_EXPIRE).then_some(at)
        }
    }
}

impl<'k> AsRef<Key<'k>> for Key<'k> {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<'k> AsRef<Key<'k>> for KeyMut<'k> {
    fn as_ref(&self) -> &Key<'k> {
        &self.key
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        if self.is_ours && !self.raw.is_null() {
            // SAFETY: opened by us and closed once.
            unsafe { api!(RedisModule_CloseKey(self.raw)) };
        }
    }
}

/// A key that is open for reading and writing.
pub struct KeyMut<'k> {
    key: Key<'k>,
    name: Name<'k>,
}

impl<'k> Deref for KeyMut<'k> {
    type Target = Key<'k>;

    fn deref(&self) -> &Key<'k> {
        &self.key
    }
}

impl KeyMut<'_> {
    /// The value, to be changed where it is; the server learns of that by [`KeyMut::signal_modified`].
    pub fn get_mut<T: DataType>(
        &mut self,
        handle: &'static Handle<T>,
    ) -> Result<Option<&mut T::Value>> {
        match self.held() {
            Held::Nothing => Ok(None),
            Held::Value(HeldValue { data_type, value, .. }) if data_type == handle.raw() => {
                // SAFETY: as in `HeldValue::of`; the key is borrowed mutably, and with it the context, so
                // that no other reference to the value is there.
                Ok(Some(unsafe { &mut *T::Value::find(value) }))
            }
            Held::Value(_) | Held::Other => Err(Error::WRONG_TYPE),
        }
    }

    /// Puts a value, which expires at a time in epoch milliseconds or never, in place of what the key holds. The
    /// old value is [unlinked](DataType::unlinked). Where the server refuses, nothing has changed.
    pub fn set<T: DataType>(
        &mut self,
        handle: &'static Handle<T>,
        value: Box<T::Value>,
        expires_at: Option<i64>,
    ) -> std::result::Result<(), Refused> {
        let data_type = handle.raw();
        if data_type.is_null() {
            return Err(Refused);
        }
        let is_of_type = matches!(self.held(), Held::Value(held) if held.data_type == data_type);
        let value = value.into_raw();
        if is_of_type {
            // The key itself stays: to take it away and enter it again is a tenth of a SETVAL.
            let mut old = null_mut();
            // SAFETY: the key is open for writing, and holds a value of this type; both values are of it. The new one
            // is the server's from here on, and the old one ours, unless it refuses, when it is the other way round.
            unsafe {
                accepted(api!(RedisModule_ModuleTypeReplaceValue(
                    self.key.raw,
                    data_type,
                    value,
                    &raw mut old
                )))
                .inspect_err(|_| drop(T::Value::from_raw(value)))?;
                // As the server does with one whose key goes.
                handle::unlink::<T>(self.name.as_ptr(), old);
                handle::free::<T>(old);
            }
        } else {
            // SAFETY: the key is open for writing; the value is one of this type, and the server's from here on
            // unless it refuses, when it is ours again.
            unsafe {
                accepted(api!(RedisModule_ModuleTypeSetValue(self.key.raw, data_type, value)))
                    .inspect_err(|_| drop(T::Value::from_raw(value)))?;
            }
        }
        if expires_at.is_some() || is_of_type {
            self.expire(expires_at);
        }
        Ok(())
    }

    /// Tells WATCH and CLIENT TRACKING that the value has changed.
    pub fn signal_modified(&mut self) {
        // SAFETY: context and name are valid; no module is called back.
        unsafe { api!(RedisModule_SignalModifiedKey(self.key.ctx.raw(), self.name.as_ptr())) };
    }

    /// Removes the key, and tells them so; its value in the background where that is worth it. The value is
    /// [unlinked](DataType::unlinked). False where there was nothing that could be removed.
    pub fn unlink(mut self) -> bool {
        // SAFETY: the key is open for writing, or the server refuses.
        let is_gone = accepted(unsafe { api!(RedisModule_UnlinkKey(self.key.raw)) }).is_ok();
        if is_gone {
            self.signal_modified();
        }
        is_gone
    }

    /// Has the key expire at a time in epoch milliseconds, or never.
    fn expire(&mut self, at: Option<i64>) {
        // SAFETY: reads the table; the key is open for writing. The server refuses negative times alone, and there are
        // none: -1 would mean never.
        unsafe {
            match (at.map(|at| at.max(0)), raw::RedisModule_SetAbsExpire) {
                (None, _) => api!(RedisModule_SetExpire(self.key.raw, NO_EXPIRE)),
                (Some(at), Some(set)) => set(self.key.raw, at),
                (Some(at), None) => within_one_millisecond(|now| {
                    api!(RedisModule_SetExpire(self.key.raw, at.saturating_sub(now).max(0)))
                }),
            };
        }
    }
}

const NO_EXPIRE: i64 = raw::REDISMODULE_NO_EXPIRE as i64;

/// Servers before 7.0 take and give a key's expiry as the time that is left. Runs `body` until it
/// began and ended in the same millisecond, so that what it makes of `now` is exact.
fn within_one_millisecond<T>(mut body: impl FnMut(i64) -> T) -> T {
    const TRIES: usize = 100;
    for _ in 1..TRIES {
        let before = now();
        let result = body(before);
        if now() == before {
            return result;
        }
    }
    body(now())
}
