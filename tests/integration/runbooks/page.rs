//! A page of `docs/runbooks`: its steps, and a shell in which their commands are typed.
//!
//! In the page a command is a line that begins with `$ ` in an indented block, and what stands below it in the block is
//! what it prints on both outputs. A line `..` there stands for any lines, ` ..` at the end of one for any rest. Any
//! number stands for any other but 0, and a time or an address of digits for another: what matters of them the test asks
//! the server. ` y` behind a question is what is typed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::ctl::program;
use crate::harness::server::die_with_parent;
use crate::harness::*;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);
const DONE: &str = "-- done";
const ASKS: &str = "[y/N]";

struct Typed {
    command: String,
    prints: Vec<String>,
}

/// A page that is being played. Drop it by [`Page::end`], which sees that nothing of it was left out.
pub struct Page {
    name: &'static str,
    steps: Vec<Vec<Typed>>,
    next: usize,
    stands_for: Vec<(String, String)>,
    shell: Shell,
}

impl Page {
    /// What is typed finds this server where the page says none: by `redis-cli`, and by `apikeyctl` in APIKEYCTL_URL.
    #[track_caller]
    pub fn open(name: &'static str) -> Opened {
        Opened { name, steps: read(name), stands_for: Vec::new(), environment: Vec::new() }
    }

    /// Types the commands of a step, those before the first being step 0. Steps without commands are the test's to do
    /// by itself, between.
    #[track_caller]
    pub fn step(&mut self, number: usize) {
        self.step_doing(number, "", || ());
    }

    /// The same, with what the page says in words behind a command that has this.
    #[track_caller]
    pub fn step_doing(&mut self, number: usize, behind: &str, mut in_words: impl FnMut()) {
        let skipped: Vec<usize> =
            (self.next..number).filter(|&step| !self.steps[step].is_empty()).collect();
        assert!(skipped.is_empty(), "{}: steps {skipped:?} were not played", self.name);
        assert!(number >= self.next, "{}: {number} has been played", self.name);
        let step = self.steps.get(number).unwrap_or_else(|| panic!("{}: no {number}", self.name));
        assert!(!step.is_empty(), "{}: no commands in {number}", self.name);
        for Typed { command, prints } in step {
            let mut typed = command.clone();
            for (of_page, here) in &self.stands_for {
                typed = typed.replace(of_page, here);
            }
            let answer = prints.iter().find_map(|line| line.split_once(ASKS));
            let answer = answer.map(|(_, answer)| answer.trim());
            let mut printed = self.shell.run(&typed, answer);
            for (of_page, here) in &self.stands_for {
                printed.iter_mut().for_each(|line| *line = line.replace(here, of_page));
            }
            let of = |lines: &[String]| lines.iter().map(|line| general(line)).collect::<Vec<_>>();
            assert!(
                matches(&of(prints), &of(&printed)),
                "{}, step {number}: $ {command}\nshould print\n{}\nand printed\n{}",
                self.name,
                prints.join("\n"),
                printed.join("\n")
            );
            if !behind.is_empty() && command.contains(behind) {
                in_words();
            }
        }
        self.next = number + 1;
    }

    /// A step that is for another case than this one. Some other test of the page plays it.
    #[track_caller]
    pub fn passed_over(&mut self, number: usize) {
        assert!(self.steps.get(number).is_some_and(|step| !step.is_empty()), "no such step");
        self.steps[number].clear();
    }

    /// From here on what the page writes so is this.
    pub fn now_stands_for(&mut self, of_page: &str, here: impl ToString) {
        self.stands_for.retain(|(known, _)| known != of_page);
        self.stands_for.push((of_page.into(), here.to_string()));
    }

    /// All has been played.
    #[track_caller]
    pub fn end(self) {
        let left: Vec<usize> =
            (self.next..self.steps.len()).filter(|&step| !self.steps[step].is_empty()).collect();
        assert!(left.is_empty(), "{}: steps {left:?} were not played", self.name);
    }
}

/// A page, and what the words of its commands are here.
pub struct Opened {
    name: &'static str,
    steps: Vec<Vec<Typed>>,
    stands_for: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Opened {
    /// What the page writes so is this here: a path, a host.
    pub fn with(mut self, of_page: &str, here: impl ToString) -> Self {
        self.stands_for.push((of_page.into(), here.to_string()));
        self
    }

    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.into(), value.to_string()));
        self
    }

    #[track_caller]
    pub fn at(self, server: &Server) -> Page {
        let shell = Shell::start(server.port, &self.environment);
        let Self { name, steps, stands_for, .. } = self;
        Page { name, steps, next: 0, stands_for, shell }
    }
}

/// A shell of its own, in a folder of its own, that has the programs.
struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    dir: TempDir,
}

impl Shell {
    #[track_caller]
    fn start(port: u16, environment: &[(String, String)]) -> Self {
        let dir = TempDir::new().expect("a folder");
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("a folder");
        let redis_cli = format!("#!/bin/sh\nexec {} -p {port} \"$@\"\n", redis_cli().display());
        let path = bin.join("redis-cli");
        fs::write(&path, redis_cli).expect("redis-cli");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        std::os::unix::fs::symlink(program(), bin.join("apikeyctl")).expect("apikeyctl");
        let work = dir.path().join("work");
        fs::create_dir(&work).expect("a folder");

        let mut command = Command::new("bash");
        // Nothing of the run's own environment.
        command.args(["--norc", "--noprofile"]).env_clear();
        let inherited = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{inherited}", bin.display()))
            .env("HOME", &work)
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("APIKEYCTL_URL", format!("redis://127.0.0.1:{port}"))
            .envs(environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&work).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Of its own group, to end what it has left running.
        command.process_group(0);
        die_with_parent(&mut command, libc::SIGKILL);
        let mut child = command.spawn().expect("bash");
        let mut input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let read = output.lines().map_while(Result::ok);
            let _ = read.map(|line| sender.send(line)).take_while(Result::is_ok).count();
        });
        // What is assigned is there for those who are asked in a terminal too.
        writeln!(input, "set -a; exec 2>&1").expect("bash");
        Self { child, input, lines, dir }
    }

    /// What a command prints, in a terminal if it is to be asked something.
    #[track_caller]
    fn run(&mut self, command: &str, answer: Option<&str>) -> Vec<String> {
        let from = match answer {
            None => "/dev/null".into(),
            Some(answer) => {
                let path = self.dir.path().join("answer");
                fs::write(&path, format!("{answer}\n")).expect("an answer");
                path.display().to_string()
            }
        };
        let whole = match answer {
            None => command.to_string(),
            Some(_) => {
                format!("script --quiet --echo never --command {} /dev/null", quoted(command))
            }
        };
        writeln!(self.input, "{{ {whole}\n}} <{from}; echo; echo '{DONE}'").expect("bash");
        let mut printed = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == DONE => break,
                // What is typed is not echoed, nor is the end of its line.
                Ok(line) => match (answer, line.split_once(ASKS)) {
                    (Some(answer), Some((question, behind))) => {
                        printed.push(format!("{question}{ASKS} {answer}"));
                        printed.push(behind.trim().to_string());
                    }
                    _ => printed.push(line.trim_end().to_string()),
                },
                Err(e) => panic!("$ {command}: {e}: {}", printed.join("\n")),
            }
        }
        // The empty line is there for what ends without a line's end.
        printed.retain(|line| !line.is_empty());
        printed
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: a call without memory, of a group whose leader has not been waited for.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn redis_cli() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join("redis-cli")).find(|p| p.exists());
    found.expect("redis-cli: apt-get install redis-tools (scripts/test does)")
}

#[track_caller]
fn read(name: &str) -> Vec<Vec<Typed>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("docs/runbooks/{name}.md"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    steps(&text)
}

/// The steps of a page that have commands.
pub fn to_play(name: &str) -> Vec<usize> {
    let steps = read(name).into_iter().enumerate();
    steps.filter(|(_, step)| !step.is_empty()).map(|(number, _)| number).collect()
}

/// The commands of each step: those before the first, then those of `1.`, `2.`, ..
fn steps(text: &str) -> Vec<Vec<Typed>> {
    let mut steps = vec![Vec::<Typed>::new()];
    let mut in_block = false;
    for line in text.lines() {
        let begins = line.split_once(". ").and_then(|(number, _)| number.parse::<usize>().ok());
        if let Some(number) = begins {
            assert_eq!(number, steps.len(), "steps are numbered");
            steps.push(Vec::new());
        }
        // Text of a step is indented by three.
        let indent = line.len() - line.trim_start().len();
        let is_code = indent >= if steps.len() == 1 { 4 } else { 7 };
        in_block &= is_code;
        let step = steps.last_mut().expect("one");
        if !is_code {
            continue;
        }
        if let Some(command) = line.trim_start().strip_prefix("$ ") {
            step.push(Typed { command: command.into(), prints: Vec::new() });
            in_block = true;
        } else if in_block {
            let typed = step.last_mut().expect("a command");
            // A command goes on where its line ends so.
            match typed.command.strip_suffix('\\') {
                Some(begun) if typed.prints.is_empty() => {
                    typed.command = format!("{begun}{}", line.trim_start());
                }
                _ => typed.prints.push(line.trim().to_string()),
            }
        }
    }
    steps
}

/// A line with `#` for each number but 0, time, address of digits and hexadecimal id, and one space for several.
fn general(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let is_id = |part: &str| part.len() >= 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = word.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        let word: String = parts
            .map(|part| {
                let bare = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                if is_id(bare) {
                    part.replacen(bare, "#", 1)
                } else {
                    part.into()
                }
            })
            .collect();
        let mut general = String::new();
        let mut rest = word.as_str();
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            general += &rest[..at];
            let number = &rest[at..];
            // Letters of a time, and what stands between digits.
            let is_between = |c: char| "0123456789.,:-TZ".contains(c);
            let end = number.find(|c| !is_between(c)).unwrap_or(number.len());
            let end = number[..end].trim_end_matches(['.', ',', ':', '-']).len();
            general.push(if &number[..end] == "0" { '0' } else { '#' });
            rest = &number[end..];
        }
        general + rest
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether lines are those of the page, in which `..` stands for what was left out.
fn matches(page: &[String], printed: &[String]) -> bool {
    let Some((line, page)) = page.split_first() else { return printed.is_empty() };
    if line == ".." {
        return (0..=printed.len()).any(|from| matches(page, &printed[from..]));
    }
    let Some((first, printed)) = printed.split_first() else { return false };
    let is_it = match line.strip_suffix(" ..") {
        Some(beginning) => first.starts_with(beginning),
        None => first == line,
    };
    is_it && matches(page, printed)
}

#[test]
fn numbers_stand_for_numbers_and_words_for_themselves() {
    let same = |one: &str, other: &str| general(one) == general(other);
    assert!(same("3 keys, 1.5 s at 127.0.0.1:6379", "12 keys,  0.25 s at 10.0.0.1:7000"));
    assert!(same("at 2026-11-29T18:44:00.123Z:", "at 2027-01-02T03:04:05.6Z:"));
    assert!(same("db0 301, db2 1", "db0 2, db2 13"));
    assert!(same("id 0123456789abcdef0123.", "id abcdefabcdefabcdefab."));
    assert!(!same("3 keys", "3 tags") && !same("VALID", "MISS") && !same("3", "none"));
    assert!(!same("wrong: 0", "wrong: 1") && same("wrong: 10", "wrong: 1"));
    let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
    assert!(matches(&lines("a\n..\nc"), &lines("a\nb\nb\nc")));
    assert!(matches(&lines("a ..\nc"), &lines("a b\nc")));
    assert!(!matches(&lines("a\n..\nc"), &lines("a\nb")));
    assert!(!matches(&lines(""), &lines("a")) && !matches(&lines("a"), &lines("a\nb")));
}

#[test]
fn what_is_typed_is_told_from_what_is_printed() {
    let text = "# T\n\n    $ one\n\n1. a\n\n       $ two \\\n         more\n       printed\n       $ three\n2. b\n";
    let steps = steps(text);
    let typed = |step: usize| steps[step].iter().map(|t| t.command.as_str()).collect::<Vec<_>>();
    assert_eq!((typed(0), typed(1), typed(2)), (vec!["one"], vec!["two more", "three"], vec![]));
    assert_eq!(steps[1][0].prints, ["printed"]);
}
