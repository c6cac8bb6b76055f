//! `backup`: an RDB of each primary, proved, in a directory of its own with a manifest.
//!
//! `transfer.rs` takes it by the replication protocol, `manifest.rs` is what is said of it, `rotation.rs` removes old
//! ones.
//!
//! **What always holds.** A backup appears by one rename, when every file of it is on disk and was read again and
//! proved; what was broken off stands under another name, and goes with the next run. Old ones are removed only after
//! that. One run at a time works in a directory.

pub mod manifest;
mod rotation;
mod transfer;

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{bail, ensure, Context, Result};
use clap::{Args, ValueEnum};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use serde::Serialize;

use crate::connect::{Access, Way};
use crate::deployment::{Deployment, Node};
use crate::output::{grouped, note, Cell, Output, Progress, Report, Style, Table, Verdict};
use crate::rdb::{prove, Contents};
use crate::reading::{Facts, Health, Role};

use manifest::{Manifest, Taken};
use rotation::Keep;

/// What a run works in until all is there.
const UNFINISHED: &str = ".apikeyctl-backup-unfinished";

#[derive(Args)]
pub struct Flags {
    /// Where backups stand, each in a directory of its own; one place for each deployment
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,

    /// Remove older ones that this program made of this deployment: how many are kept (7), or how long (7d)
    #[arg(long, value_name = "NUMBER|TIME")]
    keep: Option<Keep>,

    /// From each primary, which has all; or from a replica of each, which spares the primary a fork
    #[arg(long, value_name = "ROLE", value_enum, default_value_t = From::Primary)]
    from: From,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Primary,
    Replica,
}

#[derive(Serialize)]
struct Made {
    /// The directory of this backup.
    backup: PathBuf,
    #[serde(flatten)]
    manifest: Manifest,
    /// Backups that were removed.
    removed: Vec<String>,
    /// Why older ones could not be removed.
    not_removed: Option<String>,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let directory = &flags.directory;
    let lock = File::open(directory)
        .with_context(|| format!("{}: make the directory first", directory.display()))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => bail!("{}: another backup is at work there", directory.display()),
        locked => locked.with_context(|| directory.display().to_string())?,
    }
    let deployment = Deployment::look(access)?;
    let sources = sources(&deployment, flags.from)?;
    let unfinished = Unfinished::begin(directory)?;
    let taken_at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let progress = Progress::of_bytes(None);
    // One after the other: each has its server fork.
    let nodes: Result<Vec<Taken>> =
        sources.into_iter().map(|node| take(node, &unfinished.0, &progress)).collect();
    let manifest = Manifest::new(name_of(access), taken_at.clone(), nodes?);
    progress.end();

    let name: String = taken_at.chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
    let backup = directory.join(&name);
    unfinished.end(&manifest, &backup)?;
    let rotated = flags.keep.map(|keep| rotation::rotate(directory, &name, keep)).transpose();
    let (removed, not_removed) = match rotated {
        Ok(removed) => (removed.unwrap_or_default(), None),
        Err(why) => (Vec::new(), Some(format!("{why:#}"))),
    };
    let made = Made { backup, manifest, removed, not_removed };
    output.print(&made)?;
    Ok(if made.not_removed.is_none() { Verdict::Well } else { Verdict::Wrong })
}

/// As the command line names the deployment.
fn name_of(access: &Access) -> String {
    match access.way() {
        Way::Sentinel { name, .. } => name.clone(),
        Way::Server { seed, .. } | Way::Cluster { seed } => seed.to_string(),
    }
}

/// The nodes of which a backup is made: every primary, or a replica of each.
fn sources(deployment: &Deployment, from: From) -> Result<Vec<&Node>> {
    let sources: Vec<&Node> = match from {
        From::Primary => deployment.all_primaries()?,
        // A replica that was named itself.
        From::Replica if deployment.nodes.iter().all(|node| !node.is_primary()) => {
            vec![newest(deployment.replicas())?]
        }
        From::Replica => {
            let primaries = deployment.all_primaries()?;
            let of = |primary: &Node| {
                newest(deployment.replicas().filter(|node| follows(node, primary)))
            };
            primaries
                .iter()
                .map(|primary| of(primary).with_context(|| primary.address().to_string()))
                .collect::<Result<_>>()?
        }
    };
    for node in &sources {
        let has_module = node.facts().is_some_and(|facts| facts.module.is_some());
        ensure!(
            has_module,
            "{} has no module redis-apikey: start it with --loadmodule libapikey.so",
            node.address()
        );
    }
    Ok(sources)
}

/// In a cluster it says whose replica it is; elsewhere there is one primary.
fn follows(replica: &Node, primary: &Node) -> bool {
    match (&replica.place.member, &primary.place.member) {
        (Some(replica), Some(primary)) => replica.primary.as_ref() == Some(&primary.id),
        _ => true,
    }
}

/// Of replicas that hear of their primary the one that has most.
fn newest<'a>(replicas: impl Iterator<Item = &'a Node>) -> Result<&'a Node> {
    let hears = |facts: &Facts| matches!(facts.role, Role::Replica { is_linked: true, .. });
    let linked = replicas.filter(|node| node.facts().is_some_and(hears));
    let offset =
        |node: &&Node| node.facts().and_then(|facts| facts.info.number("slave_repl_offset"));
    linked
        .max_by_key(|node| offset(node).unwrap_or(0u64))
        .context("--from replica: it has no replica that can be reached and hears of it")
}

fn take(node: &Node, into: &Path, progress: &Progress) -> Result<Taken> {
    let facts = node.facts().context("a node that was not looked at")?;
    let health = Health::read(&mut node.connect(0)?)?;
    let address = node.address().to_string();
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    let file = format!("{}.rdb", address.chars().map(plain).collect::<String>());
    let path = into.join(&file);
    let (mut taken, point) = transfer::take(node.wire()?, &facts.server.version, &path, progress)?;
    let proof = prove(&mut taken).with_context(|| format!("what {address} sent is no RDB"))?;
    if !proof.has_checksum {
        note(&format!(
            "{address} writes RDBs without a checksum (rdbchecksum no): whether it sent what it has can't be told"
        ));
    }
    // A server that is newer than this program may write what this can't read, and restore can't either.
    let contents = Contents::read(std::io::BufReader::new(&taken), |_, _| Ok(()));
    let contents = match contents {
        Ok(contents) => Some(contents),
        Err(why) if proof.has_checksum => {
            note(&format!("{address}: restore can't read what it sent: {why}"));
            None
        }
        // Nothing proves it.
        Err(why) => return Err(why).with_context(|| format!("what {address} sent is no RDB")),
    };
    Ok(Taken {
        role: node.role().into(),
        run_id: facts.run_id.clone(),
        server: format!("{} {}", facts.server.name, facts.server.version),
        module: health.version(),
        slots: node.place.slots().iter().map(|range| (*range.start(), *range.end())).collect(),
        replication_id: point.id,
        replication_offset: point.offset,
        address,
        file,
        proof,
        contents,
    })
}

/// The directory in which a backup is made. It goes when the run does, unless all is there.
struct Unfinished(PathBuf);

impl Unfinished {
    /// What a run that was killed has left goes first.
    fn begin(directory: &Path) -> Result<Self> {
        let path = directory.join(UNFINISHED);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Puts the manifest in, and gives it its name.
    fn end(self, manifest: &Manifest, backup: &Path) -> Result<()> {
        let path = self.0.join(manifest::NAME);
        let written = File::create_new(&path).and_then(|mut file| {
            file.write_all((serde_json::to_string_pretty(manifest)? + "\n").as_bytes())?;
            file.sync_all()?;
            File::open(&self.0)?.sync_all()?;
            fs::rename(&self.0, backup)?;
            File::open(backup.parent().unwrap_or(backup))?.sync_all()
        });
        written.with_context(|| backup.display().to_string())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone where it was given its name.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Report for Made {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(&[
            "node",
            "role",
            "bytes",
            "counters",
            "pending",
            "leased",
            "entries",
            "other keys",
        ]);
        let number = |number: i64| Cell::number(u64::try_from(number).unwrap_or(0));
        for taken in &self.manifest.nodes {
            let mut row = vec![
                Cell::text(&taken.address),
                Cell::text(&taken.role),
                Cell::number(taken.proof.size),
            ];
            match &taken.contents {
                Some(has) => row.extend([
                    Cell::number(has.counters),
                    number(has.pending),
                    number(has.leased),
                    Cell::number(has.entries),
                    Cell::number(has.other_keys),
                ]),
                None => row.push(Cell::text("not read").bad()),
            }
            table.row(row);
        }
        let mut text = table.lines(style);
        let bytes = self.manifest.nodes.iter().map(|taken| taken.proof.size).sum();
        let backup = self.backup.display();
        text.push_str(&format!("{backup} is whole: {} bytes\n", grouped(bytes)));
        text.extend(self.removed.iter().map(|name| format!("removed: {name}\n")));
        if let Some(why) = &self.not_removed {
            text.push_str(&format!("{} {why}\n", style.bad("not removed:")));
        }
        text
    }
}
