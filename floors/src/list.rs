//! The crates, floors and files for people to read.

use crate::modules::Crate;
use crate::order::Order;

/// How many there are of each.
pub fn counts(workspace: &[Crate], order: &Order) -> String {
    let files: usize = workspace.iter().map(|of| of.files.len()).sum();
    let floors: usize = order.folders.values().map(|section| section.floors().count()).sum();
    format!("{} crates, {files} files, {floors} floors", workspace.len())
}

/// Each crate's floors from the bottom up, its files with their lines, and its longest file.
pub fn text(workspace: &[Crate], order: &Order) -> String {
    let mut text = String::new();
    for of in workspace {
        let sources = of.package.sources();
        let floors: Vec<_> =
            order.folders.get(&sources).into_iter().flat_map(|section| section.floors()).collect();
        let (files, lines) =
            (of.files.len(), of.files.iter().map(|file| file.lines).sum::<usize>());
        text += &format!("{sources}: {files} files, {lines} lines, {} floors", floors.len());
        if let Some(file) = of.files.iter().max_by_key(|file| file.lines) {
            text += &format!(", the longest {} ({})", file.name, file.lines);
        }
        text.push('\n');
        for (number, floor) in (1..).zip(floors) {
            let names = floor.iter().map(|name| {
                let file = of.files.iter().find(|file| file.name == name.text);
                format!("{} {}", name.text, file.map_or("-".into(), |file| file.lines.to_string()))
            });
            text += &format!("{number:4}  {}\n", names.collect::<Vec<_>>().join(", "));
        }
        text.push('\n');
    }
    text
}
