//! What the program says of small workspaces.

use std::fs;
use std::process::Command;

const PACKAGE: &str = "[package]\nname = \"fixture\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";

/// What the program prints in a workspace of these files, and whether it is content.
fn floors(files: &[(&str, &str)]) -> (bool, String) {
    let root = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_apikey-floors"));
    let output = command.current_dir(root.path()).output().expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("UTF-8"))
}

/// What it says of a crate with these floors and these files of `src/`.
fn of_crate(order: &str, sources: &[(&str, &str)]) -> (bool, String) {
    let order = format!("[workspace]\n.\n[src]\n{order}");
    let paths: Vec<String> = sources.iter().map(|(path, _)| format!("src/{path}")).collect();
    let sources = paths.iter().zip(sources).map(|(path, (_, text))| (path.as_str(), *text));
    let mut files = vec![("Cargo.toml", PACKAGE), ("floors.txt", order.as_str())];
    files.extend(sources);
    floors(&files)
}

/// That this text of `low.rs` imports `high.rs` in line 2, and so fails.
fn leads_up(low: &str) {
    let lib = ("lib.rs", "mod high;\nmod low;\n");
    let sources = [lib, ("high.rs", "pub struct High;\n"), ("low.rs", low)];
    let fault = "src/low.rs:2: imports high, which stands above it (floors.txt:5)\n1 fault\n";
    assert_eq!(of_crate("low\nhigh\nlib", &sources), (false, fault.into()), "{low}");
}

/// That a crate whose `low.rs` has this text imports nothing upwards.
fn leads_nowhere(low: &str) {
    let lib = ("lib.rs", "mod high;\nmod low;\n");
    let sources = [lib, ("high.rs", "pub struct High;\n"), ("low.rs", low)];
    let content = "1 crates, 3 files, 3 floors: every import leads down\n";
    assert_eq!(of_crate("low\nhigh\nlib", &sources), (true, content.into()), "{low}");
}

#[test]
fn a_crate_whose_imports_lead_down_passes() {
    let (passes, text) = of_crate(
        "# the lowest first\nrecord/packed record/sanitise # side by side\nrecord/\nkeys\nlib",
        &[
            ("lib.rs", "pub mod keys;\nmod record;\npub use record::Record;\nuse keys::Key;\n"),
            ("keys.rs", "use crate::record::{packed::Packed, Record};\n"),
            ("record/mod.rs", "mod packed;\nmod sanitise;\npub struct Record(packed::Packed);\n"),
            ("record/packed.rs", "use std::fmt;\npub struct Packed;\n"),
            ("record/sanitise.rs", ""),
        ],
    );
    assert_eq!(text, "1 crates, 5 files, 4 floors: every import leads down\n");
    assert!(passes);
}

#[test]
fn a_use_that_leads_up_fails() {
    leads_up("\nuse crate::high::High;");
    leads_up("\npub use crate::high::High;");
    leads_up("\nuse crate::high;");
    leads_up("\nuse crate::high::*;");
    leads_up("\nuse crate::high as other;");
    leads_up("\nuse crate::{high::{self, High}};");
    leads_up("\nuse super::high::High;");
    leads_up("\nuse self::super::high::High;");
    leads_up("\nfn f() { use crate::high::High; }");
    leads_up("\nmod inner { use super::super::high::High; }");
    leads_up("use {\ncrate::high::High};");
}

#[test]
fn a_path_in_code_that_leads_up_fails() {
    leads_up("\nfn f() { crate::high::f(); }");
    leads_up("\nstruct S(Vec<super::high::High>);");
    leads_up("\nfn f(it: T) -> bool { matches(it, |crate::high::High| true) }");
    leads_up("\nfn f<T: crate::high::Trait>() {}");
    leads_up("\nimpl crate::high::Trait for u8 {}");
    leads_up("\nfn f() { <u8 as crate::high::Trait>::f() }");
    leads_up("\n#[crate::high::attribute] struct S;");
    leads_up("\n#[derive(crate::high::Derived)] struct S;");
}

#[test]
fn a_path_in_a_macro_call_that_leads_up_fails() {
    leads_up("\nfn f() { println!(\"{}\", [crate::high::f()]); }");
    leads_up("\nfn f() { println!(\"{:?}\", super::high::High); }");
    leads_up("\nfn f() { crate::high::call!(); }");
    leads_up("\nlazy! { use crate::{high::High}; }");
    leads_up("\nmacro_rules! m { () => { $crate::high::f() }; }");
}

#[test]
fn the_root_stands_above_its_modules() {
    let sources = [("lib.rs", "mod low;\npub struct Top;\n"), ("low.rs", "use crate::Top;\n")];
    let fault = "src/low.rs:1: imports lib, which stands above it (floors.txt:5)\n1 fault\n";
    assert_eq!(of_crate("low\nlib", &sources), (false, fault.into()));
}

#[test]
fn a_child_that_imports_from_its_folder_fails_wherever_that_stands() {
    let sources = [
        ("lib.rs", "mod tags;\n"),
        ("tags/mod.rs", "mod index;\npub use index::Index;\npub struct Tag;\n"),
        ("tags/index.rs", "use super::Tag;\npub struct Index;\n"),
    ];
    let fault =
        "src/tags/index.rs:1: imports tags/, which stands above it (floors.txt:5)\n1 fault\n";
    assert_eq!(of_crate("tags/index\ntags/\nlib", &sources), (false, fault.into()));
    let fault =
        "src/tags/mod.rs:2: imports tags/index, which stands above it (floors.txt:5)\n1 fault\n";
    assert_eq!(of_crate("tags/\ntags/index\nlib", &sources), (false, fault.into()));
}

#[test]
fn a_module_that_is_imported_hides_no_path_through_it() {
    let sources = [
        ("lib.rs", "mod tags;\n"),
        ("tags/mod.rs", "mod index;\nmod names;\n"),
        ("tags/index.rs", ""),
        ("tags/names.rs", "use crate::tags as all;\nfn f() { all::index::f() }\n"),
    ];
    let (_, text) = of_crate("tags/\ntags/names\ntags/index\nlib", &sources);
    assert!(
        text.contains("src/tags/names.rs:2: imports tags/index, which stands above it"),
        "{text}"
    );
}

#[test]
fn a_circle_on_one_floor_fails() {
    let sources = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::B;\npub struct A;\n"),
        ("b.rs", "use crate::a::A;\npub struct B;\n"),
    ];
    let faults = "src/a.rs:1: imports b, which stands on the same floor (floors.txt:4)\n\
                  src/b.rs:1: imports a, which stands on the same floor (floors.txt:4)\n2 faults\n";
    assert_eq!(of_crate("a b\nlib", &sources), (false, faults.into()));
}

#[test]
fn a_folder_that_does_not_stand_together_fails() {
    let sources = [
        ("lib.rs", "mod tags;\nmod usage;\n"),
        ("tags.rs", "mod index;\nmod names;\n"),
        ("tags/index.rs", ""),
        ("tags/names.rs", ""),
        ("usage.rs", ""),
    ];
    let says = |order: &str| of_crate(order, &sources).1;
    assert_eq!(
        says("tags/index\nusage\ntags/names\ntags\nlib"),
        "floors.txt:6: tags/names stands apart from the rest of tags/, with usage between\n1 fault\n"
    );
    // The file beside the folder belongs to it.
    assert_eq!(
        says("tags/index\ntags/names\nusage\ntags\nlib"),
        "floors.txt:7: tags stands apart from the rest of tags/, with usage between\n1 fault\n"
    );
    let content = "1 crates, 5 files, 4 floors: every import leads down\n";
    assert_eq!(says("usage\ntags/index tags/names\ntags\nlib"), content);
}

#[test]
fn a_file_without_a_floor_and_a_name_without_a_file_fail() {
    let sources = [("lib.rs", "mod a;\n"), ("a.rs", "")];
    let missing = "src/a.rs: a stands on no floor (floors.txt:3)\n1 fault\n";
    assert_eq!(of_crate("lib", &sources), (false, missing.into()));
    let surplus = "floors.txt:4: b is no file\n1 fault\n";
    assert_eq!(of_crate("a b\nlib", &sources), (false, surplus.into()));
    let twice = "floors.txt:5: a is named again\n1 fault\n";
    assert_eq!(of_crate("a\na\nlib", &sources), (false, twice.into()));
}

#[test]
fn what_only_tests_compile_is_skipped() {
    leads_nowhere("#[cfg(test)]\nmod tests { use crate::high::High; }");
    leads_nowhere("#[cfg(all(test, unix))]\nuse crate::high::High;");
    leads_nowhere("#[cfg(test)]\nfn f() { crate::high::f() }");
    leads_nowhere("struct S;\nimpl S { #[cfg(test)] fn f() { crate::high::f() } }");
    leads_up("#[cfg(not(test))]\nuse crate::high::High;");
    leads_up("#[cfg(any(test, unix))]\nuse crate::high::High;");
}

#[test]
fn a_file_of_tests_has_no_floor() {
    let lib = ("lib.rs", "#[cfg(test)]\nmod tests;\n");
    let content = "1 crates, 1 files, 1 floors: every import leads down\n";
    let sources = [lib, ("tests.rs", "use crate::nothing;\n")];
    assert_eq!(of_crate("lib", &sources), (true, content.into()));
}

#[test]
fn what_leads_outside_or_back_to_the_file_itself_is_no_import() {
    leads_nowhere("use std::fmt;\nuse ::high::High;\nfn f() { ::high::f(); m!(::high::f()); }");
    leads_nowhere("//! See [`crate::high`].\npub(in crate::low) struct S;\npub(super) struct T;");
    leads_nowhere("mod inner { use super::S; }\nfn f() { self::g(); inner::h() }\nstruct S;");
    leads_nowhere("macro_rules! m { ($high:ident) => { $high::f() }; }");
}

#[test]
fn an_exported_macro_is_imported_from_where_it_is_written() {
    let sources = [
        ("lib.rs", "#[macro_use]\nmod low;\nmod high;\n"),
        ("low.rs", "#[macro_export]\nmacro_rules! m { () => {}; }\n"),
        ("high.rs", "fn f() { crate::m!() }\n"),
    ];
    assert!(of_crate("low\nhigh\nlib", &sources).0);
    let (_, text) = of_crate("high\nlow\nlib", &sources);
    assert_eq!(text, "src/high.rs:1: imports low, which stands above it (floors.txt:5)\n1 fault\n");
}

#[test]
fn a_program_imports_the_library_beside_it_by_name() {
    let sources = [("lib.rs", "pub mod a;\n"), ("a.rs", ""), ("main.rs", "use fixture::a;\n")];
    assert!(of_crate("a\nlib\nmain", &sources).0);
    let (_, text) = of_crate("main\na\nlib", &sources);
    assert_eq!(text, "src/main.rs:1: imports a, which stands above it (floors.txt:5)\n1 fault\n");
}

/// What it says of a workspace of `engine`, `host` and `top`, which depends on both, with these
/// further dependencies of `engine` and this order of the crates.
fn of_workspace(engine: &str, order: &str) -> (bool, String) {
    let package = |name: &str, dependencies: &str| {
        format!(
            "[package]\nname = \"apikey-{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
             [dependencies]\n{dependencies}"
        )
    };
    let order =
        format!("[workspace]\n{order}\n[engine/src]\nlib\n[host/src]\nlib\n[top/src]\nlib\n");
    floors(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"engine\", \"host\", \"top\"]\nresolver = \"2\"\n",
        ),
        ("engine/Cargo.toml", &package("engine", engine)),
        ("engine/src/lib.rs", ""),
        ("host/Cargo.toml", &package("host", "")),
        ("host/src/lib.rs", ""),
        (
            "top/Cargo.toml",
            &package(
                "top",
                "apikey-engine = { path = \"../engine\" }\napikey-host = { path = \"../host\" }\n",
            ),
        ),
        ("top/src/lib.rs", ""),
        ("floors.txt", &order),
    ])
}

#[test]
fn crates_that_depend_on_lower_ones_pass() {
    let content = "3 crates, 3 files, 3 floors: every import leads down\n";
    assert_eq!(of_workspace("", "engine host\ntop"), (true, content.into()));
}

#[test]
fn a_crate_that_depends_on_one_above_or_beside_it_fails() {
    let fault = "top/Cargo.toml: depends on host, which stands above it (floors.txt:4)\n1 fault\n";
    assert_eq!(of_workspace("", "engine\ntop\nhost").1, fault);
    let beside = "apikey-host = { path = \"../host\" }\n";
    let fault =
        "engine/Cargo.toml: depends on host, which stands on the same floor (floors.txt:2)\n1 fault\n";
    assert_eq!(of_workspace(beside, "engine host\ntop"), (false, fault.into()));
    let for_tests = format!("[dev-dependencies]\n{beside}");
    assert_eq!(of_workspace(&for_tests, "engine host\ntop"), (false, fault.into()));
}

#[test]
fn a_dependency_that_a_crate_never_may_have_fails() {
    let order = "host\nengine\ntop\n[never]\nengine: redis-module libc host";
    let never = |name: &str| {
        format!(
            "engine/Cargo.toml: depends on {name}, which it never may (floors.txt:6)\n1 fault\n"
        )
    };
    assert_eq!(of_workspace("libc = \"0.2\"\n", order), (false, never("libc")));
    let host = "apikey-host = { path = \"../host\" }\n";
    assert_eq!(of_workspace(host, order), (false, never("host")));
}

#[test]
fn a_crate_without_a_floor_fails() {
    let missing = "host/Cargo.toml: host stands on no floor (floors.txt:1)\n1 fault\n";
    assert_eq!(of_workspace("", "engine\ntop"), (false, missing.into()));
    let unknown = "floors.txt:3: other is no crate\n1 fault\n";
    assert_eq!(of_workspace("", "engine host\ntop other"), (false, unknown.into()));
}

#[test]
fn a_crate_without_a_section_and_a_section_without_a_crate_fail() {
    let files = [
        ("Cargo.toml", PACKAGE),
        ("src/lib.rs", ""),
        ("floors.txt", "[workspace]\n.\n[other/src]\nlib\n"),
    ];
    let faults = "floors.txt: has no [src]\n\
                  floors.txt:3: [other/src] is no crate's folder of sources\n2 faults\n";
    assert_eq!(floors(&files), (false, faults.into()));
}

#[test]
fn a_list_has_each_floor_and_the_lines_of_its_files() {
    let root = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text| fs::write(root.path().join(path), text).expect("a file");
    fs::create_dir(root.path().join("src")).expect("a folder");
    write("Cargo.toml", PACKAGE);
    write("src/lib.rs", "mod a;\nmod b;\n");
    write("src/a.rs", "// 1\n// 2\n// 3\n");
    write("src/b.rs", "");
    write("floors.txt", "[workspace]\n.\n[src]\na b\nlib");
    let mut command = Command::new(env!("CARGO_BIN_EXE_apikey-floors"));
    let output = command.arg("--list").current_dir(root.path()).output().expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "src: 3 files, 5 lines, 2 floors, the longest a (3)\n   1  a 3, b 0\n   2  lib 2\n\n"
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let broken = [("lib.rs", "fn f() {}\nfn {}\n")];
    assert!(of_crate("lib", &broken).1.starts_with("floors: src/lib.rs:2: expected identifier"));
    let lost = [("lib.rs", "\nmod lost;\n")];
    assert_eq!(
        of_crate("lib", &lost),
        (false, "floors: src/lib.rs:2: mod lost has no file\n".into())
    );
    let moved = [("lib.rs", "#[path = \"a.rs\"]\nmod moved;\n"), ("a.rs", "")];
    let fault = "floors: src/lib.rs:1: #[path] is not followed here\n";
    assert_eq!(of_crate("lib", &moved), (false, fault.into()));
    let says =
        |order| floors(&[("Cargo.toml", PACKAGE), ("src/lib.rs", ""), ("floors.txt", order)]).1;
    assert_eq!(says("# nothing"), "floors: floors.txt has no [workspace]\n");
    assert_eq!(says("\n."), "floors: floors.txt:2: . stands before the first heading\n");
    assert_eq!(says("[src"), "floors: floors.txt:1: a heading ends in ]\n");
    assert_eq!(says("[a]\n[a]"), "floors: floors.txt:2: [a] is there twice\n");
    assert_eq!(
        says("[never]\nengine"),
        "floors: floors.txt:2: of [never], is no `crate: dependency ..`\n"
    );
}

#[test]
fn a_file_that_no_module_declares_is_told() {
    let sources = [
        ("lib.rs", "mod low;\n#[cfg(test)]\nmod tests;\n"),
        ("low.rs", ""),
        ("tests.rs", ""),
        ("left/behind.rs", ""),
    ];
    let fault = "src/left/behind.rs: no module declares it\n1 fault\n";
    assert_eq!(of_crate("low\nlib", &sources), (false, fault.into()));
}
