//! Tenants that key patterns separate see nothing of each other.

use super::calls::*;
use crate::acl::{no_tag, user};
use crate::harness::server::{kind, Kind};
use crate::harness::*;

const NO_READ: &str =
    "NOPERM No permissions to read the tag: it has to match a key pattern with read permission";

/// Two tenants that each have a region `r` in their namespace, and one who has none.
fn tenants() -> Option<(Server, Client)> {
    if kind() == Kind::Redis62 {
        return None;
    }
    let server = Server::start();
    let mut admin = server.client();
    for ns in ["acme:", "beta:"] {
        region(&mut admin, &format!("r NS {ns} GRACE 600000"));
        store_many(&mut admin, &format!("{ns}k"), 10, &format!("r v NS {ns} TAGS 1 {ns}t"));
        says(&mut admin, &format!("{ns}k1 r NS {ns}"));
    }
    store_many(&mut admin, "k", 10, "r v");
    Some((server, admin))
}

#[test]
fn a_tenant_reads_and_writes_its_own_keys_alone() {
    let Some((server, mut admin)) = tenants() else { return };
    let mut c = user(&server, "resetkeys ~acme:* +@all");
    let token = admin.must("APIKEY.TOKEN x").text();
    let before = server.digest();
    for line in [
        "CACHE.GET beta:k1 r NS beta:".to_string(),
        "CACHE.MGET r acme:k1 beta:k1".into(),
        "CACHE.SET beta:k1 r v".into(),
        format!("CACHE.MSET r 2 acme:k1 v beta:k1 v TOKEN {token}"),
        format!("CACHE.SETABSENT beta:k1 r TOKEN {token}"),
        format!("CACHE.FAIL beta:k1 r TOKEN {token}"),
        "APIKEY.INVAL beta:k1".into(),
    ] {
        let reply = c.run(&line);
        assert!(reply.text().starts_with("NOPERM"), "{line}: {reply:?}");
    }
    assert_eq!(server.digest(), before);
    assert_eq!(says(&mut c, "acme:k1 r NS acme:"), "HIT");
    set(&mut c, "acme:new r v NS acme:");
    assert_eq!(c.run(&format!("CACHE.MSET r 1 acme:k1 v TOKEN {token} NS acme:")), int(1));
    // A region under another name says nothing of what is there.
    assert_eq!(says(&mut c, "acme:k1 r NS beta:"), "MISS");
    // Who may only read stores nothing, and gives no lease back that it could not use.
    let mut reader = user(&server, "resetkeys %R~acme:* +@all");
    assert_eq!(says(&mut reader, "acme:k1 r NS acme:"), "HIT");
    assert!(reader.run("CACHE.SET acme:k1 r v").text().starts_with("NOPERM"));
    assert_exact(&server);
}

#[test]
fn a_tenant_invalidates_its_own_alone() {
    let Some((server, mut admin)) = tenants() else { return };
    let mut c = user(&server, "resetkeys ~acme:* +@all");
    let before = server.digest();
    for (line, number) in [
        ("CACHE.CLEAR r", 1),
        ("CACHE.CLEAR r NS beta:", 1),
        ("CACHE.TAGINVAL beta:t", 1),
        ("CACHE.TAGINVAL acme:t beta:t", 2),
        ("CACHE.TAGINVAL SOFT beta:t", 1),
        ("CACHE.TAGINVAL SOFT acme:t acme:u cache:region:r", 3),
        ("APIKEY.TAGINVAL beta:cache:region:r", 1),
    ] {
        assert_eq!(c.run(line), no_tag(number), "{line}");
        c.must("MULTI");
        c.must(line);
        assert_eq!(c.must("EXEC"), array([no_tag(number)]), "{line}");
    }
    assert!(c.run("CACHE.PATINVAL *").text().starts_with("NOPERM"));
    assert!(c.run("CACHE.PATINVAL beta:*").text().starts_with("NOPERM"));
    assert_eq!(server.digest(), before);
    assert_eq!(
        says(&mut admin, "acme:k1 r NS acme:"),
        "HIT",
        "also where one of several is refused"
    );
    assert_eq!(c.must("CACHE.TAGINVAL SOFT acme:t"), int(10));
    assert_eq!(says(&mut c, "acme:k1 r NS acme:"), "STALE");
    assert_eq!(c.must("CACHE.PATINVAL acme:k[0-4] REGION r NS acme:"), int(5));
    assert_eq!(c.must("CACHE.PATINVAL acme:* REGION r NS beta:"), int(0));
    assert_eq!(c.must("CACHE.CLEAR r NS acme:"), int(5));
    let codes = ["beta:k1 r NS beta:", "k1 r"].map(|key| says(&mut admin, key));
    assert_eq!(codes, ["HIT", "HIT"]);
    assert_exact(&server);
}

#[test]
fn a_tenant_is_told_of_its_own_regions_alone() {
    let Some((server, _admin)) = tenants() else { return };
    let mut c = user(&server, "resetkeys ~acme:* +@all");
    for line in [
        "CACHE.STATS r",
        "CACHE.STATS r NS beta:",
        "CACHE.TOP r",
        "CACHE.TOP r NS beta:",
        "CACHE.TOP r BY BYTES COUNT 5 NS beta:",
        "CACHE.STATS none NS beta:",
        "APIKEY.TAGCARD beta:cache:region:r",
        "APIKEY.TAGSCAN beta:cache:region:r 0",
    ] {
        assert_eq!(c.run(line), error(NO_READ), "{line}");
    }
    let all = c.must("CACHE.STATS");
    assert_eq!(all.items().len(), 1);
    assert_eq!(all.items()[0].get("namespace"), &bulk("acme:"));
    assert_eq!(c.must("CACHE.STATS r NS acme:").get("entries"), &int(10));
    assert_eq!(c.must("CACHE.TOP r NS acme:"), array([array([bulk("acme:k1"), int(1)])]));
    let mut writer = user(&server, "resetkeys %W~acme:* +@all");
    assert_eq!(writer.run("CACHE.STATS r NS acme:"), error(NO_READ));
    assert_eq!(writer.must("CACHE.STATS"), array([]));
    assert_eq!(user(&server, "resetkeys +@all").must("CACHE.STATS"), array([]));
    assert_eq!(user(&server, "allkeys +@all").must("CACHE.STATS").items().len(), 3);
}

#[test]
fn with_check_fill_tags_an_entry_carries_tags_of_its_tenant_alone() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = Server::builder().setting("check-fill-tags", "yes").start();
    let mut admin = server.client();
    let mut c = user(&server, "resetkeys ~acme:* %R~read:* +@all");
    let token = admin.must("APIKEY.TOKEN x").text();
    let refused = |number: usize| {
        error(&format!(
            "NOPERM No permissions to store tag {number}: it has to match a key pattern with write permission"
        ))
    };
    let fills = [
        "CACHE.SET acme:k r v".to_string(),
        format!("CACHE.SET acme:k r v TOKEN {token}"),
        format!("CACHE.MSET r 2 acme:k v acme:k2 v TOKEN {token}"),
        format!("CACHE.SETABSENT acme:a r TOKEN {token}"),
    ];
    let before = server.digest();
    for (options, number) in [
        ("", 1),
        (" NS beta:", 1),
        (" NS acme: TAGS 1 beta:t", 2),
        (" NS acme: TAGS 2 acme:t read:t", 3),
    ] {
        for line in &fills {
            assert_eq!(c.run(&format!("{line}{options}")), refused(number), "{line}{options}");
        }
    }
    assert_eq!(server.digest(), before);
    // The writer that was refused has fenced nothing.
    for line in fills.iter().skip(1) {
        let reply = c.run(&format!("{line} NS acme: TAGS 1 acme:t"));
        assert!(reply == ok() || reply == int(2), "{line}: {reply:?}");
    }
    set(&mut c, "acme:k r v NS acme: TAGS 1 acme:t");
    set(&mut admin, "k r v TAGS 1 any");
    assert_exact(&server);
}
