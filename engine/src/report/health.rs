//! When the module calls itself healthy, degraded or unhealthy, and why.

use crate::report::stats::LastMinute;

/// The figures that decide.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    pub enabled: bool,
    pub last_minute: LastMinute,
    /// Whole percents.
    pub hit_rate_1m: u64,
    pub min_hit_rate: u64,
    /// Bytes that count against `maxmemory`.
    pub used_memory: u64,
    /// 0 where there is no limit.
    pub maxmemory: u64,
    pub max_memory_percent: u64,
    pub eviction_policy: &'a str,
    pub usage_counters: u64,
    /// Whether a batch of usage counts waits to be given out again.
    pub overdue_lease: bool,
    /// Whether one was given out by a clock that was set back since.
    pub lease_ahead: bool,
    /// Whether the channel that is to be told of invalidations can't be.
    pub mute_channel: bool,
    /// Changes that replicas and the AOF lack.
    pub unreplicated: u64,
    /// Why this node does not have what it was told.
    pub untold: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Healthy,
    Degraded,
    Unhealthy,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The hit rate says nothing before this many lookups.
const LOOKUPS_FOR_A_RATE: u64 = 100;

/// The status, and each reason for it in words.
pub fn judge(figures: &Figures) -> (Status, Vec<String>) {
    let f = figures;
    let mut status = Status::Healthy;
    let mut reasons = Vec::new();
    let mut because = |worse: Status, reason: String| {
        status = status.max(worse);
        reasons.push(reason);
    };
    let used_percent = (f.used_memory.saturating_mul(100)).checked_div(f.maxmemory).unwrap_or(0);

    if !f.enabled {
        because(Status::Unhealthy, "apikey.enabled is no".into());
    }
    if let Some(why) = f.untold {
        because(Status::Unhealthy, why.into());
    }
    if f.maxmemory > 0 && f.used_memory >= f.maxmemory && f.eviction_policy == "noeviction" {
        because(Status::Unhealthy, "memory is full and the policy evicts nothing".into());
    } else if f.maxmemory > 0 && used_percent > f.max_memory_percent {
        because(
            Status::Degraded,
            format!(
                "memory is at {used_percent} percent, above max-memory-percent {}",
                f.max_memory_percent
            ),
        );
    }
    if f.last_minute.lookups() >= LOOKUPS_FOR_A_RATE && f.hit_rate_1m < f.min_hit_rate {
        because(
            Status::Degraded,
            format!(
                "hit rate of the last minute is {} percent, under min-hit-rate {}",
                f.hit_rate_1m, f.min_hit_rate
            ),
        );
    }
    if f.usage_counters > 0 && f.eviction_policy.starts_with("allkeys-") {
        because(
            Status::Degraded,
            format!("maxmemory-policy {} can evict usage counters", f.eviction_policy),
        );
    }
    if f.overdue_lease {
        because(Status::Degraded, "a lease of usage counts is overdue".into());
    }
    if f.lease_ahead {
        because(
            Status::Degraded,
            "a lease of usage counts was given out at a time that is still to come".into(),
        );
    }
    if f.mute_channel {
        because(
            Status::Degraded,
            "PUBLISH can't be called, so invalidation-channel is told nothing".into(),
        );
    }
    if f.unreplicated > 0 {
        because(Status::Degraded, format!("{} changes could not be replicated", f.unreplicated));
    }
    (status, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Figures = Figures {
        enabled: true,
        last_minute: LastMinute { hits: 90, misses: 10 },
        hit_rate_1m: 90,
        min_hit_rate: 80,
        used_memory: 50,
        maxmemory: 100,
        max_memory_percent: 90,
        eviction_policy: "volatile-lru",
        usage_counters: 3,
        overdue_lease: false,
        lease_ahead: false,
        mute_channel: false,
        unreplicated: 0,
        untold: None,
    };

    #[test]
    fn the_worst_figure_decides_and_each_gives_its_reason() {
        let said = |figures: Figures| {
            let (status, reasons) = judge(&figures);
            (status.name(), reasons.join("; "))
        };
        assert_eq!(said(WELL), ("healthy", String::new()));
        assert_eq!(
            said(Figures { enabled: false, used_memory: 91, ..WELL }),
            (
                "unhealthy",
                "apikey.enabled is no; memory is at 91 percent, above max-memory-percent 90".into()
            )
        );
        assert_eq!(
            said(Figures { used_memory: 100, eviction_policy: "noeviction", ..WELL }),
            ("unhealthy", "memory is full and the policy evicts nothing".into())
        );
        assert_eq!(said(Figures { used_memory: 1000, maxmemory: 0, ..WELL }).0, "healthy");
        assert_eq!(
            said(Figures { hit_rate_1m: 79, ..WELL }),
            ("degraded", "hit rate of the last minute is 79 percent, under min-hit-rate 80".into())
        );
        let few = LastMinute { hits: 0, misses: 99 };
        assert_eq!(said(Figures { last_minute: few, hit_rate_1m: 0, ..WELL }).0, "healthy");
        assert_eq!(
            said(Figures { eviction_policy: "allkeys-lru", ..WELL }),
            ("degraded", "maxmemory-policy allkeys-lru can evict usage counters".into())
        );
        assert_eq!(
            said(Figures { eviction_policy: "allkeys-lru", usage_counters: 0, ..WELL }).0,
            "healthy"
        );
        assert_eq!(
            said(Figures { overdue_lease: true, ..WELL }),
            ("degraded", "a lease of usage counts is overdue".into())
        );
        assert_eq!(
            said(Figures { lease_ahead: true, ..WELL }),
            (
                "degraded",
                "a lease of usage counts was given out at a time that is still to come".into()
            )
        );
        assert_eq!(
            said(Figures { mute_channel: true, ..WELL }),
            ("degraded", "PUBLISH can't be called, so invalidation-channel is told nothing".into())
        );
        assert_eq!(
            said(Figures { untold: Some("it can't be read"), ..WELL }),
            ("unhealthy", "it can't be read".into())
        );
        assert_eq!(
            said(Figures { unreplicated: 3, ..WELL }),
            ("degraded", "3 changes could not be replicated".into())
        );
    }
}
