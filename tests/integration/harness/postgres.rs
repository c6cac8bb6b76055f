//! A PostgreSQL of its own for a test, from the binaries of the installed packages: its directory is
//! temporary, it listens on a socket in there alone, and its life is as long as the value.

use std::fs::{self, File};
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually;
use super::server::die_with_parent;

pub struct Postgres {
    child: Option<Child>,
    options: Vec<String>,
    port: String,
    dir: TempDir,
}

impl Postgres {
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[], &["listen_addresses="])
    }

    /// With copies of these files in its directory, by their names there, and these settings.
    #[track_caller]
    pub fn start_with(files: &[(&str, String)], settings: &[&str]) -> Self {
        let dir = TempDir::new().expect("temporary directory");
        let data = dir.path().join("data");
        if let Some((user, group)) = other_user() {
            chown(dir.path(), Some(user), Some(group)).expect("chown");
        }
        let made = command("initdb", dir.path())
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"])
            .args(["--no-sync", "-D"])
            .arg(&data)
            .output();
        let made = made.unwrap_or_else(|e| panic!("initdb in {}: {e}", programs().display()));
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        for (name, from) in files {
            let path = dir.path().join(name);
            fs::copy(from, &path).expect("a copy");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
            if let Some((user, group)) = other_user() {
                chown(&path, Some(user), Some(group)).expect("chown");
            }
        }
        let at = dir.path().display().to_string();
        let port = settings.iter().find_map(|setting| setting.strip_prefix("port="));
        let port = port.unwrap_or("5432").to_string();
        // What it wrote outlives its processes, and nobody stops its machine: nothing has to be on disk.
        let settings = [&["fsync=off"], settings].concat();
        let settings =
            settings.into_iter().flat_map(|setting| ["-c".into(), setting.replace("DIR", &at)]);
        let options = settings.collect();
        let mut postgres = Self { child: None, options, port, dir };
        postgres.launch();
        postgres
    }

    #[track_caller]
    fn launch(&mut self) {
        let path = self.dir.path();
        let log = File::options().append(true).create(true).open(path.join("log")).expect("log");
        let mut server = command("postgres", path);
        server.arg("-D").arg(path.join("data")).arg("-k").arg(path).args(&self.options).stderr(log);
        // SIGQUIT and not SIGKILL, after which its shared memory would stay.
        die_with_parent(&mut server, libc::SIGQUIT);
        self.child = Some(server.spawn().expect("postgres"));
        eventually("PostgreSQL answers", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("wait"));
            assert!(ended.is_none(), "postgres: {}", ended.unwrap_or_default());
            self.psql("SELECT 1").output().expect("psql").status.success()
        });
    }

    /// Ends it at once, as a crash does.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = i32::try_from(child.id()).expect("a process id");
        // SAFETY: a call without memory, of a process that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGQUIT) };
        // Its own children end before it does.
        let _ = child.wait();
    }

    /// Stops all its processes where they are: connections stay, and the system takes new ones for it.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    #[track_caller]
    pub fn wake(&self) {
        self.signal(libc::SIGCONT);
    }

    #[track_caller]
    fn signal(&self, signal: i32) {
        let pid = self.child.as_ref().expect("it runs").id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("its children");
        let all = children.split(' ').filter(|pid| !pid.is_empty());
        for pid in all.map(|pid| pid.parse().expect("a pid")).chain([pid]) {
            let pid = i32::try_from(pid).expect("a process id");
            // SAFETY: a call without memory, to a process of ours; its children are waited for by itself alone.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Starts it, after `stop`, with what it has.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.launch();
    }

    /// The same database as a URL.
    pub fn url(&self) -> String {
        format!("postgresql:///postgres?host={}&user=postgres", self.dir.path().display())
    }

    /// The connection string of its one database.
    pub fn dsn(&self) -> String {
        format!(
            "host={} port={} user=postgres dbname=postgres",
            self.dir.path().display(),
            self.port
        )
    }

    /// The variables by which its programs find it.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("PGHOST", self.dir.path().display().to_string()),
            ("PGPORT", self.port.clone()),
            ("PGUSER", "postgres".into()),
        ]
    }

    fn psql(&self, sql: &str) -> Command {
        let mut psql = command("psql", self.dir.path());
        psql.stdout(Stdio::piped());
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
            .args(["--field-separator= ", "--set=ON_ERROR_STOP=1", "--command", sql])
            .arg(self.dsn());
        psql
    }

    /// The words of a command that anybody may run, and that writes what a query of one of its databases gives.
    pub fn export(&self, database: &str, query: &str) -> Vec<String> {
        let psql = programs().join("psql").display().to_string();
        let dsn = format!("host={} user=postgres dbname={database}", self.dir.path().display());
        [&psql, "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", &dsn, "-c", query].map(String::from).into()
    }

    /// Runs SQL and gives the lines that come back, columns separated by a space.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> Vec<String> {
        let output = self.psql(sql).output().expect("psql");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect()
    }

    /// Breaks every other connection.
    #[track_caller]
    pub fn break_connections(&self) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.wake();
        }
        self.stop();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("-- log of PostgreSQL:\n{}", tail.join("\n"));
        }
    }
}

/// One of PostgreSQL's programs, as a user that it accepts.
fn command(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(programs().join(program));
    command.current_dir(dir).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Where the programs are: `APIKEY_POSTGRES_BIN`, or the newest that Debian's packages have installed.
fn programs() -> PathBuf {
    if let Some(dir) = std::env::var_os("APIKEY_POSTGRES_BIN") {
        return dir.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| {
            let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            version.and_then(|version| version.parse::<u32>().ok())
        })
        .expect(
            "this test needs PostgreSQL: apt-get install postgresql (scripts/test does), \
             or say in APIKEY_POSTGRES_BIN where initdb, postgres and psql are",
        )
}

/// The user and group to run PostgreSQL as, where this is root, which it refuses.
fn other_user() -> Option<(u32, u32)> {
    // SAFETY: a call without memory.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let find = |name: &str| {
        let fields: Vec<&str> = users
            .lines()
            .map(|line| line.split(':').collect())
            .find(|fields: &Vec<&str>| fields.first() == Some(&name))?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    let found = find("postgres").or_else(|| find("nobody"));
    Some(found.expect("PostgreSQL refuses root, and there is no user postgres or nobody"))
}
