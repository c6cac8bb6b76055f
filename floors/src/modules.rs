//! The files of a crate, found from its root by their modules, and which file a path leads to.
//!
//! A module is called by the names on the way to it, of which the first is that of its root's file:
//! `["lib", "record", "packed"]`. So the modules of a library and of programs beside it are one table.
//!
//! A file is called by its path in the sources, without `.rs`; `mod.rs` by its folder, with a slash.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure, Context, Result};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Item, ItemMacro, ItemMod};

use crate::conditional::only_for_tests;
use crate::packages::{relative, Package};

pub struct File {
    pub name: String,
    /// Below the workspace's root.
    pub path: String,
    pub lines: usize,
    pub module: Vec<String>,
    pub syntax: syn::File,
}

pub struct Crate {
    pub package: Package,
    pub files: Vec<File>,
    /// The file that each module stands in. Macros with `#[macro_export]` are here too, by the path
    /// that they are exported as.
    homes: HashMap<Vec<String>, String>,
    /// Files that no module declares, by their paths below the workspace's root.
    pub strays: Vec<String>,
}

pub fn read(root: &Path, package: Package) -> Result<Crate> {
    let mut reader = Reader {
        workspace: root,
        sources: root.join(package.sources()),
        files: Vec::new(),
        homes: HashMap::new(),
        for_tests: HashSet::new(),
    };
    for path in &package.roots {
        let name = reader.name(path)?;
        let folder = path.parent().unwrap_or(root);
        reader.file(path, folder, vec![name])?;
    }
    let strays = reader.strays(&root.join(package.sources()))?;
    let Reader { mut files, homes, .. } = reader;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Crate { package, files, homes, strays })
}

struct Reader<'a> {
    workspace: &'a Path,
    sources: PathBuf,
    files: Vec<File>,
    homes: HashMap<Vec<String>, String>,
    /// Files of modules that are only for tests, which are not read.
    for_tests: HashSet<PathBuf>,
}

impl Reader<'_> {
    /// The files below a folder that no module declares.
    fn strays(&self, folder: &Path) -> Result<Vec<String>> {
        let mut strays = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                strays.extend(self.strays(&path)?);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let shown = relative(self.workspace, &path)?;
                let is_read = self.files.iter().any(|file| file.path == shown);
                if !is_read && !self.for_tests.contains(&path) {
                    strays.push(shown);
                }
            }
        }
        strays.sort();
        Ok(strays)
    }

    /// What a file is called.
    fn name(&self, path: &Path) -> Result<String> {
        let name = relative(&self.sources, &path.with_extension(""))?;
        Ok(match name.strip_suffix("mod") {
            Some(folder) if folder.ends_with('/') => folder.to_string(),
            _ => name,
        })
    }

    /// Reads a file and those of its modules, which stand in `folder`.
    fn file(&mut self, path: &Path, folder: &Path, module: Vec<String>) -> Result<()> {
        let shown = relative(self.workspace, path)?;
        let text = fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
        let syntax = syn::parse_file(&text)
            .map_err(|error| anyhow!("{shown}:{}: {error}", error.span().start().line))?;
        if only_for_tests(&syntax.attrs) {
            self.for_tests.insert(path.to_path_buf());
            return Ok(());
        }
        let name = self.name(path)?;
        self.homes.insert(module.clone(), name.clone());
        self.modules(&syntax.items, &shown, &name, folder, &module)?;
        self.files.push(File { name, path: shown, lines: text.lines().count(), module, syntax });
        Ok(())
    }

    /// Follows the modules that `items` declare.
    fn modules(
        &mut self,
        items: &[Item],
        shown: &str,
        home: &str,
        folder: &Path,
        module: &[String],
    ) -> Result<()> {
        for item in items {
            match item {
                Item::Mod(item) if !only_for_tests(&item.attrs) => {
                    let name = item.ident.unraw().to_string();
                    let inner = [module, std::slice::from_ref(&name)].concat();
                    match &item.content {
                        Some((_, items)) => {
                            self.modules(items, shown, home, &folder.join(name), &inner)?
                        }
                        None => {
                            let (path, folder) = declared(item, &name, shown, folder)?;
                            self.file(&path, &folder, inner)?;
                        }
                    }
                }
                Item::Mod(item) if item.content.is_none() => {
                    let name = item.ident.unraw().to_string();
                    self.for_tests.insert(declared(item, &name, shown, folder)?.0);
                }
                Item::Macro(ItemMacro { attrs, ident: Some(ident), .. })
                    if attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) =>
                {
                    let exported = vec![module[0].clone(), ident.unraw().to_string()];
                    self.homes.entry(exported).or_insert(home.to_string());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The file of `mod name;`, and the folder that its own modules stand in.
fn declared(item: &ItemMod, name: &str, shown: &str, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let line = item.ident.span().start().line;
    if let Some(other) = item.attrs.iter().find(|attribute| attribute.path().is_ident("path")) {
        bail!("{shown}:{}: #[path] is not followed here", other.span().start().line);
    }
    let inner = folder.join(name);
    let (beside, inside) = (folder.join(format!("{name}.rs")), inner.join("mod.rs"));
    let path = if beside.exists() { beside } else { inside };
    ensure!(path.exists(), "{shown}:{line}: mod {name} has no file");
    Ok((path, inner))
}

impl Crate {
    /// The whole path of what `path` leads to from `module`; none where that is outside the crate.
    pub fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut at = module.to_vec();
        match first.as_str() {
            "crate" => at.truncate(1),
            "self" => {}
            "super" => at.truncate(at.len().checked_sub(1)?),
            _ => {
                at.push(first.clone());
                if !self.is_module(&at) {
                    let library = self.package.library.as_ref()?;
                    if first != library || module[0] == "lib" {
                        return None;
                    }
                    at = vec!["lib".to_string()];
                }
            }
        }
        for segment in rest {
            match segment.as_str() {
                "self" => {}
                "super" => at.truncate(at.len().checked_sub(1)?),
                _ => at.push(segment.clone()),
            }
        }
        Some(at)
    }

    pub fn is_module(&self, absolute: &[String]) -> bool {
        self.homes.contains_key(absolute)
    }

    /// The file of the deepest module on the way to something.
    pub fn home(&self, absolute: &[String]) -> Option<&str> {
        let mut parts = (1..=absolute.len()).rev();
        parts.find_map(|length| self.homes.get(&absolute[..length])).map(String::as_str)
    }
}
