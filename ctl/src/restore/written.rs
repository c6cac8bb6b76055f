//! What the database has of each counter, as it says itself: `{"key": .., "total": ..}` a line, or `key_hex`, as a key
//! may be any bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{anyhow, bail, ensure, Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: Option<String>,
    key_hex: Option<String>,
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
            let form = |why: String| {
                anyhow!(
                    "--written {}: a line must be {{\"key\": .., \"total\": ..}}, with \"key_hex\" for a key that is no UTF-8, and \"database\" where that is not 0: {why}",
                    path.display()
                )
            };
            let line: Line = line.map_err(|why| form(why.to_string()))?;
            let key = match (line.key, line.key_hex) {
                (Some(key), None) => key.into_bytes(),
                (None, Some(hex)) => const_hex::decode(hex).map_err(|why| form(why.to_string()))?,
                _ => return Err(form("it has one of them".into())),
            };
            let named = String::from_utf8_lossy(&key).into_owned();
            ensure!(
                line.total >= 0,
                "--written {}: the total of {named} is negative",
                path.display()
            );
            if written.insert((line.database, key), line.total).is_some() {
                bail!("--written {}: {named} is there twice", path.display());
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
