use super::page::Page;
use crate::harness::*;

#[test]
fn who_has_all_connections_is_found_and_others_get_room() {
    let server = Server::builder()
        .config("maxclients 20")
        .config("maxmemory 100mb")
        .config("maxmemory-policy volatile-ttl")
        .start();
    let mut pool = Vec::new();
    eventually("all are taken", || {
        let Ok(mut c) = server.try_client() else { return false };
        match c.try_cmd(["CLIENT", "SETNAME", "billing"]) {
            Ok(reply) if !reply.is_error() => pool.push(c),
            _ => return true,
        }
        false
    });
    let mut page = Page::open("connections").at(&server);
    page.step(1);
    // One instance of the application is stopped.
    pool.drain(..4);
    eventually("they are closed", || {
        let Ok(mut c) = server.try_client() else { return false };
        let Ok(Reply::Bulk(told)) = c.try_cmd(["INFO", "clients"]) else { return false };
        String::from_utf8_lossy(&told).contains("connected_clients:17\r")
    });
    page.step(2);
    page.step(3);
    let more: Vec<Client> = (0..40).map(|_| server.client()).collect();
    assert_eq!(more.len(), 40);
    assert!(server.try_client().and_then(|mut c| c.try_cmd(["AUTH", "app", "wrong"])).is_ok());
    page.step(4);
    page.end();
}
