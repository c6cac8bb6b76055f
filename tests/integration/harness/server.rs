//! A server of its own for a test: its directory is temporary, its port free, its life as long as the value.

use std::fmt;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{Client, Reply};
use super::streams::find;
use super::{eventually, PATIENCE};

/// The socket of a server that speaks TLS alone, in its directory.
const SOCKET: &str = "socket";

/// Databases of a server: few, so that a test can look at all of them.
pub const DATABASES: usize = 4;

/// What the server under test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis62,
    Redis70,
    Redis82,
    Valkey91,
}

impl Kind {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "redis-6.2" => Kind::Redis62,
            "redis-7.0" => Kind::Redis70,
            "redis-8.2" => Kind::Redis82,
            "valkey-9.1" => Kind::Valkey91,
            _ => return None,
        })
    }

    /// From the line that `--version` prints: `Redis server v=7.0.15 sha=..`.
    fn from_version(line: &str) -> Option<Self> {
        let product = line.split(' ').next()?.to_lowercase();
        let version = line.split(" v=").nth(1)?;
        let mut parts = version.split('.');
        Self::from_name(&format!("{product}-{}.{}", parts.next()?, parts.next()?))
    }

    /// Whether `apikey.*` can be set by CONFIG SET and in the configuration file.
    pub fn has_module_config(self) -> bool {
        self != Kind::Redis62
    }
}

/// The server binary that is under test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        std::env::var_os("APIKEY_SERVER_BIN")
            .map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
    })
}

/// What the server under test is.
pub fn kind() -> Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    *KIND.get_or_init(|| {
        if let Ok(name) = std::env::var("APIKEY_SERVER") {
            return Kind::from_name(&name).unwrap_or_else(|| {
                panic!(
                    "APIKEY_SERVER={name}: expected redis-6.2, redis-7.0, redis-8.2 or valkey-9.1"
                )
            });
        }
        let output = Command::new(binary())
            .arg("--version")
            .output()
            .unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        Kind::from_version(&line)
            .unwrap_or_else(|| panic!("APIKEY_SERVER must say what this server is: {line}"))
    })
}

/// The module that is under test.
pub fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        let path = std::env::var_os("APIKEY_MODULE").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debug/libapikey.so"),
            PathBuf::from,
        );
        fs::canonicalize(&path)
            .unwrap_or_else(|e| panic!("no module at {}: {e}; run cargo build", path.display()))
    })
}

/// The module of the release before, or that of another revision (`scripts/released`).
pub fn other_module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        let path = std::env::var_os("APIKEY_OTHER_MODULE").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/released/libapikey.so"),
            PathBuf::from,
        );
        fs::canonicalize(&path).unwrap_or_else(|e| {
            panic!("no module at {}: {e}; run scripts/released", path.display())
        })
    })
}

/// What a server is started with.
#[derive(Clone, Default)]
pub struct Builder {
    config: Vec<String>,
    module_args: Vec<(String, String)>,
    without_module: bool,
    module: Option<PathBuf>,
    environment: Vec<(String, PathBuf)>,
    login: Option<(String, String)>,
    tls: Option<Vec<String>>,
    is_sentinel: bool,
}

impl Builder {
    /// A line of the configuration file. It stands behind the harness' own lines, so it wins.
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.into());
        self
    }

    /// A setting of the module, `trust-loaded` and not `apikey.trust-loaded`: given as an argument of
    /// the module, which works on every server.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.module_args.retain(|(known, _)| known != name);
        self.module_args.push((name.into(), value.into()));
        self
    }

    /// A variable of the server's environment.
    pub fn env(mut self, name: &str, value: &Path) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn without_module(mut self) -> Self {
        self.without_module = true;
        self
    }

    /// A Sentinel: none of the harness' own lines is for it but where it is.
    pub fn sentinel(mut self) -> Self {
        self.is_sentinel = true;
        self
    }

    /// Another module than the one that is under test.
    pub fn module(mut self, path: impl AsRef<Path>) -> Self {
        self.module = Some(path.as_ref().into());
        self
    }

    /// An AOF with every write on disk before its reply; a rewrite begins it with an RDB if `preamble`.
    pub fn with_aof(self, preamble: bool) -> Self {
        let preamble = if preamble { "yes" } else { "no" };
        self.config("appendonly yes")
            .config("appendfsync always")
            .config(&format!("aof-use-rdb-preamble {preamble}"))
    }

    /// The user that the harness' own clients are, and its password.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// Speaks TLS alone, by these lines, of which `tls-port` gets the server's port; the harness' own clients use a
    /// socket in the server's directory.
    pub fn tls(mut self, lines: &[String]) -> Self {
        self.tls = Some(lines.to_vec());
        self
    }

    pub fn replica_of(self, primary: &Server) -> Self {
        let line = format!("replicaof 127.0.0.1 {}", primary.port);
        self.config(&line)
    }

    /// Starts the server and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|failed| panic!("the server did not start:\n{failed}"))
    }

    /// Starts the server; a failure has its log.
    pub fn try_start(self) -> Result<Server, Failed> {
        /// So often others may be given its ports first.
        const MOST: usize = 50;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut server = Server {
                port: free_port(),
                builder: self.clone(),
                child: None,
                dir: tempfile::Builder::new()
                    .prefix("apikey-")
                    .tempdir()
                    .expect("temporary directory"),
            };
            match server.spawn() {
                Ok(()) => return Ok(server),
                // Someone else was given the port first.
                Err(failed) if failed.log.contains("Address already in use") && tries < MOST => {}
                Err(failed) => return Err(failed),
            }
        }
    }

    /// What stands in the configuration file.
    fn config_file(&self, port: u16, dir: &Path) -> String {
        let mut lines = vec![
            "bind 127.0.0.1".to_string(),
            format!("port {port}"),
            format!("dir {}", dir.display()),
            format!("logfile {}", dir.join("log").display()),
        ];
        if let Some(tls) = &self.tls {
            lines.push(format!("unixsocket {}", dir.join(SOCKET).display()));
            lines.extend(tls.iter().map(|line| match line.starts_with("tls-port ") {
                true => format!("tls-port {port}"),
                false => line.clone(),
            }));
        }
        if self.is_sentinel {
            lines.extend(self.config.iter().cloned());
            return lines.join("\n") + "\n";
        }
        lines.extend([
            format!("databases {DATABASES}"),
            "save \"\"".to_string(),
            "repl-diskless-sync-delay 0".to_string(),
        ]);
        if kind() != Kind::Redis62 {
            lines.push("enable-debug-command yes".into());
            lines.push("enable-module-command yes".into());
            lines.push("shutdown-timeout 0".into());
        }
        if !self.without_module {
            let module = self.module.as_deref().unwrap_or(module());
            let mut line = format!("loadmodule {}", module.display());
            for (name, value) in &self.module_args {
                line += &format!(" {name} {}", quoted(value));
            }
            lines.push(line);
        }
        lines.extend(self.config.iter().cloned());
        lines.join("\n") + "\n"
    }
}

/// An argument of a configuration line, in quotes where it needs them.
fn quoted(value: &str) -> String {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\'') {
        return value.into();
    }
    let escaped: String = value
        .bytes()
        .map(|b| match b {
            b'"' => "\\\"".into(),
            b'\\' => "\\\\".into(),
            b' '..=b'~' => char::from(b).to_string(),
            _ => format!("\\x{b:02x}"),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// A port that the system has to give. In a cluster the port 10,000 above it is used as well.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        if port <= u16::MAX - 10_000 {
            return port;
        }
    }
}

/// A server that did not start: how it ended and what it logged.
pub struct Failed {
    pub ended: String,
    pub log: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.ended, self.log)
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A running server. It is killed when this is dropped.
pub struct Server {
    pub port: u16,
    builder: Builder,
    child: Option<Child>,
    dir: TempDir,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SHUTDOWN SAVE: it writes an RDB first.
    Save,
    /// SHUTDOWN NOSAVE: what is on disk stays as it is.
    NoSave,
    /// SIGKILL.
    Kill,
}

impl Server {
    /// A server with the module and nothing else set.
    #[track_caller]
    pub fn start() -> Self {
        Builder::default().start()
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.try_client().expect("connect")
    }

    /// A new connection, to a server that may be about to close it.
    pub fn try_client(&self) -> io::Result<Client> {
        let mut c = match self.builder.tls {
            Some(_) => Client::connect_to(&self.dir().join(SOCKET))?,
            None => Client::connect(self.port)?,
        };
        if let Some((user, password)) = &self.builder.login {
            // Where it is refused, so is what comes next.
            c.try_cmd(["AUTH", user, password])?;
        }
        Ok(c)
    }

    /// The directory that holds the RDB, the AOF, the log and the configuration file.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir().join("redis.conf")
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("log")
    }

    /// Everything that the server has logged, over all its starts.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// Whether the process that was started is still there.
    pub fn is_alive(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|c| c.try_wait().expect("wait").is_none())
    }

    /// Stops it; the directory stays.
    #[track_caller]
    pub fn stop(&mut self, how: Stop) {
        match how {
            Stop::Kill => kill_group(self.child.as_mut().expect("running")),
            Stop::Save | Stop::NoSave => {
                let word = if how == Stop::Save { "SAVE" } else { "NOSAVE" };
                // The only reply there can be is an error.
                if let Ok(refused) = self.client().try_cmd(["SHUTDOWN", word]) {
                    panic!("SHUTDOWN {word}: {refused:?}");
                }
            }
        }
        let mut child = self.child.take().expect("running");
        eventually("the server ends", || child.try_wait().expect("wait").is_some());
    }

    /// Stops it and starts it again, same directory and port, and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.start_again();
    }

    /// Stops it and starts it again, with what `change` makes of its settings.
    #[track_caller]
    pub fn restart_with(&mut self, how: Stop, change: impl FnOnce(Builder) -> Builder) {
        if let Err(failed) = self.try_restart_with(how, change) {
            panic!("the server did not start again:\n{failed}");
        }
    }

    /// The same; a failure has its log.
    pub fn try_restart_with(
        &mut self,
        how: Stop,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Result<(), Failed> {
        self.stop(how);
        self.builder = change(std::mem::take(&mut self.builder));
        self.spawn()
    }

    /// Starts it with what `change` makes of its settings, after it was stopped or did not start.
    #[track_caller]
    pub fn start_again_with(&mut self, change: impl FnOnce(Builder) -> Builder) {
        self.builder = change(std::mem::take(&mut self.builder));
        self.start_again();
    }

    /// Starts it with the module again, after it did not start without.
    #[track_caller]
    pub fn start_again_with_module(&mut self) {
        self.builder.without_module = false;
        self.start_again();
    }

    /// Starts it, after `stop`.
    #[track_caller]
    pub fn start_again(&mut self) {
        if let Err(failed) = self.try_start_again() {
            panic!("the server did not start again:\n{failed}");
        }
    }

    /// Starts it, after `stop`; a failure has its log.
    pub fn try_start_again(&mut self) -> Result<(), Failed> {
        self.spawn()
    }

    /// Starts it, after `stop`, with the configuration file as the server itself has rewritten it.
    #[track_caller]
    pub fn start_as_rewritten(&mut self) {
        if let Err(failed) = self.launch() {
            panic!("the server did not start again:\n{failed}");
        }
    }

    fn spawn(&mut self) -> Result<(), Failed> {
        let text = self.builder.config_file(self.port, self.dir());
        fs::write(self.config_path(), text).expect("configuration file");
        self.launch()
    }

    fn launch(&mut self) -> Result<(), Failed> {
        let mut command = Command::new(binary());
        command
            .arg(self.config_path())
            .args(self.builder.is_sentinel.then_some("--sentinel"))
            .envs(self.builder.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        die_with_parent(&mut command, libc::SIGKILL);
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
        self.child = Some(child);
        let start = Instant::now();
        loop {
            let status = self.child.as_mut().and_then(|c| c.try_wait().expect("wait"));
            if let Some(status) = status {
                self.child = None;
                return Err(Failed { ended: status.to_string(), log: self.log() });
            }
            if self.answers() {
                return Ok(());
            }
            assert!(
                start.elapsed() < PATIENCE,
                "no PONG from the server; its log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether commands get an answer, other than that it is loading, and from this very process:
    /// the port may have gone to another one.
    fn answers(&self) -> bool {
        let Ok(mut c) = self.try_client() else {
            return false;
        };
        let not_allowed = |e: &str| e.starts_with("NOAUTH") || e.starts_with("NOPERM");
        let is_ours = match c.try_cmd(["INFO", "server"]) {
            Ok(Reply::Bulk(text)) => {
                let ours = format!("\r\nprocess_id:{}\r\n", self.pid());
                find(&text, ours.as_bytes()).is_some()
            }
            Ok(Reply::Error(text)) => not_allowed(&text),
            _ => false,
        };
        // INFO answers while it is loading, PING does not.
        is_ours
            && match c.try_cmd(["PING"]) {
                Ok(Reply::Error(text)) => not_allowed(&text),
                reply => reply.is_ok(),
            }
    }

    /// Makes it a replica of `primary` and waits until it has all that the primary has.
    #[track_caller]
    pub fn replicate(&self, primary: &Server) {
        self.client().must(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
        self.in_sync_with(primary);
    }

    /// Waits until this replica is online and has processed all that its primary has written.
    #[track_caller]
    pub fn in_sync_with(&self, primary: &Server) {
        let mut ours = self.client();
        let mut theirs = primary.client();
        eventually("the replica has caught up", || {
            let up = ours.info("replication", "master_link_status");
            let at = theirs.info("replication", "master_repl_offset");
            let have = ours.info("replication", "slave_repl_offset");
            up.as_deref() == Some("up") && at.is_some() && at == have
        });
    }

    /// Stops the process where it is: nothing of it goes on, and its connections stay.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// A process that was stopped goes on.
    #[track_caller]
    pub fn wake(&self) {
        self.signal(libc::SIGCONT);
    }

    #[track_caller]
    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        // SAFETY: a call without memory, to a process of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Bounds the files that it writes: as a disk does that is full, for 0, or is not, for none.
    #[track_caller]
    pub fn bound_files(&self, most: Option<u64>) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        let max = libc::RLIM_INFINITY;
        let bound = libc::rlimit { rlim_cur: most.unwrap_or(max), rlim_max: max };
        // SAFETY: the limits are read during the call, and the old ones are not asked for.
        let done = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, &bound, std::ptr::null_mut()) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Makes a replica a primary.
    #[track_caller]
    pub fn promote(&self) {
        self.client().must("REPLICAOF NO ONE");
    }

    /// Makes the AOF anew and waits until that is done.
    #[track_caller]
    pub fn rewrite_aof(&self) {
        self.client().must("BGREWRITEAOF");
        self.aof_is_rewritten();
    }

    /// Waits until no rewrite of the AOF goes on.
    #[track_caller]
    pub fn aof_is_rewritten(&self) {
        let mut c = self.client();
        eventually("the AOF is rewritten", || {
            let is = |c: &mut Client, name| c.info("persistence", name).expect("INFO line");
            is(&mut c, "aof_rewrite_in_progress") == "0"
                && is(&mut c, "aof_rewrite_scheduled") == "0"
        });
        let status = c.info("persistence", "aof_last_bgrewrite_status");
        assert_eq!(status.as_deref(), Some("ok"));
    }

    /// DEBUG DIGEST: a hash of all keys and values, their expiry only as there or not.
    #[track_caller]
    pub fn digest(&self) -> String {
        self.client().must("DEBUG DIGEST").text()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_group(&mut child);
            // Gone already, or going: either is what is wanted here.
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(80)..];
            eprintln!("-- log of the server on port {}:\n{}", self.port, tail.join("\n"));
        }
    }
}

/// Kills a server that is running, and its own children with it: one that writes an RDB to a replica would
/// go on, or wait for ever.
fn kill_group(server: &mut Child) {
    extern "C" {
        fn kill(pid: i32, signal: i32) -> i32;
    }
    const SIGKILL: i32 = 9;
    if server.try_wait().expect("wait").is_some() {
        return; // its number may be another's by now
    }
    let group = i32::try_from(server.id()).expect("a process id");
    // SAFETY: a call without memory. The group is the one that `spawn` made with this process, which has
    // not been waited for, so that its number is still its own.
    unsafe { kill(-group, SIGKILL) };
}

/// Lets the kernel send this signal to a process when the thread that started it is gone, however it went, and
/// none where it writes too large a file.
pub fn die_with_parent(command: &mut Command, signal: i32) {
    let signal = libc::c_ulong::try_from(signal).expect("a signal");
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and signal are, and
    // touch no memory of ours.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, signal);
            // A write beyond a bound is an error then, and not the end.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            Ok(())
        });
    }
}
