//! Limits: ADMIT, CREDIT, SETTLE, LIMITS, and the ids of requests. Wrong calls are in `errors`; what a rate and a quota
//! admit over time is tested with the engine.

mod calls;
mod clustered;
mod ids;
mod kept;
mod lost;
mod moved;
mod races;
mod replies;
mod settled;
