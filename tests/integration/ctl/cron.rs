//! `deploy/cron.example`: each job does its work, and prints nothing but what somebody has to know.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::program::{program, url};
use crate::harness::*;

/// What cron would run, `%` being a new line unless it is escaped.
fn jobs(file: &str) -> Vec<String> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let jobs = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_digit() || c == '*'));
    jobs.map(|job| {
        let mut fields = job.splitn(7, ' ');
        for _ in 0..5 {
            let field = fields.next().expect("a field");
            assert!(field.bytes().all(|b| b"0123456789*/,-".contains(&b)), "{job}");
        }
        assert_eq!(fields.next(), Some("redis"), "{job}");
        let command = fields.next().expect("a command");
        assert_eq!(command.matches('%').count(), command.matches(r"\%").count(), "{job}");
        command.replace(r"\%", "%")
    })
    .collect()
}

#[test]
fn each_job_of_the_example_does_its_work_and_is_silent_unless_something_is_wrong() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = fs::read_to_string(root.join("deploy/cron.example")).expect("the example");
    let jobs = jobs(&file);
    assert_eq!(jobs.len(), 7);
    let server = Server::builder()
        .config("maxmemory 100mb")
        .config("maxmemory-policy volatile-ttl")
        .with_aof(true)
        .start();
    let mut c = server.client();
    // From 10,000 on plan measures.
    let fill = |i| format!("APIKEY.SETVAL apikey:{{k{i}}} {}", record("r", "u"));
    c.pipeline(&(0..11_000).map(fill).collect::<Vec<_>>());
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    for name in ["bin", "var/backups/redis-apikey", "var/lib/redis-apikey", "etc/redis"] {
        fs::create_dir_all(at(name)).expect("a folder");
    }
    fs::write(at("etc/redis/redis.conf"), "port 6379\n").expect("a file");
    let products = at("var/lib/redis-apikey/products");
    fs::write(&products, "#!/bin/sh\necho '{\"id\":7,\"name\":\"seven\"}'\n").expect("a file");
    fs::set_permissions(&products, Permissions::from_mode(0o755)).expect("a program");
    std::os::unix::fs::symlink(program(), at("bin/apikeyctl")).expect("a link");
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap_or_default());
    let here = dir.path().display().to_string();
    let address = url(&server);
    let run = |job: &str| {
        let job =
            job.replace("/var/", &format!("{here}/var/")).replace("-C /", &format!("-C {here}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &job]).env_clear().env("PATH", &path).env("APIKEYCTL_URL", &address);
        let output = shell.output().expect("sh");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    for _ in 0..2 {
        for job in &jobs {
            let told = run(job);
            // What this machine's kernel lacks is none of the server's.
            let of_kernel = ["overcommit", "thp", "somaxconn", "open-files"];
            let all =
                told.lines().filter(|line| line.starts_with("warn") || line.starts_with("wrong"));
            let rest: Vec<&str> =
                all.filter(|line| !of_kernel.iter().any(|name| line.contains(name))).collect();
            assert!(rest.is_empty() && (told.is_empty() || job == &jobs[1]), "{job}: {told}");
        }
    }
    let names = |name: &str| {
        let entries = fs::read_dir(at(name)).expect("a folder").map(|entry| entry.expect("one"));
        entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect::<Vec<_>>()
    };
    let kept = names("var/backups/redis-apikey");
    assert_eq!(kept.iter().filter(|name| name.ends_with('Z')).count(), 2, "{kept:?}");
    let tars: Vec<&String> = kept.iter().filter(|name| name.ends_with(".tar.gz")).collect();
    assert_eq!(tars.len(), 1, "{kept:?}");
    let mode = at("var/backups/redis-apikey").join(tars[0]).metadata().expect("it").mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut reports = names("var/lib/redis-apikey");
    reports.sort();
    assert_eq!(reports, ["last.json", "products", "report.html"]);
    let warmed = c.must("CACHE.GET product:7 products");
    assert_eq!(warmed.items()[1], bulk(r#"{"id":7,"name":"seven"}"#));

    c.must("CONFIG SET maxmemory-policy allkeys-lru");
    assert!(run(&jobs[1]).contains("policy-allkeys"));
    c.count("apikey:{k1}:usage", 1);
    assert!(run(&jobs[1]).contains("counts-evictable"));
    // Nothing is found of what is asked for.
    (0..500).for_each(|i| assert_eq!(c.code(&format!("none{i}")), "MISS"));
    assert!(run(&jobs[3]).contains("critical"));
    // Room for less than two months.
    let used = c.info("memory", "used_memory").expect("it").parse::<u64>().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used + used / 8));
    assert!(run(&jobs[5]).contains("80 % of maxmemory"), "{}", run(&jobs[5]));
    drop(server);
    for job in jobs[..4].iter().chain(&jobs[5..]) {
        assert!(run(job).contains("Connection refused"), "{job}");
    }
    // The week to compare with is still there.
    let last = fs::read_to_string(at("var/lib/redis-apikey/last.json")).expect("a report");
    assert!(last.starts_with('{'), "{last}");
}

/// The value of a line of a unit, or of what stands in /etc/default.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name}: {text}"))
}

#[test]
fn what_the_timer_of_the_package_starts_warms_a_region() {
    let debian = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/debian");
    let read = |name: &str| fs::read_to_string(debian.join(name)).expect("a file");
    let (service, options) = (read("apikeyctl-warm.service"), read("apikeyctl-warm.default"));
    let timer = read("apikeyctl-warm.timer");
    assert!(
        line(&timer, "OnCalendar").ends_with(":00") && timer.contains("WantedBy=timers.target")
    );
    assert_eq!((line(&service, "Type"), service.contains("[Install]")), ("oneshot", false));
    assert_eq!(line(&service, "EnvironmentFile"), "-/etc/default/apikeyctl-warm");
    let exec = line(&service, "ExecStart").strip_prefix("/usr/bin/apikeyctl ").expect("apikeyctl");

    let server = Server::start();
    let dir = tempfile::tempdir().expect("a folder");
    let rows = dir.path().join("rows");
    fs::write(&rows, "#!/bin/sh\necho '{\"id\":7}'\n").expect("a file");
    fs::set_permissions(&rows, Permissions::from_mode(0o755)).expect("a program");
    let options = line(&options, "OPTIONS").trim_matches('"');
    let options = options.replace("/usr/local/bin/print-products", &rows.display().to_string());
    let line = exec.replace("$OPTIONS", &options);
    let mut command = Command::new(program());
    command.args(line.split(' ')).env("APIKEYCTL_URL", url(&server));
    let ran = command.output().expect("apikeyctl");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let told = server.client().must("CACHE.GET product:7 products");
    assert_eq!(told.items()[1], bulk(r#"{"id":7}"#));
}
