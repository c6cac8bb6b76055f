//! Clients that wait for their reply.

use crate::api::{api, OK};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::guard;
use crate::reply::Reply;
use ahash::AHashMap;
use redis_module::raw;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What replies to a client that waited.
type Answer = Box<dyn FnOnce(Reply) + Send>;

/// Those who were not let go of yet, by the pointers of their [`Waiting`], and whether they have hung up. Who
/// hangs up between being let go of and the server's next turn is none of them: the server may use the
/// pointer again.
static WAITING: Mutex<Option<AHashMap<usize, bool>>> = Mutex::new(None);

fn waiting() -> MutexGuard<'static, Option<AHashMap<usize, bool>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that waits for its reply. Dropped, it gets an error.
pub struct Waiting(*mut raw::RedisModuleBlockedClient);

// SAFETY: the server's functions take the pointer from any thread; it is ours until `answer`.
unsafe impl Send for Waiting {}

impl Ctx<'_> {
    /// Has the caller wait for its reply; an error that names the command, with nothing done, where it
    /// can't: in MULTI, in a script, behind another module. It is a command's to ask, and once: in another
    /// callback, or if the caller waits already, that is an error too.
    ///
    /// From here on the [`Waiting`] alone has the caller's reply. The command must have replied nothing, and
    /// an error that it returns afterwards is not told.
    pub fn block(&mut self, command: &str) -> Result<Waiting> {
        self.may_block(command)?;
        // SAFETY: the context is that of a command; `reply`, `hung_up` and `free` take what they are given
        // for what `answer` gives.
        unsafe {
            let client =
                api!(RedisModule_BlockClient(self.raw(), Some(reply), None, Some(free), 0));
            if client.is_null() {
                return Err(Error::INTERNAL);
            }
            waiting().get_or_insert_default().insert(client as usize, false);
            api!(RedisModule_SetDisconnectCallback(client, Some(hung_up)));
            self.waits();
            Ok(Waiting(client))
        }
    }
}

impl Ctx<'_> {
    /// The error that [`block`](Self::block) would be, with nothing done.
    pub fn may_block(&self, command: &str) -> Result<()> {
        if self.is_waiting() {
            return Err(Error::err("nobody is there who could wait"));
        }
        if self.denies_blocking() {
            let why = "can't run in MULTI or in a script: it waits";
            return Err(Error::err(format_args!("{command} {why}")));
        }
        Ok(())
    }
}

impl Waiting {
    /// Whether the client has hung up.
    pub fn has_gone(&self) -> bool {
        waiting().as_ref().and_then(|all| all.get(&(self.0 as usize)).copied()).unwrap_or(false)
    }

    /// Has `answer` reply to the client, in the server's next turn.
    pub fn answer(self, answer: impl FnOnce(Reply) + Send + 'static) {
        let answer: Box<Option<Answer>> = Box::new(Some(Box::new(answer)));
        self.unblock(Box::into_raw(answer).cast());
    }

    fn unblock(self, answer: *mut c_void) {
        if let Some(all) = waiting().as_mut() {
            all.remove(&(self.0 as usize));
        }
        // SAFETY: a client that was blocked, and is let go of once.
        unsafe { api!(RedisModule_UnblockClient(self.0, answer)) };
        std::mem::forget(self);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        Self(self.0).unblock(null_mut());
    }
}

/// The server lets go of the client itself; of what we have of it we do.
unsafe extern "C" fn hung_up(
    _: *mut raw::RedisModuleCtx,
    client: *mut raw::RedisModuleBlockedClient,
) {
    guard::run("disconnect", (), || {
        if let Some(gone) = waiting().as_mut().and_then(|all| all.get_mut(&(client as usize))) {
            *gone = true;
        }
    });
}

unsafe extern "C" fn reply(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    let owed = Cell::new(1);
    // SAFETY: the server's context, valid for this call.
    let to = unsafe { Reply::new(ctx, &owed) };
    guard::run("reply", (), || {
        // SAFETY: the context is that of a reply callback; its data is the box of `answer`, or null, and
        // nobody else looks at it meanwhile.
        let answer = unsafe {
            let data: *mut Option<Answer> =
                api!(RedisModule_GetBlockedClientPrivateData(ctx)).cast();
            data.as_mut().and_then(Option::take)
        };
        if let Some(answer) = answer {
            answer(to);
        }
    });
    // Where there is no answer, or it has panicked, or has said too little.
    to.fill();
    OK
}

/// Called whether the client has got its reply or not.
unsafe extern "C" fn free(_: *mut raw::RedisModuleCtx, data: *mut c_void) {
    guard::run("free", (), || {
        if !data.is_null() {
            // SAFETY: the box of `answer`, given back once.
            drop(unsafe { Box::from_raw(data.cast::<Option<Answer>>()) });
        }
    });
}
