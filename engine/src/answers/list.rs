//! A list of a user's key records: sanitised one by one, found by their position.
//!
//! They stand in one text, the JSON array of them all, with the place where each ends: a page of it costs
//! what the page is long.

use crate::defrag::Defrag;
use crate::entry::kind::{Entry, Kind};
use crate::entry::label::Label;
use crate::record::bad_record::BadRecord;
use crate::record::sanitise::{Limits, Parts};
use crate::record::tag_fields::FieldTags;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;

/// The most records that a list may have.
pub const MAX_RECORDS: usize = 10_000;

/// The most bytes that a list may have.
pub const MAX_LIST_BYTES: usize = 16 << 20;

/// Sanitised records.
#[derive(Clone, Debug)]
pub struct Records {
    /// An array without spaces between its elements.
    json: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
}

impl Records {
    /// Reads a JSON array of records, with the tags that their fields make; what is wrong with one of them is said
    /// with its number.
    pub fn sanitise(input: &[u8], limits: &Limits) -> Result<(Self, FieldTags), BadRecord> {
        let bad = |why: String| Err(BadRecord(why.into()));
        let too_large = || bad(format!("records must be at most {MAX_LIST_BYTES} bytes"));
        if input.len() > MAX_LIST_BYTES {
            return too_large();
        }
        let Ok(text) = std::str::from_utf8(input) else {
            return bad("records must be UTF-8".into());
        };
        let elements = match serde_json::from_str::<Elements>(text) {
            Ok(elements) => elements,
            Err(error) if error.is_data() => return bad("records must be a JSON array".into()),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                return bad(format!("records is not JSON (line {line} column {column})"));
            }
        };
        if elements.count > MAX_RECORDS {
            return bad(format!("records must have at most {MAX_RECORDS} elements"));
        }
        let mut json = String::with_capacity(text.len());
        let mut ends = Vec::with_capacity(elements.count);
        let mut tags = FieldTags::default();
        json.push('[');
        for (number, element) in (1..).zip(elements.first) {
            let parts = Parts::sanitise(element.get().as_bytes(), limits).map_err(|bad| {
                BadRecord(format!("element {number} of records: {}", bad.0).into())
            })?;
            if number > 1 {
                json.push(',');
            }
            json.push_str(&String::from_utf8_lossy(&parts.json()));
            match u32::try_from(json.len()) {
                Ok(end) if json.len() < MAX_LIST_BYTES => ends.push(end),
                _ => return too_large(),
            }
            tags.add(parts.into_tags())?;
        }
        json.push(']');
        Ok((Self { json: json.into_boxed_str(), ends: ends.into_boxed_slice() }, tags))
    }
}

/// The first elements of an array, at most [`MAX_RECORDS`], and how many it has.
struct Elements<'a> {
    first: Vec<&'a RawValue>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;

        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
                let mut first = Vec::new();
                while first.len() < MAX_RECORDS {
                    let Some(element) = seq.next_element()? else {
                        return Ok(Elements { count: first.len(), first });
                    };
                    first.push(element);
                }
                let mut count = first.len();
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Elements { first, count })
            }
        }

        from.deserialize_seq(ElementsVisitor)
    }
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct List {
    label: Label,
    records: Records,
}

impl List {
    pub fn new(label: Label, records: Records) -> Self {
        Self { label, records }
    }

    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The records as one JSON array.
    pub fn json(&self) -> &str {
        &self.records.json
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.ends.is_empty()
    }

    /// The records from a position on, at most `limit` of them.
    pub fn page(&self, offset: usize, limit: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        let ends = &self.records.ends;
        let from = offset.min(ends.len());
        let to = from.saturating_add(limit).min(ends.len());
        (from..to).map(|nth| {
            // Behind the bracket, or the comma behind the one before.
            let before =
                nth.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
            let end = ends.get(nth).copied().unwrap_or(0);
            self.json().as_bytes().get(before as usize + 1..end as usize).unwrap_or_default()
        })
    }

    /// Bytes that it holds beside its own size.
    pub fn heap_bytes(&self) -> usize {
        self.label.heap_bytes() + self.json().len() + size_of_val(&*self.records.ends)
    }

    /// Hands these bytes over.
    pub fn defrag(&mut self, to: &mut impl Defrag) {
        self.label.defrag(to);
        to.text(&mut self.records.json);
        to.slice(&mut self.records.ends);
    }
}

impl Entry for List {
    fn kind(&self) -> Kind {
        Kind::List
    }

    fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
        self.label.each_tag(Kind::List, each);
    }

    fn tag_count(&self) -> usize {
        self.label.tag_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::tests::Counting;
    use crate::entry::label::Owner;
    use crate::record::sanitise::ExtraFields;

    const LIMITS: Limits = Limits { extra_fields: ExtraFields::Named(&[]), ..Limits::STORED };

    fn list(json: &str) -> Result<List, String> {
        let owner = Owner { namespace: b"", id: b"", user_id: b"u" };
        let (records, _) =
            Records::sanitise(json.as_bytes(), &LIMITS).map_err(|e| e.0.into_owned())?;
        Ok(List::new(Label::new(Kind::List, &owner, &[]).unwrap(), records))
    }

    fn record(id: usize) -> String {
        format!(r#"{{"id":{id},"user_id":"u","is_active":true}}"#)
    }

    fn page(list: &List, offset: usize, limit: usize) -> Vec<&str> {
        list.page(offset, limit).map(|json| std::str::from_utf8(json).unwrap()).collect()
    }

    #[test]
    fn records_are_sanitised_and_found_by_their_position() {
        let three = (0..3).map(record).collect::<Vec<_>>();
        let with_hash = three[1].replace("\"user_id\"", "\"key_hash\":\"x\", \"user_id\"");
        let list = list(&format!(" [ {} , {with_hash},{} ] ", three[0], three[2])).unwrap();
        assert_eq!(list.len(), 3);
        assert_eq!(list.json(), format!("[{}]", three.join(",")));
        assert_eq!(page(&list, 0, 9), three);
        assert_eq!(page(&list, 1, 1), [&three[1]]);
        assert_eq!(page(&list, 2, usize::MAX), [&three[2]]);
        for (offset, limit) in [(0, 0), (3, 1), (usize::MAX, usize::MAX)] {
            assert_eq!(page(&list, offset, limit), [""; 0]);
        }
    }

    #[test]
    fn records_make_each_tag_of_their_fields_once_and_64_at_most() {
        let fields = ["org".to_string()];
        let limits = Limits { tag_fields: &fields, ..LIMITS };
        let made = |orgs: &[&str]| {
            let records =
                orgs.iter().map(|org| format!(r#"{{"id":1,"is_active":true,"org":{org}}}"#));
            let json = format!("[{}]", records.collect::<Vec<_>>().join(","));
            match Records::sanitise(json.as_bytes(), &limits) {
                Ok((_, tags)) => Ok(tags.within(b"a:")),
                Err(error) => Err(error.0.into_owned()),
            }
        };
        assert_eq!(made(&["null", "null"]).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(
            made(&["7", "\"x\"", "null", "\"7\""]).unwrap(),
            [b"a:apikey:org:7".to_vec(), b"a:apikey:org:x".to_vec()]
        );
        assert_eq!(
            made(&["7", "true"]).unwrap_err(),
            "element 2 of records: org must be a string of 1 to 256 bytes, an integer or null: \
             apikey.tag-fields makes a tag of it"
        );
        let many: Vec<String> = (0..65).map(|n: u32| n.to_string()).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            made(&many).unwrap_err(),
            "records must make at most 64 different tags of the fields that apikey.tag-fields names"
        );
        many[64] = "0";
        assert_eq!(made(&many).unwrap().len(), 64);
    }

    #[test]
    fn all_that_it_holds_is_handed_over() {
        let three = (0..3).map(record).collect::<Vec<_>>();
        let mut list = list(&format!("[{}]", three.join(","))).unwrap();
        let mut to = Counting::default();
        list.defrag(&mut to);
        assert_eq!(to.bytes, list.heap_bytes());
        assert_eq!(page(&list, 0, 9), three);
    }

    #[test]
    fn a_list_may_be_empty() {
        let list = list(" [ ] ").unwrap();
        assert!(list.is_empty());
        assert_eq!(list.json(), "[]");
        assert_eq!(page(&list, 0, 1), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_number_of_the_record() {
        let wrong = |json: &str| list(json).unwrap_err();
        let good = record(1);
        assert_eq!(wrong(&format!("[{good},{{}}]")), "element 2 of records: id is missing");
        assert_eq!(wrong("[1]"), "element 1 of records: record must be a JSON object");
        assert_eq!(wrong(&good), "records must be a JSON array");
        assert_eq!(wrong("[1,"), "records is not JSON (line 1 column 3)");
        assert_eq!(wrong(""), "records is not JSON (line 1 column 0)");
    }

    #[test]
    fn the_number_and_the_bytes_are_bounded() {
        let many = |number| format!("[{}]", vec![record(1); number].join(","));
        assert_eq!(list(&many(MAX_RECORDS)).unwrap().len(), MAX_RECORDS);
        let error = "records must have at most 10000 elements";
        assert_eq!(list(&many(MAX_RECORDS + 1)).unwrap_err(), error);
        let spaces = " ".repeat(MAX_LIST_BYTES);
        assert!(list(&spaces).unwrap_err().starts_with("records is not JSON"));
        let error = "records must be at most 16777216 bytes";
        assert_eq!(list(&format!("{spaces} ")).unwrap_err(), error);
    }
}
