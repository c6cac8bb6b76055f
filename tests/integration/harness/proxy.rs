//! A port in front of another one. Who connects is told apart by what it says first, and can be cut off, held or
//! slowed down.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Connections are closed, those to come as well.
    Cut,
    /// Nothing goes on, and nothing is closed.
    Held,
    /// Each piece waits so long.
    Slow(Duration),
}

/// Who has connected, as soon as that can be told by what it has said so far.
pub type Tell = fn(&[u8]) -> Option<String>;

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: AtomicU16,
    tell: Tell,
    /// By who has connected; under no name that of all.
    rules: Mutex<BTreeMap<Option<String>, Rule>>,
    is_over: AtomicBool,
}

impl Shared {
    fn rule(&self, who: &OnceLock<String>) -> Option<Rule> {
        let rules = self.rules.lock().expect("the rules");
        let of_one = who.get().and_then(|who| rules.get(&Some(who.clone())));
        of_one.or_else(|| rules.get(&None)).copied()
    }
}

impl Proxy {
    /// A free port, behind which nothing is yet.
    pub fn start(tell: Tell) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            to: AtomicU16::new(0),
            tell,
            rules: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let ours = shared.clone();
        spawn(move || {
            for from in listener.incoming() {
                if ours.is_over.load(SeqCst) {
                    return;
                }
                // Where nobody is there, whoever has connected is hung up on.
                let (Ok(from), to) = (from, ours.to.load(SeqCst)) else { continue };
                let Ok(to) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                join(&ours, from, to);
            }
        });
        Self { port, shared }
    }

    /// What is behind it.
    pub fn leads_to(&self, port: u16) {
        self.shared.to.store(port, SeqCst);
    }

    /// The rule for who has this name, or for all who have none of their own.
    pub fn set(&self, who: Option<&str>, rule: Option<Rule>) {
        let mut rules = self.shared.rules.lock().expect("the rules");
        let who = who.map(str::to_string);
        match rule {
            Some(rule) => rules.insert(who, rule),
            None => rules.remove(&who),
        };
    }

    /// All goes through again.
    pub fn heal(&self) {
        self.shared.rules.lock().expect("the rules").clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        // It waits for somebody to connect.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn join(shared: &Arc<Shared>, from: TcpStream, to: TcpStream) {
    let who = Arc::new(OnceLock::new());
    for stream in [&from, &to] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
    }
    let (Ok(back), Ok(forth)) = (to.try_clone(), from.try_clone()) else { return };
    for (from, to, tells) in [(from, to, true), (back, forth, false)] {
        let (shared, who) = (shared.clone(), who.clone());
        spawn(move || {
            copy(&shared, &who, &from, &to, tells);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// Until one of them has closed, or is cut off.
fn copy(
    shared: &Shared,
    who: &OnceLock<String>,
    mut from: &TcpStream,
    mut to: &TcpStream,
    tells: bool,
) {
    let mut said = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        let read = from.read(&mut buffer);
        let is_idle = |e: &std::io::Error| {
            matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
        };
        let bytes = match read {
            Ok(0) => return,
            Ok(count) => &buffer[..count],
            Err(e) if is_idle(&e) => &[],
            Err(_) => return,
        };
        if tells && who.get().is_none() && said.len() < 4096 {
            said.extend_from_slice(bytes);
            if let Some(name) = (shared.tell)(&said) {
                let _ = who.set(name);
            }
        }
        loop {
            if shared.is_over.load(SeqCst) {
                return;
            }
            match shared.rule(who) {
                Some(Rule::Cut) => return,
                Some(Rule::Held) => sleep(Duration::from_millis(5)),
                Some(Rule::Slow(time)) if !bytes.is_empty() => {
                    sleep(time);
                    break;
                }
                _ => break,
            }
        }
        if to.write_all(bytes).is_err() {
            return;
        }
    }
}
