//! What a backup says of itself: `manifest.json`, beside its files. It is written last, so where it stands all does.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};

use crate::rdb::{Contents, Proof};

pub const NAME: &str = "manifest.json";

/// What tells it from others' files.
const MADE_BY: &str = "apikeyctl backup";

#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    made_by: String,
    /// Of the program.
    pub version: String,
    /// How the command line named the deployment: rotation leaves others' backups alone.
    pub deployment: String,
    /// RFC 3339, when it began.
    pub taken_at: String,
    /// One for each primary.
    pub nodes: Vec<Taken>,
}

/// What was taken of a node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Taken {
    pub address: String,
    pub role: String,
    pub run_id: String,
    /// `redis 7.0.15`.
    pub server: String,
    /// The module's version.
    pub module: String,
    /// First and last of each range, in a cluster.
    pub slots: Vec<(u16, u16)>,
    pub replication_id: String,
    pub replication_offset: u64,
    /// Its name, beside this.
    pub file: String,
    #[serde(flatten)]
    pub proof: Proof,
    /// None where this program can't read what the server wrote.
    pub contents: Option<Contents>,
}

impl Manifest {
    pub fn new(deployment: String, taken_at: String, nodes: Vec<Taken>) -> Self {
        let version = env!("CARGO_PKG_VERSION").into();
        Self { made_by: MADE_BY.into(), version, deployment, taken_at, nodes }
    }

    /// Of the backup in this directory.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(NAME);
        let text = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        let manifest: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no manifest of a backup", path.display()))?;
        let is_beside =
            |taken: &Taken| Path::new(&taken.file).file_name() == Some(taken.file.as_ref());
        ensure!(
            manifest.made_by == MADE_BY && manifest.nodes.iter().all(is_beside),
            "{} is no manifest of `{MADE_BY}`",
            path.display()
        );
        Ok(manifest)
    }
}
