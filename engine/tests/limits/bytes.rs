//! The bytes of accounts and of changes.
