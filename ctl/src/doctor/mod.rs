//! `doctor`: validates a deployment, in the order in which things break, and says what to do for each finding.
//!
//! `looking/` asks each node once, `checks/` are functions of what was seen there, by subject. Two more ask by
//! themselves: `access.rs` what a user may, `scratch.rs` by a key of its own. All return findings, which
//! `diagnosis.rs` prints.

mod access;
mod checks;
mod diagnosis;
mod finding;
mod looking;
mod roles;
mod scratch;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::thread;

use anyhow::Result;
use clap::Args;

use crate::connect::Access;
use crate::deployment::slots::slot;
use crate::deployment::{places, Away, Deployment, Place};
use crate::output::{Output, Verdict};

use diagnosis::Diagnosis;
use finding::Finding;
use looking::{look_at, Seen};
use roles::Role;

const MORE: &str = "\
Unless --read-only, a key of its own, apikey:{apikeyctl-doctor-..}, is stored, verified, revoked, counted and removed at
each primary. LEASE is tried only where no count is pending and no batch is open, since it would take what is an
application's.

Exit status: 0, also with warnings; 1 where something is wrong; 2 where something could not be looked at, and the rest is
well.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// Whether the user has what this role needs, and not much more (docs/acl.md)
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,

    /// With --role: another user than the connecting one, of whom ACL DRYRUN or GETUSER tells
    #[arg(long, value_name = "NAME", requires = "role")]
    whose: Option<String>,

    /// What the names of keys begin with
    #[arg(long, value_name = "TEXT", default_value = "apikey:")]
    prefix: String,

    /// Store nothing: leave the key of its own out
    #[arg(long)]
    read_only: bool,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let all = look(access)?;
    let mut findings = checks::run(&all);
    let key = key(&flags.prefix);
    let mut away = unseen(&all, flags.role);
    if let Some(role) = flags.role {
        findings.extend(permissions(access, flags, role, &key, &all, &mut away));
    }
    let mut scratch = Vec::new();
    if !flags.read_only {
        for seen in all.iter().filter(|seen| is_tried(seen)) {
            match tried(access, flags, seen, &mut findings, &mut away) {
                Ok(Some(tried)) => scratch.push(tried),
                Ok(None) => {}
                Err(why) => away.push(of_node(seen, format!("{why:#}"))),
            }
        }
    }
    let nodes = all.iter().filter(|seen| seen.unreachable.is_none()).count();
    let diagnosis = Diagnosis { nodes, findings, scratch, away };
    output.print(&diagnosis)?;
    Ok(diagnosis.verdict())
}

/// All nodes that are known, each asked at once. An error: nobody could be asked at all.
fn look(access: &Access) -> Result<Vec<Seen>> {
    let ask = |places: Vec<Place>| -> Vec<Seen> {
        thread::scope(|scope| {
            let asking: Vec<_> =
                places.into_iter().map(|place| scope.spawn(|| look_at(access, place))).collect();
            asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
        })
    };
    match Deployment::look(access) {
        Ok(deployment) => Ok(ask(deployment.nodes.into_iter().map(|node| node.place).collect())),
        // A user who may not ask INFO finds no replicas, and can have the rest looked at.
        Err(why) => {
            let all = ask(places(access)?);
            let is_let_in = |seen: &Seen| seen.unreachable.is_none() && seen.facts.is_none();
            match all.iter().any(is_let_in) {
                true => Ok(all),
                false => Err(why),
            }
        }
    }
}

/// What could not be looked at, but for what the role is not to look at.
fn unseen(all: &[Seen], role: Option<Role>) -> Vec<Away> {
    let is_meant = |why: &String| match role {
        Some(role) if !role.looks() => true,
        Some(Role::Monitor | Role::Backup) => why.contains(": CONFIG GET: "),
        _ => false,
    };
    let of = |seen: &Seen| {
        let whys = seen.unseen.iter().filter(|why| !is_meant(why));
        whys.map(|why| of_node(seen, why.clone())).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

fn of_node(seen: &Seen, why: String) -> Away {
    Away { address: seen.address().to_string(), why }
}

/// What the user may, at each node: users are not replicated.
fn permissions(
    access: &Access,
    flags: &Flags,
    role: Role,
    key: &str,
    all: &[Seen],
    away: &mut Vec<Away>,
) -> Vec<Finding> {
    let user = flags.whose.as_deref().unwrap_or(access.user());
    let is_own = user == access.user();
    let asked = access::Asked { role, user, is_own, prefix: &flags.prefix, key };
    let mut found = Vec::new();
    for seen in all.iter().filter(|seen| is_ready(seen)) {
        let is_in_cluster = seen.place.member.is_some();
        let looked = access
            .link(seen.address(), 0)
            .and_then(|mut link| access::look(&mut link, &asked, is_in_cluster));
        match looked {
            Ok(permissions) => {
                let told = access::check(&permissions, &asked).into_iter();
                found.extend(told.map(|finding| finding.at(seen.address())));
            }
            Err(why) => away.push(of_node(seen, format!("{why:#}"))),
        }
    }
    found
}

fn is_ready(seen: &Seen) -> bool {
    seen.unreachable.is_none() && !seen.is_loading && seen.has_module()
}

/// Whether keys are stored at it.
fn is_tried(seen: &Seen) -> bool {
    let has_slots = seen.place.member.is_none() || !seen.place.slots().is_empty();
    is_ready(seen) && seen.is_primary() && has_slots
}

fn tried(
    access: &Access,
    flags: &Flags,
    seen: &Seen,
    findings: &mut Vec<Finding>,
    away: &mut Vec<Away>,
) -> Result<Option<scratch::Tried>> {
    // Of another role, as docs/acl.md has them, none may store.
    if flags.whose.is_none() && !matches!(flags.role, None | Some(Role::App)) {
        return Ok(None);
    }
    let is_off =
        |name: &str| seen.health.as_ref().and_then(|health| health.number(name)) == Some(0);
    if ["enabled", "writes_enabled", "vouches"].into_iter().any(is_off) {
        let what = "no key of the doctor's own was tried: for what was found before, nothing is stored or answered here now";
        findings.push(Finding::note("scratch-not-tried", what, "").at(seen.address()));
        return Ok(None);
    }
    let mut link = access.link(seen.address(), access.database())?;
    let key = std::iter::repeat_with(|| key(&flags.prefix)).find(|key| has_slot(seen, key));
    let Some(key) = key else { return Ok(None) };
    let (tried, found) = scratch::run(&mut link, &key, seen.health.as_ref())?;
    // What HEALTH has said is not said again.
    let is_known = |new: &Finding| {
        findings.iter().any(|old| (old.finding, &old.node) == (new.finding, &new.node))
    };
    let new: Vec<Finding> = found.into_iter().filter(|new| !is_known(new)).collect();
    for new in new {
        // Without a role to measure by, what is not allowed could not be looked at.
        match (flags.role, new.finding == scratch::NOT_ALLOWED) {
            (None, true) => away.push(of_node(seen, new.what)),
            _ => findings.push(new),
        }
    }
    Ok(Some(tried))
}

/// Whether the key is stored at that node.
fn has_slot(seen: &Seen, key: &str) -> bool {
    let slot = slot(key.as_bytes());
    seen.place.member.is_none() || seen.place.slots().iter().any(|range| range.contains(&slot))
}

/// A name that nobody else has.
fn key(prefix: &str) -> String {
    format!("{prefix}{{apikeyctl-doctor-{:016x}}}", RandomState::new().build_hasher().finish())
}
