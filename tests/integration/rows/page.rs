//! A page of `tests/data/rows`, read: its README says how one is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The fenced blocks under a heading, by the second word behind their fence.
type Blocks = BTreeMap<String, String>;

pub struct Page {
    pub name: String,
    pub database: String,
    blocks: Blocks,
    pub rows: Vec<Row>,
}

pub struct Row {
    /// The Redis key that it gets.
    pub key: String,
    blocks: Blocks,
    pub asked: Vec<Asked>,
}

/// A line of a row's table.
pub struct Asked {
    /// What stands behind the key in VALIDATE.
    pub options: Vec<String>,
    pub now: String,
    /// When the answer ends: a time in UTC, or nothing.
    pub until: String,
    /// When all times of the pages are over.
    pub after: String,
}

pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rows")
}

/// All pages whose rows come from this database.
#[track_caller]
pub fn pages(database: &str) -> Vec<Page> {
    let files = fs::read_dir(directory()).expect("tests/data/rows");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name != "README.md"));
    paths.sort();
    let pages: Vec<Page> = paths.iter().map(|path| Page::read(path)).collect();
    pages.into_iter().filter(|page| page.database == database).collect()
}

impl Page {
    #[track_caller]
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut page =
            Self { name, database: String::new(), blocks: Blocks::new(), rows: Vec::new() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(fence) = line.strip_prefix("```") {
                let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                let blocks = page.rows.last_mut().map_or(&mut page.blocks, |row| &mut row.blocks);
                let block_name = fence.split(' ').nth(1).unwrap_or_default();
                let before = blocks.insert(block_name.into(), block.join("\n"));
                assert_eq!(before, None, "{}: {block_name} is given twice", page.name);
            } else if let Some(heading) = line.strip_prefix("### `") {
                let key = heading.split('`').next().expect("a key").to_string();
                page.rows.push(Row { key, blocks: Blocks::new(), asked: Vec::new() });
            } else if let Some(rest) = line.strip_prefix("Database: ") {
                page.database = rest.split(['.', ' ']).next().expect("a name").into();
            } else if let (Some(cells), Some(row)) = (line.strip_prefix("| "), page.rows.last_mut())
            {
                row.asked.extend(Asked::read(cells));
            }
        }
        page
    }

    /// A block of the page's; empty where it has none.
    pub fn block(&self, name: &str) -> &str {
        self.blocks.get(name).map_or("", String::as_str)
    }

    /// Settings of the module: names and values.
    pub fn settings(&self) -> Vec<(&str, &str)> {
        let lines = self.block("settings").lines();
        lines.map(|line| line.split_once(' ').expect("a name and a value")).collect()
    }

    /// The table that a plain SELECT would be of.
    pub fn table(&self) -> &str {
        let behind = self.block("table").strip_prefix("CREATE TABLE ").expect("a table");
        behind.split(" (").next().expect("its name")
    }
}

impl Row {
    #[track_caller]
    pub fn block(&self, name: &str) -> &str {
        self.given(name).unwrap_or_else(|| panic!("{} has no {name}", self.key))
    }

    pub fn given(&self, name: &str) -> Option<&str> {
        self.blocks.get(name).map(String::as_str)
    }
}

impl Asked {
    /// Nothing for the lines that head a table.
    fn read(cells: &str) -> Option<Self> {
        let cells: Vec<&str> = cells.trim_end_matches('|').split('|').map(str::trim).collect();
        let [asked, now, until, after] = cells[..] else { panic!("not four cells: {cells:?}") };
        if matches!(asked, "asked" | "---") {
            return None;
        }
        let words = asked.trim_matches('`').split(' ').filter(|word| !word.is_empty());
        Some(Self {
            options: words.map(String::from).collect(),
            now: now.into(),
            until: until.into(),
            after: after.into(),
        })
    }

    /// What it presents: SECRET or DIGEST and its value.
    pub fn secret(&self) -> Vec<&str> {
        self.options.iter().take(2).map(String::as_str).collect()
    }
}
