//! What is restored: a backup with its manifest, or an RDB alone; proved before anything is done with it.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use serde::Serialize;

use crate::backup::manifest::{Manifest, Taken};
use crate::rdb::{prove, Contents, Item, Kind};

/// The files of a backup.
#[derive(Serialize)]
pub struct Source {
    pub path: PathBuf,
    /// When the backup was taken; none of an RDB alone.
    pub taken_at: Option<String>,
    pub files: Vec<Proved>,
}

#[derive(Serialize)]
pub struct Proved {
    pub path: PathBuf,
    /// Whether the server has put a checksum at its end.
    pub has_checksum: bool,
    pub contents: Contents,
    /// The one that was proved, whatever stands under its name later.
    #[serde(skip)]
    file: File,
}

impl Source {
    /// An error: it is not what was backed up, or this program can't read it.
    pub fn open(path: &Path) -> Result<Self> {
        let at = path.to_path_buf();
        if !path.is_dir() {
            return Ok(Self { path: at, taken_at: None, files: vec![Proved::open(path, None)?] });
        }
        let manifest = Manifest::read(path)?;
        let open = |taken: &Taken| Proved::open(&path.join(&taken.file), Some(taken));
        let files: Result<_> = manifest.nodes.iter().map(open).collect();
        Ok(Self { path: at, taken_at: Some(manifest.taken_at), files: files? })
    }

    /// All files together.
    pub fn contents(&self) -> Contents {
        let mut all = Contents::default();
        self.files.iter().for_each(|file| all.add(&file.contents));
        all
    }

    /// Goes over all keys.
    pub fn each(&self, mut each: impl FnMut(&Item, &Kind) -> io::Result<()>) -> Result<()> {
        for file in &self.files {
            let gone_over = Seek::rewind(&mut &file.file)
                .and_then(|()| Contents::read(BufReader::new(&file.file), &mut each));
            gone_over.with_context(|| file.path.display().to_string())?;
        }
        Ok(())
    }
}

impl Proved {
    fn open(path: &Path, taken: Option<&Taken>) -> Result<Self> {
        let name = || path.display().to_string();
        let mut file = File::open(path).with_context(name)?;
        let proof = prove(&mut file).with_context(name)?;
        if let Some(taken) = taken {
            ensure!(proof == taken.proof, "{}: it is not the file of its manifest", name());
        }
        let contents = Contents::read(BufReader::new(&file), |_, _| Ok(())).with_context(name)?;
        Ok(Self { path: path.into(), has_checksum: proof.has_checksum, contents, file })
    }
}
