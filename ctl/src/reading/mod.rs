//! What servers say: INFO, APIKEY.HEALTH, CACHE.STATS, CONFIG and LATENCY, read in one place for all that is made of them.

pub mod bytes;
pub mod config;
pub mod durations;
pub mod facts;
pub mod health;
pub mod info;
pub mod keys;
pub mod regions;
pub mod replicas;
pub mod reply;

pub use config::Config;
pub use durations::Durations;
pub use facts::{Facts, Role, Server};
pub use health::Health;
pub use info::Info;
pub use regions::Region;
