//! INFO.

use std::str::FromStr;

use anyhow::Result;

use crate::connect::Link;

/// The lines of INFO, in their order.
#[derive(Clone, Debug, Default)]
pub struct Info(Vec<(String, String)>);

impl Info {
    /// A section: `server`, `apikey_service`, `everything`; an empty name is what INFO says by itself. (6.2 takes one
    /// section a call.)
    pub fn read(link: &mut Link, section: &str) -> Result<Self> {
        let mut command = redis::cmd("INFO");
        if !section.is_empty() {
            command.arg(section);
        }
        let text: String = link.ask(&command)?;
        Ok(Self::parse(&text))
    }

    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (name, value) = line.split_once(':')?;
            (!name.starts_with('#')).then(|| (name.to_string(), value.to_string()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// All lines, as names and values.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What a line like `ip=10.0.0.1,port=6379,state=online` has under a name.
pub fn part<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_parts_are_found_by_name() {
        let info =
            Info::parse("# Server\r\nredis_version:7.0.15\r\nslave0:ip=::1,port=7,lag=0\r\n");
        assert_eq!(info.text("redis_version"), Some("7.0.15"));
        assert_eq!(info.number::<u64>("redis_version"), None);
        let line = info.text("slave0").expect("a line");
        assert_eq!(
            (part(line, "ip"), part(line, "port"), part(line, "p")),
            (Some("::1"), Some("7"), None)
        );
    }
}
