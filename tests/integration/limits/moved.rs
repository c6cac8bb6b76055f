//! Defragmentation moves what counters have of limits.

use super::calls::*;
use crate::defrag::{all_right, eager, holes, is_possible};
use crate::harness::*;

#[test]
fn accounts_with_many_limits_and_ids_are_moved_and_unharmed() {
    const COUNTERS: usize = 400;
    const IDS: usize = 40;
    let server = eager(Server::builder()).start();
    let (mut c, mut rng) = (server.client(), Rng::new(5));
    if !is_possible(&mut c) {
        return;
    }
    let limits = [bucket("second", 1_000_000), quota("year", 1_000_000), quota("week", 1_000_000)];
    limited(&mut c, "k", &limits);
    // Those of one counter are apart in memory.
    let lines: Vec<String> = (0..COUNTERS * IDS)
        .map(|n| {
            let (counter, id) = (n % COUNTERS, n / COUNTERS);
            format!("APIKEY.ADMIT k 1 use{counter} DIGEST {DIGEST} COST {} ID {id}", 1 + n % 7)
        })
        .collect();
    all_right(&mut c, &lines);
    let (gone, kept): (Vec<usize>, Vec<usize>) = (0..COUNTERS).partition(|_| rng.below(4) > 0);
    let lines: Vec<String> = kept
        .iter()
        .flat_map(|n| {
            [
                format!("APIKEY.CREDIT use{n} money BY {n} ID invoice"),
                format!("APIKEY.SETTLE use{n} 3 1"),
            ]
        })
        .chain(gone.iter().map(|n| format!("DEL use{n}")))
        .collect();
    all_right(&mut c, &lines);
    let told = |c: &mut Client| -> Vec<(Reply, Vec<(String, i64)>)> {
        let told = |n| (c.must(&format!("DUMP use{n}")), levels(c, &format!("use{n}")));
        kept.iter().map(told).collect()
    };
    let before = (told(&mut c), server.digest());

    eventually("what is gone is told", || holes(&mut c) > 1_000_000);
    let holes_before = holes(&mut c);
    c.must("CONFIG SET activedefrag yes");
    // Without what requests took nearly all are.
    eventually("fewer holes are left", || holes(&mut c) < holes_before / 4 * 3);
    println!("holes: {holes_before} bytes before, {} after", holes(&mut c));
    c.must("CONFIG SET activedefrag no");
    assert_eq!((told(&mut c), server.digest()), before);
    assert_exact(&server);

    // They go on.
    let first = kept[0];
    let known = |c: &mut Client, id: &str| {
        let call = format!("APIKEY.ADMIT k 1 use{first} DIGEST {DIGEST} ID {id}");
        (code_of(&c.must(&call)), c.usage(&format!("use{first}")).1)
    };
    let total = c.usage(&format!("use{first}")).1;
    for id in ["0", "3", "39"] {
        assert_eq!(known(&mut c, id), ("VALID".into(), total), "it is known");
    }
    assert_eq!(known(&mut c, "40"), ("VALID".into(), total + 1));
    assert_eq!(c.must(&format!("APIKEY.SETTLE use{first} 3 9")), array([int(1), int(1)]));
    for n in &kept {
        c.must(&format!("APIKEY.SETTLE use{n} 7 0"));
        c.must(&format!("DEL use{n}"));
    }
    assert_exact(&server);
    assert!(!server.log().contains("panicked"));
}
