//! Patterns that make a key or a tag of a record: `apikey:{{key_prefix}}`.
//!
//! `{field}` inserts a field. A field's name has no braces, so the innermost pair names it, and every
//! other brace stands for itself; `\{`, `\}` and `\\` always do.

use anyhow::{bail, Result};

use super::row::Row;

#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Field(String),
}

impl Pattern {
    pub fn parse(pattern: &str) -> Result<Self> {
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut rest = pattern;
        while let Some(next) = rest.chars().next() {
            let behind = &rest[next.len_utf8()..];
            if next == '\\' {
                match behind.chars().next() {
                    Some(escaped @ ('{' | '}' | '\\')) => text.push(escaped),
                    _ => bail!("\\ stands before {{, }} or \\ alone"),
                }
                rest = &behind[1..];
                continue;
            }
            rest = behind;
            if next == '{' {
                let end = behind.find(['{', '}', '\\']);
                if let Some((name, '}')) =
                    end.map(|at| (&behind[..at], behind[at..].chars().next().unwrap_or('{')))
                {
                    if name.is_empty() {
                        bail!("{{}} names no field");
                    }
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Field(name.to_string()));
                    rest = &behind[name.len() + 1..];
                    continue;
                }
            }
            text.push(next);
        }
        parts.push(Part::Text(text));
        parts.retain(|part| *part != Part::Text(String::new()));
        if parts.is_empty() {
            bail!("it is empty");
        }
        Ok(Self(parts))
    }

    pub fn has_field(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Whether it inserts this field.
    pub fn names(&self, field: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Field(name) if name == field))
    }

    /// The text for one record, or why there is none.
    pub fn fill(&self, row: &Row) -> Result<String, String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Field(name) => filled.push_str(&row.text(name)?),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(pattern: &str) -> String {
        let row = Row::parse(br#"{"key_prefix":"ak_7Q","id":42}"#).expect("a row");
        Pattern::parse(pattern).expect(pattern).fill(&row).expect(pattern)
    }

    #[test]
    fn the_innermost_braces_name_a_field_and_all_others_stay() {
        for (pattern, filled) in [
            ("apikey:{{key_prefix}}", "apikey:{ak_7Q}"),
            ("apikey:{key_prefix}", "apikey:ak_7Q"),
            ("{{id}}:{key_prefix}", "{42}:ak_7Q"),
            ("{{id}:x}", "{42:x}"),
            (r"\{all\}:{id}", "{all}:42"),
            (r"\{{id}\}", "{42}"),
            (r"a\\{id}", r"a\42"),
            ("a}b{c:{id}", "a}b{c:42"),
            ("ключ:{id}", "ключ:42"),
        ] {
            assert_eq!(fill(pattern), filled, "{pattern}");
        }
    }

    #[test]
    fn what_names_nothing_is_an_error() {
        for pattern in ["", "a{}", r"\a{id}", r"{id}\"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(!Pattern::parse("apikey:{key_prefix").expect("text").has_field());
    }
}
