//! The fields of a record: their names, their numbers, and how many there may be.

/// The fields that every record keeps, beside those that are configured.
pub const KEPT_FIELDS: [&str; 9] = [
    "id",
    "user_id",
    "name",
    "key_prefix",
    "scopes",
    "is_active",
    "expires_at",
    "created_at",
    "updated_at",
];

/// A field of [`KEPT_FIELDS`], with its number there.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    Id,
    UserId,
    Name,
    KeyPrefix,
    Scopes,
    IsActive,
    ExpiresAt,
    CreatedAt,
    UpdatedAt,
}

impl Kept {
    pub(super) fn of(name: &str) -> Option<Self> {
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
            _ => return None,
        })
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
