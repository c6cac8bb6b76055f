//! CHANGELOG.md says what this version is, and which formats it writes.

use std::fs;

use apikey_engine::codec::version::{COUNTERS, OLDEST, VERSION};

/// The sections of the changelog, the newest first: the line that heads each, and what stands in it.
fn sections() -> Vec<(String, String)> {
    let text = read("CHANGELOG.md");
    let sections = text.split("\n## ").skip(1).map(|section| {
        let (head, body) = section.split_once('\n').expect("a section of more than a line");
        (head.to_string(), body.to_string())
    });
    sections.collect()
}

fn read(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_newest_section_is_of_this_version_and_its_formats() {
    let (head, body) = &sections()[0];
    assert_eq!(head.split(' ').next(), Some(concat!("[", env!("CARGO_PKG_VERSION"), "]")));
    let formats = format!(
        "Formats: entries and stream {VERSION} (reads {OLDEST} to {VERSION}), counters {COUNTERS}."
    );
    let said = body.lines().find(|line| line.starts_with("Formats: "));
    assert_eq!(said, Some(&*formats), "of CHANGELOG.md, where a changed format is told of");
    let version = concat!("This version is ", env!("CARGO_PKG_VERSION"), ":");
    assert!(read("README.md").contains(version), "{version}");
}

/// Else `scripts/released` would not know what the next version is upgraded from.
#[test]
fn every_release_but_the_newest_has_a_date_its_formats_and_its_revision() {
    let released = &sections()[1..];
    assert!(!released.is_empty());
    for (head, body) in released {
        let date = head.split_once("] - ").expect("a date").1;
        let is_date = |c: char| c.is_ascii_digit() || c == '-';
        assert!(date.len() == 10 && date.chars().all(is_date), "{head}");
        assert!(body.contains("\nFormats: entries and stream "), "{head}");
        let revision = body.lines().find_map(|line| line.strip_prefix("Revision `"));
        let revision = revision.and_then(|rest| rest.strip_suffix('`')).unwrap_or_default();
        let is_hex = revision.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(revision.len() == 40 && is_hex, "{head}: Revision `{revision}`");
    }
}
