//! The program as a process: with which arguments it is run, and what it said.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

use crate::harness::server::{die_with_parent, module};
use crate::harness::*;

/// `APIKEY_CTL`, or the one that was built beside the module.
pub fn program() -> PathBuf {
    let path = std::env::var_os("APIKEY_CTL")
        .map_or_else(|| module().with_file_name("apikeyctl"), PathBuf::from);
    assert!(path.exists(), "no {}: cargo build -p apikey-ctl", path.display());
    path
}

/// The program with nothing of the environment that it would take for its own, and no input.
pub fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = ["APIKEYCTL_", "PG"].iter().any(|of| text.starts_with(of));
        if is_ours || ["REDISCLI_AUTH", "NO_COLOR"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    die_with_parent(&mut command, libc::SIGKILL);
    command
}

pub fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port)
}

/// A subcommand for a server.
pub fn command(server: &Server, subcommand: &str, options: &[&str]) -> Command {
    let url = url(server);
    bare(&[&[subcommand, "--url", &url], options].concat())
}

/// What a run said and how it ended.
pub struct Ran {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    #[track_caller]
    pub fn of(mut command: Command) -> Self {
        command.output().expect("apikeyctl").into()
    }

    /// A run for a server.
    #[track_caller]
    pub fn at(server: &Server, subcommand: &str, options: &[&str]) -> Self {
        Self::of(command(server, subcommand, options))
    }

    /// The standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }

    /// It ended with this status, and said this on the standard error.
    #[track_caller]
    pub fn fails_with(&self, status: i32, told: &str) {
        assert_eq!(self.status, Some(status), "{told}: {}{}", self.out, self.err);
        assert!(self.err.contains(told), "{told}: {}", self.err);
    }
}
