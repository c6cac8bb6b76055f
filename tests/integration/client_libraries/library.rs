//! A client library that is told what to call: a program of `tests/clients`, redis-cli, or redis-rs, which is here.

use crate::harness::server::die_with_parent;
use redis::cluster::ClusterClient;
use redis::cluster_read_routing::RandomReplicaStrategy;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{Cmd, RedisError};
use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// Which library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    RedisPy,
    RedisPyAsyncio,
    Ioredis,
    NodeRedis,
    Glide,
    RedisRs,
    RedisCli,
}

pub use Library::*;

/// All of them.
pub const LIBRARIES: [Library; 7] =
    [RedisPy, RedisPyAsyncio, Ioredis, NodeRedis, Glide, RedisRs, RedisCli];

/// What a call is about, as the library has to be told: what [docs/protocol.md] says of each.
///
/// [docs/protocol.md]: ../../../docs/protocol.md
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it is: of a command with a key.
    Key,
    /// Without a key, to whichever node.
    Any,
    /// To each primary; the reply is what each of them said.
    Each,
}

/// What the caller got: a reply, or the text of an error.
pub type Outcome = Result<Value, String>;

/// How long a library may take for an outcome.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of a library, connected.
pub struct Caller {
    library: Library,
    outcomes: Receiver<String>,
    of: Of,
}

enum Of {
    Program(Child, ChildStdin),
    Thread(Sender<(Way, String)>),
}

impl Library {
    /// Its program in `tests/clients`.
    fn program(self) -> Option<&'static str> {
        match self {
            RedisPy => Some("redis_py.py"),
            RedisPyAsyncio => Some("redis_py_asyncio.py"),
            Glide => Some("valkey_glide.py"),
            Ioredis => Some("ioredis.js"),
            NodeRedis => Some("node_redis.js"),
            RedisRs | RedisCli => None,
        }
    }

    /// A client of the nodes, or of the server, that have these ports. What else `how` may say, the programs have.
    #[track_caller]
    pub fn connect(self, how: &str, ports: &[u16]) -> Caller {
        let (tell, outcomes) = channel();
        let Some(program) = self.program() else {
            let of = match self {
                RedisRs => redis_rs(how, ports, tell),
                _ => redis_cli(ports, tell),
            };
            return Caller { library: self, outcomes, of };
        };
        let mut child = start(program, how, ports);
        let output = BufReader::new(child.stdout.take().expect("its output"));
        thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok())
        });
        let input = child.stdin.take().expect("its input");
        let caller = Caller { library: self, outcomes, of: Of::Program(child, input) };
        let version = caller.outcome().expect("its version");
        assert_eq!(version, self.version(), "{self:?} is not the one of tests/clients");
        caller
    }

    /// The version that is tried.
    pub fn version(self) -> String {
        let sources = |path| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let behind = |text: &str, mark: &str, end: char| {
            let version = text.split_once(mark).and_then(|(_, rest)| rest.split(end).next());
            version.unwrap_or_else(|| panic!("no {mark}")).to_string()
        };
        let python = |mark| behind(&sources("tests/clients/requirements.txt"), mark, '\n');
        let node = |mark| behind(&sources("tests/clients/package.json"), mark, '"');
        match self {
            RedisPy | RedisPyAsyncio => python("redis=="),
            Glide => python("valkey-glide=="),
            Ioredis => node("\"ioredis\": \""),
            NodeRedis => node("\"@redis/client\": \""),
            RedisRs => {
                behind(&sources("Cargo.lock"), "name = \"redis\"\nversion = \"", '"').to_string()
            }
            RedisCli => {
                let said = Command::new("redis-cli").arg("--version").output().expect("redis-cli");
                behind(&format!("{} ", String::from_utf8_lossy(&said.stdout)), "redis-cli ", ' ')
            }
        }
    }
}

/// Where the libraries are installed: `need_client_libraries` of `scripts/lib.sh` does that.
pub fn installed(name: &str) -> PathBuf {
    let at = std::env::var_os("APIKEY_CLIENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients"),
        PathBuf::from,
    );
    let path = at.join(name);
    assert!(
        path.exists(),
        "this test needs the client libraries of tests/clients, and {} is not there: scripts/test installs them, and \
         APIKEY_CLIENTS says where",
        path.display()
    );
    path
}

fn start(program: &str, how: &str, ports: &[u16]) -> Child {
    let runs = if program.ends_with(".py") { "venv/bin/python" } else { "node" };
    let mut command = Command::new(installed(runs));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program))
        .arg(how)
        .args(ports.iter().map(u16::to_string))
        .env("NODE_PATH", installed("node_modules"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    die_with_parent(&mut command, libc::SIGKILL);
    command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"))
}

impl Caller {
    /// What comes of a call, a line with single spaces.
    #[track_caller]
    pub fn call(&mut self, way: Way, line: &str) -> Outcome {
        self.ask(way, line);
        self.outcome()
    }

    /// The same, where it has to be a reply.
    #[track_caller]
    pub fn must(&mut self, way: Way, line: &str) -> Value {
        let outcome = self.call(way, line);
        outcome.unwrap_or_else(|error| panic!("{:?}, {line}: {error}", self.library))
    }

    /// Says the call; `within` waits for what comes of it.
    #[track_caller]
    pub fn ask(&mut self, way: Way, line: &str) {
        match &mut self.of {
            Of::Program(_, input) => {
                let args: Vec<&str> = line.split(' ').collect();
                let way = format!("{way:?}").to_lowercase();
                writeln!(input, "{}", json!({"way": way, "args": args})).expect("it listens");
            }
            Of::Thread(calls) => calls.send((way, line.into())).expect("it listens"),
        }
    }

    #[track_caller]
    pub fn outcome(&self) -> Outcome {
        self.within(PATIENCE).unwrap_or_else(|| panic!("{:?} says nothing", self.library))
    }

    /// What comes of the call, if it comes in time.
    #[track_caller]
    pub fn within(&self, time: Duration) -> Option<Outcome> {
        let line = self.outcomes.recv_timeout(time).ok()?;
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        Some(match said.get("error") {
            Some(error) => Err(error.as_str().expect("a text").to_string()),
            None => Ok(said["reply"].clone()),
        })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Of::Program(child, _) = &mut self.of {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A thread that answers calls as a program does, by what `call` says of each.
fn thread(
    tell: Sender<String>,
    mut call: impl FnMut(Way, &[&str]) -> Outcome + Send + 'static,
) -> Of {
    let (calls, called) = channel::<(Way, String)>();
    thread::spawn(move || {
        for (way, line) in called {
            let args: Vec<&str> = line.split(' ').collect();
            let outcome = match call(way, &args) {
                Ok(reply) => json!({ "reply": reply }),
                Err(error) => json!({ "error": error }),
            };
            if tell.send(outcome.to_string()).is_err() {
                return;
            }
        }
    });
    Of::Thread(calls)
}

fn redis_rs(how: &str, ports: &[u16], tell: Sender<String>) -> Of {
    let mut builder =
        ClusterClient::builder(ports.iter().map(|port| format!("redis://127.0.0.1:{port}")));
    let is_once = how == "cluster-once";
    if is_once {
        builder = builder.retries(0);
    }
    if how == "replicas" {
        builder = builder.read_routing_strategy(RandomReplicaStrategy);
    }
    let client = builder.build().expect("a client");
    let mut connection = client.get_connection().expect("a connection");
    thread(tell, move |way, args| {
        let mut cmd = Cmd::new();
        cmd.arg(args);
        let each = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let reply = match way {
            Way::Each => connection.route_command(&cmd, each),
            Way::Key | Way::Any => cmd.query(&mut connection),
        };
        // Without retries a connection that is lost stays so.
        if is_once && reply.as_ref().is_err_and(RedisError::is_io_error) {
            connection = client.get_connection().expect("another connection");
        }
        reply.map(json_of).map_err(|error| text_of(&error))
    })
}

/// The code, as `RedisError::code` has it, and what is behind it.
fn text_of(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), detail) => format!("{code} {}", detail.unwrap_or_default()),
        _ => error.to_string(),
    }
}

fn json_of(value: redis::Value) -> Value {
    match value {
        redis::Value::Nil => Value::Null,
        redis::Value::Int(number) => json!(number),
        redis::Value::Okay => json!("OK"),
        redis::Value::SimpleString(text) => json!(text),
        redis::Value::BulkString(bytes) => json!(String::from_utf8_lossy(&bytes)),
        redis::Value::Array(items) => items.into_iter().map(json_of).collect(),
        redis::Value::Map(pairs) => pairs.into_iter().map(|(_, value)| json_of(value)).collect(),
        other => panic!("a reply that no call here has: {other:?}"),
    }
}

fn redis_cli(ports: &[u16], tell: Sender<String>) -> Of {
    let ports = ports.to_vec();
    thread(tell, move |way, args| match way {
        Way::Each => ports.iter().map(|port| call_redis_cli(*port, args)).collect(),
        Way::Key | Way::Any => call_redis_cli(ports[0], args),
    })
}

fn call_redis_cli(port: u16, args: &[&str]) -> Outcome {
    let output = Command::new("redis-cli")
        .args(["-c", "-e", "--json", "-p", &port.to_string()])
        .args(args)
        .output()
        .expect("redis-cli");
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned() + &said);
    }
    let line = said.lines().find(|line| !line.starts_with("-> Redirected"));
    serde_json::from_str(line.unwrap_or_default()).map_err(|e| format!("{said}: {e}"))
}
