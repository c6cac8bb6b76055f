//! The kernel below a server, where that runs on this machine: what makes forks, connections and latency fail.

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

/// Files that a server with the default of 10,000 clients wants: 32 are its own.
const FILES: u64 = 10_032;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    all.iter()
        .flat_map(|seen| of_node(seen).into_iter().map(|found| found.at(seen.address())))
        .collect()
}

fn of_node(seen: &Seen) -> Vec<Finding> {
    let Some(kernel) = &seen.kernel else { return Vec::new() };
    let mut found = Vec::new();
    if kernel.thp_always == Some(true) {
        let what = "transparent huge pages are on: after a fork a write copies 2 MB, which is memory and latency";
        found.push(Finding::warn(
            "thp",
            what,
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, at each boot",
        ));
    }
    if kernel.overcommit.is_some_and(|mode| mode != 1) {
        let what = "vm.overcommit_memory is not 1: a fork, for a snapshot, a rewrite of the AOF or a replica, may fail while memory is free";
        found.push(Finding::warn(
            "overcommit",
            what,
            "sysctl vm.overcommit_memory=1, and in /etc/sysctl.d",
        ));
    }
    let backlog: u64 =
        seen.setting("tcp-backlog").and_then(|text| text.parse().ok()).unwrap_or(511);
    if let Some(most) = kernel.somaxconn.filter(|&most| most < backlog) {
        let what = format!("net.core.somaxconn is {most}, under tcp-backlog {backlog}: of many clients that connect at once some wait");
        found.push(Finding::warn(
            "somaxconn",
            what,
            format!("sysctl net.core.somaxconn={backlog}, and in /etc/sysctl.d"),
        ));
    }
    let clients: Option<u64> = seen.setting("maxclients").and_then(|text| text.parse().ok());
    let wanted = clients.map_or(FILES, |clients| (clients + 32).max(FILES));
    if let Some(most) = kernel.open_files.filter(|&most| most < wanted) {
        let what = format!(
            "the server may open {most} files, and wants {wanted}: further clients are turned away"
        );
        found.push(Finding::warn(
            "open-files",
            what,
            format!("LimitNOFILE={wanted} in its unit, or ulimit -n {wanted}, and start it again"),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;
    use crate::doctor::looking::Kernel;

    #[test]
    fn what_a_server_wants_of_its_kernel_is_told() {
        let of = |kernel, settings: &[(&str, &str)]| {
            let seen = Seen { kernel: Some(kernel), ..Seen::saying(1, "").with_settings(settings) };
            names(&check(&[seen])).iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let good = Kernel {
            thp_always: Some(false),
            overcommit: Some(1),
            somaxconn: Some(511),
            open_files: Some(10_032),
        };
        assert_eq!(of(good.clone(), &[]), [""; 0]);
        assert_eq!(of(Kernel::default(), &[]), [""; 0], "nothing could be read");
        assert_eq!(
            of(good.clone(), &[("tcp-backlog", "512"), ("maxclients", "10001")]),
            ["somaxconn", "open-files"]
        );
        let bad = Kernel {
            thp_always: Some(true),
            overcommit: Some(0),
            somaxconn: Some(128),
            open_files: Some(1024),
        };
        assert_eq!(of(bad, &[]), ["thp", "overcommit", "somaxconn", "open-files"]);
    }
}
