use super::page::Page;
use crate::harness::server::Stop;
use crate::harness::*;

fn good(fsync: &str) -> Server {
    Server::builder()
        .with_aof(true)
        .config(&format!("appendfsync {fsync}"))
        .config("maxmemory 256mb")
        .config("maxmemory-policy volatile-ttl")
        .start()
}

const USAGE: &str = "apikey:{k}:usage";

#[test]
fn a_server_whose_disk_is_full_goes_on_without_it_and_has_everything_on_it_again() {
    let mut server = good("everysec");
    let mut c = server.client();
    c.fill("apikey:{k}", &[]);
    c.count(USAGE, 5);
    server.bound_files(Some(0));
    c.must("SET some write");
    eventually("nothing can be revoked, so nothing is valid", || {
        let told = c.run("APIKEY.INVAL none");
        matches!(told, Reply::Error(why) if why.starts_with("MISCONF "))
            && c.code("apikey:{k}") == "MISS"
    });
    let mut page = Page::open("full-disk").at(&server);
    page.step(1);
    page.step(2);
    // Until there is room.
    page.step(3);
    eventually("it is served again", || c.code("apikey:{k}") == "VALID");
    c.count(USAGE, 2);
    server.bound_files(None);
    page.step(4);
    server.aof_is_rewritten();
    page.step(5);
    page.end();
    c.count(USAGE, 1);
    server.restart(Stop::NoSave);
    assert_eq!(server.client().usage(USAGE).0, 8);
}

#[test]
fn one_that_ended_for_it_starts_with_all_that_it_acknowledged() {
    let mut server = good("always");
    let mut c = server.client();
    c.count(USAGE, 5);
    server.bound_files(Some(0));
    let _ = c.try_cmd(["APIKEY.USAGE.INCR", USAGE]);
    eventually("it ends", || !server.is_alive());
    server.restart(Stop::Kill);
    assert_eq!(server.client().usage(USAGE).0, 5);
}
