//! What the primaries of a cluster ask each other: how it is written, who has still to answer.

pub mod asked;
pub mod asking;
pub mod message;
