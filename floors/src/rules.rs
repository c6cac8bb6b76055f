//! What has to hold, and one line for each place where it does not.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports;
use crate::modules::Crate;
use crate::order::{Order, Section, FILE};

/// Where it does not hold; nothing if all does.
pub fn faults(workspace: &[Crate], order: &Order) -> Vec<String> {
    let mut faults = crates(workspace, order);
    let mut sections: BTreeMap<&str, &Section> =
        order.folders.iter().map(|(folder, section)| (folder.as_str(), section)).collect();
    for of in workspace {
        let sources = of.package.sources();
        match sections.remove(sources.as_str()) {
            Some(section) => faults.extend(files(of, section)),
            None => faults.push(format!("{FILE}: has no [{sources}]")),
        }
    }
    faults.extend(sections.iter().map(|(folder, section)| {
        format!("{FILE}:{}: [{folder}] is no crate's folder of sources", section.line)
    }));
    faults
}

/// Every crate has a floor, depends only on those below, and on nothing that it never may.
fn crates(workspace: &[Crate], order: &Order) -> Vec<String> {
    let packages: Vec<_> = workspace.iter().map(|of| &of.package).collect();
    let there = packages.iter().map(|package| (package.folder.as_str(), package.manifest()));
    let mut faults = names(&order.workspace, there.collect(), "crate");
    for package in &packages {
        for dependency in &package.dependencies {
            let Some(folder) = &dependency.folder else {
                continue;
            };
            if let Some(why) = not_below(&order.workspace, &package.folder, folder) {
                faults.push(format!("{}: depends on {folder}, {why}", package.manifest()));
            }
        }
    }
    for never in &order.never {
        let Some(package) = packages.iter().find(|package| package.folder == never.folder) else {
            faults.push(format!("{FILE}:{}: {} is no crate", never.line, never.folder));
            continue;
        };
        let forbidden = &never.dependency;
        let mut dependencies = package.dependencies.iter();
        if dependencies.any(|it| it.name == *forbidden || it.folder.as_ref() == Some(forbidden)) {
            faults.push(format!(
                "{}: depends on {forbidden}, which it never may ({FILE}:{})",
                package.manifest(),
                never.line
            ));
        }
    }
    faults
}

/// Every file of a crate has a floor, folders stand together, and imports lead down.
fn files(of: &Crate, section: &Section) -> Vec<String> {
    let there = of.files.iter().map(|file| (file.name.as_str(), file.path.clone()));
    let mut faults = names(section, there.collect(), "file");
    faults.extend(folders(section));
    faults.extend(of.strays.iter().map(|path| format!("{path}: no module declares it")));
    for file in &of.files {
        for (line, target) in imports::of(file, of) {
            if let Some(why) = not_below(section, &file.name, &target) {
                faults.push(format!("{}:{line}: imports {target}, {why}", file.path));
            }
        }
    }
    faults
}

/// Every one that is there is named once, and every name is of one that is there.
fn names(section: &Section, there: BTreeMap<&str, String>, what: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut named = BTreeSet::new();
    for name in &section.names {
        if !there.contains_key(name.text.as_str()) {
            faults.push(format!("{FILE}:{}: {} is no {what}", name.line, name.text));
        } else if !named.insert(name.text.as_str()) {
            faults.push(format!("{FILE}:{}: {} is named again", name.line, name.text));
        }
    }
    let missing = there.iter().filter(|(name, _)| !named.contains(*name));
    faults.extend(missing.map(|(name, path)| {
        format!("{path}: {name} stands on no floor ({FILE}:{})", section.line)
    }));
    faults
}

/// What a folder holds stands together in the list: so a folder as a whole is above or below another,
/// and above or below each file that is not in it. `foo.rs` beside a folder `foo` belongs to that.
fn folders(section: &Section) -> Vec<String> {
    let mut faults = Vec::new();
    let slashes = |name: &str| -> Vec<String> {
        name.match_indices('/').map(|(at, _)| name[..=at].to_string()).collect()
    };
    let folders: BTreeSet<_> = section.names.iter().flat_map(|name| slashes(&name.text)).collect();
    for folder in &folders {
        let is_in = |name: &str| name.starts_with(folder) || format!("{name}/") == *folder;
        let mut names = section.names.iter().skip_while(|name| !is_in(&name.text));
        let outside = names.find(|name| !is_in(&name.text));
        let after = names.find(|name| is_in(&name.text));
        if let (Some(outside), Some(after)) = (outside, after) {
            faults.push(format!(
                "{FILE}:{}: {} stands apart from the rest of {folder}, with {} between",
                after.line, after.text, outside.text
            ));
        }
    }
    faults
}

/// Why `upper` must not use `lower`; none if it may. What is on no floor is told of elsewhere.
fn not_below(section: &Section, upper: &str, lower: &str) -> Option<String> {
    let (upper, lower) = (section.line_of(upper)?, section.line_of(lower)?);
    let place = match lower.cmp(&upper) {
        std::cmp::Ordering::Less => return None,
        std::cmp::Ordering::Equal => "on the same floor",
        std::cmp::Ordering::Greater => "above it",
    };
    Some(format!("which stands {place} ({FILE}:{lower})"))
}
