//! Whether replicas hear of their primaries, keep up, and are what others take them for.

use crate::deployment::Said;
use crate::reading::info::part;
use crate::reading::Role;

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

/// Seconds in which a replica has to have said something; they say so each second.
const SILENT: i64 = 10;
/// Bytes of the stream that a replica may not have yet.
const BEHIND: u64 = 16 << 20;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    // Of those it is told already.
    let unreachable = all.iter().filter(|seen| seen.unreachable.is_some());
    let unreachable: Vec<String> = unreachable.map(|seen| seen.address().to_string()).collect();
    let of_node = |seen: &Seen| match &seen.facts {
        Some(facts) => {
            let mut found = role(seen);
            match &facts.role {
                Role::Replica { of, is_linked: false } => {
                    let what = format!(
                        "it does not hear of its primary {of}: it has what was there before"
                    );
                    let todo = "see that the primary is up, that this node reaches it, and masteruser and masterauth";
                    found.push(Finding::wrong("link-down", what, todo));
                }
                Role::Replica { .. } => {}
                Role::Primary => found.extend(replicas(seen, &unreachable)),
            }
            found.into_iter().map(|found| found.at(seen.address())).collect()
        }
        None => Vec::new(),
    };
    all.iter().flat_map(of_node).collect()
}

/// What others say of it, where it says otherwise.
fn role(seen: &Seen) -> Vec<Finding> {
    let (others, itself) = match (seen.place.said, seen.is_primary()) {
        (Said::Primary, false) => ("a primary", "a replica"),
        (Said::Replica, true) => ("a replica", "a primary"),
        _ => return Vec::new(),
    };
    let what = format!("others take it for {others}, and it says that it is {itself}");
    let todo = "a failover is under way, or was forgotten: make it a replica of who is primary now";
    vec![Finding::wrong("role-differs", what, todo)]
}

fn replicas(seen: &Seen, unreachable: &[String]) -> Vec<Finding> {
    let Some(facts) = &seen.facts else { return Vec::new() };
    let mut found = Vec::new();
    if facts.info.text("connected_slaves") == Some("0") {
        let what = "it has no replica: when it fails all of it is lost until it is back";
        found.push(Finding::note("no-replica", what, ""));
    } else if seen.setting("min-replicas-to-write") == Some("0") {
        let what = "min-replicas-to-write is 0: when it is replaced and does not know, it says VALID of what was revoked since, without a bound";
        found.push(Finding::note(
            "no-bound",
            what,
            "CONFIG SET min-replicas-to-write 1 where that matters (docs/operations.md)",
        ));
    }
    let written: u64 = facts.info.number("master_repl_offset").unwrap_or(0);
    for (name, line) in facts.info.lines() {
        let (Some(state), true) = (part(line, "state"), name.starts_with("slave")) else {
            continue;
        };
        let at =
            format!("{}:{}", part(line, "ip").unwrap_or("?"), part(line, "port").unwrap_or("?"));
        if unreachable.contains(&at) {
            continue;
        }
        let number = |name| part(line, name).and_then(|text| text.parse::<u64>().ok());
        let behind = number("offset").map_or(0, |offset| written.saturating_sub(offset));
        let lag: i64 = part(line, "lag").and_then(|text| text.parse().ok()).unwrap_or(0);
        let todo = "see that it is up, the network between, and what else keeps it busy; a failover to it loses what it has not";
        if state != "online" {
            let what = format!("its replica {at} is being given its data ({state})");
            found.push(Finding::warn(
                "replica-loading",
                what,
                "wait until it has it, and look again",
            ));
        } else if lag >= SILENT {
            let what = format!("its replica {at} has said nothing for {lag} s");
            found.push(Finding::warn("replica-lags", what, todo));
        } else if behind > BEHIND {
            let what = format!("its replica {at} is {behind} bytes behind");
            found.push(Finding::warn("replica-lags", what, todo));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    fn found(info: &str, said: Said) -> Vec<&'static str> {
        let mut seen = Seen::saying(1, info).with_settings(&[("min-replicas-to-write", "1")]);
        seen.place.said = said;
        names(&check(&[seen])).iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn replicas_that_are_away_or_behind_are_told() {
        let primary = |line: &str| {
            format!("role:master\nconnected_slaves:1\nmaster_repl_offset:99999999\nslave0:ip=b,port=1,{line}\n")
        };
        assert_eq!(found(&primary("state=online,offset=99999000,lag=1"), Said::Primary), [""; 0]);
        assert_eq!(
            found(&primary("state=online,offset=99999000,lag=10"), Said::Nothing),
            ["replica-lags"]
        );
        assert_eq!(found(&primary("state=online,offset=1,lag=0"), Said::Nothing), ["replica-lags"]);
        assert_eq!(
            found(&primary("state=wait_bgsave,offset=0,lag=0"), Said::Nothing),
            ["replica-loading"]
        );
        assert_eq!(found("role:master\nconnected_slaves:0\n", Said::Nothing), ["no-replica"]);
    }

    #[test]
    fn of_a_replica_that_can_not_be_reached_nothing_more_is_told() {
        let info =
            "role:master\nconnected_slaves:1\nslave0:ip=a,port=2,state=online,offset=1,lag=12\n";
        let primary = Seen::saying(1, info);
        let replica = Seen { facts: None, ..Seen::saying(2, "") };
        let away = Seen { unreachable: Some("why".into()), ..replica.clone() };
        assert_eq!(names(&check(&[primary.clone(), replica])), [("replica-lags", Some("a:1"))]);
        assert_eq!(names(&check(&[primary, away])), []);
    }

    #[test]
    fn who_is_not_what_others_say_is_told() {
        let replica = |status: &str| {
            format!("role:slave\nmaster_host:b\nmaster_port:1\nmaster_link_status:{status}\n")
        };
        assert_eq!(found(&replica("up"), Said::Replica), [""; 0]);
        assert_eq!(found(&replica("down"), Said::Replica), ["link-down"]);
        assert_eq!(found(&replica("up"), Said::Primary), ["role-differs"]);
        assert_eq!(found("role:master\n", Said::Replica), ["role-differs"]);
    }
}
