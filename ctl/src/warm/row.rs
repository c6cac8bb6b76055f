//! One line of the export: the fields of a JSON object, as they were written.

use std::borrow::Cow;

use apikey_engine::record::json::{each_field, plain_string};

pub struct Row<'a> {
    line: &'a str,
    fields: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Row<'a> {
    /// Reads a line; what the record has to hold beside being an object is the server's to judge.
    pub fn parse(line: &'a [u8]) -> Result<Self, String> {
        let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_string())?;
        let mut fields = Vec::new();
        match each_field(line, |name, value| fields.push((name, value))) {
            Ok(()) => Ok(Self { line, fields }),
            Err(error) if error.is_data() => Err("it is no JSON object".into()),
            // Not the library's own words: they may quote the record.
            Err(error) => Err(format!("it is not JSON (column {})", error.column())),
        }
    }

    pub fn field(&self, name: &str) -> Result<&'a str, String> {
        let mut found = self.fields.iter().filter(|(known, _)| known == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value),
            (None, _) => Err(format!("it has no field {name}")),
            // A join has two columns of a name: nobody knows which is meant.
            (Some(_), Some(_)) => Err(format!("{name} is given twice")),
        }
    }

    /// What a string or an integer says.
    pub fn text(&self, name: &str) -> Result<Cow<'a, str>, String> {
        let value = self.field(name)?;
        let text = match plain_string(value) {
            Some(plain) => Some(Cow::Borrowed(plain)),
            None if value.starts_with('"') => serde_json::from_str(value).ok().map(Cow::Owned),
            None => value
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'-')
                .then_some(Cow::Borrowed(value)),
        };
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| format!("{name} must be a string that is not empty, or an integer"))
    }

    /// The object without one of its fields.
    pub fn json_without(&self, name: &str) -> Cow<'a, str> {
        if self.fields.iter().all(|(known, _)| known != name) {
            return Cow::Borrowed(self.line);
        }
        let mut json = String::with_capacity(self.line.len());
        for (known, value) in self.fields.iter().filter(|(known, _)| known != name) {
            json.push(if json.is_empty() { '{' } else { ',' });
            // Writing a string to memory can't fail.
            json.push_str(&serde_json::to_string(known).unwrap_or_default());
            json.push(':');
            json.push_str(value);
        }
        if json.is_empty() {
            json.push('{');
        }
        json.push('}');
        Cow::Owned(json)
    }

    /// All of them, as they were written.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    pub fn line(&self) -> &'a str {
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_left_out_and_the_others_stay_as_they_were() {
        let line =
            r#" {"id": 9007199254740993,"key_hash" :"aa","n\u0061me":"\u00e9" , "x":[1, 2]}"#;
        let row = Row::parse(line.as_bytes()).expect("a row");
        assert_eq!(
            row.json_without("key_hash"),
            r#"{"id":9007199254740993,"name":"\u00e9","x":[1, 2]}"#
        );
        assert_eq!(row.json_without("none"), line);
        assert_eq!(Row::parse(br#"{"a":1}"#).expect("a row").json_without("a"), "{}");
    }

    #[test]
    fn a_field_that_is_given_twice_is_none() {
        let row = Row::parse(br#"{"h":null,"\u0068":"b","x":1}"#).expect("a row");
        assert_eq!(row.field("h"), Err("h is given twice".into()));
        assert!(row.text("h").is_err());
        assert_eq!(row.field("x"), Ok("1"));
    }

    #[test]
    fn strings_and_integers_are_text() {
        let row =
            Row::parse(br#"{"s":"a\u0062","i":-7,"e":"","f":1.5,"n":null,"o":{}}"#).expect("a row");
        assert_eq!(row.text("s").as_deref(), Ok("ab"));
        assert_eq!(row.text("i").as_deref(), Ok("-7"));
        for name in ["e", "f", "n", "o", "missing"] {
            assert!(row.text(name).is_err(), "{name}");
        }
    }
}
