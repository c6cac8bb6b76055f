//! The crates of the workspace, as Cargo tells of them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use serde_json::Value;

pub struct Package {
    /// Its folder below the workspace's root; `.` of the one in the root.
    pub folder: String,
    /// What others call its library in paths.
    pub library: Option<String>,
    /// The first files of its library and its programs.
    pub roots: Vec<PathBuf>,
    pub dependencies: Vec<Dependency>,
}

/// Of any kind: also what only tests or a build script use.
pub struct Dependency {
    pub name: String,
    /// Of a crate of the workspace.
    pub folder: Option<String>,
}

impl Package {
    /// The folder of its files.
    pub fn sources(&self) -> String {
        self.below("src")
    }

    pub fn manifest(&self) -> String {
        self.below("Cargo.toml")
    }

    fn below(&self, name: &str) -> String {
        if self.folder == "." {
            name.into()
        } else {
            format!("{}/{name}", self.folder)
        }
    }
}

/// The root of the workspace that the current directory belongs to, and its crates.
pub fn read() -> Result<(PathBuf, Vec<Package>)> {
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .context("cargo does not start")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata: {}", error.trim_end());
    let told: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let root = PathBuf::from(text(&told["workspace_root"]));
    let packages = list(&told["packages"]).map(|package| read_package(&root, package));
    let packages = packages.collect::<Result<_>>()?;
    Ok((root, packages))
}

fn read_package(root: &Path, told: &Value) -> Result<Package> {
    let manifest = Path::new(text(&told["manifest_path"]));
    let (mut library, mut roots) = (None, Vec::new());
    let is_of_the_crate = |target: &&Value| {
        !list(&target["kind"]).any(|kind| kind == "example" || kind == "test" || kind == "bench")
    };
    for target in list(&told["targets"]).filter(is_of_the_crate) {
        let is_library = list(&target["crate_types"]).any(|kind| text(kind) != "bin");
        if is_library {
            library = Some(text(&target["name"]).replace('-', "_"));
        }
        if is_library || list(&target["kind"]).any(|kind| kind == "bin") {
            roots.push(PathBuf::from(text(&target["src_path"])));
        }
    }
    let dependencies = list(&told["dependencies"]).map(|told| Dependency {
        name: text(&told["name"]).to_string(),
        folder: told["path"].as_str().and_then(|path| relative(root, Path::new(path)).ok()),
    });
    Ok(Package {
        folder: relative(root, manifest.parent().unwrap_or(root))?,
        library,
        roots,
        dependencies: dependencies.collect(),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `path` as it is written below `root`; `.` for the root itself.
pub fn relative(root: &Path, path: &Path) -> Result<String> {
    let below = path.strip_prefix(root);
    let below =
        below.with_context(|| format!("{} is outside {}", path.display(), root.display()))?;
    let text = below.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(if text.is_empty() { "." } else { text }.to_string())
}
