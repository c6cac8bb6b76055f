//! The description of a command, and of its arguments.

use crate::context::Ctx;
use crate::error::Result;
use crate::reply::Reply;
use crate::strings::Args;
use redis_module::raw;
use std::ffi::CStr;

/// A command of the module.
pub trait Command: 'static {
    /// What it is.
    const SPEC: Spec;

    /// Runs the command: it has replied, or the error is the reply and nothing has changed.
    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()>;
}

/// What the server is told of a command.
pub struct Spec {
    /// In small letters.
    pub name: &'static CStr,
    /// The same command under another name.
    pub alias: Option<&'static CStr>,
    /// As RM_CreateCommand takes them.
    pub flags: &'static str,
    /// An operator's: `@dangerous`, where a module can say so (7.2).
    pub dangerous: bool,
    /// What of a call is kept out of MONITOR and SLOWLOG.
    pub hides: Hides,
    /// With the command's name; negative for at least.
    pub arity: i32,
    /// Where its keys are.
    pub keys: Keys,
    /// What it does, in a sentence.
    pub summary: &'static CStr,
    /// As COMMAND DOCS has it: `O(1)`, ..
    pub complexity: &'static CStr,
    /// The version of the module since which it exists.
    pub since: &'static CStr,
    /// For clients of a cluster.
    pub tips: Option<&'static CStr>,
    /// Arguments that stand at their places.
    pub fixed: &'static [Arg],
    /// Options, behind those, in any order.
    pub options: &'static [Arg],
}

impl Spec {
    /// A command of which no more is said than its name and what follows: `..Spec::PLAIN`.
    pub const PLAIN: Self = Self {
        name: c"",
        alias: None,
        flags: "readonly",
        dangerous: false,
        hides: Hides::NOTHING,
        arity: 1,
        keys: Keys::None,
        summary: c"",
        complexity: c"O(1)",
        since: c"0.1.0",
        tips: None,
        fixed: &[],
        options: &[],
    };
}

/// What of a call is kept out of MONITOR and SLOWLOG. Where the server can't do that (6.2), the whole command is, if it
/// has an option, or a value, that may be a secret.
#[derive(Clone, Copy, Debug)]
pub struct Hides {
    /// Arguments behind one of these words, before anything else is read: wherever they stand, or, where
    /// [`errors`](Self::errors) hides a call in which they stand elsewhere, behind what is fixed.
    pub behind: &'static [&'static str],
    /// Values that may have a secret in them.
    pub values: Values,
    /// Whether a call that ends in an error is hidden whole, but for the argument that it must begin with: a secret may
    /// stand anywhere in it.
    pub errors: bool,
}

impl Hides {
    /// Nothing.
    pub const NOTHING: Self = Self { behind: &[], values: Values::None, errors: false };
}

/// Where the values of a call stand that may have a secret in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// There are none.
    None,
    /// At this position.
    At(usize),
    /// Behind each of the keys that are counted ([`Keys::Counted`]).
    OfCountedKeys,
}

/// Where a command's keys stand, and what it does to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// The first argument.
    One(Use),
    /// All arguments.
    All(Use),
    /// All arguments from this one on.
    From(i32, Use),
    /// Every second argument from this one on.
    EverySecond(i32, Use),
    /// Every second argument behind the one at this position, which is their number. The server's own way to find them
    /// takes a number of keys for one of arguments and would miss half of them (7.0.15), so that it is
    /// told not to rely on it and asks the module (`getkeys-api`).
    Counted(i32, Use),
    /// The first argument; and behind it `numkeys key [key ...]`.
    OneAndCounted(Use, Use),
}

/// What a command does to its keys, for ACL rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use(pub(crate) u32);

impl Use {
    /// Reads them, and tells the caller.
    pub const READS: Self = Self(raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS);
    /// Stores in their place.
    pub const OVERWRITES: Self =
        Self(raw::REDISMODULE_CMD_KEY_OW | raw::REDISMODULE_CMD_KEY_UPDATE);
    /// Stores what is made of them, and tells the caller nothing of it: write permission is enough.
    pub const MERGES: Self = Self(raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_UPDATE);
    /// Removes them.
    pub const DELETES: Self = Self(raw::REDISMODULE_CMD_KEY_RM | raw::REDISMODULE_CMD_KEY_DELETE);
    /// Stores what is made of them, and tells the caller of it.
    pub const UPDATES: Self = Self(
        raw::REDISMODULE_CMD_KEY_RW
            | raw::REDISMODULE_CMD_KEY_ACCESS
            | raw::REDISMODULE_CMD_KEY_UPDATE,
    );
}

/// An argument: what COMMAND DOCS says of it, and, of an option, what it may be.
#[derive(Debug)]
pub struct Arg {
    /// What COMMAND DOCS calls the value.
    pub name: &'static CStr,
    /// What it is.
    pub kind: Kind,
    /// The word before it; of a block, before the first of its parts.
    pub token: Option<&'static CStr>,
    /// Whether it may be left out.
    pub optional: bool,
    /// How often it may come.
    pub repeat: Repeat,
    /// Why an option that may not be left out may not, for the error.
    pub reason: Option<&'static str>,
}

/// What an argument is.
#[derive(Debug)]
pub enum Kind {
    /// A key.
    Key,
    /// A pattern of names.
    Pattern,
    /// Bytes, so many at least and at most where that is said.
    String(Option<(usize, usize)>),
    /// Bytes that are right, and what they must be.
    Checked(fn(&[u8]) -> bool, &'static str),
    /// A whole number.
    Integer(Bounds),
    /// A time: a whole number.
    UnixTime(Bounds),
    /// The word alone.
    Token,
    /// One of these.
    OneOf(&'static [Arg]),
    /// These, one behind the other. The first has the block's word. Where the last can be repeated, the
    /// first is how often it is. Where it is optional, it has a word of its own, and is a number.
    Block(&'static [Arg]),
    /// The same, of parts that may be left out, or be one of several: read by a function, which says how many arguments
    /// from a position on they are.
    Read(&'static [Arg], fn(Args, usize) -> Result<usize>),
}

/// What a number may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At least.
    pub least: i64,
    /// At most, whoever gives it.
    pub most: i64,
    /// At most, from a client, where that is less.
    pub client: Option<ClientBound>,
}

/// What a number may be at most that a client gives.
#[derive(Clone, Copy, Debug)]
pub struct ClientBound {
    /// What says so, for the error where it is 0.
    pub name: &'static str,
    /// The bound as it is now.
    pub most: fn() -> i64,
}

/// How often an argument may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once.
    No,
    /// `TAGS 2 a b`: the argument.
    Value,
    /// `SCOPE a SCOPE b`: the argument with its token, so often at most.
    WithToken(usize),
}

const ANY: Bounds = Bounds { least: i64::MIN, most: i64::MAX, client: None };

impl Arg {
    const fn new(name: &'static CStr, kind: Kind) -> Self {
        Self { name, kind, token: None, optional: false, repeat: Repeat::No, reason: None }
    }

    /// A key, called so.
    pub const fn key() -> Self {
        Self::key_called(c"key")
    }

    /// A key of another name.
    pub const fn key_called(name: &'static CStr) -> Self {
        Self::new(name, Kind::Key)
    }

    /// A pattern of names.
    pub const fn pattern(name: &'static CStr) -> Self {
        Self::new(name, Kind::Pattern)
    }

    /// Any bytes.
    pub const fn string(name: &'static CStr) -> Self {
        Self::new(name, Kind::String(None))
    }

    /// Bytes, so many at least and at most.
    pub const fn bytes(name: &'static CStr, least: usize, most: usize) -> Self {
        Self::new(name, Kind::String(Some((least, most))))
    }

    /// Bytes that are right; the error says what they must: `be ..`.
    pub const fn checked(
        name: &'static CStr,
        is_right: fn(&[u8]) -> bool,
        must: &'static str,
    ) -> Self {
        Self::new(name, Kind::Checked(is_right, must))
    }

    /// A whole number.
    pub const fn integer(name: &'static CStr) -> Self {
        Self::new(name, Kind::Integer(ANY))
    }

    /// A time.
    pub const fn unix_time(name: &'static CStr) -> Self {
        Self::new(name, Kind::UnixTime(ANY))
    }

    /// The word alone.
    pub const fn word(name: &'static CStr, token: &'static CStr) -> Self {
        Self::new(name, Kind::Token).after(token)
    }

    /// One of these.
    pub const fn one_of(name: &'static CStr, args: &'static [Arg]) -> Self {
        Self::new(name, Kind::OneOf(args))
    }

    /// These, one behind the other: [`Kind::Block`].
    pub const fn block(name: &'static CStr, args: &'static [Arg]) -> Self {
        let mut block = Self::new(name, Kind::Block(args));
        if let [first, ..] = args {
            block.token = first.token;
        }
        block
    }

    /// The same, read by a function: [`Kind::Read`].
    pub const fn read(
        name: &'static CStr,
        args: &'static [Arg],
        read: fn(Args, usize) -> Result<usize>,
    ) -> Self {
        Self { kind: Kind::Read(args, read), ..Self::block(name, args) }
    }

    /// With a word before it.
    pub const fn after(mut self, token: &'static CStr) -> Self {
        self.token = Some(token);
        self
    }

    /// A number between these bounds.
    pub const fn between(mut self, least: i64, most: i64) -> Self {
        let bounds = Bounds { least, most, client: None };
        self.kind = match self.kind {
            Kind::UnixTime(_) => Kind::UnixTime(bounds),
            _ => Kind::Integer(bounds),
        };
        self
    }

    /// From a client, a number that is at most what something of this name says.
    pub const fn at_most(mut self, name: &'static str, most: fn() -> i64) -> Self {
        let client = Some(ClientBound { name, most });
        self.kind = match self.kind {
            Kind::Integer(bounds) => Kind::Integer(Bounds { client, ..bounds }),
            Kind::UnixTime(bounds) => Kind::UnixTime(Bounds { client, ..bounds }),
            other => other,
        };
        self
    }

    /// May be left out.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// May come more than once.
    pub const fn repeated(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// May not be left out, for this reason.
    pub const fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }
}
