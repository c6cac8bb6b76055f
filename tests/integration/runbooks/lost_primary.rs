use super::page::Page;
use super::replicated::Replicated;
use crate::harness::proxy::Rule;
use crate::harness::server::Stop;
use crate::harness::*;
use crate::roles::says;

fn start() -> Replicated {
    Replicated::start("min-replicas-to-write 1")
}

/// With a revocation that reaches nobody else.
fn lose_the_primary(servers: &mut Replicated) {
    servers.gate.set(None, Some(Rule::Held));
    let mut c = servers.former.client();
    assert_eq!(c.invalidate("apikey:id:42"), 1);
    assert_eq!(c.code("revoked"), "MISS");
    servers.former.stop(Stop::Kill);
    servers.cut_off();
}

/// The former one comes back as a replica of the one at this port.
fn end(mut servers: Replicated, mut page: Page, primary: u16) {
    servers.gate.heal();
    let line = format!("replicaof 127.0.0.1 {primary}");
    servers.former.start_again_with(|builder| builder.config(&line));
    let [one, other] = &servers.replicas;
    let (primary, replica) = if one.port == primary { (one, other) } else { (other, one) };
    servers.assert_well(primary, replica);
    page.step(6);
    page.end();
    servers.assert_whole(primary, replica);
}

#[test]
fn sentinels_replace_it_and_what_it_alone_knew_is_told_again() {
    let mut servers = start();
    let sentinels = servers.sentinels();
    lose_the_primary(&mut servers);
    let (primary, replica) = servers.agreed(&sentinels);

    let mut page =
        servers.page(Page::open("lost-primary"), primary, replica, &sentinels).at(primary);
    page.step(1);
    drop(sentinels);
    page.passed_over(2);
    page.passed_over(3);
    eventually("it vouches, and never heard of it", || primary.client().code("revoked") == "VALID");
    page.step(5);
    let port = primary.port;
    end(servers, page, port);
}

#[test]
fn without_sentinels_a_replica_is_promoted_by_hand() {
    let mut servers = start();
    lose_the_primary(&mut servers);
    for replica in &servers.replicas {
        eventually("it knows", || says(replica, "master_link_status:down"));
    }
    let [primary, replica] = &servers.replicas;
    let mut page = servers.page(Page::open("lost-primary"), primary, replica, &[]).at(primary);
    page.passed_over(1);
    page.step(2);
    page.step(3);
    replica.in_sync_with(primary);
    eventually("it vouches", || primary.client().code("revoked") == "VALID");
    page.step(5);
    let port = primary.port;
    end(servers, page, port);
}
