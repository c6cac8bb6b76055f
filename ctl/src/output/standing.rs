//! What is amiss for as long as it is: said once, and once that it is over.

use std::collections::BTreeMap;

use super::note::note;

/// Why each thing that is away is away, as it was said last.
#[derive(Default)]
pub struct Standing(BTreeMap<String, String>);

impl Standing {
    /// Says why something is away, unless it was said; with none, that it is there again, where it was away.
    pub fn note(&mut self, what: &str, why: Option<String>) {
        match why {
            Some(why) if self.0.get(what) != Some(&why) => {
                note(&why);
                self.0.insert(what.into(), why);
            }
            None if self.0.remove(what).is_some() => note(&format!("{what}: there again")),
            _ => {}
        }
    }

    /// Whether that is the reason of anything that is away.
    pub fn holds(&self, why: &str) -> bool {
        self.0.values().any(|said| said == why)
    }
}
