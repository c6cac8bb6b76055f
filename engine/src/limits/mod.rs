//! Limits: rates, quotas and credits, judged and taken from together.
//!
//! **What always holds.** Over any time `t` a rate admits at most its burst and what comes back in `t`; a quota at most its
//! units in each period; credits what they are. All is integers, and nothing is rounded in anyone's favour. What is judged
//! changes nothing; what is taken was judged.

pub mod account;
pub mod calendar;
pub mod known;
pub mod level;
pub mod limit;
pub mod requests;
