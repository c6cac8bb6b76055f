//! Client libraries: what they have in common (clients/conformance), and whether they do it.

mod verdicts;

use std::path::{Path, PathBuf};

/// Where examples of the workspace's crates are, built.
fn examples() -> PathBuf {
    std::env::var_os("APIKEY_HOST_EXAMPLES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debug/examples"),
        PathBuf::from,
    )
}
