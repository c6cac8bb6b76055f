//! An adapter: the program beside a library by which it is told what to do; and the database that it asks.

use crate::harness::eventually;
use crate::harness::server::die_with_parent;
use apikey_engine::record::digest;
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long a call may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The programs that `APIKEY_ADAPTERS` names, one on each line: a command, its words separated by tabs.
pub fn programs() -> Vec<String> {
    let all = std::env::var("APIKEY_ADAPTERS").unwrap_or_default();
    all.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string).collect()
}

/// Those that wait for an answer, by the numbers of their calls. None, once the program has ended.
type Waiting = Arc<Mutex<Option<BTreeMap<u64, Sender<Value>>>>>;

/// What a program reads. None, once it was killed.
type Input = Arc<Mutex<Option<ChildStdin>>>;

/// A program that was started. It ends with this.
pub struct Adapter {
    program: String,
    child: Child,
    lines: Input,
    waiting: Waiting,
    next: AtomicU64,
    /// What the library could not tell, as it gave it to the application.
    pub outbox: Arc<Mutex<Vec<Value>>>,
}

/// What came of a call: what was asked for, or an error.
pub type Outcome = Result<Value, Value>;

/// A call that is under way.
pub struct Pending {
    call: Value,
    outcome: Receiver<Value>,
}

impl Pending {
    #[track_caller]
    pub fn outcome(self) -> Outcome {
        let call = self.call.clone();
        self.outcome_if_any().unwrap_or_else(|| panic!("it ended before it answered {call}"))
    }

    /// None where the program has ended before it answered.
    #[track_caller]
    pub fn outcome_if_any(self) -> Option<Outcome> {
        let outcome = match self.outcome.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("no answer to {}", self.call),
        };
        match (outcome.get("ok"), outcome.get("error")) {
            (Some(ok), None) => Some(Ok(ok.clone())),
            (None, Some(error)) => Some(Err(error.clone())),
            _ => panic!("neither ok nor error: {outcome}"),
        }
    }
}

impl Adapter {
    /// It ends with the thread that starts it.
    #[track_caller]
    pub fn start(program: &str, database: &Arc<Database>) -> Self {
        let mut words = program.split('\t');
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        die_with_parent(&mut command, libc::SIGKILL);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
        let lines = Arc::new(Mutex::new(child.stdin.take()));
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let waiting = Arc::new(Mutex::new(Some(BTreeMap::<u64, Sender<Value>>::new())));
        let outbox = Arc::new(Mutex::new(vec![]));
        let (to, callers, kept, database) =
            (lines.clone(), waiting.clone(), outbox.clone(), database.clone());
        thread::spawn(move || {
            // Those that wait learn that it has ended, whatever ended it.
            let callers = Callers(callers);
            let mut line = String::new();
            // One that is killed may leave half a line.
            while output.read_line(&mut line).is_ok() && line.ends_with('\n') {
                let text = std::mem::take(&mut line);
                let line: Value =
                    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                if let Some(number) = line.get("ask") {
                    database.is_asked(&to, number, &line);
                } else if let Some(change) = line.get("outbox") {
                    kept.lock().expect("the outbox").push(change.clone());
                } else {
                    let id = line["id"].as_u64().unwrap_or_else(|| panic!("no id: {line}"));
                    let mut callers = callers.0.lock().expect("callers");
                    let caller = callers.as_mut().and_then(|callers| callers.remove(&id));
                    // Who has given up does not hear of it.
                    let _ = caller.unwrap_or_else(|| panic!("nobody asked: {line}")).send(line);
                }
            }
        });
        let program = program.to_string();
        Self { program, child, lines, waiting, next: AtomicU64::new(1), outbox }
    }

    /// Begins a call.
    #[track_caller]
    pub fn begin(&self, call: &Value) -> Pending {
        let id = self.next.fetch_add(1, SeqCst);
        let (caller, outcome) = channel();
        if let Some(waiting) = self.waiting.lock().expect("callers").as_mut() {
            waiting.insert(id, caller);
        }
        assert!(call.get("id").is_none(), "the line has an id of its own: {call}");
        let mut line = call.clone();
        line["id"] = id.into();
        write_line(&self.lines, &line);
        Pending { call: call.clone(), outcome }
    }

    #[track_caller]
    pub fn call(&self, call: &Value) -> Outcome {
        self.begin(call).outcome()
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn must(&self, call: &Value) -> Value {
        self.call(call).unwrap_or_else(|e| panic!("{}: {call}: {e}", self.program))
    }

    /// Whether it has, or was killed and will.
    pub fn has_ended(&self) -> bool {
        self.lines.lock().expect("its input").is_none()
            || self.waiting.lock().expect("callers").is_none()
    }

    /// Ends it by SIGKILL, whatever it does.
    pub fn kill(&self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: a call without memory, to a process of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        // It takes a while to die, and hears of nothing meanwhile.
        *self.lines.lock().expect("its input") = None;
    }
}

/// Those that wait for a program. They wait no longer when this is dropped.
struct Callers(Waiting);

impl Drop for Callers {
    fn drop(&mut self) {
        if let Ok(mut callers) = self.0.lock() {
            *callers = None;
        }
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // Gone already, or going: either is what is wanted here.
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Whether it still could be told; that it has ended is said by who waits for it.
fn write_line(to: &Input, line: &Value) -> bool {
    let mut to = to.lock().expect("its input");
    to.as_mut().is_some_and(|to| to.write_all(format!("{line}\n").as_bytes()).is_ok())
}

/// What the application has: rows by their keys' prefixes, and whether it answers.
#[derive(Default)]
pub struct Database(Mutex<Content>);

#[derive(Default)]
struct Content {
    rows: Map<String, Value>,
    mode: Mode,
    loads: BTreeMap<String, u64>,
    /// The most of one key that were held at once.
    most: BTreeMap<String, u64>,
    /// To whom, what was asked, and the answer.
    held: Vec<(Input, Value, Value)>,
    /// Lines of batches by their ids: the counter, and the count.
    written: BTreeMap<String, (String, u64)>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub enum Mode {
    #[default]
    Answers,
    /// What is asked is read at once, and answered once this is over.
    Holds,
    /// What is asked is read at once, and answered within so many milliseconds.
    Lags(u64),
    Fails,
}

impl Database {
    /// As at first.
    pub fn clear(&self) {
        *self.0.lock().expect("the database") = Content::default();
    }

    /// Sets a row; null: there is none. A text `sha256:x` becomes the digest of x.
    pub fn set(&self, prefix: &str, row: &Value) {
        let mut content = self.0.lock().expect("the database");
        match row.is_null() {
            true => content.rows.remove(prefix),
            false => content.rows.insert(prefix.into(), digested(row)),
        };
    }

    /// From now on it does this, and, if it answers, what it holds is answered as it was read.
    pub fn set_mode(&self, mode: Mode) {
        let mut content = self.0.lock().expect("the database");
        content.mode = mode;
        if mode != Mode::Holds {
            for (to, line, answer) in std::mem::take(&mut content.held) {
                content.commit(&to, &line, &answer);
            }
        }
    }

    /// How many rows of the key were asked for.
    pub fn loads(&self, prefix: &str) -> u64 {
        self.0.lock().expect("the database").loads.get(prefix).copied().unwrap_or(0)
    }

    /// How many rows of the key were asked for at once, while the database held its answers.
    pub fn most_at_once(&self, prefix: &str) -> u64 {
        self.0.lock().expect("the database").most.get(prefix).copied().unwrap_or(0)
    }

    /// What was written of a counter, each line once.
    pub fn written(&self, key: &str) -> u64 {
        let content = self.0.lock().expect("the database");
        let lines = content.written.values().filter(|(of, _)| of == key);
        lines.map(|(_, count)| count).sum()
    }

    /// Waits until so many are held.
    #[track_caller]
    pub fn holds(&self, count: usize) {
        eventually("the database is asked", || {
            self.0.lock().expect("the database").held.len() >= count
        });
    }

    fn is_asked(self: &Arc<Self>, to: &Input, number: &Value, line: &Value) {
        let mut content = self.0.lock().expect("the database");
        let mut answer = json!({"answer": number});
        if let Some(prefix) = line["load"].as_str() {
            *content.loads.entry(prefix.into()).or_default() += 1;
            answer.as_object_mut().expect("an object").extend(content.row(prefix));
        } else if let Some(user) = line["list"].as_str() {
            *content.loads.entry(format!("list:{user}")).or_default() += 1;
            answer["value"] =
                content.rows.values().filter(|row| row["user_id"] == user).cloned().collect();
        } else if line.get("write").is_none() {
            let asked = &line["decide"];
            let prefix =
                asked["prefix"].as_str().unwrap_or_else(|| panic!("what is asked? {line}"));
            *content.loads.entry(format!("decide:{prefix}")).or_default() += 1;
            let text = |name: &str| asked[name].as_str().expect("a text").to_string();
            let (resource, action) = (text("resource"), text("action"));
            answer["value"] = (content.rows.get(prefix))
                .is_some_and(|row| row["decisions"][&resource][&action] == true)
                .into();
        }
        match content.mode {
            Mode::Answers => content.commit(to, line, &answer),
            Mode::Holds => {
                content.held.push((to.clone(), line.clone(), answer));
                if let Some(prefix) = line["load"].as_str() {
                    *content.most.entry(prefix.into()).or_default() += 1;
                }
            }
            Mode::Lags(most) => {
                let number = line["ask"].as_u64().unwrap_or(0);
                let time = Duration::from_millis(number * 7 % (most + 1));
                let (database, to, line) = (self.clone(), to.clone(), line.clone());
                thread::spawn(move || {
                    thread::sleep(time);
                    database.0.lock().expect("the database").commit(&to, &line, &answer);
                });
            }
            Mode::Fails => {
                write_line(to, &json!({"answer": number, "fail": "the database is down"}));
            }
        }
    }
}

impl Content {
    /// Answers, and keeps what was to be written: of a process that has ended meanwhile nothing is.
    fn commit(&mut self, to: &Input, line: &Value, answer: &Value) {
        if !write_line(to, answer) {
            return;
        }
        for line in line["write"].as_array().into_iter().flatten() {
            let text = |name: &str| line[name].as_str().expect("a text").to_string();
            let count = line["count"].as_u64().expect("a count");
            self.written.entry(text("id")).or_insert((text("key"), count));
        }
    }

    /// In JSON of its own where there is a number that JavaScript would change.
    fn row(&self, prefix: &str) -> Map<String, Value> {
        let row = self.rows.get(prefix).cloned().unwrap_or_default();
        let is_large = |value: &Value| value.as_i64().is_some_and(|number| number.abs() > 1 << 53);
        let fields = match row.as_object().is_some_and(|row| row.values().any(is_large)) {
            true => json!({"json": row.to_string()}),
            false => json!({"value": row}),
        };
        fields.as_object().cloned().unwrap_or_default()
    }
}

fn digested(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix("sha256:") {
            Some(secret) => {
                let hex = digest::to_hex(&digest::of_secret(secret.as_bytes()));
                String::from_utf8_lossy(&hex).into_owned().into()
            }
            None => value.clone(),
        },
        Value::Array(all) => all.iter().map(digested).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), digested(value))).collect()
        }
        other => other.clone(),
    }
}
