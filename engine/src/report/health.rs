//! When the module calls itself healthy, degraded or unhealthy, and why.

use crate::minute::LastMinute;
use crate::vouch::Writes;

/// The figures that decide.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    pub enabled: bool,
    pub last_minute: LastMinute,
    pub min_hit_rate: u64,
    /// Percent of `maxmemory` that is used; 0 where there is no limit.
    pub memory_percent: u64,
    pub max_memory_percent: u64,
    /// Whether more than `maxmemory` is used now, just after the server has tried to evict.
    pub is_full: bool,
    /// Milliseconds since the server has evicted a key last, if it ever has.
    pub last_eviction_ms: Option<u64>,
    pub writes: Writes,
    /// Whether this node has been stopped, and does not know whether it was replaced.
    pub unproven: bool,
    /// Whether it vouches all the same.
    pub serves_when_refused: bool,
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

/// Where memory is full, keys are being evicted, a slice at each command, as long as there are any: with none
/// evicted for this long there are none.
const EVICTING_MS: u64 = 1000;

/// The status, and each reason for it in words.
pub fn judge(figures: &Figures) -> (Status, Vec<String>) {
    let f = figures;
    let mut status = Status::Healthy;
    let mut reasons = Vec::new();
    let mut because = |worse: Status, reason: String| {
        status = status.max(worse);
        reasons.push(reason);
    };
    if !f.enabled {
        because(Status::Unhealthy, "apikey.enabled is no".into());
    }
    if let Some(why) = f.untold {
        because(Status::Unhealthy, why.into());
    }
    let is_evicting = f.last_eviction_ms.is_some_and(|ms| ms < EVICTING_MS);
    if f.writes.is_primary && f.is_full && !is_evicting {
        because(Status::Unhealthy, "memory is full and the policy evicts nothing".into());
    } else if f.memory_percent > f.max_memory_percent {
        because(
            Status::Degraded,
            format!(
                "memory is at {} percent, above max-memory-percent {}",
                f.memory_percent, f.max_memory_percent
            ),
        );
    }
    let refused = f.writes.refused();
    let is_refused = !refused.is_empty();
    for why in refused {
        because(Status::Unhealthy, format!("writes are refused: {why}"));
    }
    if f.unproven && !f.serves_when_refused {
        because(
            Status::Unhealthy,
            "this server was stopped for a while, and too few replicas have answered since".into(),
        );
    }
    if is_refused && f.serves_when_refused {
        because(
            Status::Unhealthy,
            "nothing can be revoked here, and reads go on (serve-when-writes-refused is yes)"
                .into(),
        );
    } else if is_refused || (f.unproven && !f.serves_when_refused) {
        because(
            Status::Unhealthy,
            "every read is a miss, since what is here may be revoked (serve-when-writes-refused is no)"
                .into(),
        );
    }
    if let Some(rate) = f.last_minute.hit_rate() {
        if f.last_minute.lookups() >= LOOKUPS_FOR_A_RATE && rate < f.min_hit_rate {
            because(
                Status::Degraded,
                format!(
                    "hit rate of the last minute is {rate} percent, under min-hit-rate {}",
                    f.min_hit_rate
                ),
            );
        }
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
        min_hit_rate: 80,
        memory_percent: 50,
        max_memory_percent: 90,
        is_full: false,
        last_eviction_ms: None,
        writes: Writes {
            is_primary: true,
            save_failed: false,
            stops_where_save_failed: true,
            aof_failed: false,
            good_replicas: None,
            min_replicas: 1,
        },
        unproven: false,
        serves_when_refused: false,
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
            said(Figures { enabled: false, memory_percent: 91, ..WELL }),
            (
                "unhealthy",
                "apikey.enabled is no; memory is at 91 percent, above max-memory-percent 90".into()
            )
        );
        let low = LastMinute { hits: 79, misses: 21 };
        assert_eq!(
            said(Figures { last_minute: low, ..WELL }),
            ("degraded", "hit rate of the last minute is 79 percent, under min-hit-rate 80".into())
        );
        for few in [(0, 99), (0, 0)].map(|(hits, misses)| LastMinute { hits, misses }) {
            assert_eq!(said(Figures { last_minute: few, ..WELL }).0, "healthy");
        }
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

    #[test]
    fn it_is_unhealthy_where_the_server_refuses_writes() {
        let full = Figures { memory_percent: 101, is_full: true, ..WELL };
        let said = |figures: Figures| {
            let (status, reasons) = judge(&figures);
            (status.name(), reasons.join("; "))
        };
        let evicts_nothing = "memory is full and the policy evicts nothing";
        for since in [None, Some(1000), Some(u64::MAX)] {
            let full = Figures { last_eviction_ms: since, ..full };
            assert_eq!(said(full), ("unhealthy", evicts_nothing.into()), "{since:?}");
        }
        // What is left over the limit goes with the next commands, and nothing is refused.
        for since in [0, 999] {
            let (status, reasons) = said(Figures { last_eviction_ms: Some(since), ..full });
            assert_eq!(status, "degraded");
            assert!(reasons.starts_with("memory is at 101 percent"), "{reasons}");
        }

        let replica = Writes { is_primary: false, ..WELL.writes };
        let refused = |change: fn(&mut Writes)| {
            let [primary, replica] = [WELL.writes, replica].map(|mut writes| {
                change(&mut writes);
                [false, true].map(|serves_when_refused| {
                    said(Figures { writes, serves_when_refused, ..WELL })
                })
            });
            assert_eq!(replica, [("healthy", String::new()), ("healthy", String::new())]);
            primary
        };
        let misses = "every read is a miss, since what is here may be revoked \
                      (serve-when-writes-refused is no)";
        let goes_on = "nothing can be revoked here, and reads go on \
                       (serve-when-writes-refused is yes)";
        for (change, why) in [
            (
                (|writes| writes.save_failed = true) as fn(&mut Writes),
                "writes are refused: the last BGSAVE failed (stop-writes-on-bgsave-error)",
            ),
            (|writes| writes.aof_failed = true, "writes are refused: the AOF can't be written"),
            (
                |writes| (writes.good_replicas, writes.min_replicas) = (Some(1), 2),
                "writes are refused: min-replicas-to-write is 2, and replicas in touch are 1",
            ),
        ] {
            let both = [misses, goes_on].map(|and| ("unhealthy", format!("{why}; {and}")));
            assert_eq!(refused(change), both);
        }
        for accepted in [
            (|writes| (writes.save_failed, writes.stops_where_save_failed) = (true, false))
                as fn(&mut Writes),
            |writes| (writes.good_replicas, writes.min_replicas) = (Some(2), 2),
        ] {
            assert_eq!(refused(accepted)[0].0, "healthy");
        }
        let unproven = Figures { unproven: true, ..WELL };
        let why = "this server was stopped for a while, and too few replicas have answered since";
        assert_eq!(said(unproven), ("unhealthy", format!("{why}; {misses}")));
        assert_eq!(said(Figures { serves_when_refused: true, ..unproven }).0, "healthy");
        let full = Figures { writes: replica, ..full };
        assert_eq!(said(full).0, "degraded", "of memory a replica refuses nothing either");
    }
}
