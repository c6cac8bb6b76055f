//! What a server says no by, and what to do then.

use std::fmt;

use redis::ServerError;

/// An error as reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its first word: `NOPERM`, `ERR`.
    pub code: String,
    /// The rest.
    pub text: String,
}

impl Refusal {
    pub fn of(error: &ServerError) -> Self {
        let text = error.details().unwrap_or_default().to_string();
        Self { code: error.code().to_string(), text }
    }

    /// Of what stands behind the `-` of a reply.
    pub fn read(line: &str) -> Self {
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        Self { code: code.into(), text: text.into() }
    }

    /// Whether the server does not know the command, or the subcommand, at all.
    pub fn is_unknown_command(&self) -> bool {
        // 6.2 begins with it: `Unknown subcommand or wrong number of arguments for 'HISTOGRAM'`.
        ["unknown command", "unknown subcommand", "Unknown subcommand"]
            .iter()
            .any(|told| self.text.contains(told))
    }

    /// What to do about it, behind a semicolon; empty where that is not known.
    pub fn hint(&self, command: &str) -> String {
        if self.is_unknown_command() {
            return match command.to_ascii_uppercase().starts_with("APIKEY.") {
                true => "; it has no module redis-apikey: start it with --loadmodule libapikey.so, or the command was renamed".into(),
                false => format!("; {command} was renamed, or this server is older than it"),
            };
        }
        match self.code.as_str() {
            "NOAUTH" | "WRONGPASS" => {
                "; give the user by --user and the password in REDISCLI_AUTH, or both in the URL"
                    .into()
            }
            "NOPERM" => format!("; the user needs {command} (docs/acl.md has users)"),
            "LOADING" => "; it is loading its data: try again when it has".into(),
            "MOVED" | "ASK" | "CROSSSLOT" => "; it is a node of a cluster: say --cluster".into(),
            "READONLY" => "; it is a replica: say the primary's URL".into(),
            "MISCONF" | "NOREPLICAS" => "; it takes no writes: APIKEY.HEALTH says why".into(),
            "PARTIAL" => {
                "; start again when that primary answers: to repeat it does no harm".into()
            }
            _ => String::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.is_empty() {
            true => f.write_str(&self.code),
            false => write!(f, "{} {}", self.code, self.text),
        }
    }
}
