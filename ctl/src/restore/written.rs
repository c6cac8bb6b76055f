//! What the database has of each counter, as it says itself: `{"key": .., "total": ..}` a line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{anyhow, bail, ensure, Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    /// All uses of it that were ever written.
    total: i64,
    #[serde(default)]
    database: u32,
}

/// Uses by Redis' database and key.
pub struct Written(BTreeMap<(u32, Vec<u8>), i64>);

impl Written {
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("--written {}", path.display()))?;
        let lines = serde_json::Deserializer::from_reader(BufReader::new(file)).into_iter();
        let mut written = BTreeMap::new();
        for line in lines {
            let Line { key, total, database } = line.map_err(|why| {
                anyhow!(
                    "--written {}: a line must be {{\"key\": .., \"total\": ..}}, and \"database\" where that is not 0: {why}",
                    path.display()
                )
            })?;
            ensure!(total >= 0, "--written {}: the total of {key} is negative", path.display());
            if written.insert((database, key.clone().into_bytes()), total).is_some() {
                bail!("--written {}: {key} is there twice", path.display());
            }
        }
        ensure!(!written.is_empty(), "--written {}: it has no line", path.display());
        Ok(Self(written))
    }

    /// 0 of a key that the database does not know.
    pub fn of(&self, database: u32, key: &[u8]) -> i64 {
        self.0.get(&(database, key.to_vec())).copied().unwrap_or(0)
    }
}
