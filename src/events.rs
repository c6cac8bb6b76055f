//! What the server tells the module unasked: keys that come by themselves, databases that are emptied
//! or exchanged, its role, what it loads.

use crate::evict;
use crate::invalidation;
use crate::keyspace::{self, Coming};
use crate::migrations;
use crate::policies;
use crate::state;
use crate::stream::version;
use crate::trust::Trust;
use host::events::{KeyEvent, Listener, ServerEvent};
use host::{now, Ctx, Name};

pub struct Events;

impl Listener for Events {
    fn key(ctx: &mut Ctx, event: KeyEvent, name: Name) {
        match event {
            KeyEvent::Loaded => keyspace::arrived(ctx, name, Coming::Loaded),
            KeyEvent::RenamedTo | KeyEvent::CopiedTo | KeyEvent::MovedTo => {
                keyspace::arrived(ctx, name, Coming::FromHere);
            }
            KeyEvent::Restored => keyspace::arrived(ctx, name, Coming::Restored),
            KeyEvent::Evicted => {
                let database = ctx.database();
                state::with(ctx.lock(), |state| {
                    state.stats.last_eviction = Some(now());
                    state.was_evicted(database, name.bytes());
                });
            }
            KeyEvent::Generic(_) => {}
        }
    }

    fn server(ctx: &mut Ctx, event: ServerEvent) {
        let lock = ctx.lock();
        match event {
            ServerEvent::Flush(database) => invalidation::of_database(ctx, database),
            ServerEvent::Swapped(first, second) => {
                state::with(lock, |state| state.swap(first, second));
            }
            ServerEvent::Promoted => {
                state::with(lock, |state| {
                    state.begin_run();
                    let was_lost = state.follow_nobody();
                    if was_lost || Trust::distrusts_what_it_had() {
                        state.begin_era();
                        state.owe_word();
                    }
                    state.tell_reclaim();
                });
                version::announce(ctx);
                policies::tell_again(lock);
                evict::look_at_all(ctx);
            }
            ServerEvent::ReplicaOnline => {
                version::announce(ctx);
                policies::tell_again(lock);
            }
            ServerEvent::Demoted => state::with(lock, |state| {
                state.begin_run();
                state.trust.forget_word();
            }),
            ServerEvent::LoadingBegan => {
                let is_replica = ctx.is_any_replica();
                state::with(lock, |state| {
                    state.follow_nobody();
                    state.trust.begin_loading(is_replica);
                });
            }
            ServerEvent::LoadingFailed => {
                state::with(lock, |state| state.trust.end_loading());
            }
            // What was loaded and is not trusted is dead already; replicas that go on from before may have
            // it alive, and so may this node after its next start.
            ServerEvent::LoadingEnded => {
                migrations::look(ctx);
                evict::look_at_all(ctx);
                state::with(lock, |state| {
                    if state.trust.end_loading() {
                        state.owe_word();
                    }
                });
            }
            ServerEvent::PutAside => state::with(lock, state::State::put_aside),
            ServerEvent::TakenBack => state::with(lock, state::State::take_back),
            ServerEvent::AsideDropped => state::with(lock, state::State::drop_aside),
        }
    }
}
