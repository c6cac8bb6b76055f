//! REGION: what is set of regions. It is the setting `apikey.regions`, changed by one region.

use super::named;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::policies;
use crate::settings::{self, REGIONS};
use apikey_engine::cache::policy::{self, Evict, Limit, Policy, PolicyChange};
use apikey_engine::entry::region_tag::RegionTag;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Error, Reply, Result};

pub struct Region;

const fn number(
    name: &'static std::ffi::CStr,
    limit: Limit,
    token: &'static std::ffi::CStr,
) -> Arg {
    let (least, most) = limit.bounds();
    Arg::integer(name).between(least, most).after(token).optional()
}

const OPTIONS: &[Arg] = &[
    grammar::NAMESPACE,
    number(c"milliseconds", Limit::Ttl, c"TTL"),
    number(c"percent", Limit::Jitter, c"JITTER"),
    number(c"milliseconds", Limit::Grace, c"GRACE"),
    number(c"percent", Limit::Eager, c"EAGER"),
    number(c"milliseconds", Limit::Lease, c"LEASE"),
    number(c"milliseconds", Limit::AbsentTtl, c"ABSENTTTL"),
    number(c"bytes", Limit::MaxBytes, c"MAXBYTES"),
    number(c"entries", Limit::MaxEntries, c"MAXENTRIES"),
    Arg::checked(c"policy", |word| Evict::of_name(word).is_some(), "be LRU, LFU or TTL")
        .after(c"EVICT")
        .optional(),
];

impl Command for Region {
    const SPEC: Spec = Spec {
        name: c"cache.region",
        since: c"0.2.0",
        // What it changes is configuration, as CONFIG does.
        flags: "admin",
        dangerous: true,
        hides: grammar::HIDES,
        arity: -2,
        summary: c"SET sets how the entries of a region are kept, GET tells it, LIST names the regions of which something is set, DEL forgets it; entries stay. It is the setting apikey.regions.",
        complexity: c"O(N) where N is the number of regions that are set",
        fixed: &[
            Arg::one_of(
                c"subcommand",
                &[
                    Arg::word(c"set", c"SET"),
                    Arg::word(c"get", c"GET"),
                    Arg::word(c"list", c"LIST"),
                    Arg::word(c"del", c"DEL"),
                ],
            ),
            Arg::string(c"region").optional(),
        ],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(subcommand) = args.get(1) else { return Err(Error::SYNTAX) };
        let is = |word: &[u8]| subcommand.bytes().eq_ignore_ascii_case(word);
        match args.get(2) {
            None if is(b"LIST") => list(ctx, reply),
            Some(region) if is(b"SET") => {
                let options = Options::parse(OPTIONS, args, 3, Judged::Here)?;
                set(ctx, &named::region(region, &options)?, &options, reply)?;
            }
            Some(region) if is(b"GET") => {
                let options = Options::parse(named::ONLY_NAMESPACE, args, 3, Judged::Here)?;
                let policy = settings::policy(ctx.lock(), &named::region(region, &options)?);
                reply.map(SHOWN);
                show(&policy, reply);
            }
            Some(region) if is(b"DEL") => {
                let options = Options::parse(named::ONLY_NAMESPACE, args, 3, Judged::Here)?;
                let tag = named::region(region, &options)?;
                must_be_primary(ctx)?;
                let was_set =
                    REGIONS.change(ctx.lock(), |all| all.remove(tag.namespace(), tag.region()));
                policies::look(ctx);
                reply.integer(was_set.into());
            }
            _ => {
                return Err(Error::err(
                    "cache.region takes SET region .., GET region, LIST or DEL region",
                ))
            }
        }
        Ok(())
    }
}

/// Each as the setting has it: a region of a namespace has `ns=` behind its name.
fn list(ctx: &Ctx, reply: Reply) {
    REGIONS.with(ctx.lock(), |all| {
        reply.array(all.len());
        for (namespace, name, _) in all.iter() {
            reply.bulk(policy::shown(namespace, name).as_bytes());
        }
    });
}

fn set(ctx: &mut Ctx, tag: &RegionTag, options: &Options, reply: Reply) -> Result<()> {
    let byte = |word| options.number(word).and_then(|number| u8::try_from(number).ok());
    let size = |word| options.number(word).map(i64::unsigned_abs);
    let change = PolicyChange {
        ttl_ms: options.number("TTL"),
        jitter: byte("JITTER"),
        grace_ms: options.number("GRACE"),
        eager: byte("EAGER"),
        lease_ms: options.number("LEASE"),
        absent_ttl_ms: options.number("ABSENTTTL"),
        max_bytes: size("MAXBYTES"),
        max_entries: size("MAXENTRIES"),
        evict: options.value("EVICT").and_then(Evict::of_name),
    };
    must_be_primary(ctx)?;
    REGIONS
        .change(ctx.lock(), |all| all.set(tag.namespace(), tag.region(), &change))
        .map_err(Error::err)?;
    policies::look(ctx);
    reply.simple(c"OK");
    Ok(())
}

/// A replica has what its primary says.
fn must_be_primary(ctx: &Ctx) -> Result<()> {
    match ctx.is_any_replica() {
        true => Err(Error("READONLY You can't write against a read only replica.".into())),
        false => Ok(()),
    }
}

/// How many values [`show`] names.
pub const SHOWN: usize = Limit::ALL.len() + 1;

/// What is set of a region, each behind its name.
pub fn show(policy: &Policy, reply: Reply) {
    for limit in Limit::ALL {
        reply.bulk(limit.key().replace('-', "_").as_bytes());
        reply.integer(i64::try_from(limit.of(policy)).unwrap_or(i64::MAX));
    }
    reply.bulk(b"evict");
    reply.bulk(policy.evict.name().as_bytes());
}
