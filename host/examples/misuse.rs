//! A module that does, in safe Rust, what no module should: `MISUSE what`. Nothing of it may end the server or
//! break a client's connection. tests/integration/host.rs loads it.

#![deny(unsafe_code)]

use host::command::spec::Spec;
use host::job::{Job, Jobs, Step};
use host::*;
use std::ffi::CStr;
use std::time::{Duration, Instant};

struct Misuse;

impl Command for Misuse {
    const SPEC: Spec = Spec { name: c"misuse", flags: "write", arity: 2, ..Spec::PLAIN };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        match args.get(1).map_or(&b""[..], Name::bytes) {
            // Nobody is there who could wait.
            b"block-in-a-timer" => {
                ctx.after(0, |ctx| tell(ctx.block("the command").map(drop)));
                reply.simple(c"OK");
            }
            b"block-twice" => {
                let waiting = ctx.block("the command")?;
                tell(ctx.block("the command").map(drop));
                waiting.answer(|reply| reply.simple(c"OK"));
            }
            // The caller has one reply.
            b"fail-while-it-waits" => {
                let _waiting = ctx.block("the command")?;
                return Err(Error::err("not told"));
            }
            b"fail-in-half-a-reply" => {
                reply.map(2);
                reply.integer(1);
                return Err(Error::err("not told"));
            }
            b"say-less" => {
                reply.array(3);
                reply.integer(1);
            }
            b"say-nothing" => {}
            b"break-the-line" => return Err(Error::err("one\r\n+two\0three")),
            b"select" => {
                let is_there = ctx.select(1) && !ctx.select(1_000_000);
                reply.integer(i64::from(is_there));
            }
            b"wait-for-ever" => {
                ctx.after(i64::MAX, |_| tell(Ok(())));
                ctx.after(i64::MIN, |_| log(Level::Notice, "at once"));
                reply.simple(c"OK");
            }
            b"replicate-nothing" => {
                ctx.after(0, |ctx| {
                    ctx.replicate_verbatim();
                    log(Level::Notice, "replicated nothing");
                });
                reply.simple(c"OK");
            }
            b"publish-in-a-pause" => {
                ctx.after(300, |ctx| {
                    let published = ctx.publish(b"channel", b"message");
                    let replicated = ctx.replicate(c"misuse", &[], &[b"select"]);
                    log(Level::Notice, &format!("{published:?} {replicated:?}"));
                });
                reply.simple(c"OK");
            }
            b"align" => {
                let all: Vec<_> = (0..100).map(|n| Box::new(Wide([n; 100]))).collect();
                let is_aligned = |wide: &Wide| {
                    std::ptr::from_ref(wide).addr().is_multiple_of(align_of::<Wide>())
                };
                let right = all.iter().filter(|wide| is_aligned(wide) && wide.0[99] == wide.0[0]);
                reply.count(right.count());
            }
            b"ask-in-a-slice" => {
                JOBS.ask(ctx, "the command", Asks)?;
            }
            // Once.
            b"ask-twice" => {
                tell(
                    JOBS.ask(ctx, "the command", Asks)
                        .and_then(|()| JOBS.ask(ctx, "the command", Asks)),
                );
            }
            _ => return Err(Error::SYNTAX),
        }
        Ok(())
    }
}

/// What came of it, in the log.
fn tell(result: Result<()>) {
    log(Level::Notice, &format!("{result:?}"));
}

/// More than malloc aligns to.
#[repr(align(128))]
struct Wide([u8; 100]);

static JOBS: Jobs<Asks> = Jobs::new("asks");

/// A job that asks for another of its kind, and starts one.
struct Asks;

impl Job for Asks {
    type Outcome = ();

    fn budget(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn slice(&mut self, ctx: &mut Ctx, _: Instant) -> Step<()> {
        tell(JOBS.ask(ctx, "the command", Asks));
        JOBS.start(ctx, Asks, 0);
        Step::Done(())
    }

    fn is_the_same(&self, _: &Self) -> bool {
        true
    }

    fn reply((): &(), reply: Reply) {
        reply.simple(c"OK");
    }
}

struct Misuses;
entry!(Misuses);

impl Module for Misuses {
    const NAME: &'static CStr = c"misuse";
    const VERSION: i32 = 1;

    fn load(loading: &mut Loading) -> Result<()> {
        // What has replied can't be asked to wait.
        loading.after_each(|ctx| {
            if ctx.block("the command").is_ok() {
                log(Level::Warning, "blocked");
            }
        });
        loading.command::<Misuse>()
    }
}
