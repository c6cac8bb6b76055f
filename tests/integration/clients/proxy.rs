//! What stands between a library and a server, and plays the outages.

use crate::harness::client::packed;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A port that leads to a server.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    to: AtomicU16,
    fault: Mutex<Option<Fault>>,
    /// Of the clients.
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// What goes wrong, and with which calls.
#[derive(Clone, Debug)]
struct Fault {
    kind: Kind,
    /// Names of commands; all of the module's where there is none.
    commands: Vec<String>,
    /// How many calls it happens to.
    left: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Connections are reset, those that there are too.
    Reset,
    /// The reply is kept until the fault is over; what follows waits behind it.
    Hang,
    Delay(Duration),
    /// So many bytes of the reply come, and then the end.
    Cut(usize),
    /// The server does nothing, and this error is the reply.
    Answer(String),
}

impl Fault {
    fn read(value: &Value) -> Self {
        let number = |value: &Value| value.as_u64().expect("a number");
        let (name, with) = value
            .as_object()
            .and_then(|fields| {
                fields.iter().find(|(name, _)| !["commands", "times"].contains(&name.as_str()))
            })
            .unwrap_or_else(|| panic!("no fault: {value}"));
        let kind = match name.as_str() {
            "reset" => Kind::Reset,
            "hang" => Kind::Hang,
            "delay" => Kind::Delay(Duration::from_millis(number(with))),
            "cut" => Kind::Cut(usize::try_from(number(with)).expect("a size")),
            "answer" => Kind::Answer(with.as_str().expect("an error").into()),
            other => panic!("no fault: {other}"),
        };
        let commands = value["commands"].as_array().into_iter().flatten();
        Self {
            kind,
            commands: commands.map(|name| name.as_str().expect("a name").to_uppercase()).collect(),
            left: value["times"].as_u64().unwrap_or(u64::MAX),
        }
    }

    fn is_of(&self, name: &str) -> bool {
        // Some clients need the names with one dot.
        let own = |listed: &String| listed == name || listed.replacen("USAGE.", "USAGE", 1) == name;
        match self.commands.is_empty() {
            true => name.starts_with("APIKEY.") || name.starts_with("CACHE."),
            false => self.commands.iter().any(own),
        }
    }
}

impl Proxy {
    /// It leads nowhere yet.
    pub fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(State::default());
        let of_listener = state.clone();
        thread::spawn(move || listen(&listener, &of_listener));
        Self { port, state }
    }

    pub fn lead_to(&self, port: u16) {
        self.state.to.store(port, SeqCst);
    }

    /// From now on this goes wrong, or null: nothing.
    pub fn set_fault(&self, value: &Value) {
        let fault = (!value.is_null()).then(|| Fault::read(value));
        let resets = matches!(fault, Some(Fault { kind: Kind::Reset, .. }));
        *self.state.fault.lock().expect("the fault") = fault;
        if resets {
            self.close_all();
        }
    }

    /// Whether the fault happened as often as it was to.
    pub fn is_done(&self) -> bool {
        self.state.fault.lock().expect("the fault").as_ref().is_none_or(|fault| fault.left == 0)
    }

    fn close_all(&self) {
        for connection in self.state.connections.lock().expect("connections").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.close_all();
    }
}

impl State {
    /// What happens to a call.
    fn happens_to(&self, name: &str) -> Option<Kind> {
        let mut fault = self.fault.lock().expect("the fault");
        let fault = fault.as_mut().filter(|fault| fault.left > 0 && fault.is_of(name))?;
        fault.left -= 1;
        Some(fault.kind.clone())
    }

    fn is(&self, is_it: impl Fn(&Kind) -> bool) -> bool {
        self.fault.lock().expect("the fault").as_ref().is_some_and(|fault| is_it(&fault.kind))
    }
}

fn listen(listener: &TcpListener, state: &Arc<State>) {
    for client in listener.incoming().map_while(Result::ok) {
        if state.is_over.load(SeqCst) {
            return;
        }
        let is_reset = state.is(|kind| matches!(kind, Kind::Reset));
        let server = TcpStream::connect(("127.0.0.1", state.to.load(SeqCst)));
        if let (Ok(server), false) = (server, is_reset) {
            join(client, server, state);
        }
    }
}

/// What is to become of the next bytes of a server.
type Next = Arc<Mutex<Option<Kind>>>;

/// Carries what the two say, each way by a thread that ends with its connection.
fn join(mut client: TcpStream, mut server: TcpStream, state: &Arc<State>) {
    let (Ok(mut to_client), Ok(mut to_server), Ok(kept)) =
        (client.try_clone(), server.try_clone(), client.try_clone())
    else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    state.connections.lock().expect("connections").push(kept);
    let next = Next::default();
    let (of_calls, next_reply) = (state.clone(), next.clone());
    thread::spawn(move || {
        let (mut bytes, mut calls) = ([0; 16384], vec![]);
        'carry: while let Some(count) = client.read(&mut bytes).ok().filter(|count| *count > 0) {
            calls.extend_from_slice(&bytes[..count]);
            while let Some((len, name)) = first_call(&calls) {
                let call: Vec<u8> = calls.drain(..len).collect();
                let call = match of_calls.happens_to(&name) {
                    // The server says it, in its turn among the other replies.
                    Some(Kind::Answer(error)) => {
                        packed(["EVAL", "return redis.error_reply(ARGV[1])", "0", &error])
                    }
                    Some(kind) => {
                        *next_reply.lock().expect("what is next") = Some(kind);
                        call
                    }
                    None => call,
                };
                if to_server.write_all(&call).is_err() {
                    break 'carry;
                }
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let of_replies = state.clone();
    thread::spawn(move || {
        let mut bytes = [0; 16384];
        while let Some(count) = server.read(&mut bytes).ok().filter(|count| *count > 0) {
            let reply = &bytes[..count];
            match next.lock().expect("what is next").take() {
                Some(Kind::Cut(most)) => {
                    let _ = to_client.write_all(&reply[..most.min(count)]);
                    break;
                }
                Some(Kind::Delay(time)) => thread::sleep(time),
                Some(Kind::Hang) => {
                    while of_replies.is(|kind| matches!(kind, Kind::Hang))
                        && !of_replies.is_over.load(SeqCst)
                    {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                _ => {}
            }
            if to_client.write_all(reply).is_err() {
                break;
            }
        }
        let _ = (to_client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    });
}

/// How long the first call is, and its command, once it is there as a whole.
fn first_call(bytes: &[u8]) -> Option<(usize, String)> {
    let line = |from: usize| -> Option<(usize, &str)> {
        let len = bytes.get(from..)?.windows(2).position(|two| two == b"\r\n")?;
        Some((from + len + 2, std::str::from_utf8(&bytes[from..from + len]).unwrap_or_default()))
    };
    let (mut at, first) = line(0)?;
    let Some(count) = first.strip_prefix('*').and_then(|count| count.parse::<usize>().ok()) else {
        return Some((at, first.to_uppercase()));
    };
    let mut name = String::new();
    for number in 0..count {
        let (from, len) = line(at)?;
        let len = len.strip_prefix('$')?.parse::<usize>().ok()?;
        let argument = bytes.get(from..from + len)?;
        if number == 0 {
            name = String::from_utf8_lossy(argument).to_uppercase();
        }
        at = from + len + 2;
    }
    (bytes.len() >= at).then_some((at, name))
}
