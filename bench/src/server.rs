//! Servers of our own: started on a free loopback port in a temporary directory, killed when dropped
//! (also by a panic, and by the kernel if this process is killed), and asked for CPU time and memory.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use redis::{Connection, Value};
use tempfile::TempDir;

use crate::settings::Settings;

/// No reply of a benchmark takes longer; a server that does is stuck.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
const START_TIMEOUT: Duration = Duration::from_secs(20);
const START_TRIES: usize = 5;
/// A rehash in the background of the largest table here takes a fraction of it.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server, alone in its directory: no snapshots of its own accord, no append-only file, no
/// limit on memory.
pub struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
    program: OsString,
    /// Arguments beside those that every server here gets.
    extra: Vec<OsString>,
}

impl Server {
    /// A server with the module loaded.
    pub fn with_module(settings: &Settings) -> Result<Server> {
        Server::with_module_set(settings, &[])
    }

    /// The same with settings of the module: name, value, name, value ..
    pub fn with_module_set(settings: &Settings, module_settings: &[&str]) -> Result<Server> {
        let module = fs::canonicalize(&settings.module)
            .with_context(|| format!("no module at {}", settings.module.display()))?;
        let mut extra = vec!["--loadmodule".into(), module.into_os_string()];
        extra.extend(module_settings.iter().map(OsString::from));
        Server::start(&settings.server, &extra)
    }

    /// The same beside the module that is the floor.
    pub fn with_floor(settings: &Settings) -> Result<Server> {
        let mut extra = Vec::new();
        for path in [&settings.module, &settings.floor] {
            let path = fs::canonicalize(path)
                .with_context(|| format!("no module at {}", path.display()))?;
            extra.extend(["--loadmodule".into(), path.into_os_string()]);
        }
        Server::start(&settings.server, &extra)
    }

    /// The same as a node of a cluster.
    pub fn in_cluster(settings: &Settings) -> Result<Server> {
        let module = fs::canonicalize(&settings.module)
            .with_context(|| format!("no module at {}", settings.module.display()))?;
        let mut extra: Vec<OsString> =
            ["--cluster-enabled", "yes", "--loadmodule"].iter().map(OsString::from).collect();
        extra.push(module.into_os_string());
        Server::start(&settings.server, &extra)
    }

    /// A server without it, as its users have it today.
    pub fn plain(settings: &Settings) -> Result<Server> {
        Server::start(&settings.server, &[])
    }

    /// Another process may take the free port before the server does, so it tries a few.
    fn start(program: impl AsRef<OsStr>, extra: &[OsString]) -> Result<Server> {
        let mut last = None;
        for _ in 0..START_TRIES {
            match Server::start_once(program.as_ref(), extra) {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("at least one try"))
    }

    fn start_once(program: &OsStr, extra: &[OsString]) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = TempDir::with_prefix("apikey-bench-")?;
        let child = spawn(program, port, dir.path(), extra)?;
        let (program, extra) = (program.to_owned(), extra.to_owned());
        let mut server = Server { child, port, dir, program, extra };
        server.wait_until_up()?;
        Ok(server)
    }

    /// Kills the server and starts it again over what it has saved, with a log of its own. Returns when
    /// it has loaded that.
    pub fn restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        fs::remove_file(self.log_path())?;
        self.child = spawn(&self.program, self.port, self.dir.path(), &self.extra)?;
        self.wait_until_up()?;
        let mut con = self.connect()?;
        let start = Instant::now();
        while info(&mut con, "persistence", "loading")? != "0" {
            ensure!(
                start.elapsed() < REPLY_TIMEOUT,
                "it was still loading after {REPLY_TIMEOUT:?}"
            );
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Until it answers, and it is ours that answers; an early exit gives the end of its log.
    fn wait_until_up(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server stopped at once ({status}):\n{}", self.log_end());
            }
            if let Ok(pid) = self.connect().and_then(|mut c| info(&mut c, "server", "process_id")) {
                ensure!(
                    pid == self.child.id().to_string(),
                    "port {} is another server's",
                    self.port
                );
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("the server did not answer in {START_TIMEOUT:?}:\n{}", self.log_end())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connect(&self) -> Result<Connection> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        let con = client.get_connection_with_timeout(Duration::from_secs(5))?;
        con.set_read_timeout(Some(REPLY_TIMEOUT))?;
        con.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(con)
    }

    /// Makes this server, which is empty, a replica of another, and waits until it follows.
    pub fn follow(&self, primary: &Server) -> Result<()> {
        let mut con = primary.connect()?;
        for (name, value) in
            [("repl-diskless-sync-delay", "0"), ("client-output-buffer-limit", "replica 0 0 0")]
        {
            redis::cmd("CONFIG").arg(&["SET", name, value]).exec(&mut con)?;
        }
        let mut con = self.connect()?;
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(primary.port).exec(&mut con)?;
        let start = Instant::now();
        while info(&mut con, "replication", "master_link_status")? != "up" {
            ensure!(start.elapsed() < START_TIMEOUT, "the replica did not follow");
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The thread that runs the commands.
    pub fn main_thread(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the main thread since it started; exact while the server waits for commands.
    pub fn cpu(&self) -> Result<Duration> {
        let pid = self.child.id();
        let path = format!("/proc/{pid}/task/{pid}/schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let nanos = text.split_whitespace().next().with_context(|| format!("{path} is empty"))?;
        Ok(Duration::from_nanos(nanos.parse()?))
    }

    /// A clock of the CPU time of all threads, exact also while they run.
    pub fn clock(&self) -> Result<Clock> {
        let mut id = 0;
        // SAFETY: writes nothing but the clock's number.
        match unsafe { libc::clock_getcpuclockid(self.child.id() as libc::pid_t, &mut id) } {
            0 => Ok(Clock(id)),
            error => Err(io::Error::from_raw_os_error(error).into()),
        }
    }

    /// Bytes that the server has allocated, the module's included.
    pub fn used_memory(&self) -> Result<u64> {
        used_memory(&mut self.connect()?)
    }

    /// Saves everything, for [`Server::restart`]. Returns the bytes of the dump file.
    pub fn save(&self) -> Result<u64> {
        let mut con = self.connect()?;
        redis::cmd("SAVE").exec(&mut con)?;
        let name: Vec<String> = redis::cmd("CONFIG").arg(&["GET", "dbfilename"]).query(&mut con)?;
        Ok(fs::metadata(self.dir.path().join(&name[1]))?.len())
    }

    /// How long the load of [`Server::restart`] took, as the server's log has it: to the millisecond.
    pub fn load_time(&self) -> Result<Duration> {
        let log = fs::read_to_string(self.log_path())?;
        let seconds = log
            .lines()
            .find_map(|line| line.split_once("DB loaded from disk: ")?.1.strip_suffix(" seconds"))
            .context("the log tells of no load from disk")?;
        Ok(Duration::from_secs_f64(seconds.parse()?))
    }

    /// Waits until the server has nothing left to do in the background, in any of its threads: rehashing
    /// of its tables, a module's reclaim, memory to free. It ticks faster meanwhile.
    pub fn settle(&self) -> Result<()> {
        const STEP: Duration = Duration::from_millis(50);
        const IDLE: Duration = Duration::from_millis(1);
        let mut con = self.connect()?;
        let hz: Vec<String> = redis::cmd("CONFIG").arg(&["GET", "hz"]).query(&mut con)?;
        redis::cmd("CONFIG").arg(&["SET", "hz", "100"]).exec(&mut con)?;
        let start = Instant::now();
        let clock = self.clock()?;
        let (mut quiet, mut before) = (0, clock.now()?);
        while quiet < 3 && start.elapsed() < SETTLE_TIMEOUT {
            sleep(STEP);
            let now = clock.now()?;
            quiet = if now - before < IDLE { quiet + 1 } else { 0 };
            before = now;
        }
        redis::cmd("CONFIG").arg(&["SET", "hz", hz[1].as_str()]).exec(&mut con)?;
        ensure!(quiet >= 3, "the server was still busy after {SETTLE_TIMEOUT:?}");
        Ok(())
    }

    /// Empties the server and waits until it is done with it.
    pub fn flush(&self) -> Result<()> {
        redis::cmd("FLUSHALL").arg("SYNC").exec(&mut self.connect()?)?;
        self.settle()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &OsStr, port: u16, dir: &Path, extra: &[OsString]) -> Result<Child> {
    let mut command = Command::new(program);
    command
        .current_dir(dir)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--logfile", "server.log"])
        .args(extra)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: prctl is async-signal-safe and touches nothing but the new process' own setting.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    command.spawn().with_context(|| format!("could not start {}", program.to_string_lossy()))
}

/// See [`Server::clock`].
#[derive(Clone, Copy)]
pub struct Clock(libc::clockid_t);

impl Clock {
    pub fn now(self) -> Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes nothing but the time.
        match unsafe { libc::clock_gettime(self.0, &mut time) } {
            0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
            _ => Err(io::Error::last_os_error().into()),
        }
    }
}

/// [`Server::used_memory`], over a connection that is there already.
pub fn used_memory(con: &mut Connection) -> Result<u64> {
    Ok(info(con, "memory", "used_memory")?.parse()?)
}

/// One field of one section of INFO.
pub fn info(con: &mut Connection, section: &str, field: &str) -> Result<String> {
    let text: String = redis::cmd("INFO").arg(section).query(con)?;
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(|value| value.trim().to_string())
        .with_context(|| format!("INFO {section} has no {field}"))
}

/// How often the server ran a command, and how long that took by its own account.
pub fn server_time(con: &mut Connection, stat: &str) -> Result<(u64, Duration)> {
    let stats = info(con, "commandstats", stat)?;
    let field = |name: &str| -> Result<u64> {
        let value = stats.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Ok(value.with_context(|| format!("{stat} has no {name}: {stats}"))?.parse()?)
    };
    Ok((field("calls")?, Duration::from_micros(field("usec")?)))
}

/// How many keys the selected database has.
pub fn dbsize(con: &mut Connection) -> Result<u64> {
    Ok(redis::cmd("DBSIZE").query(con)?)
}

/// One number of APIKEY.HEALTH.
pub fn health(con: &mut Connection, field: &str) -> Result<u64> {
    let health: HashMap<String, Value> = redis::cmd("APIKEY.HEALTH").query(con)?;
    match health.get(field) {
        Some(&Value::Int(number)) => Ok(u64::try_from(number)?),
        other => bail!("HEALTH has no number under {field}: {other:?}"),
    }
}

/// What the figures were measured on.
pub struct About {
    /// As in "redis 7.0.15".
    pub server: String,
    /// The processor and how many of it, as in "Xeon, 2 cores".
    pub machine: String,
}

/// Starts a server for a moment to ask what it is.
pub fn describe(settings: &Settings) -> Result<About> {
    let server = Server::plain(settings)?;
    let mut con = server.connect()?;
    let name = match info(&mut con, "server", "valkey_version") {
        Ok(version) => format!("valkey {version}"),
        Err(_) => format!("redis {}", info(&mut con, "server", "redis_version")?),
    };
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Ok(About { server: name, machine: format!("{model}, {cores} cores") })
}
