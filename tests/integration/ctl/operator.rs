//! The operator of docs/acl.md, who may do what the page says of `apikeyctl`.

use super::{command, Ran};
use crate::harness::*;
use crate::roles::{self, assert_no_denial, Users};

#[test]
fn the_operator_of_the_page_looks_plans_and_resets() {
    for list in roles::lists() {
        let users = Users::new(list);
        let server = users.on(Server::builder().config("maxmemory 100mb")).start();
        let mut c = server.client();
        // From 10,000 on plan measures.
        let fill = |i| format!("APIKEY.SETVAL other{i} {}", record("r", "u"));
        c.pipeline(&(0..10_000).map(fill).collect::<Vec<_>>());
        c.must(&format!("APIKEY.SETVAL acme {} NS acme:", record("r", "u")));
        c.count("counter", 3);
        for (subcommand, options, told) in [
            ("nodes", "", "healthy"),
            ("check", "", "10002"),
            ("top", "--batch -n 1", "healthy"),
            ("report", "--top 3", "user:u"),
            ("plan", "--growth 10%/month", "of maxmemory"),
            ("reset", "--yes", "10001 entries are dead"),
        ] {
            let options: Vec<&str> = options.split_whitespace().collect();
            let mut run =
                command(&server, subcommand, &[&["--user", "operator"], &options[..]].concat());
            run.env("REDISCLI_AUTH", users.password("operator"));
            let ran = Ran::of(run);
            assert_eq!(ran.status, Some(0), "{subcommand}: {}{}", ran.out, ran.err);
            assert!(ran.out.replace(',', "").contains(told), "{subcommand}: {}", ran.out);
        }
        assert_eq!(c.usage("counter").0, 3);
        assert_no_denial(&server);
    }
}
