//! `exporter`: the figures of all nodes for Prometheus, over HTTP, until a signal ends it.
//!
//! `families.rs` says which metric each figure of HEALTH is, `page.rs` makes the page of what `watch.rs` has seen,
//! `targets.rs` says whom a scrape may ask for, `http.rs` answers.
//!
//! **What always holds.** `/metrics` is 200 and there in time, whatever servers do: one that is away is `apikey_up 0`,
//! and has no other figures. No label has a key, a user or a tag. Nobody who asks can have the exporter connect to a
//! server that its command line does not name.

pub mod families;
mod http;
mod page;
mod regions;
mod targets;

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::connect::Access;
use crate::output::{Output, Report, Style, Verdict};
use targets::{Target, Targets};

const MORE: &str = "\
/metrics has the nodes that the connection options find, each with the label node; /metrics?target=HOST:PORT one server
alone, of those that --target names; /healthz is 200 while this runs. There is neither TLS nor a password: listen where
Prometheus alone can reach it, or put a proxy in front.

SIGTERM and Ctrl-C end it, with 0.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// Where to listen; port 0 is one that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9121")]
    listen: SocketAddr,

    /// A server that a scrape may ask for by ?target=, with the user, password and TLS of the connection options
    #[arg(long = "target", value_name = "HOST:PORT")]
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Listening {
    listening: SocketAddr,
}

/// Answers until it is told to end.
pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let targets = Targets::new(access, &flags.targets)?;
    let server = http::listen(flags.listen)?;
    output.print(&Listening { listening: server.address()? })?;
    server.answer(&targets)
}

impl Report for Listening {
    fn text(&self, style: Style) -> String {
        format!("{}\n", style.bold(format!("http://{}/metrics", self.listening)))
    }
}
