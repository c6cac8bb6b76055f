//! The tags that a record carries by its own fields: `apikey:org_id:7`, where `apikey.tag-fields` names `org_id`.

use crate::entry::tag_names::{FIELD, MAX_ID_BYTES, MAX_LIST_FIELD_TAGS};
use crate::record::bad_record::{bad, BadRecord};
use crate::record::values::id_text;

/// Such tags, without the namespace; each once, in the order of their bytes, however the fields stood.
#[derive(Clone, Debug, Default)]
pub struct FieldTags(Vec<String>);

impl FieldTags {
    /// Adds that of a field, unless it is null. A number and a string of the same digits make the same one.
    pub(super) fn read(&mut self, name: &str, value: &str) -> Result<(), BadRecord> {
        if value == "null" {
            return Ok(());
        }
        let Some(id) = id_text(value) else {
            return bad(format!(
                "{name} must be a string of 1 to {MAX_ID_BYTES} bytes, an integer or null: \
                 apikey.tag-fields makes a tag of it"
            ));
        };
        self.insert(format!("{FIELD}{name}:{}", id.text()));
        Ok(())
    }

    /// Adds those of another record of a list.
    pub(crate) fn add(&mut self, other: Self) -> Result<(), BadRecord> {
        other.0.into_iter().for_each(|tag| self.insert(tag));
        match self.0.len() <= MAX_LIST_FIELD_TAGS {
            true => Ok(()),
            false => bad(format!(
                "records must make at most {MAX_LIST_FIELD_TAGS} different tags of the fields that \
                 apikey.tag-fields names"
            )),
        }
    }

    fn insert(&mut self, tag: String) {
        if let Err(at) = self.0.binary_search(&tag) {
            self.0.insert(at, tag);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each behind the namespace.
    pub fn within(&self, namespace: &[u8]) -> Vec<Vec<u8>> {
        self.0.iter().map(|tag| [namespace, tag.as_bytes()].concat()).collect()
    }
}
