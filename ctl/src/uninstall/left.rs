//! What keeps a server from starting without the module and only a person can take away: lines of its configuration.

use anyhow::{Context, Result};
use redis::Value;
use serde::Serialize;

use crate::connect::Link;
use crate::reading::{reply, Config, Facts};

#[derive(Serialize)]
pub struct Left {
    /// Of the server; none where it was started without.
    config_file: Option<String>,
    /// Of the module; none where the server does not tell (6.2).
    module_path: Option<String>,
    /// Whose rules name commands or the category of the module.
    users: Vec<String>,
    /// Where users are kept; none where that is the configuration file.
    acl_file: Option<String>,
}

impl Left {
    pub fn read(link: &mut Link, facts: &Facts) -> Result<Self> {
        let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(String::from);
        let modules: Value = link.ask(redis::cmd("MODULE").arg("LIST"))?;
        let users: Vec<String> = link.ask(redis::cmd("ACL").arg("LIST"))?;
        let acl_file = Config::read(link, "aclfile")?;
        Ok(Self {
            config_file: some(facts.info.text("config_file")),
            module_path: path(&modules).with_context(|| {
                format!("{}: MODULE LIST has a reply that is not known", link.address)
            })?,
            users: users.iter().filter_map(|rules| named_by(rules)).collect(),
            acl_file: some(acl_file.text("aclfile")),
        })
    }

    /// What to do, a line each.
    pub fn lines(&self) -> Vec<String> {
        let file = self.config_file.as_deref().unwrap_or("the command line that starts it");
        let module = self.module_path.as_deref().unwrap_or("libapikey.so");
        let mut lines = vec![format!(
            "take `loadmodule {module}` and each `apikey.` setting out of {file} and what that includes"
        )];
        if !self.users.is_empty() {
            lines.push(format!(
                "take what names apikey out of the rules of these users in {}: {}",
                self.acl_file.as_deref().unwrap_or(file),
                self.users.join(", ")
            ));
        }
        lines
    }
}

fn path(modules: &Value) -> Option<Option<String>> {
    for module in reply::items(modules)? {
        let fields = reply::fields(module)?;
        let field = |name: &str| {
            fields.iter().find(|(known, _)| known == name).and_then(|(_, value)| reply::text(value))
        };
        if field("name").as_deref() == Some("apikey") {
            return Some(field("path"));
        }
    }
    Some(None)
}

/// The user of a line of ACL LIST, `user NAME on .. +apikey.validate ..`, where it names the module's commands.
fn named_by(line: &str) -> Option<String> {
    let mut words = line.split(' ').skip(1);
    let user = words.next()?;
    // Selectors stand in brackets.
    let is_ours = |word: &str| {
        let rule = word.trim_start_matches('(').to_lowercase();
        ["+apikey.", "-apikey.", "+@apikey", "-@apikey"].iter().any(|begin| rule.starts_with(begin))
    };
    words.any(is_ours).then(|| user.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_whose_rules_name_commands_of_the_module() {
        for (rules, user) in [
            ("user a on nopass ~apikey:* &apikey-invalidations +@all", None),
            ("user a on nopass ~* -@all +apikey.validate +ping", Some("a")),
            ("user a on nopass ~* +@all -APIKEY.USAGE.FLUSH", Some("a")),
            ("user a on nopass -@all (~x* -@all +@apikey)", Some("a")),
            ("user", None),
        ] {
            assert_eq!(named_by(rules).as_deref(), user, "{rules}");
        }
    }
}
