//! Removing old backups: of this deployment, made by this program, and never the one that was just made.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::manifest::{Manifest, NAME};

/// How many backups are kept, or for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Number(usize),
    Time(Duration),
}

impl FromStr for Keep {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "must be a number of backups, 1 or more, or a time: 7d, 12h";
        match text.parse() {
            Ok(0) => Err(wrong),
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => match humantime::parse_duration(text) {
                Ok(time) if !time.is_zero() => Ok(Self::Time(time)),
                _ => Err(wrong),
            },
        }
    }
}

/// Removes what is not to be kept beside the newest, and says which: the oldest first.
pub fn rotate(directory: &Path, newest: &str, keep: Keep) -> Result<Vec<String>> {
    let deployment = Manifest::read(&directory.join(newest))?.deployment;
    let mut old: Vec<(SystemTime, String, Manifest)> = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry.with_context(|| directory.display().to_string())?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Whatever is no backup of this program's is not its to remove.
        let Ok(manifest) = Manifest::read(&entry.path()) else { continue };
        let Ok(taken_at) = humantime::parse_rfc3339(&manifest.taken_at) else { continue };
        let is_link = entry.file_type().map_or(true, |kind| kind.is_symlink());
        if name != newest && manifest.deployment == deployment && !is_link {
            old.push((taken_at, name, manifest));
        }
    }
    old.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let goes: Vec<_> = match keep {
        Keep::Number(number) => {
            let most = old.len().saturating_sub(number.saturating_sub(1));
            old.drain(..most).collect()
        }
        Keep::Time(time) => {
            let oldest = SystemTime::now().checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
            old.into_iter().filter(|(taken_at, ..)| *taken_at < oldest).collect()
        }
    };
    let mut removed = Vec::new();
    for (_, name, manifest) in goes {
        remove(&directory.join(&name), &manifest)?;
        removed.push(name);
    }
    Ok(removed)
}

/// The manifest goes last: what is left by one that was broken off is no whole backup, and still one to remove.
fn remove(backup: &Path, manifest: &Manifest) -> Result<()> {
    let files = manifest.nodes.iter().map(|taken| taken.file.as_str());
    for file in files.chain([NAME]) {
        let path = backup.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => {}
        }
    }
    // Where somebody has put files beside it stays.
    match fs::remove_dir(backup) {
        Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
            Err(error).with_context(|| backup.display().to_string())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_a_number_or_a_time() {
        assert_eq!("7".parse(), Ok(Keep::Number(7)));
        assert_eq!("7d".parse(), Ok(Keep::Time(Duration::from_secs(7 * 86_400))));
        for wrong in ["", "0", "-1", "0d", "d", "7x", "seven"] {
            assert!(wrong.parse::<Keep>().is_err(), "{wrong}");
        }
    }
}
