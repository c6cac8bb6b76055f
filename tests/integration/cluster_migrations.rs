//! Slots that move as a whole, by Valkey's CLUSTER MIGRATESLOTS: of what has come nothing is used before the slots have,
//! and counts are whole.

use crate::cluster::assert_cluster_is_exact;
use crate::cluster_leases::{assert_replicas_agree, counts_are_whole_while_slots_move};
use crate::harness::*;
use crate::roles::{assert_no_denial, blocks, lists, Users};
use std::time::Duration;

/// Name and state of the newest migration that a node knows of, if there is any.
fn newest(c: &mut Client) -> Option<(String, String)> {
    let all = c.must("CLUSTER GETSLOTMIGRATIONS");
    all.items().first().map(|one| (one.get("name").text(), one.get("state").text()))
}

/// Its state.
fn state(c: &mut Client) -> String {
    newest(c).map(|(_, state)| state).unwrap_or_default()
}

/// Two primaries with a replica each. The slots of `{b}` and `{f}` are on their way from the first to the second, where
/// all their keys are; that of `{c}` stays with the first.
struct UnderWay {
    cluster: Cluster,
    from: Client,
    to: Client,
}

impl UnderWay {
    /// Behind what `before` does; `None` where the server moves no slots so.
    #[track_caller]
    fn begin(before: impl FnOnce(&mut Client)) -> Option<Self> {
        Self::begin_on(|builder| builder, before)
    }

    /// The same, of servers that are changed.
    #[track_caller]
    fn begin_on(
        change: impl Fn(Builder) -> Builder,
        before: impl FnOnce(&mut Client),
    ) -> Option<Self> {
        if server::kind() != Kind::Valkey91 {
            return None;
        }
        let cluster = Cluster::of(2, 1, |_, builder| change(builder));
        let (mut from, mut to) = (cluster.primaries[0].client(), cluster.primaries[1].client());
        before(&mut from);
        from.must("DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        let [b, f] = ["{b}", "{f}"].map(|key| from.must(&format!("CLUSTER KEYSLOT {key}")).int());
        let id = to.must("CLUSTER MYID").text();
        from.must(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {b} {b} {f} {f} NODE {id}"));
        eventually("what there was has come", || state(&mut to) == "waiting-for-paused");
        Some(Self { cluster, from, to })
    }

    /// Lets it end.
    #[track_caller]
    fn end(&mut self) {
        self.from.must("DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
        let (from, to) = (&mut self.from, &mut self.to);
        eventually("the slots have moved", || state(from) == "success" && state(to) == "success");
        assert_replicas_agree(&self.cluster);
    }
}

const NOT_YET: &str = "TRYAGAIN slots are coming to this node by CLUSTER MIGRATESLOTS: their counters are not yet its own";

#[test]
fn what_has_come_is_dead_or_whole_and_nothing_of_it_is_used_before_its_slot_has() {
    let mut first = None;
    let Some(mut under_way) = UnderWay::begin(|c| {
        for key in ["{b}1", "{f}1", "{c}1"] {
            c.fill(key, &["t"]);
        }
        for (key, count) in [("{b}u", 3), ("{f}u", 4), ("{c}u", 5)] {
            c.count(key, count);
        }
        first = Some(c.lease());
        for key in ["{b}u", "{f}u"] {
            c.count(key, 10);
        }
    }) else {
        return;
    };
    let first = first.expect("a batch");
    let UnderWay { cluster, from, to } = &mut under_way;
    assert_cluster_is_exact(cluster);
    for call in ["APIKEY.USAGE.LEASE 1000", "APIKEY.USAGE.FLUSH"] {
        assert_eq!(to.run(call), error(NOT_YET));
    }
    // Entries are one node's alone.
    assert_eq!(to.must("APIKEY.TAGCARD t"), int(3));
    assert_eq!(to.must("APIKEY.TAGSCAN t 0").items()[1], array([]));
    // A replica that is given all anew meanwhile is told nothing of the migration but by the server.
    let (theirs, ours) = (&cluster.primaries[1], &cluster.replicas[1][0]);
    let mut late = ours.client();
    theirs.client().must("DEBUG CHANGE-REPL-ID");
    theirs.client().must("CLIENT KILL TYPE replica");
    ours.in_sync_with(theirs);

    // All that changes counters, by key and without.
    for key in ["{b}2", "{f}2", "{c}2"] {
        from.fill(key, &["t"]);
    }
    assert_eq!(from.count("{b}v", 7), 7);
    assert_eq!(from.count("{f}u", 1), 11);
    assert_eq!(from.must("APIKEY.USAGE.TAKE {f}u"), array([int(11)]));
    let second = from.lease();
    assert_eq!(second.counts(), [("{b}u".into(), 10), ("{b}v".into(), 7)]);
    assert_eq!(from.ack(&first), 3);
    from.count("{b}w", 1);
    from.count("{f}w", 2);
    from.count("{c}w", 3);
    assert_eq!(from.must("APIKEY.USAGE.FLUSH").items().len(), 6);
    from.count("{f}w", 20);
    // What nobody tells counter by counter.
    from.must("EVAL return(redis.call('APIKEY.USAGE.INCR',KEYS[1])) 1 {f}x");
    from.must("EVAL return(redis.call('APIKEY.USAGE.INCR',KEYS[1])) 1 {f}x");
    for queued in ["MULTI", "APIKEY.USAGE.INCR {f}x BY 5", "APIKEY.USAGE.TAKE {f}x", "EXEC"] {
        from.must(queued);
    }
    from.must("EVAL return(redis.call('APIKEY.USAGE.INCR',KEYS[1])) 1 {f}x");
    assert_eq!(from.must("APIKEY.TAGINVAL t"), int(6));
    from.fill("{b}3", &["t"]);
    assert_cluster_is_exact(cluster);
    assert_eq!(state(to), "waiting-for-paused", "what was replicated could be passed on");
    under_way.end();

    let UnderWay { cluster, from, to } = &mut under_way;
    late.must("READONLY");
    for c in [&mut *to, &mut late] {
        for key in ["{b}1", "{f}1", "{b}2", "{f}2", "{b}3"] {
            assert_eq!(c.code(key), "MISS", "{key}");
        }
        for (key, counts) in [
            ("{b}u", (0, 10, 13)),
            ("{b}v", (0, 7, 7)),
            ("{b}w", (0, 0, 1)),
            ("{f}u", (0, 0, 15)),
            ("{f}w", (20, 0, 22)),
            ("{f}x", (1, 0, 8)),
        ] {
            assert_eq!(c.counts(key), counts, "{key}");
        }
    }
    // What was leased is a batch of each line's, and comes with its id.
    assert_eq!(from.ack(&second), 0);
    let third = to.lease();
    assert_eq!(third.counts(), [("{f}w".into(), 20), ("{f}x".into(), 1)]);
    assert_eq!(from.ack(&third), 2);
    for line in &second.lines {
        let batch = apikey_engine::usage::id::Id::parse(line.id.as_bytes()).expect("an id");
        let batch = batch.batch_of_line().to_hex();
        assert_eq!(to.must(&format!("APIKEY.USAGE.NACK {batch}")), int(1));
    }
    let again = to.leases("1000");
    let mut lines: Vec<_> = again.iter().flat_map(|batch| batch.lines.clone()).collect();
    lines.sort_by_key(|line| line.id.clone());
    assert_eq!(lines, second.lines);
    assert_replicas_agree(cluster);
}

#[test]
fn no_count_is_lost_or_doubled_while_slots_move_as_a_whole() {
    if server::kind() != Kind::Valkey91 {
        return;
    }
    counts_are_whole_while_slots_move(|cluster, rng, slot, from, to| {
        let [from, to] = [from, to].map(|at| cluster.primaries[at].client());
        let (mut from, mut to) = (from, to);
        let id = to.must("CLUSTER MYID").text();
        from.must("DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        eventually("it begins", || {
            from.run(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {id}")) == ok()
        });
        if rng.one_in(4) {
            from.run("CLUSTER CANCELSLOTMIGRATIONS");
        }
        // Meanwhile keys are at both.
        std::thread::sleep(Duration::from_millis(rng.below(50) as u64));
        from.must("DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
        let has_ended = |state: &str| ["success", "failed", "cancelled"].contains(&state);
        eventually("it ends", || {
            let Some((name, state)) = newest(&mut from) else { return false };
            // One that is cancelled soon is never known to the other.
            let theirs = newest(&mut to).filter(|(other, _)| *other == name);
            has_ended(&state) && theirs.is_none_or(|(_, state)| has_ended(&state))
        });
        state(&mut from) == "success"
    });
}

/// Valkey then tells the replicas of the target of later writes in the wrong database.
#[test]
fn no_slots_move_as_a_whole_where_there_are_databases() {
    if server::kind() != Kind::Valkey91 {
        return;
    }
    for databases in [1, 2] {
        let cluster = Cluster::of(2, 0, |_, builder| {
            builder.config(&format!("cluster-databases {databases}"))
        });
        let id = cluster.primaries[1].client().must("CLUSTER MYID").text();
        let told = cluster.primaries[0]
            .client()
            .run(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE 1 1 NODE {id}"));
        match databases {
            1 => assert_eq!(told, ok()),
            _ => assert!(told.text().contains("apikey does not support atomic slot"), "{told:?}"),
        }
    }
}

/// It is the one of `masteruser` at the other node, and has to be allowed what is passed on.
#[test]
fn slots_move_by_the_user_that_replicates() {
    let mut list = lists().remove(0);
    let also = blocks("In a cluster")[1].join(" ");
    for user in list.iter_mut().filter(|line| line.starts_with("user replica ")) {
        *user += &format!(" {also}");
    }
    let users = Users::new(list);
    let Some(mut under_way) = UnderWay::begin_on(
        |builder| users.on(builder),
        |c| {
            c.fill("{b}1", &["t"]);
            c.count("{f}u", 4);
        },
    ) else {
        return;
    };
    under_way.from.count("{f}u", 1);
    under_way.from.count("{b}u", 2);
    under_way.end();
    let to = &mut under_way.to;
    assert_eq!(to.lease().counts(), [("{b}u".into(), 2), ("{f}u".into(), 5)]);
    assert_eq!(to.code("{b}1"), "MISS");
    under_way.cluster.nodes().for_each(assert_no_denial);
}

#[test]
fn what_had_come_is_gone_where_the_migration_is_cancelled() {
    let Some(mut under_way) = UnderWay::begin(|c| {
        c.fill("{b}1", &["t"]);
        c.count("{f}u", 4);
    }) else {
        return;
    };
    let UnderWay { cluster, from, to } = &mut under_way;
    from.count("{b}u", 2);
    from.must("CLUSTER CANCELSLOTMIGRATIONS");
    eventually("it has ended", || state(to) == "failed");
    assert_eq!(to.leases("1000"), []);
    assert_eq!(to.must("DBSIZE"), int(0));
    assert_eq!(from.code("{b}1"), "VALID");
    assert_eq!(from.must("APIKEY.TAGCARD t"), int(1));
    assert_eq!(from.lease().counts(), [("{b}u".into(), 2), ("{f}u".into(), 4)]);
    assert_replicas_agree(cluster);
}
