//! Questions to the other primaries of the cluster, over its bus; their answers, and ours.
//!
//! Whoever asks has done its own part before, and waits in its command's stead: it is told a number once every primary
//! that owns slots has answered, and else which of them have not. A question is sent again until it is answered
//! ([`apikey_engine::bus::asking`]): of a link that breaks, of a node that is paused or loads nothing else need be known
//! here than that no answer came.

use crate::keyspace::{self, Removed};
use crate::settings;
use crate::state;
use crate::stream::gone;
use crate::tagged;
use crate::vouch;
use apikey_engine::bus::asked::Asked;
use apikey_engine::bus::asking::Asking;
use apikey_engine::bus::message::{of_keys, Message, Question, Unread};
use apikey_engine::usage::id::Id;
use host::blocked::Waiting;
use host::cluster::{my_id, Node, NodeId, Receiver};
use host::server::avoids_replica_traffic;
use host::{log, now, Ctx, Error, Level, Lock, Locked, Name, Result, Text};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// Clients that wait for answers.
static OPEN: Locked<RefCell<Vec<Open>>> = Locked::new(RefCell::new(Vec::new()));

struct Open {
    waiting: Waiting,
    asking: Asking<NodeId>,
    /// What this node has said itself.
    own: u64,
}

/// Whether a timer will come.
static IS_TICKING: Locked<Cell<bool>> = Locked::new(Cell::new(false));

/// What this node was asked.
static ASKED: Locked<RefCell<Option<Asked>>> = Locked::new(RefCell::new(None));

/// Whether a message that is not read has been logged.
static HAS_SAID: Locked<Cell<bool>> = Locked::new(Cell::new(false));

pub struct Bus;

/// Asks all primaries, and has the caller of the command wait for what they say together. `act` is this node's part,
/// which is done if nothing stands against the rest. An error, with nothing done, where the caller can't wait.
pub fn ask(
    ctx: &mut Ctx,
    command: &str,
    questions: Vec<Question>,
    act: impl FnOnce(&mut Ctx) -> usize,
) -> Result<()> {
    let owners = ctx.slot_owners().map_err(|_| {
        Error::err("CLUSTER can't be called (rename-command?): who owns slots is not known")
    })?;
    let waiting = ctx.block(command)?;
    let own = act(ctx) as u64;
    let lock = ctx.lock();
    let parts: Option<Vec<(Id, Vec<u8>)>> = questions
        .into_iter()
        .map(|question| {
            let id = state::with(lock, |state| state.new_id())?;
            Some((id, Message::Question { id, question }.encode()))
        })
        .collect();
    let Some(parts) = parts else { return Ok(()) };

    let others = ctx.other_nodes();
    let reached: Vec<&Node> =
        others.iter().filter(|node| node.is_primary && !node.has_failed).collect();
    let is_reached = |id: &NodeId| reached.iter().any(|node| node.id == *id);
    let (asked, lost): (Vec<NodeId>, Vec<NodeId>) =
        owners.into_iter().filter(|id| Some(*id) != my_id()).partition(is_reached);
    // Who owns nothing may own something again, and has to know by then; it need not answer.
    for node in &reached {
        for (_, message) in &parts {
            // Where there is no link yet, it is sent again.
            let _ = ctx.send_to_node(node.id, Bus::KIND, message);
        }
    }
    if !lost.is_empty() {
        let why = "the cluster says that it has failed";
        let error = partial(ctx, &lost, why);
        waiting.answer(move |reply| reply.error(&error));
    } else if asked.is_empty() {
        waiting.answer(move |reply| reply.integer(integer(own)));
    } else {
        let now = Instant::now();
        let timeout = Duration::from_millis(settings::CLUSTER_TIMEOUT_MS.get().unsigned_abs());
        let asking = Asking::new(parts, &asked, now, now + timeout);
        OPEN.get(lock).borrow_mut().push(Open { waiting, asking, own });
        tick_soon(ctx);
    }
    Ok(())
}

/// Tells the other primaries of keys that were invalidated here, or written by one who knows: a slot may have been
/// theirs, or become so again, and then they take a fill by a token that they gave before. Nobody waits for it.
pub fn tell_of_keys(ctx: &Ctx, names: &[Name]) {
    if !ctx.is_in_cluster() || ctx.is_replayed() {
        return;
    }
    let names: Vec<&[u8]> = names.iter().map(|name| name.bytes()).collect();
    let messages: Vec<Vec<u8>> =
        of_keys(ctx.database(), &names).iter().map(Message::encode).collect();
    for node in ctx.other_nodes().iter().filter(|node| node.is_primary) {
        for message in &messages {
            // Where there is no link, it is lost.
            let _ = ctx.send_to_node(node.id, Bus::KIND, message);
        }
    }
}

/// Keys were invalidated where their slots are: what this node gave tokens for is too old, and what it has taken by
/// one meanwhile goes.
fn told_of_keys(ctx: &mut Ctx, database: i32, names: &[&[u8]]) {
    state::with(ctx.lock(), |state| state.raise_fence(names.iter().copied()));
    if !may_answer(ctx) || !ctx.select(database) {
        return;
    }
    let names = names.iter().map(|name| Text::new(name));
    let removed: Vec<Text> =
        names.filter(|name| keyspace::unlink_entry(ctx, name.name()) != Removed::Nothing).collect();
    gone::write(ctx, &removed);
    keyspace::tell_of_removed(ctx, removed.iter().map(Text::name));
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The error where nodes have not answered, and why.
fn partial(ctx: &Ctx, missing: &[NodeId], why: &str) -> String {
    /// So many are named.
    const MOST: usize = 10;
    let nodes = ctx.other_nodes();
    let name = |id: &NodeId| match nodes.iter().find(|node| node.id == *id) {
        Some(node) => node.address.clone(),
        None => id.to_string(),
    };
    let named: Vec<String> = missing.iter().take(MOST).map(name).collect();
    let more = match missing.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "PARTIAL no answer from {}{more} ({why}): the other primaries have done it; repeat it",
        named.join(", ")
    )
}

/// Has what is open looked at when the first of it wants that.
fn tick_soon(ctx: &mut Ctx) {
    let lock = ctx.lock();
    let next = OPEN.get(lock).borrow().iter().map(|open| open.asking.next_look()).min();
    let Some(next) = next else { return };
    if !IS_TICKING.get(lock).replace(true) {
        let left = next.saturating_duration_since(Instant::now());
        ctx.after(i64::try_from(left.as_millis()).unwrap_or(0) + 1, tick);
    }
}

fn tick(ctx: &mut Ctx) {
    let lock = ctx.lock();
    IS_TICKING.get(lock).set(false);
    let now = Instant::now();
    let mut all = OPEN.get(lock).take();
    all.retain(|open| !open.waiting.has_gone());
    for open in all {
        let Open { waiting, mut asking, own } = open;
        if asking.is_over(now) {
            let why = format!("within {} ms", settings::CLUSTER_TIMEOUT_MS.get());
            let error = partial(ctx, &asking.missing(), &why);
            waiting.answer(move |reply| reply.error(&error));
            continue;
        }
        if asking.is_due(now) {
            for (node, message) in asking.open() {
                let _ = ctx.send_to_node(node, Bus::KIND, message);
            }
        }
        OPEN.get(lock).borrow_mut().push(Open { waiting, asking, own });
    }
    tick_soon(ctx);
}

/// Whether this node may do what another asks: it would have to replicate it, and what it holds is its own. One that
/// does not [vouch](crate::vouch) would refuse it to a client, and may have been replaced.
fn may_answer(ctx: &Ctx) -> bool {
    !ctx.is_any_replica()
        && !ctx.is_replayed()
        && !avoids_replica_traffic(ctx.lock())
        && vouch::vouches(now())
}

impl Receiver for Bus {
    const KIND: u8 = 0xa7;

    fn receive(ctx: &mut Ctx, from: NodeId, message: &[u8]) {
        match Message::decode(message) {
            Ok(Message::Answer { id, count }) => answered(ctx.lock(), from, id, count),
            Ok(Message::Keys { database, names }) => told_of_keys(ctx, database, &names),
            Ok(Message::Question { id, question }) => {
                if let Some(count) = answer(ctx, id, &question) {
                    let answer = Message::Answer { id, count }.encode();
                    // Where there is no link, it is asked again.
                    let _ = ctx.send_to_node(from, Self::KIND, &answer);
                }
            }
            Err(Unread::Foreign) => {}
            Err(why) => {
                if !HAS_SAID.get(ctx.lock()).replace(true) {
                    let why = match why {
                        Unread::Version(version) => format!("its version is {version}"),
                        _ => "it is damaged".into(),
                    };
                    let text = format!("a message of the cluster's node {from} is not read: {why}");
                    log(Level::Warning, &text);
                }
            }
        }
    }
}

fn answered(lock: Lock, by: NodeId, id: Id, count: u64) {
    let mut open = OPEN.get(lock).borrow_mut();
    let at = open
        .iter_mut()
        .position(|open| open.asking.answered(by, id, count) && open.asking.is_answered());
    if let Some(at) = at {
        let Open { waiting, asking, own } = open.swap_remove(at);
        let sum = integer(asking.sum().saturating_add(own));
        waiting.answer(move |reply| reply.integer(sum));
    }
}

/// Does what another node asks for; `None` where this one can't, or not now.
fn answer(ctx: &mut Ctx, id: Id, question: &Question) -> Option<u64> {
    if !may_answer(ctx) {
        return None;
    }
    let lock = ctx.lock();
    match question {
        Question::TagInval { database, tags } => {
            if !ctx.select(*database) {
                return None;
            }
            let tags: Vec<Text> = tags.iter().map(|tag| Text::new(tag)).collect();
            let names: Vec<Name> = tags.iter().map(Text::name).collect();
            let mut asked = ASKED.get(lock).borrow_mut();
            Some(asked.get_or_insert_default().once(id, || tagged::kill(ctx, &names) as u64))
        }
        Question::TagCard { database, tag } => {
            ctx.select(*database).then(|| tagged::count(ctx, tag) as u64)
        }
    }
}
