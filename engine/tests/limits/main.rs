//! Limits: what is promised of rates, quotas and credits, against models that know nothing but what was admitted.
//!
//! A rate's model is its definition: a request is admitted where over each interval that ends with it no more is taken than
//! the burst and what comes back in that time. A quota's is a sum for each period of chrono's calendar. What is settled is
//! held against the history played again with the real costs.

mod bytes;
mod changes;
mod clock;
mod history;
mod ids;
mod node;
mod quotas;
mod rates;
mod settling;
mod together;
