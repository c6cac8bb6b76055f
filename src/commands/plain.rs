//! What is said of a command where nothing else is.

use host::command::spec::Spec;

/// A command that reads, has no keys, and takes no arguments: its name, and what else it is, follow.
pub const PLAIN: Spec = Spec { since: c"0.1.0", ..Spec::PLAIN };
