//! `docs/runbooks`, played: each test breaks real servers in the way that a page is for, types the page's own commands,
//! compares what they print with what the page says, and sees that the page has mended it.

mod application;
mod certificate;
mod clock;
mod connections;
mod consumer_dead;
mod database_down;
mod full_disk;
mod leaked_key;
mod limits;
mod lost_primary;
mod memory;
mod miss_rate;
mod page;
mod refused_writes;
mod replicated;
mod restore;
mod rollback;
mod slow_commands;
mod split_network;
mod suspect_cache;
mod uninstall;
mod upgrade;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn each_page_is_played_and_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stems = |path: &str, ending: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root.join(path)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
        names.filter_map(|name| Some(name.expect("UTF-8").strip_suffix(ending)?.into())).collect()
    };
    let mut pages = stems("docs/runbooks", ".md");
    assert!(pages.remove("README"), "a list of them");
    let list = fs::read_to_string(root.join("docs/runbooks/README.md")).expect("the list");
    for page in &pages {
        assert!(list.contains(&format!("]({page}.md)")), "README.md does not list {page}");
        let test = root.join("tests/integration/runbooks").join(page.replace('-', "_") + ".rs");
        let test = fs::read_to_string(&test).unwrap_or_else(|e| panic!("{}: {e}", test.display()));
        assert!(test.contains(&format!("Page::open(\"{page}\")")), "{page} is not played");
        for step in page::to_play(page) {
            let is_played = [format!(".step({step})"), format!(".step_doing({step},")];
            let is_played = is_played.iter().any(|call| test.contains(call));
            assert!(is_played, "{page}: nobody plays step {step}");
        }
    }
}
