//! A model of a cluster: two or three primaries, a bus that loses, delays and repeats messages, and a slot that
//! moves, comes back, or does not go after all. It shows what an invalidation promises there, and what that takes.
//!
//! **What is real.** The engine: fence and tokens, the messages byte by byte, what a node remembers of the questions
//! that it was asked, and how whoever asks counts the answers. `node.rs` and `world.rs` join them as `src/bus.rs`,
//! `src/tagged.rs`, INVAL and SETVAL join them to a server.
//!
//! **What is simulated.** A row, cached under one key of one slot. Readers get a token, read the row and send their
//! fill; a writer changes the row and tells the cache by INVAL, by SETVAL without a token, or by TAGINVAL, which is
//! sent to any primary and said again where it was PARTIAL. An entry expires at any time. Whoever moves the slot
//! tells the target IMPORTING and the source MIGRATING, moves the key by MIGRATE (what comes by RESTORE is dead),
//! then tells both who the owner is, NODE at the target first; or cancels it by STABLE at both, in either order; and
//! begins again, from the middle of that too. A client is redirected by MOVED and ASK, which it follows at once. Each
//! step is small, and they come in any order.
//!
//! A message on the [unreliable](Bus::Unreliable) bus may arrive at any time after it was sent, as often as it likes,
//! or never: that is loss, delay and repetition, and any order. Time is nothing but that order: tokens and entries
//! live as long as somebody has use for them, and who waits for answers gives up at any time.
//!
//! **What must hold** is looked at after every step ([`Wrong`]):
//!
//! - *Stale.* After the reply of an invalidation no client is answered from what it covered; after the number of a
//!   TAGINVAL no primary has that any more, whether anybody asks it or not.
//! - *Forgotten.* No node has what an invalidation covered that it has executed, or was told of.
//! - *Number.* TAGINVAL says a number once all primaries have done it, and the number of entries that it has killed.
//!
//! **How it is searched.** All states are gone through, the nearest first, so that what is found is told by a
//! shortest way to it, and where nothing is found there is nothing within the bounds: so many readers, changes and
//! TAGINVALs ([`Rules`]). Tokens count by whether a node still takes them, which is all that a fence ever says.
//!
//! **What it leaves out.** Replicas, failovers and restarts, in which tokens end: the model of one primary has them
//! ([`super`]). The index and reclaim, which it has too: here an entry that dies is gone. Steps that the
//! server refuses, and those of an operator who gives a slot away while the source has keys of it. Valkey's atomic
//! migration.
//!
//! `cargo test -p apikey-engine --test model cluster -- --nocapture` shows the stories.

mod node;
mod rules;
mod search;
mod world;

use rules::{Awaited, Bus, Check, Rules, Tell, Ways};
use search::{explore, Wanted};
use world::Wrong;

const ANYTHING: Wanted = |_| true;
const STALE: Wanted = |wrong| *wrong == Wrong::Stale;
const FORGOTTEN: Wanted = |wrong| *wrong == Wrong::Forgotten;
const NUMBER: Wanted = |wrong| *wrong == Wrong::Number;

/// No state is wrong as is wanted, of so many at least; and all of this has happened on the way.
fn never(wanted: Wanted, rules: Rules, states: usize, happened: &[&str]) {
    let explored = explore(&rules, wanted);
    println!("{rules:?}\n{} states: {:?}", explored.states, explored.happened);
    if let Some(story) = &explored.story {
        panic!("{rules:?}\n{story}");
    }
    assert!(explored.states >= states, "hardly anything was tried: {} states", explored.states);
    for what in happened {
        assert!(explored.happened.contains(what), "no {what:?} in {:?}", explored.happened);
    }
}

/// Some state is wrong as is wanted.
fn found(wanted: Wanted, rules: Rules) {
    let explored = explore(&rules, wanted);
    let story = explored.story.unwrap_or_else(|| panic!("nothing goes wrong with {rules:?}"));
    println!("{rules:?}\n{story}");
}

// Keys are told.

/// Where the message arrives, INVAL and SETVAL hold wherever the slot goes, and whosever token a fill has.
#[test]
fn what_is_told_at_once_is_never_stale() {
    let prompt = Rules { bus: Bus::Prompt, ..Rules::KEYS };
    let happened = ["filled", "refused", "moved", "returned", "cancelled"];
    never(ANYTHING, Rules { readers: 2, ..prompt }, 9_000, &happened);
    never(ANYTHING, Rules { nodes: 3, tokens_are_the_servers: false, ..prompt }, 2_500, &happened);
}

/// Without it a token of before is good when the slot comes back.
#[test]
fn telling_of_keys_is_needed() {
    for tells in [&[Tell::Inval], &[Tell::Store]] {
        let prompt = Rules { bus: Bus::Prompt, tells, ..Rules::KEYS };
        for ways in [Ways::RETURNS, Ways::CANCELLED] {
            found(STALE, Rules { ways, ..prompt }.without(Check::KeysAreTold));
        }
    }
}

#[test]
fn the_fence_of_who_is_told_of_keys_is_needed() {
    found(STALE, Rules { bus: Bus::Prompt, ..Rules::KEYS }.without(Check::KeysRaise));
}

/// What a node took while it imported the slot is there when it imports it again.
#[test]
fn the_removal_by_who_is_told_of_keys_is_needed() {
    found(STALE, Rules { bus: Bus::Prompt, ..Rules::KEYS }.without(Check::KeysRemove));
}

// The message is late, or lost.

/// Whatever happens to messages: a node that was told has nothing of before, and takes nothing of before. So where
/// the message is late, what it is about lasts until it arrives; where it is lost, as long as an entry lives.
#[test]
fn what_a_node_was_told_it_never_forgets() {
    let happened = ["filled", "refused", "moved", "returned", "cancelled"];
    never(FORGOTTEN, Rules::KEYS, 10_000, &happened);
    never(FORGOTTEN, Rules { tokens_are_the_servers: false, ..Rules::KEYS }, 10_000, &happened);
}

/// A slot that stays, or that moves and does not come back, needs no message: no node serves a key that it has given
/// a token for, or taken an entry of, before another did.
#[test]
fn a_slot_that_moves_on_needs_no_message() {
    never(STALE, Rules { ways: Ways::STAYS, ..Rules::KEYS }, 60, &["filled"]);
    never(STALE, Rules { ways: Ways::MOVES, ..Rules::KEYS }, 800, &["filled", "refused", "moved"]);
}

/// .. but then a fill's token has to be of the node that served its key: one that the target gave for another key is
/// of before, and good there.
#[test]
fn a_token_of_another_node_needs_the_message() {
    let ways = Ways::MOVES;
    found(STALE, Rules { ways, tokens_are_the_servers: false, ..Rules::KEYS });
}

/// A slot that comes back meanwhile: a fill by a token of before is taken. That is all: where it comes back when
/// those are too old, nothing is.
#[test]
fn a_slot_that_comes_back_needs_the_message_while_tokens_live() {
    let rules = Rules { ways: Ways::RETURNS, ..Rules::KEYS };
    found(STALE, rules);
    never(STALE, Rules { outlives_tokens: true, ..rules }, 2_000, &["filled", "returned"]);
}

/// A migration that is cancelled meanwhile: the same at its source. And one that is begun again: at its target, which
/// still has what it took the first time, however old tokens are.
#[test]
fn a_cancelled_migration_needs_the_message_while_tokens_and_entries_live() {
    let rules = Rules { ways: Ways::CANCELLED, ..Rules::KEYS };
    found(STALE, rules);
    found(STALE, Rules { outlives_tokens: true, ..rules });
    let patient = Rules { outlives_tokens: true, outlives_leftovers: true, ..Rules::KEYS };
    never(STALE, patient, 6_000, &["filled", "moved", "returned", "cancelled"]);
}

// Why nobody waits for it.

/// To wait for all others would close that. Nothing less does: of a slot that has moved nobody can see that it will
/// come back, so that to wait while one is on its way is not enough.
///
/// We do not: each INVAL, and each SETVAL of a writer, would take a round trip on the bus, could not be said in MULTI
/// or a script, and would be PARTIAL where a node that has never seen the key does not answer; and what an operator
/// can do to a slot within the time of one message is little. What Freshness says of *that node*, which has replied,
/// holds without any message.
#[test]
fn to_wait_for_all_would_do_and_nothing_less() {
    never(FORGOTTEN, Rules::KEYS.without(Check::KeysAreTold), 2_000, &["returned", "cancelled"]);
    let awaited = Awaited::Always;
    for tokens_are_the_servers in [true, false] {
        never(
            STALE,
            Rules { awaited, tokens_are_the_servers, ..Rules::KEYS },
            10_000,
            &["returned"],
        );
    }
    found(STALE, Rules { awaited: Awaited::WhileOpen, ways: Ways::RETURNS, ..Rules::KEYS });
}

/// So would a fence that rises by itself: a node that refuses all tokens of before when it is told IMPORTING, STABLE
/// or NODE of a slot, and drops what it has of one that it imports, needs no message at all, where tokens are of the
/// node that served the key. The server tells a module of none of these.
#[test]
fn a_node_that_knew_of_its_slots_would_need_no_message() {
    let rules = Rules { slots_fence: true, ..Rules::KEYS }.without(Check::KeysAreTold);
    never(ANYTHING, rules, 2_000, &["filled", "refused", "moved", "returned", "cancelled"]);
    found(STALE, Rules { tokens_are_the_servers: false, ..rules });
}

// Tags are asked about, and answered.

/// Whatever becomes of questions, answers and the slot: a number is true, and what it covers is gone everywhere.
#[test]
fn a_number_is_true_and_what_it_covers_is_gone() {
    let happened = ["filled", "refused", "a number", "PARTIAL", "answered again", "answered late"];
    let twice = [&happened[..], &["answered twice"]].concat();
    let moving = [&twice[..], &["moved"]].concat();
    never(ANYTHING, Rules { nodes: 2, asks: 1, ..Rules::TAGS }, 14_000, &happened);
    never(ANYTHING, Rules { asks: 1, ways: Ways::MOVES, ..Rules::TAGS }, 6_000, &moving);
    never(ANYTHING, Rules { ways: Ways::STAYS, ..Rules::TAGS }, 14_000, &twice);
    let slow = Rules { is_slow: true, ..Rules::TAGS };
    never(ANYTHING, Rules { nodes: 2, asks: 1, ways: Ways::MOVES, ..slow }, 1_000, &happened);
    never(ANYTHING, Rules { asks: 1, ways: Ways::STAYS, ..slow }, 1_000, &happened);
}

/// It moves from a node that has not been asked yet to one that has.
#[test]
fn that_what_is_restored_is_dead_is_needed() {
    let rules = Rules { asks: 1, ways: Ways::MOVES, ..Rules::TAGS };
    found(STALE, rules.without(Check::RestoredIsDead));
}

fn stale_and_untrue_without(check: Check) {
    for wanted in [STALE, NUMBER] {
        found(wanted, Rules { asks: 1, ways: Ways::STAYS, ..Rules::TAGS }.without(check));
    }
}

#[test]
fn to_wait_for_answers_is_needed() {
    stale_and_untrue_without(Check::AnswersAreAwaited);
}

#[test]
fn to_answer_when_it_is_done_is_needed() {
    stale_and_untrue_without(Check::DoneBeforeAnswered);
}

#[test]
fn to_count_an_answer_once_is_needed() {
    stale_and_untrue_without(Check::AnswerCountsOnce);
}

/// A late answer to the TAGINVAL before.
#[test]
fn the_id_of_an_answer_is_needed() {
    let rules = Rules { changes: 2, ways: Ways::STAYS, ..Rules::TAGS };
    for wanted in [STALE, NUMBER] {
        found(wanted, rules.without(Check::AnswerHasItsId));
    }
}

/// A node that owns no slot may be importing one.
#[test]
fn to_ask_all_primaries_is_needed() {
    let rules = Rules { asks: 1, ways: Ways::MOVES, ..Rules::TAGS };
    found(STALE, rules.without(Check::AllAreAsked));
}

/// To do a question again makes nothing stale; but what it says then is what it has killed the second time.
#[test]
fn to_do_a_question_once_is_needed_for_its_number_alone() {
    let rules = Rules { asks: 1, ..Rules::TAGS }.without(Check::DoneOnce);
    found(NUMBER, Rules { ways: Ways::STAYS, ..rules });
    never(STALE, Rules { nodes: 2, ways: Ways::CANCELLED, ..rules }, 5_000, &["a number"]);
}
