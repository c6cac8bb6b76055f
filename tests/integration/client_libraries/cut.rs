//! Connections that break when the server has done what it was asked, and before its caller hears of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

/// Stands between clients and servers, with a port for each of these.
pub struct Cut {
    pub ports: Vec<u16>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Where each port leads to.
    servers: Mutex<Vec<u16>>,
    /// The command whose next reply is lost.
    name: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl Cut {
    /// For so many servers, which `lead_to` names: until then nothing is passed on.
    pub fn of(servers: usize) -> Self {
        let state = Arc::new(State::default());
        let port = |at| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            let state = state.clone();
            thread::spawn(move || listen(&listener, at, &state));
            port
        };
        Self { ports: (0..servers).map(port).collect(), state }
    }

    pub fn lead_to(&self, servers: Vec<u16>) {
        *self.state.servers.lock().expect("the ports") = servers;
    }

    /// The reply to the next call of this command is lost, with its connection.
    pub fn before_the_reply_to(&self, name: &str) {
        *self.state.name.lock().expect("the name") = Some(name.into());
    }

    /// Whether it was lost since.
    pub fn was_cut(&self) -> bool {
        self.state.name.lock().expect("the name").is_none()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        for port in &self.ports {
            let _ = TcpStream::connect(("127.0.0.1", *port));
        }
    }
}

fn listen(listener: &TcpListener, at: usize, state: &Arc<State>) {
    for client in listener.incoming().map_while(Result::ok) {
        if state.is_over.load(SeqCst) {
            return;
        }
        let port = state.servers.lock().expect("the ports").get(at).copied();
        if let Some(Ok(server)) = port.map(|port| TcpStream::connect(("127.0.0.1", port))) {
            join(client, server, state);
        }
    }
}

/// Carries what the two say, each way by a thread that ends with its connection.
fn join(mut client: TcpStream, mut server: TcpStream, state: &Arc<State>) {
    let (Ok(mut to_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (of_calls, of_replies) = (state.clone(), state.clone());
    // Of each call that has no reply yet, whether it is the one whose reply is to be lost.
    let (ask, asked) = channel();
    thread::spawn(move || {
        carry(&mut client, |call| {
            let name = of_calls.name.lock().expect("the name").clone();
            ask.send(name.is_some_and(|name| is_call(call, &name))).is_ok()
                && to_server.write_all(call).is_ok()
        });
        let _ = to_server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        carry(&mut server, |reply| {
            let is_push = reply.starts_with(b">");
            let is_it = !is_push && asked.recv().unwrap_or_default();
            // A node that sends the client to another has done nothing.
            let is_lost = is_it
                && !reply.starts_with(b"-MOVED")
                && of_replies.name.lock().expect("the name").take().is_some();
            !is_lost && to_client.write_all(reply).is_ok()
        });
        let _ = (to_client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    });
}

/// Gives each call, or reply, of what comes to `take`, until that says no.
fn carry(from: &mut TcpStream, mut take: impl FnMut(&[u8]) -> bool) {
    let (mut bytes, mut more) = (Vec::new(), [0; 16384]);
    while let Some(count) = from.read(&mut more).ok().filter(|count| *count > 0) {
        bytes.extend_from_slice(&more[..count]);
        while let Some(length) = whole(&bytes) {
            if !take(&bytes[..length]) {
                return;
            }
            bytes.drain(..length);
        }
    }
}

/// The length of the value that these bytes begin with, if all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|end| end == b"\r\n")? + 2;
    let count = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    let values = match bytes[0] {
        b'$' | b'=' | b'!' => {
            let length = usize::try_from(count()?).map_or(line, |count| line + count + 2);
            return (length <= bytes.len()).then_some(length);
        }
        b'*' | b'~' | b'>' => count()?.max(0),
        b'%' => 2 * count()?,
        b'|' => 2 * count()? + 1,
        _ => 0,
    };
    (0..values).try_fold(line, |at, _| Some(at + whole(&bytes[at..])?))
}

/// Whether it is a call of the command with this name, and does not only speak of it, as COMMAND GETKEYS does.
fn is_call(call: &[u8], name: &str) -> bool {
    let said = format!("\r\n${}\r\n{name}\r\n", name.len());
    let begins = call.iter().position(|byte| *byte == b'\r').unwrap_or_default();
    call[begins..].starts_with(said.as_bytes())
}
