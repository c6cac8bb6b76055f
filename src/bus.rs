//! Questions to the other primaries of the cluster, over its bus; their answers, and ours.
//!
//! Whoever asks has done its own part before, and waits in its command's stead: it is told a number once every primary
//! that owns slots has answered, and else which of them have not. A question is sent again until it is answered
//! ([`apikey_engine::bus::asking`]): of a link that breaks, of a node that is paused or loads nothing else need be known
//! here than that no answer came.

use crate::keyspace::{self, Removed};
use crate::patinval;
use crate::settings;
use crate::settling;
use crate::state;
use crate::stream::gone;
use crate::tagged;
use crate::vouch;
use apikey_engine::bus::asked::{Asked, Before};
use apikey_engine::bus::asking::Asking;
use apikey_engine::bus::message::{of_keys, Message, Question, Unread};
use apikey_engine::cache::glob::Pattern;
use apikey_engine::usage::id::Id;
use host::blocked::Waiting;
use host::cluster::{my_id, NodeId, Receiver};
use host::server::avoids_replica_traffic;
use host::{log, now, Ctx, Error, Level, Lock, Locked, Name, Result, Text};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Clients that wait for answers.
static OPEN: Locked<RefCell<Vec<Open>>> = Locked::new(RefCell::new(Vec::new()));

struct Open {
    /// The id of the first part of what is asked.
    first: Id,
    waiting: Waiting,
    asking: Asking<NodeId>,
}

/// Is told what this node's part of a question came to, when it is done; nothing where that can't be said.
pub type Then = Box<dyn FnOnce(&mut Ctx, Option<usize>) + Send>;

/// A part that is done as soon as it is begun.
pub fn at_once(act: impl FnOnce(&mut Ctx) -> usize) -> impl FnOnce(&mut Ctx, Then) {
    |ctx, then| {
        let count = act(ctx);
        then(ctx, Some(count));
    }
}

/// Whether a timer will come.
static IS_TICKING: Locked<Cell<bool>> = Locked::new(Cell::new(false));

/// What this node was asked.
static ASKED: Locked<RefCell<Option<Asked>>> = Locked::new(RefCell::new(None));

/// Whether a message that is not read has been logged.
static HAS_SAID: Locked<Cell<bool>> = Locked::new(Cell::new(false));

pub struct Bus;

/// Who owns slots, how many they are, and when that was asked.
static OWNERS: Locked<RefCell<Option<Owners>>> = Locked::new(RefCell::new(None));

type Owners = (Vec<NodeId>, u64, Instant);

/// All that there are.
const SLOTS: u64 = 16_384;

/// Who owns slots, and how many they are, as it was a tenth of a second ago at most: where there are many ranges it takes
/// long to ask. All primaries that are known are asked in any case; of them this says which can't be done without.
fn owners(ctx: &Ctx) -> Result<(Vec<NodeId>, u64)> {
    const GOOD_FOR: Duration = Duration::from_millis(100);
    let mut known = OWNERS.get(ctx.lock()).borrow_mut();
    if let Some((owners, slots, _)) = known.as_ref().filter(|known| known.2.elapsed() < GOOD_FOR) {
        return Ok((owners.clone(), *slots));
    }
    let (owners, slots) = ctx.slot_owners().map_err(|_| {
        Error::err("CLUSTER can't be called (rename-command?): who owns slots is not known")
    })?;
    *known = Some((owners.clone(), slots, Instant::now()));
    Ok((owners, slots))
}

/// Asks all primaries, and has the caller of the command wait for what they say together. `act` is this node's part,
/// which is begun if nothing stands against the rest. An error, with nothing done, where the caller can't wait.
///
/// A primary that owns no slots is waited for as well, unless it has failed: it may be given one now, and hold what was
/// stored in it meanwhile.
pub fn ask(
    ctx: &mut Ctx,
    command: &str,
    questions: Vec<Question>,
    act: impl FnOnce(&mut Ctx, Then),
) -> Result<()> {
    let (owners, slots) = owners(ctx)?;
    ctx.may_block(command)?;
    let lock = ctx.lock();
    let parts: Option<Vec<(Id, Vec<u8>)>> = questions
        .into_iter()
        .map(|question| {
            let id = state::with(lock, |state| state.new_id())?;
            Some((id, Message::Question { id, question }.encode()))
        })
        .collect();
    let Some(parts) = parts else { return Err(Error::INTERNAL) };
    let Some(&(first, _)) = parts.first() else { return Err(Error::INTERNAL) };
    let asked: Vec<NodeId> = ctx
        .other_nodes()
        .iter()
        .filter(|node| node.is_primary && !node.has_failed)
        .map(|node| node.id)
        .collect();
    let is_lost = |id: &NodeId| Some(*id) != my_id() && !asked.contains(id);
    let lost: Vec<NodeId> = owners.into_iter().filter(is_lost).collect();
    let tell_all = |ctx: &Ctx| {
        for node in &asked {
            for (_, message) in &parts {
                // Where there is no link yet, it is sent again.
                let _ = ctx.send_to_node(*node, Bus::KIND, message);
            }
        }
    };
    // The client is not held then: where the cluster is down the server would throw it out.
    if !lost.is_empty() || slots != SLOTS {
        act(ctx, Box::new(|_, _| {}));
        tell_all(ctx);
        return Err(Error(match lost.is_empty() {
            true => "PARTIAL this node does not see an owner of each slot: the primaries that it sees have been told; \
                     repeat it"
                .into(),
            false => {
                partial(ctx, &lost, "it has failed, or its address is not known").into()
            }
        }));
    }
    // Before all else, so that the caller gets an error where `act` panics.
    let waiting = ctx.block(command)?;
    let own = Arc::new(OnceLock::new());
    let then = own.clone();
    act(
        ctx,
        Box::new(move |ctx, count| {
            let _ = then.set(count);
            done_here(ctx.lock(), first, count);
        }),
    );
    tell_all(ctx);
    let timeout = Duration::from_millis(settings::CLUSTER_TIMEOUT_MS.get().unsigned_abs());
    let asking = Asking::new(parts, &asked, Instant::now(), timeout);
    OPEN.get(lock).borrow_mut().push(Open { first, waiting, asking });
    if let Some(count) = own.get() {
        done_here(lock, first, *count);
    }
    tick_soon(ctx);
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
    if !is_primary(ctx) || !ctx.select(database) {
        return;
    }
    let names = names.iter().map(|name| Text::new(name));
    if !may_answer(ctx) {
        return names.for_each(|name| tagged::kill_without_a_word(ctx, name.name()));
    }
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
        "PARTIAL no answer from {}{more} ({why}): the other primaries have been told; repeat it",
        named.join(", ")
    )
}

/// Has what is open looked at when the first of it wants that.
fn tick_soon(ctx: &mut Ctx) {
    let lock = ctx.lock();
    let next = OPEN.get(lock).borrow().iter().filter_map(|open| open.asking.next_look()).min();
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
        let Open { first, waiting, mut asking } = open;
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
        OPEN.get(lock).borrow_mut().push(Open { first, waiting, asking });
    }
    tick_soon(ctx);
}

/// Whether what this node holds is its own, and is all there.
fn is_primary(ctx: &Ctx) -> bool {
    !ctx.is_any_replica() && !ctx.is_replayed()
}

/// Whether this node may do what another asks, which it would have to replicate. One that does not
/// [vouch](crate::vouch) would refuse it to a client, and may have been replaced.
fn may_answer(ctx: &Ctx) -> bool {
    is_primary(ctx) && !avoids_replica_traffic(ctx.lock()) && vouch::vouches(now())
}

impl Receiver for Bus {
    const KIND: u8 = 0xa7;

    fn receive(ctx: &mut Ctx, from: NodeId, message: &[u8]) {
        match Message::decode(message) {
            Ok(Message::Answer { id, count }) => answered(ctx.lock(), from, id, count),
            Ok(Message::Keys { database, names }) => told_of_keys(ctx, database, &names),
            Ok(Message::AtWork { id }) => {
                let now = Instant::now();
                let mut open = OPEN.get(ctx.lock()).borrow_mut();
                open.iter_mut().for_each(|open| open.asking.is_at_work(from, id, now));
            }
            Ok(Message::Question { id, question }) => answer(ctx, from, id, question),
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
    let at = open.iter_mut().position(|open| open.asking.answered(by, id, count));
    finish(&mut open, at);
}

/// This node's own part of a question is done.
fn done_here(lock: Lock, first: Id, count: Option<usize>) {
    let mut open = OPEN.get(lock).borrow_mut();
    let Some(at) = open.iter().position(|open| open.first == first) else { return };
    match (count, open.get_mut(at)) {
        (Some(count), Some(asked)) => {
            asked.asking.done_here(count as u64);
            finish(&mut open, Some(at));
        }
        // Whoever waits gets an error.
        _ => drop(open.swap_remove(at)),
    }
}

/// Has one who waits be told the sum, if all have answered.
fn finish(open: &mut Vec<Open>, at: Option<usize>) {
    let is_answered = |at: &usize| open.get(*at).is_some_and(|open| open.asking.is_answered());
    if let Some(at) = at.filter(is_answered) {
        let Open { waiting, asking, .. } = open.swap_remove(at);
        let sum = integer(asking.sum());
        waiting.answer(move |reply| reply.integer(sum));
    }
}

/// Does what another node asks for, and answers when it is done; not where this one can't, or not now. What is asked
/// again is not done again.
fn answer(ctx: &mut Ctx, by: NodeId, id: Id, question: Question) {
    let (Question::TagInval { database, .. }
    | Question::TagSoften { database, .. }
    | Question::PatInval { database, .. }
    | Question::TagCard { database, .. }
    | Question::Ack { database, .. }
    | Question::Nack { database, .. }) = question;
    if !is_primary(ctx) || !vouch::vouches(now()) || !ctx.select(database) {
        return;
    }
    if let Question::TagCard { tag, .. } = question {
        let count = tagged::count(ctx, tag) as u64;
        return say(ctx, by, &Message::Answer { id, count });
    }
    if !may_answer(ctx) {
        return;
    }
    let before = ASKED.get(ctx.lock()).borrow_mut().get_or_insert_default().begin(id);
    match before {
        Before::New => {}
        Before::AtWork => return say(ctx, by, &Message::AtWork { id }),
        Before::Done(None) => return,
        Before::Done(Some(count)) => return say(ctx, by, &Message::Answer { id, count }),
    }
    let then = move |ctx: &mut Ctx, count: Option<usize>| {
        // Who is no primary any more may not have done all.
        let count = count.filter(|_| !ctx.is_any_replica()).map(|count| count as u64);
        if let Some(asked) = ASKED.get(ctx.lock()).borrow_mut().as_mut() {
            asked.done(id, count);
        }
        if let Some(count) = count {
            say(ctx, by, &Message::Answer { id, count });
        }
    };
    match question {
        Question::TagInval { tags, .. } => {
            let tags: Vec<Text> = tags.iter().map(|tag| Text::new(tag)).collect();
            let killed = tagged::kill(ctx, &tags.iter().map(Text::name).collect::<Vec<Name>>());
            then(ctx, Some(killed));
        }
        Question::TagSoften { tags, .. } => {
            let tags: Vec<Text> = tags.iter().map(|tag| Text::new(tag)).collect();
            let softened = tagged::soften(ctx, &tags.iter().map(Text::name).collect::<Vec<Name>>());
            then(ctx, Some(softened));
        }
        Question::PatInval { pattern: text, region, user, .. } => match Pattern::new(text) {
            Some(pattern) => {
                let user = user.map(<[u8]>::to_vec);
                let walk = patinval::Walk::begin(ctx, (pattern, text), region, user);
                patinval::WALKS.begin(ctx, walk, move |ctx, killed| then(ctx, killed.copied()));
            }
            None => then(ctx, None),
        },
        Question::Ack { batches, .. } => settling::settle(ctx, batches, then),
        Question::Nack { batches, .. } => {
            let given_back = settling::give_back(ctx, &batches);
            if given_back > 0 {
                settling::tell_given_back(ctx, &batches);
            }
            then(ctx, Some(given_back));
        }
        Question::TagCard { .. } => {}
    }
}

/// Says something to a node. Where there is no link, it is asked again.
fn say(ctx: &Ctx, to: NodeId, message: &Message) {
    let _ = ctx.send_to_node(to, Bus::KIND, &message.encode());
}
