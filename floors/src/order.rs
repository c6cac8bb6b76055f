//! `floors.txt`: the order as it is written down.
//!
//! Headings in brackets begin sections; `#` begins a comment. Each line of a section is a floor, the
//! lowest first, and names what stands there, with spaces between. In `[workspace]` these are the
//! folders of crates, in all other sections, of which the heading is a folder, its files. A line of
//! `[never]` is a crate's folder, a colon, and dependencies that it must not have.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};

pub const FILE: &str = "floors.txt";

/// Something that stands on a floor. The number of its line is also the floor's: what has the smaller
/// one is lower.
pub struct Name {
    pub text: String,
    pub line: usize,
}

#[derive(Default)]
pub struct Section {
    /// The heading's line.
    pub line: usize,
    /// As written, from the bottom up.
    pub names: Vec<Name>,
}

impl Section {
    pub fn line_of(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|other| other.text == name).map(|name| name.line)
    }

    /// The names of each line.
    pub fn floors(&self) -> impl Iterator<Item = &[Name]> {
        self.names.chunk_by(|a, b| a.line == b.line)
    }
}

/// A dependency that a crate must not have.
pub struct Never {
    pub folder: String,
    pub dependency: String,
    pub line: usize,
}

pub struct Order {
    /// Of crates.
    pub workspace: Section,
    pub never: Vec<Never>,
    /// Of files, by the folder in the heading.
    pub folders: BTreeMap<String, Section>,
}

pub fn read(path: &Path) -> Result<Order> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", FILE))?;
    let mut never = Vec::new();
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut heading = String::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or_default().trim();
        if let Some(name) = text.strip_prefix('[') {
            let Some(name) = name.strip_suffix(']') else {
                bail!("{FILE}:{line}: a heading ends in ]");
            };
            heading = name.to_string();
            let earlier = sections.insert(heading.clone(), Section { line, names: Vec::new() });
            ensure!(earlier.is_none(), "{FILE}:{line}: [{heading}] is there twice");
        } else if heading == "never" {
            if !text.is_empty() {
                let Some((folder, dependencies)) = text.split_once(':') else {
                    bail!("{FILE}:{line}: of [never], is no `crate: dependency ..`");
                };
                never.extend(dependencies.split_whitespace().map(|dependency| Never {
                    folder: folder.trim().to_string(),
                    dependency: dependency.to_string(),
                    line,
                }));
            }
        } else {
            for name in text.split_whitespace() {
                let Some(section) = sections.get_mut(&heading) else {
                    bail!("{FILE}:{line}: {name} stands before the first heading");
                };
                section.names.push(Name { text: name.to_string(), line });
            }
        }
    }
    sections.remove("never");
    let workspace = sections.remove("workspace");
    let workspace = workspace.with_context(|| format!("{FILE} has no [workspace]"))?;
    Ok(Order { workspace, never, folders: sections })
}
