//! Whether there is room for more connections.

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

/// Of `maxclients`, in percent, from which there is little.
const MANY: u64 = 80;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    all.iter().filter_map(|seen| Some(of_node(seen)?.at(seen.address()))).collect()
}

fn of_node(seen: &Seen) -> Option<Finding> {
    let info = &seen.facts.as_ref()?.info;
    let most: u64 = info.number("maxclients").filter(|&most| most > 0)?;
    let connected: u64 = info.number("connected_clients")?;
    if connected >= most.saturating_mul(MANY).div_ceil(100) {
        let what =
            format!("{connected} clients of {most} (maxclients) are connected: more are refused");
        let todo = "CLIENT LIST says whose they are; smaller pools, or CONFIG SET maxclients (docs/runbooks/connections.md)";
        return Some(Finding::warn("clients-many", what, todo));
    }
    let refused: u64 = info.number("rejected_connections").filter(|&refused| refused > 0)?;
    let what = format!("{refused} connections were refused since the start: maxclients is {most}");
    Some(Finding::note("clients-refused", what, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn connections_are_told_before_there_is_no_room() {
        for (connected, most, refused, expected) in [
            (79, 100, 0, None),
            (80, 100, 0, Some("clients-many")),
            (80, 100, 3, Some("clients-many")),
            (1, 1, 0, Some("clients-many")),
            (1, 100, 3, Some("clients-refused")),
            (5, 0, 0, None),
        ] {
            let info = format!(
                "connected_clients:{connected}\nmaxclients:{most}\nrejected_connections:{refused}\n"
            );
            let found = check(&[Seen::saying(1, &info)]);
            let expected: Vec<_> = expected.into_iter().map(|name| (name, Some("a:1"))).collect();
            assert_eq!(names(&found), expected, "{info}");
        }
        assert_eq!(check(&[Seen::saying(1, "connected_clients:5\n")]), []);
    }
}
