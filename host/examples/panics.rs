//! A module that panics in whichever of its callbacks it is told to: `PANICS.ARM name`, and the next time that
//! the callback of this name runs, it does. tests/integration/host.rs loads it, and looks what comes of it.

#![deny(unsafe_code)]

use host::cluster::{NodeId, Receiver};
use host::command::spec::{Keys, Spec, Use};
use host::defrag::{Globals, Mover};
use host::events::{KeyEvent, Listener, ServerEvent};
use host::job::{Job, Jobs, Step};
use host::key::stream::{Digest, Load, Rewrite, Save};
use host::key::walk::Walk;
use host::settings::{Parsed, Setting};
use host::*;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where the next panic is to be. Not under the server's lock: a value may be dropped on another thread.
static ARMED: Mutex<String> = Mutex::new(String::new());

fn arm(name: &str) {
    *ARMED.lock().unwrap_or_else(PoisonError::into_inner) = name.to_string();
}

/// Panics where this is the place, once; the log says on which thread.
fn here(name: &str) {
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    if *armed == name {
        armed.clear();
        drop(armed);
        let thread = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
        log(Level::Notice, &format!("{name} on {}", thread.trim_end()));
        panic!("as told");
    }
}

/// A command, by its name, flags, arity and what it does.
macro_rules! command {
    ($type:ident, $name:literal, $flags:literal, $arity:literal, $keys:expr, $run:expr) => {
        struct $type;

        impl Command for $type {
            const SPEC: Spec =
                Spec { name: $name, flags: $flags, arity: $arity, keys: $keys, ..Spec::PLAIN };

            fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
                let run: fn(&mut Ctx, Args, Reply) -> Result<()> = $run;
                run(ctx, args, reply)
            }
        }
    };
}

command!(Arm, c"panics.arm", "readonly", 2, Keys::None, |_, args, reply| {
    arm(&String::from_utf8_lossy(args.get(1).ok_or(Error::SYNTAX)?.bytes()));
    reply.simple(c"OK");
    Ok(())
});

command!(Run, c"panics.run", "write", 1, Keys::None, |_, _, reply| {
    here("run");
    reply.array(3);
    reply.integer(1);
    here("half a reply");
    reply.integer(2);
    reply.integer(3);
    here("replied");
    Ok(())
});

command!(Set, c"panics.set", "write", 3, Keys::One(Use::OVERWRITES), |ctx, args, reply| {
    let (Some(name), Some(bytes)) = (args.get(1), args.get(2)) else { return Err(Error::SYNTAX) };
    let mut key = ctx.open_mut(name);
    key.set(&VALUES, Box::new(Value(bytes.bytes().to_vec())), None)?;
    key.signal_modified();
    drop(key);
    ctx.replicate_verbatim();
    reply.simple(c"OK");
    Ok(())
});

command!(Get, c"panics.get", "readonly", 2, Keys::One(Use::READS), |ctx, args, reply| {
    match ctx.open(args.get(1).ok_or(Error::SYNTAX)?).get(&VALUES)? {
        Some(value) => reply.bulk(&value.0),
        None => reply.nil(),
    }
    Ok(())
});

command!(Timer, c"panics.timer", "readonly", 1, Keys::None, |ctx, _, reply| {
    ctx.after(1, |_| here("timer"));
    reply.simple(c"OK");
    Ok(())
});

command!(Wait, c"panics.wait", "readonly", 1, Keys::None, |ctx, _, _| {
    let waiting = ctx.block("the command")?;
    here("waiting");
    waiting.answer(|reply| {
        here("answer");
        reply.simple(c"OK");
    });
    Ok(())
});

command!(Count, c"panics.count", "readonly", 1, Keys::None, |ctx, _, _| {
    COUNTS.ask(ctx, "the command", Counting { walk: Walk::new().ok_or(Error::INTERNAL)?, keys: 0 })
});

command!(Tell, c"panics.tell", "readonly", 2, Keys::None, |ctx, args, reply| {
    let said = args.get(1).ok_or(Error::SYNTAX)?.bytes();
    let others = ctx.other_nodes();
    let told = others.iter().filter(|node| ctx.send_to_node(node.id, Mail::KIND, said).is_ok());
    reply.count(told.count());
    Ok(())
});

struct Mail;

impl Receiver for Mail {
    const KIND: u8 = 0xb3;

    fn receive(_: &mut Ctx, from: NodeId, message: &[u8]) {
        here("message");
        log(Level::Notice, &format!("{from} says {}", String::from_utf8_lossy(message)));
    }
}

/// Whether jobs have to wait.
static HELD: AtomicBool = AtomicBool::new(false);

command!(Hold, c"panics.hold", "readonly", 2, Keys::None, |_, args, reply| {
    HELD.store(args.get(1).and_then(Name::integer) == Some(1), Relaxed);
    reply.simple(c"OK");
    Ok(())
});

/// A job that counts keys.
struct Counting {
    walk: Walk,
    keys: usize,
}

static COUNTS: Jobs<Counting> = Jobs::new("count");

impl Job for Counting {
    type Outcome = usize;

    fn budget(&self) -> Duration {
        here("budget");
        Duration::from_millis(1)
    }

    fn slice(&mut self, ctx: &mut Ctx, _: Instant) -> Step<usize> {
        here("slice");
        if HELD.load(Relaxed) {
            return Step::Later(1);
        }
        let keys = &mut self.keys;
        let more = self.walk.step(ctx, &mut |_, _| {
            here("walk");
            *keys += 1;
        });
        if more {
            Step::More
        } else {
            Step::Done(self.keys)
        }
    }

    fn is_the_same(&self, _: &Self) -> bool {
        here("is_the_same");
        false
    }

    fn reply(keys: &usize, reply: Reply) {
        here("outcome");
        reply.count(*keys);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        here("job's drop");
    }
}

/// What keys hold.
struct Value(Vec<u8>);

impl Drop for Value {
    fn drop(&mut self) {
        here("drop");
    }
}

struct Values;
static VALUES: Handle<Values> = Handle::new();

impl DataType for Values {
    type Value = Value;
    const NAME: &'static CStr = c"panics-tp";

    fn load(_: Lock, from: &mut Load) -> Option<Box<Value>> {
        let bytes = from.bytes()?;
        here("rdb_load");
        Some(Box::new(Value(bytes.to_vec())))
    }

    fn loaded(_: Lock, _: &Value, database: i32, name: &[u8]) {
        here("loaded");
        log(Level::Notice, &format!("{} is loaded into database {database}", name.escape_ascii()));
    }

    fn save(_: Lock, value: &Value, into: &mut Save) {
        here("rdb_save");
        into.bytes(&value.0);
    }

    fn rewrite(_: Lock, value: &Value, into: &mut Rewrite) {
        here("aof_rewrite");
        into.command(c"panics.set", &value.0);
    }

    fn copy(_: Lock, value: &Value) -> Option<Box<Value>> {
        here("copy");
        Some(Box::new(Value(value.0.clone())))
    }

    fn unlinked(_: Lock, _: &mut Value, name: &[u8]) {
        here("unlink");
        log(Level::Notice, &format!("{} is unlinked", name.escape_ascii()));
    }

    fn defrag(_: Lock, value: &mut Value, mover: &mut Mover) {
        here("defrag");
        mover.vec(&mut value.0);
    }

    fn digest(_: Lock, value: &Value, into: &mut Digest) {
        here("digest");
        into.bytes(&value.0);
    }

    fn bytes(value: &Value) -> usize {
        here("mem_usage");
        value.0.len()
    }
}

struct Events;

impl Listener for Events {
    fn key(_: &mut Ctx, event: KeyEvent, _: Name) {
        match event {
            KeyEvent::Loaded => here("a key is loaded"),
            _ => here("key"),
        }
    }

    fn server(_: &mut Ctx, event: ServerEvent) {
        match event {
            ServerEvent::Flush(_) => here("flush"),
            ServerEvent::Swapped(..) => here("swapdb"),
            ServerEvent::Promoted => here("promoted"),
            ServerEvent::Demoted => here("demoted"),
            ServerEvent::LoadingBegan => here("loading"),
            ServerEvent::LoadingEnded => here("loading ended"),
            _ => {}
        }
    }
}

/// A setting as any other.
static WORD: Parsed<String> = Parsed::new(
    c"word",
    String::new(),
    |text| {
        here("parse");
        Ok(text.to_string())
    },
    |text| {
        here("show");
        text.clone()
    },
);

/// Arms what comes before there are commands.
static ARM: Parsed<()> = Parsed::new(
    c"arm",
    (),
    |text| {
        if !text.is_empty() {
            arm(text);
        }
        Ok(())
    },
    |()| String::new(),
);

struct Rest;

impl Globals for Rest {
    fn defrag(_: Lock, _: &mut Mover) -> bool {
        here("defrag of the rest");
        false
    }
}

struct State;

impl Info for State {
    fn write(_: Lock, out: &mut InfoOut) {
        if out.section(c"state") {
            here("info");
            out.field(c"loaded", 1);
        }
    }
}

struct Panics;
entry!(Panics);

impl Module for Panics {
    const NAME: &'static CStr = c"panics";
    const VERSION: i32 = 1;

    fn load(loading: &mut Loading) -> Result<()> {
        let settings: [&'static dyn Setting; 2] = [&WORD, &ARM];
        loading.settings(&settings)?;
        here("load");
        loading.data_type(&VALUES)?;
        loading.command::<Arm>()?;
        loading.command::<Run>()?;
        loading.command::<Set>()?;
        loading.command::<Get>()?;
        loading.command::<Timer>()?;
        loading.command::<Wait>()?;
        loading.command::<Count>()?;
        loading.command::<Hold>()?;
        loading.command::<Tell>()?;
        loading.receive::<Mail>();
        loading.listen::<Events>();
        loading.after(1, |_| log(Level::Notice, "the load's timer"));
        loading.info::<State>()?;
        loading.defrag::<Rest>()?;
        loading.after_each(|_| here("after_each"));
        here("the load's end");
        Ok(())
    }
}
