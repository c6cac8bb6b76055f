//! All keys of a call are in one slot, and limits move with it.

use super::calls::*;
use crate::cluster::assert_cluster_is_exact;
use crate::harness::cluster::slot;
use crate::harness::*;

#[test]
fn keys_of_several_slots_are_refused_and_a_slot_takes_its_limits_along() {
    let cluster = Cluster::start(2, 0);
    let mut clients = cluster.clients();
    let number = slot(&mut clients[0], "{k}");
    let json = format!(r#"{{"id":"k","is_active":true,"limits":[{}]}}"#, bucket("second", 9));
    let set = ["APIKEY.SETVAL", "{k}", &json, "DIGEST", DIGEST];
    let home = usize::from(clients[0].cmd(set).is_error());
    let call =
        |counters: &str| format!("APIKEY.ADMIT {{k}} {counters} DIGEST {DIGEST} COST 2 ID a");
    assert_eq!(clients[home].cmd(set), ok());
    let reply = clients[home].must(&call("2 {k}use {k}all"));
    assert_eq!(remaining(&reply), [7]);
    match clients[home].run(&call("2 {k}use {z}all")) {
        Reply::Error(text) => assert!(text.starts_with("CROSSSLOT"), "{text}"),
        other => panic!("{other:?}"),
    }
    cluster.move_slot(number, home, 1 - home);
    let mut there = cluster.clients().remove(1 - home);
    assert_eq!(levels(&mut there, "{k}use"), [("second".into(), 7)]);
    // The record may not be trusted where it has come; the count and the id are.
    assert_eq!(there.cmd(set), ok());
    assert_eq!(remaining(&there.must(&call("2 {k}use {k}all"))), [7], "the id is known");
    assert_eq!(there.usage("{k}use"), (2, 2));
    assert_cluster_is_exact(&cluster);
}
