//! Whether a user has what its role needs, and not much more.
//!
//! ACL DRYRUN says so (Redis 7.0 and later), ACL GETUSER tells the rules where there is no DRYRUN; a user who may ask
//! neither tries: calls that change nothing, since the server asks for permissions before it looks at arguments. What a
//! user should *not* have is never tried.

use anyhow::Result;
use redis::{Cmd, Value};

use crate::connect::{Link, Refusal};
use crate::reading::reply;

use super::finding::Finding;
use super::roles::{name, Role};

/// Whose permissions are looked at, and for what.
pub struct Asked<'a> {
    pub role: Role,
    pub user: &'a str,
    /// Whether that is who has logged in: then it can be tried.
    pub is_own: bool,
    pub prefix: &'a str,
    /// A key below the prefix that nothing has.
    pub key: &'a str,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Command,
    /// The command is allowed, its key is not.
    Key,
}

/// What was learnt of a user at a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    lacks: Vec<String>,
    lacks_keys: bool,
    /// What should not be allowed and is; none where nobody could tell.
    excess: Option<Vec<String>>,
    /// The user is not there at all.
    is_unknown: bool,
    /// Nothing at all could be learnt.
    is_untold: bool,
}

/// Asks the server what the user may.
pub fn look(link: &mut Link, asked: &Asked, is_in_cluster: bool) -> Result<Permissions> {
    let Some(mut way) = Way::find(link, asked)? else {
        return Ok(Permissions { is_unknown: true, ..Permissions::default() });
    };
    let mut permissions = Permissions::default();
    if matches!(way, Way::Trying) && !asked.is_own {
        permissions.is_untold = true;
        return Ok(permissions);
    }
    for call in asked.role.needs(is_in_cluster) {
        if matches!(way, Way::Trying) && !call.is_harmless {
            continue;
        }
        match way.lack(link, asked, call.words)? {
            Some(Lack::Command) => permissions.lacks.push(name(call.words)),
            Some(Lack::Key) => permissions.lacks_keys = true,
            None => {}
        }
    }
    if matches!(way, Way::Trying) {
        return Ok(permissions);
    }
    let mut excess = Vec::new();
    for call in asked.role.should_not() {
        if way.lack(link, asked, call)?.is_none() {
            excess.push(name(call));
        }
    }
    // By a command that it has, at a key that it should not.
    if asked.role.has_keys() {
        let elsewhere = Asked { key: "elsewhere:apikeyctl-doctor", ..*asked };
        if way.lack(link, &elsewhere, "APIKEY.TAGS {key}")?.is_none() {
            excess.push(format!("keys outside {}*", asked.prefix));
        }
    }
    permissions.excess = Some(excess);
    Ok(permissions)
}

enum Way {
    DryRun,
    /// By the rules that GETUSER tells: of commands, and of keys.
    Rules(Vec<String>, Vec<String>),
    Trying,
}

impl Way {
    /// The best there is; none where the server knows no such user.
    fn find(link: &mut Link, asked: &Asked) -> Result<Option<Self>> {
        match link.try_ask(&dry_run(asked, "PING"))? {
            Ok(_) => return Ok(Some(Self::DryRun)),
            Err(refusal) if refusal.text.contains("not found") => return Ok(None),
            Err(_) => {}
        }
        let told = match link.try_ask(redis::cmd("ACL").arg("GETUSER").arg(asked.user))? {
            Ok(Value::Nil) => return Ok(None),
            Ok(told) => told,
            Err(_) => return Ok(Some(Self::Trying)),
        };
        let field = |name: &str| {
            let fields = reply::fields(&told)?;
            let value = fields.into_iter().find(|(known, _)| known == name)?.1;
            let words =
                reply::texts(&value).or_else(|| reply::text(&value).map(|text| vec![text]))?;
            Some(words.iter().flat_map(|words| words.split(' ')).map(str::to_string).collect())
        };
        Ok(Some(match (field("commands"), field("keys")) {
            (Some(commands), Some(keys)) => Self::Rules(commands, keys),
            _ => Self::Trying,
        }))
    }

    fn lack(&mut self, link: &mut Link, asked: &Asked, call: &str) -> Result<Option<Lack>> {
        Ok(match self {
            Self::DryRun => match link.try_ask(&dry_run(asked, call))? {
                Ok(Value::Okay) => None,
                Ok(told) => Some(lack_of(&reply::text(&told).unwrap_or_default())),
                // It is not there, or the call is of another version: no permission is what it lacks.
                Err(_) => None,
            },
            Self::Rules(commands, keys) => by_rules(commands, keys, &words(asked, call)),
            Self::Trying => {
                let mut words = words(asked, call).into_iter();
                let mut command = redis::cmd(&words.next().unwrap_or_default());
                words.for_each(|word| {
                    command.arg(word);
                });
                let refusal = link.try_ask(&command)?.err();
                refusal.filter(is_of_permission).map(|refusal| lack_of(&refusal.text))
            }
        })
    }
}

fn is_of_permission(refusal: &Refusal) -> bool {
    refusal.code == "NOPERM"
}

/// `.. to run the 'get' command`, `.. to access the 'x' key`, `.. to access one of the keys used as arguments`.
fn lack_of(text: &str) -> Lack {
    match text.contains(" key") {
        true => Lack::Key,
        false => Lack::Command,
    }
}

fn words(asked: &Asked, call: &str) -> Vec<String> {
    let tag = format!("{}:tag", asked.key);
    call.split(' ').map(|word| word.replace("{key}", asked.key).replace("{tag}", &tag)).collect()
}

fn dry_run(asked: &Asked, call: &str) -> Cmd {
    let mut command = redis::cmd("ACL");
    command.arg("DRYRUN").arg(asked.user).arg(words(asked, call));
    command
}

/// What GETUSER's rules say of a call: the last that is about its command. Of categories `@all` and `@dangerous` are
/// known, which no command of the module is in where there is no DRYRUN. Of keys the patterns that end with `*` are.
fn by_rules(commands: &[String], keys: &[String], words: &[String]) -> Option<Lack> {
    let first = words.first().map(|word| word.to_lowercase()).unwrap_or_default();
    let whole = words.get(1).map(|second| format!("{first}|{}", second.to_lowercase()));
    let is_dangerous = [
        "flushall",
        "flushdb",
        "shutdown",
        "acl",
        "keys",
        "debug",
        "config",
        "replicaof",
        "module",
        "info",
        "client",
    ];
    let mut may = false;
    for rule in commands {
        let (sign, of) = rule.split_at(rule.len().min(1));
        let is_about = of == "@all"
            || of == first
            || Some(of) == whole.as_deref()
            || (of == "@dangerous" && is_dangerous.contains(&first.as_str()));
        if is_about {
            may = sign == "+";
        }
    }
    if !may {
        return Some(Lack::Command);
    }
    let key = words
        .iter()
        .find(|word| word.contains("apikeyctl-doctor"))
        .filter(|_| first.starts_with("apikey."))?;
    let matches = |pattern: &String| {
        let pattern = pattern.trim_start_matches('~');
        pattern == key || pattern.strip_suffix('*').is_some_and(|prefix| key.starts_with(prefix))
    };
    (!keys.iter().any(matches)).then_some(Lack::Key)
}

/// What there is to say of it.
pub fn check(permissions: &Permissions, asked: &Asked) -> Vec<Finding> {
    let Asked { role, user, prefix, .. } = asked;
    let page = format!("see user {} in docs/acl.md", role.user());
    if permissions.is_unknown {
        let what = format!("there is no user {user} here: users are not replicated");
        return vec![Finding::wrong(
            "no-user",
            what,
            "give each node the same aclfile, and ACL LOAD",
        )];
    }
    if permissions.is_untold {
        let what =
            format!("what {user} may could not be told: ACL DRYRUN is not allowed, or not there");
        return vec![Finding::note(
            "access-untold",
            what,
            "log in as a user who has ACL DRYRUN, or as that user itself",
        )];
    }
    let mut found = Vec::new();
    if !permissions.lacks.is_empty() {
        let what = format!("the user {user} may not call {}", permissions.lacks.join(", "));
        found.push(Finding::wrong("access-too-small", what, page.clone()));
    }
    if permissions.lacks_keys {
        let what = format!("the user {user} may not use keys of the pattern {prefix}*");
        found.push(Finding::wrong(
            "access-keys",
            what,
            format!("ACL SETUSER {user} ~{prefix}*, and ACL SAVE; or name another --prefix"),
        ));
    }
    match &permissions.excess {
        Some(excess) if !excess.is_empty() => {
            let what = format!("the user {user} may do more than its work: {}", excess.join(", "));
            found.push(Finding::warn("access-too-wide", what, page));
        }
        Some(_) => {}
        None => {
            let what = format!("whether {user} may do more than its work can't be told by itself");
            found.push(Finding::note(
                "access-untold",
                what,
                format!("ask as a user who has ACL DRYRUN, with --whose {user}"),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    const ASKED: Asked = Asked {
        role: Role::App,
        user: "u",
        is_own: true,
        prefix: "apikey:",
        key: "apikey:{apikeyctl-doctor-1}",
    };

    #[test]
    fn rules_are_read_as_getuser_tells_them() {
        let of = |rules: &str, keys: &str, call: &str| {
            let list = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
            by_rules(&list(rules), &list(keys), &words(&ASKED, call))
        };
        assert_eq!(of("-@all +apikey.validate", "~apikey:*", "APIKEY.VALIDATE {key}"), None);
        assert_eq!(
            of("-@all +apikey.validate", "apikey:*", "APIKEY.TOKEN {key}"),
            Some(Lack::Command)
        );
        assert_eq!(
            of("-@all +apikey.validate", "other:*", "APIKEY.VALIDATE {key}"),
            Some(Lack::Key)
        );
        assert_eq!(of("+@all -apikey.token", "*", "APIKEY.TOKEN {key}"), Some(Lack::Command));
        assert_eq!(of("+@all -@dangerous", "*", "FLUSHALL"), Some(Lack::Command));
        assert_eq!(of("-@all +config|get", "*", "CONFIG GET x"), None);
        assert_eq!(of("-@all +config|get", "*", "CONFIG SET x x"), Some(Lack::Command));
        assert_eq!(of("", "", "PING"), Some(Lack::Command));
    }

    #[test]
    fn what_a_user_lacks_and_has_beside_is_told() {
        let names = |permissions: &Permissions| {
            check(permissions, &ASKED)
                .iter()
                .map(|found| (found.severity, found.finding))
                .collect::<Vec<_>>()
        };
        let well = Permissions { excess: Some(Vec::new()), ..Permissions::default() };
        assert_eq!(names(&well), []);
        assert_eq!(names(&Permissions::default()), [(Severity::Note, "access-untold")]);
        let both = Permissions {
            lacks: vec!["APIKEY.TOKEN".into()],
            lacks_keys: true,
            excess: Some(vec!["FLUSHALL".into()]),
            ..Permissions::default()
        };
        let expected = [
            (Severity::Wrong, "access-too-small"),
            (Severity::Wrong, "access-keys"),
            (Severity::Warn, "access-too-wide"),
        ];
        assert_eq!(names(&both), expected);
        let unknown = Permissions { is_unknown: true, ..Permissions::default() };
        assert_eq!(names(&unknown), [(Severity::Wrong, "no-user")]);
    }

    #[test]
    fn refusals_are_told_apart_as_servers_word_them() {
        for (text, expected) in [
            ("This user has no permissions to run the 'get' command", Lack::Command),
            ("User u has no permissions to access the 'x' key", Lack::Key),
            ("this user has no permissions to access one of the keys used as arguments", Lack::Key),
        ] {
            assert_eq!(lack_of(text), expected, "{text}");
        }
    }
}
