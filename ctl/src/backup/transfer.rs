//! Taking an RDB as a replica does: PSYNC, and what follows into a file.
//!
//! A server that makes the RDB on its disk says `$length` first; one that sends it as it is made (`repl-diskless-sync`)
//! says `$EOF:` and forty bytes, which come again at its end. While it makes it, empty lines say that it is at work.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};
use memchr::memmem;

use crate::connect::Wire;
use crate::output::Progress;

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

const MARK: usize = 40;

const CHUNK: usize = 256 << 10;

/// Of which history the file is, and up to where.
pub struct Point {
    pub id: String,
    pub offset: u64,
}

/// Takes the RDB of a server of this version into a new file, and leaves it on disk.
pub fn take(
    mut wire: Wire,
    version: &str,
    path: &Path,
    progress: &Progress,
) -> Result<(File, Point)> {
    wire.wait_up_to(SILENCE)?;
    // Servers that know it send no stream behind the RDB, and keep none for it; to others it is unknown. Valkey writes
    // in an older format for who does not say its version, or nothing where its data have no older one.
    for (name, value) in [("rdb-only", "1"), ("capa", "eof"), ("version", version)] {
        let mut command = redis::cmd("REPLCONF");
        command.arg(name).arg(value);
        match wire.try_ask(&command)? {
            Err(refusal) if refusal.code != "ERR" => return Err(wire.refused(&command, &refusal)),
            _ => {}
        }
    }
    let mut command = redis::cmd("PSYNC");
    command.arg("?").arg("-1");
    let told = wire.try_ask(&command)?.map_err(|refusal| wire.refused(&command, &refusal))?;
    let point = point(&told).with_context(|| {
        format!("{}: PSYNC has a reply that is not known: {told}", wire.address)
    })?;

    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    let no_rdb = format!("{}: it sent no RDB: see its log", wire.address);
    let header = wire.line().context(no_rdb)?;
    if let Some(refusal) = header.strip_prefix('-') {
        bail!("{}: it could not make the RDB ({refusal}): see its log", wire.address);
    }
    let mut into =
        Into { file: BufWriter::with_capacity(CHUNK, &file), path, progress, written: 0 };
    match header.strip_prefix("$EOF:").or_else(|| header.strip_prefix('$')) {
        Some(mark) if mark.len() == MARK => until(&mut wire, mark.as_bytes(), &mut into)?,
        Some(length) => {
            let length = length.parse().ok();
            let length =
                length.with_context(|| format!("{}: {header:.60} is no length", wire.address))?;
            exactly(&mut wire, length, &mut into)?;
        }
        None => bail!("{}: {header:.60} came in the place of an RDB", wire.address),
    }
    into.file.flush().with_context(|| path.display().to_string())?;
    drop(into);
    file.sync_all().with_context(|| path.display().to_string())?;
    Ok((file, point))
}

fn point(told: &str) -> Option<Point> {
    let (id, offset) = told.strip_prefix("FULLRESYNC ")?.split_once(' ')?;
    Some(Point { id: id.into(), offset: offset.parse().ok()? })
}

struct Into<'a> {
    file: BufWriter<&'a File>,
    path: &'a Path,
    progress: &'a Progress,
    written: u64,
}

impl Into<'_> {
    fn put(&mut self, bytes: &[u8], from: &Wire) -> Result<()> {
        self.file.write_all(bytes).with_context(|| self.path.display().to_string())?;
        self.written += bytes.len() as u64;
        self.progress.advance(bytes.len() as u64, from.address.to_string());
        Ok(())
    }

    fn cut(&self, from: &Wire) -> anyhow::Error {
        anyhow!(
            "{}: it closed the connection after {} bytes of the RDB: see its log",
            from.address,
            self.written
        )
    }
}

fn exactly(wire: &mut Wire, mut left: u64, into: &mut Into) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = wire.read(chunk.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(into.cut(wire));
        }
        into.put(chunk.get(..read).unwrap_or_default(), wire)?;
        left = left.saturating_sub(read as u64);
    }
    Ok(())
}

fn until(wire: &mut Wire, mark: &[u8], into: &mut Into) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    // What may hold the beginning of the mark.
    let mut held: Vec<u8> = Vec::new();
    loop {
        let read = wire.read(&mut chunk)?;
        if read == 0 {
            return Err(into.cut(wire));
        }
        held.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if let Some(end) = memmem::find(&held, mark) {
            return into.put(held.get(..end).unwrap_or_default(), wire);
        }
        let sure = held.len().saturating_sub(MARK - 1);
        into.put(held.get(..sure).unwrap_or_default(), wire)?;
        held.drain(..sure);
    }
}
