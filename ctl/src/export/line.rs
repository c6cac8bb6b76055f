//! A line of an export: one cached entry. `import` reads what stands here.

use std::borrow::Cow;

use apikey_engine::answers::decisions::Decision;
use apikey_engine::cache::value::{Cached, MAX_GRACE_MS};
use apikey_engine::codec::value::{decode, Origin, Value};
use apikey_engine::entry::label::Label;
use apikey_engine::record::digest::{to_hex, Accepted, NEVER};
use apikey_engine::record::layout::Record;
use base64::prelude::{Engine, BASE64_STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What is known of a key. Texts that are no UTF-8 can't stand in JSON: such an entry is an error, and not told wrongly.
#[derive(Serialize, Deserialize)]
pub struct Line {
    pub key: String,
    /// `record`, `absent`, `scopes`, `list` or `cache`.
    pub kind: String,
    /// Epoch milliseconds; null: it does not expire.
    pub expires: Option<i64>,
    /// What was put before the automatic tags.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The tags beside those of its ids and its kind: of its fields, then the caller's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// As it is stored: the module's names, what is not kept left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<RawValue>>,
    /// Only where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<Digest>,
    /// Of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Box<RawValue>>,
    /// Of scope decisions and of a list: whose they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decided>,
    /// Of a value of a region's.
    #[serde(flatten)]
    pub cached: Option<OfRegion>,
}

/// A value of a region's, in one of two forms; in neither: it is known that there is none.
#[derive(Serialize, Deserialize)]
pub struct OfRegion {
    pub region: String,
    /// How it is serialised, compressed or encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of a value that is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Milliseconds before `expires` from which on it is stale.
    pub grace: i64,
    /// Epoch milliseconds.
    pub stored_at: i64,
}

#[derive(Serialize, Deserialize)]
pub struct Digest {
    /// 64 hex digits.
    pub digest: String,
    /// Epoch milliseconds; null: for as long as the entry lives.
    pub until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub struct Decided {
    pub resource: String,
    pub action: String,
    pub allow: bool,
    /// Epoch milliseconds.
    pub expires: i64,
}

impl Line {
    /// What the module's bytes say; none where the entry is dead. An error is a sentence.
    pub fn of(
        key: &[u8],
        value: &[u8],
        expires: Option<i64>,
        digests: bool,
    ) -> Result<Option<Self>, String> {
        let value = decode(value, Origin::Server).map_err(|bad| bad.0.to_string())?;
        let mut line = Self {
            key: text(key)?,
            kind: String::new(),
            expires,
            namespace: String::new(),
            tags: Vec::new(),
            record: None,
            digests: Vec::new(),
            records: None,
            id: None,
            user_id: None,
            decisions: Vec::new(),
            cached: None,
        };
        match value {
            Value::Record { dead: true, .. }
            | Value::Scopes { dead: true, .. }
            | Value::List { dead: true, .. }
            | Value::Cached { dead: true, .. }
            | Value::Usage(..) => return Ok(None),
            Value::Record { record, .. } => line.with_record(&record, digests)?,
            Value::Scopes { decisions, .. } => {
                line.kind = "scopes".into();
                line.with_label(decisions.label())?;
                line.decisions = decisions.iter().map(Decided::of).collect::<Result<_, _>>()?;
            }
            Value::List { list, .. } => {
                line.kind = "list".into();
                line.with_label(list.label())?;
                line.records = Some(raw(list.json().to_string())?);
            }
            Value::Cached { cached, .. } => line.with_cached(&cached)?,
        }
        Ok(Some(line))
    }

    fn with_record(&mut self, record: &Record, digests: bool) -> Result<(), String> {
        self.namespace = text(record.namespace())?;
        self.tags = record.own_tags().map(text).collect::<Result<_, _>>()?;
        if record.is_absent() {
            self.kind = "absent".into();
            return Ok(());
        }
        self.kind = "record".into();
        self.record = Some(raw(text(&record.json())?)?);
        if digests {
            let digest = |Accepted { digest, until }: Accepted| {
                let until = (until != NEVER).then_some(until);
                Ok(Digest { digest: text(&to_hex(&digest))?, until })
            };
            self.digests = record.digests().map(digest).collect::<Result<_, String>>()?;
        }
        Ok(())
    }

    fn with_cached(&mut self, cached: &Cached) -> Result<(), String> {
        self.kind = "cache".into();
        self.namespace = text(cached.namespace())?;
        self.tags = cached.own_tags().map(text).collect::<Result<_, _>>()?;
        let stored_at = cached.stored_at();
        let grace = match self.expires {
            // It is stale from its beginning on.
            Some(expires) if cached.was_softened() => {
                expires.saturating_sub(stored_at).clamp(0, MAX_GRACE_MS)
            }
            _ => cached.grace(),
        };
        let told = cached.value().map(|value| text(value).map_err(|_| BASE64.encode(value)));
        let (value, value_base64) = match told {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(base64)) => (None, Some(base64)),
        };
        let label = text(cached.label())?;
        self.cached = Some(OfRegion {
            region: text(cached.region())?,
            label: Some(label).filter(|label| !label.is_empty()),
            value,
            value_base64,
            grace,
            stored_at,
        });
        Ok(())
    }

    fn with_label(&mut self, label: &Label) -> Result<(), String> {
        let owner = label.owner();
        self.namespace = text(owner.namespace)?;
        self.tags = label.own_tags().map(text).collect::<Result<_, _>>()?;
        self.id = Some(text(owner.id)?).filter(|id| !id.is_empty());
        self.user_id = Some(text(owner.user_id)?);
        Ok(())
    }
}

impl OfRegion {
    /// The bytes; none where it is known that there are none. An error is a sentence.
    pub fn bytes(&self) -> Result<Option<Cow<'_, [u8]>>, String> {
        match (&self.value, &self.value_base64) {
            (Some(_), Some(_)) => Err("it has a value twice".into()),
            (Some(value), None) => Ok(Some(value.as_bytes().into())),
            (None, Some(base64)) => {
                let bytes = BASE64.decode(base64);
                Ok(Some(bytes.map_err(|_| "value_base64 is no base64")?.into()))
            }
            (None, None) => Ok(None),
        }
    }
}

impl Decided {
    fn of(decision: Decision) -> Result<Self, String> {
        let Decision { resource, action, allow, expires_at } = decision;
        Ok(Self { resource: text(resource)?, action: text(action)?, allow, expires: expires_at })
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "it has a text that is no UTF-8".into())
}

fn raw(json: String) -> Result<Box<RawValue>, String> {
    RawValue::from_string(json).map_err(|_| "its JSON can't be read".into())
}
