//! The form of every read of an entry: a code and what belongs to it, which for a miss is a token.

use crate::state;
use crate::vouch;
use apikey_engine::invalidation::fence::Token;
use host::{Ctx, Reply};

pub fn reply_miss(ctx: &Ctx, reply: Reply, now: i64) {
    reply_code(reply, "MISS", Some(token(ctx, now).text().as_bytes()));
}

/// A token for a reader that begins now; on a replica, or while nothing is served, the one that every fill
/// refuses.
pub fn token(ctx: &Ctx, now: i64) -> Token {
    if ctx.is_replica() || !vouch::serves(now) {
        return Token::REFUSED;
    }
    state::with(ctx.lock(), |state| state.fence.token(now))
}

pub fn reply_code(reply: Reply, code: &str, payload: Option<&[u8]>) {
    reply.array(2);
    reply.bulk(code.as_bytes());
    match payload {
        Some(payload) => reply.bulk(payload),
        None => reply.nil(),
    }
}
