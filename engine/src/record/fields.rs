//! The fields of a record: their names, their numbers, and how many there may be.

/// The fields that every record keeps, beside those that are configured.
pub const KEPT_FIELDS: [&str; 11] = [
    "id",
    "user_id",
    "name",
    "key_prefix",
    "scopes",
    "is_active",
    "expires_at",
    "created_at",
    "updated_at",
    "allowed_ips",
    "limits",
];

/// A field of [`KEPT_FIELDS`], with its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Id,
    UserId,
    Name,
    KeyPrefix,
    Scopes,
    IsActive,
    ExpiresAt,
    CreatedAt,
    UpdatedAt,
    AllowedIps,
    Limits,
}

impl Kept {
    /// The field of this name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "user_id" => Self::UserId,
            "name" => Self::Name,
            "key_prefix" => Self::KeyPrefix,
            "scopes" => Self::Scopes,
            "is_active" => Self::IsActive,
            "expires_at" => Self::ExpiresAt,
            "created_at" => Self::CreatedAt,
            "updated_at" => Self::UpdatedAt,
            "allowed_ips" => Self::AllowedIps,
            "limits" => Self::Limits,
            _ => return None,
        })
    }
}

impl Kept {
    /// The field's own name.
    pub fn name(self) -> &'static str {
        KEPT_FIELDS.get(self as usize).copied().unwrap_or_default()
    }
}

/// What a table calls fields that every record keeps.
#[derive(Clone, Debug, Default)]
pub struct FieldNames(Vec<(Kept, String)>);

impl FieldNames {
    pub const NONE: Self = Self(Vec::new());

    /// The most names: one for each field.
    pub const MAX: usize = KEPT_FIELDS.len();

    /// Of pairs of a field's own name and the table's; or what is wrong with them.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut names = Self::default();
        for (own, theirs) in pairs {
            let Some(kept) = Kept::of(own) else {
                return Err(format!("must map one of {}, not {own}", KEPT_FIELDS.join(", ")));
            };
            if Kept::of(theirs).is_some() {
                return Err(format!("must not map to {theirs}: a record has a field of that name"));
            }
            if names.0.iter().any(|(other, name)| *other == kept || name == theirs) {
                return Err(format!(
                    "must map each field and each name once, {own}={theirs} does again"
                ));
            }
            names.0.push((kept, theirs.to_string()));
        }
        Ok(names)
    }

    /// The field that a table's name stands for, if it was mapped.
    pub fn mapped(&self, name: &str) -> Option<Kept> {
        self.0.iter().find(|(_, theirs)| theirs == name).map(|(kept, _)| *kept)
    }

    /// Pairs, as they were given.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(kept, theirs)| (kept.name(), theirs.as_str()))
    }
}

/// The most fields that `extra-fields` may name.
pub const MAX_EXTRA_FIELDS: usize = 32;

/// The most fields that a record can keep.
pub(super) const MAX_FIELDS: usize = KEPT_FIELDS.len() + MAX_EXTRA_FIELDS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_are_kept_have_their_numbers() {
        for (number, name) in KEPT_FIELDS.iter().enumerate() {
            assert_eq!(Kept::of(name).map(|field| field as usize), Some(number), "{name}");
        }
        assert!(Kept::of("ID").is_none());
    }
}
