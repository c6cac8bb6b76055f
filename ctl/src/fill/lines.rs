//! The export, read on a thread of its own: whole lines, in chunks of what has come.
//!
//! A chunk holds no more than was there to be read, so that a slow export is stored as it comes and a fast
//! one in large pipelines. Two chunks wait at most: who reads faster than the server stores has to wait.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::time::SystemTime;

use anyhow::{bail, Context, Result};
use apikey_engine::cache::value::MAX_VALUE_BYTES;

/// The most bytes of a line with a record: the server takes no larger one, whatever its settings.
pub const LONGEST_OF_RECORDS: usize = 4 << 20;

/// The same of a value of a region's, of which JSON may make twice as many bytes.
pub const LONGEST_OF_REGIONS: usize = 2 * MAX_VALUE_BYTES + LONGEST_OF_RECORDS;

const CHUNK: usize = 256 << 10;

/// Where the lines come from.
pub enum Source {
    File(PathBuf),
    Stdin,
    /// The output of a command.
    Export(Vec<OsString>),
}

impl Source {
    /// As a command line names it: a file, `-`, or a command behind `--`.
    pub fn new(file: Option<PathBuf>, command: Vec<OsString>) -> Result<Self> {
        match (file, command.is_empty()) {
            (None, false) => Ok(Self::Export(command)),
            (Some(_), false) => bail!("a file and a command exclude each other"),
            (Some(file), true) if file.as_os_str() == "-" => Ok(Self::Stdin),
            (Some(file), true) => Ok(Self::File(file)),
            (None, true) if !io::stdin().is_terminal() => Ok(Self::Stdin),
            (None, true) => bail!("nothing to read: a file, - or -- and a command"),
        }
    }
}

/// Whole lines.
pub struct Chunk {
    pub bytes: Vec<u8>,
    /// How much of the input this was.
    pub read: usize,
}

pub struct Input {
    pub chunks: Receiver<io::Result<Chunk>>,
    /// Bytes, where that is known.
    pub length: Option<u64>,
    /// When the file was written last.
    pub written: Option<SystemTime>,
    /// The command that exports.
    pub export: Option<Child>,
}

/// Opens the source, and begins to read lines of so many bytes at most; a command is started here.
pub fn open(source: &Source, longest: usize) -> Result<Input> {
    let (mut length, mut written, mut export) = (None, None, None);
    let from: Box<dyn Read + Send> = match source {
        Source::Stdin => Box::new(io::stdin()),
        Source::File(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            let about = file.metadata()?;
            if about.is_file() {
                (length, written) = (Some(about.len()), about.modified().ok());
            }
            Box::new(file)
        }
        Source::Export(command) => {
            let (program, arguments) = command.split_first().context("no command")?;
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| format!("could not start {}", program.to_string_lossy()))?;
            let output = child.stdout.take().context("the command has no output")?;
            export = Some(child);
            Box::new(output)
        }
    };
    let (to, chunks) = sync_channel(2);
    std::thread::spawn(move || {
        if let Err(error) = read(from, longest, &to) {
            // Nobody waits for it any more, or it is told.
            let _ = to.send(Err(error));
        }
    });
    Ok(Input { chunks, length, written, export })
}

/// Sends what comes until it ends, or until nobody wants it.
fn read(mut from: impl Read, longest: usize, to: &SyncSender<io::Result<Chunk>>) -> io::Result<()> {
    // What stands behind the last whole line.
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let begin = rest.len();
        rest.resize(begin + CHUNK, 0);
        let read = match from.read(&mut rest[begin..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
            Ok(0) => {
                rest.truncate(begin);
                if !rest.is_empty() {
                    let _ = to.send(Ok(Chunk { bytes: rest, read: 0 }));
                }
                return Ok(());
            }
            Ok(read) => read,
        };
        rest.truncate(begin + read);
        let end = rest[begin..].iter().rposition(|&byte| byte == b'\n').map(|at| begin + at + 1);
        let whole = match end {
            Some(end) => {
                let behind = rest.split_off(end);
                std::mem::replace(&mut rest, behind)
            }
            // Of a line that is too long enough is kept to see that it is.
            None => {
                rest.truncate(longest + 1);
                Vec::new()
            }
        };
        if to.send(Ok(Chunk { bytes: whole, read })).is_err() {
            return Ok(());
        }
    }
}

/// The lines of a chunk, without their ends.
pub fn lines(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = chunk.strip_suffix(b"\n").unwrap_or(chunk);
    let some = (!chunk.is_empty()).then_some(whole);
    some.into_iter()
        .flat_map(|whole| whole.split(|&byte| byte == b'\n'))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives as much at a time as it is told.
    struct Steps(Vec<Vec<u8>>);

    impl Read for Steps {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let step = self.0.remove(0);
            into[..step.len()].copy_from_slice(&step);
            Ok(step.len())
        }
    }

    fn all(steps: &[&[u8]]) -> Vec<Vec<u8>> {
        let (to, from) = sync_channel(100);
        read(Steps(steps.iter().map(|step| step.to_vec()).collect()), LONGEST_OF_RECORDS, &to)
            .expect("read");
        drop(to);
        let chunks: Vec<Vec<u8>> = from.iter().map(|chunk| chunk.expect("a chunk").bytes).collect();
        chunks.iter().flat_map(|chunk| lines(chunk)).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn lines_come_whole_however_they_were_read() {
        for steps in [
            &[b"one\ntwo\r\n\nfour".as_slice()][..],
            &[b"on", b"e\ntw", b"o\r", b"\n", b"\nfour"],
            &[b"one\n", b"two\n", b"\n", b"fo", b"ur", b"\n"],
        ] {
            assert_eq!(all(steps), [b"one".as_slice(), b"two", b"", b"four"], "{steps:?}");
        }
        assert!(all(&[]).is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_kept_up_to_the_limit() {
        let step = vec![b'x'; CHUNK];
        let mut steps = vec![step.as_slice(); 20];
        steps.push(b"\nnext\n");
        let lines = all(&steps);
        let length = lines[0].len();
        assert!((LONGEST_OF_RECORDS + 1..=LONGEST_OF_RECORDS + 2 * CHUNK).contains(&length));
        assert_eq!(lines[1], b"next");
    }
}
