//! Options come in any order and any case. What is wrong with them is in `errors`.

use crate::harness::*;

/// All orders of the options, each written in capitals, in small letters or in both; values stay as they are.
fn all_orders(options: &[&str]) -> Vec<String> {
    let [first, rest @ ..] = options else { return vec![String::new()] };
    let mut all = Vec::new();
    for order in all_orders(rest) {
        let rest: Vec<&str> = order.split("  ").filter(|option| !option.is_empty()).collect();
        for at in 0..=rest.len() {
            let mut order = rest.clone();
            order.insert(at, first);
            // Two spaces between options and one within them.
            all.push(order.join("  "));
        }
    }
    all
}

/// An option whose name is in another case, by the number of the call.
fn in_case(option: &str, number: usize) -> String {
    let (name, value) = option.split_once(' ').unwrap_or((option, ""));
    let name: String = match number % 3 {
        0 => name.into(),
        1 => name.to_lowercase(),
        _ => name[..1].to_lowercase() + &name[1..],
    };
    format!("{name} {value}").trim_end().to_string()
}

/// The calls with the options in all orders.
fn calls(front: &str, options: &[&str]) -> Vec<String> {
    let orders = all_orders(options).into_iter().enumerate();
    orders
        .map(|(number, order)| {
            let options: Vec<String> = order
                .split("  ")
                .enumerate()
                .map(|(at, option)| in_case(option, number + at))
                .collect();
            format!("{front} {}", options.join(" "))
        })
        .collect()
}

/// What stands under a key: its tags and when it expires.
#[track_caller]
fn state(c: &mut Client, key: &str) -> (Reply, bool) {
    let tags = c.must(&format!("APIKEY.TAGS {key}"));
    let ttl = c.must(&format!("TTL {key}")).int();
    (tags, (90..=100).contains(&ttl))
}

#[test]
fn a_fill_takes_its_options_in_any_order_and_case() {
    let server = Server::start();
    let mut c = server.client();
    let json = record("id", "u");
    for (key, front, more, reply) in [
        ("rec", format!("APIKEY.SETVAL rec {json}"), &["NS n:", "XX"][..], ok()),
        ("none", "APIKEY.SETABSENT none".into(), &["NS n:"], ok()),
        ("many", format!("APIKEY.MSETVAL 1 many {json}"), &["NS n:"], int(1)),
        ("scp", "APIKEY.SETSCOPE scp i u r a ALLOW".into(), &["NS n:"], ok()),
        ("lst", "APIKEY.SETLIST lst u []".into(), &["NS n:"], ok()),
        ("val", "CACHE.SET val r v".into(), &["GRACE 10", "LABEL l"], ok()),
        ("val", "CACHE.MSET r 1 val v".into(), &["NS n:", "NX"], int(1)),
        ("val", "CACHE.SETABSENT val r".into(), &["NS n:"], ok()),
    ] {
        if key == "rec" {
            c.must(&front);
        }
        let token = format!("TOKEN {}", c.must("APIKEY.TOKEN k").text());
        let mut options = vec!["EX 100", "TAGS 2 a b", &token];
        options.extend(more);
        let calls = calls(&front, &options);
        let mut expected = None;
        for call in &calls {
            assert_eq!(c.run(call), reply, "{call}");
            let state = state(&mut c, key);
            assert!(state.1, "{call}");
            assert_eq!(*expected.get_or_insert(state.clone()), state, "{call}");
            if key != "rec" {
                c.must(&format!("DEL {key}"));
            }
        }
        let number: usize = (1..=options.len()).product();
        assert_eq!(calls.len(), number);
    }
    assert_exact(&server);
}

#[test]
fn a_fill_that_keeps_its_time_takes_digests_anywhere() {
    let server = Server::start();
    let mut c = server.client();
    let front = format!("APIKEY.SETVAL k {}", record("id", "u"));
    c.must(&format!("{front} EX 100"));
    let one = format!("DIGEST {DIGEST}");
    let two = format!("DIGEST {} Until 4102444800123", "00".repeat(32));
    for call in calls(&front, &[&one, "KEEPTTL", &two, "XX"]) {
        assert_eq!(c.run(&call), ok(), "{call}");
        assert_eq!(c.must("APIKEY.DESCRIBE k").get("digests"), &int(2), "{call}");
        assert!((90..=100).contains(&c.must("TTL k").int()), "{call}");
        assert_eq!(c.code("k"), "VALID");
    }
}

#[test]
fn a_read_takes_its_options_in_any_order_and_case() {
    let server = Server::start();
    let mut c = server.client();
    store(&mut c, "rec", r#""scopes":["a","b:*"]"#, &format!("SECRET {SECRET}"));
    let records: Vec<String> = (0..5).map(|n| record(&format!("k{n}"), "u1")).collect();
    c.list("lst", &records, "");
    for call in calls("APIKEY.VALIDATE rec", &[&format!("SECRET {SECRET}"), "SCOPE a", "SCOPE b:c"])
    {
        assert_eq!(code_of(&c.run(&call)), "VALID", "{call}");
    }
    for call in calls("APIKEY.VALIDATE rec", &[&format!("DIGEST {DIGEST}"), "SCOPE a", "SCOPE c"]) {
        assert_eq!(c.run(&call), array([bulk("FORBIDDEN"), bulk("c")]), "{call}");
    }
    for call in calls("APIKEY.GETLIST lst", &["OFFSET 1", "LIMIT 2"]) {
        let reply = c.run(&call);
        let [total, page] = reply.items()[1].items() else { panic!("{call}: {reply:?}") };
        assert_eq!((total, page.items().len()), (&int(5), 2), "{call}");
    }
}

#[test]
fn an_only_option_takes_any_case() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &["t"]);
    c.must("APIKEY.VALIDATE k SECRET wrong");
    for option in ["COUNT", "count", "Count", "cOUNT"] {
        assert_eq!(c.run(&format!("APIKEY.TAGSCAN t 0 {option} 5")).items().len(), 2);
        assert_eq!(c.run(&format!("APIKEY.LOG {option} 5")).items().len(), 1);
        for (call, name) in [("USAGE.LEASE 1000", "LEASE"), ("USAGELEASE 1000", "LEASE")] {
            assert_eq!(c.run(&format!("APIKEY.{call} {option} 1")), array([]), "{name}");
        }
        for call in ["USAGE.FLUSH", "USAGEFLUSH"] {
            assert_eq!(c.run(&format!("APIKEY.{call} {option} 1")), array([]), "{call}");
        }
    }
    for (number, option) in (1..).zip(["BY", "by", "By", "bY"]) {
        assert_eq!(c.run(&format!("APIKEY.USAGE.INCR u {option} 5")), int(5 * number));
    }
    for option in ["RESET", "reset", "Reset"] {
        assert_eq!(c.run(&format!("APIKEY.LOG {option}")), ok());
    }
}

#[test]
fn admit_takes_its_options_in_any_order_and_case() {
    let server = Server::start();
    let mut c = server.client();
    store(&mut c, "rec", r#""scopes":["a"]"#, &format!("SECRET {SECRET}"));
    let proof = format!("DIGEST {DIGEST}");
    let options = [
        proof.as_str(),
        "SCOPE a",
        "COST 2",
        "LIMIT 1 second rate 100000 1000 burst 100000 Weight 2 shadow",
        "LIMIT 1 month Quota 100000 month offset 60 day 31 SHADOW WEIGHT 3",
    ];
    let calls = calls("APIKEY.ADMIT rec 1 use", &options);
    for call in &calls {
        let reply = c.run(call);
        assert_eq!(code_of(&reply), "VALID", "{call}");
    }
    assert_eq!(c.usage("use").1, 2 * calls.len() as i64);
    let limits = c.must("APIKEY.LIMITS use");
    let month = limits.items().iter().find(|limit| limit.items()[0] == bulk("month"));
    assert_eq!(month.map(|m| m.items()[3].int()), Some(100_000 - 6 * calls.len() as i64));
}
