//! Public commands as they are replicated: with every default spelled out. Nobody asks for the token again.

use apikey_engine::invalidation::fence::Token;

/// The options of a fill.
pub struct Resolved(Vec<Vec<u8>>);

/// The option of SETSCOPE, which clients don't have, by which a primary says what decides which decisions go:
/// the time, and how many may stay.
pub const TRIM: &str = "TRIM";

impl Resolved {
    /// `tags` are the entry's own, of a list those of fields too; an empty namespace is none.
    pub fn new<'t>(
        expires_at: i64,
        tags: impl Iterator<Item = &'t [u8]>,
        namespace: &[u8],
    ) -> Self {
        let mut all = Self(Vec::new());
        all.push([b"TOKEN", Token::REFUSED.text().as_bytes()]);
        all.push([b"PXAT", expires_at.to_string().as_bytes()]);
        let tags: Vec<_> = tags.collect();
        if !tags.is_empty() {
            all.push([b"TAGS", tags.len().to_string().as_bytes()]);
            all.push(tags);
        }
        if !namespace.is_empty() {
            all.push([b"NS", namespace]);
        }
        all
    }

    /// With what decides which decisions go.
    pub fn trim(mut self, now: i64, max: usize) -> Self {
        let (now, max) = (now.to_string(), max.to_string());
        self.push([TRIM.as_bytes(), now.as_bytes(), max.as_bytes()]);
        self
    }

    fn push<'w>(&mut self, words: impl IntoIterator<Item = &'w [u8]>) {
        self.0.extend(words.into_iter().map(<[u8]>::to_vec));
    }

    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}
