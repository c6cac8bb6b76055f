//! Whether a node may vouch for what it holds: say VALID of a key that may be revoked elsewhere, or that nobody
//! could revoke here.
//!
//! **Refused.** While the server refuses writes it refuses invalidations, so what is here can't be revoked. It says
//! so itself, whenever it is looked at.
//!
//! **Stopped.** A primary that was stopped (a frozen process, a suspended machine) and goes on may have been replaced
//! meanwhile. The server does not know it: it counts seconds since a replica spoke last, and what waits for it in
//! its connections is what the replica said *before* it was promoted, which it takes for news. So a look is good
//! for [`LEASE_MS`] alone; where the next one comes later, the node has been stopped, and vouches again once as many
//! replicas as the server wants have acknowledged a place in the stream that lies *behind* the one where it stood
//! when it went on: they were there after that. Whoever looks has something said, so that there is such a place.
//!
//! Where the server wants no replicas there is nothing that a node could learn it from, and nobody is stopped for.

/// How long a look at the server is good, in milliseconds. No failover that a monitor decides upon takes less, and
/// hardly a command takes more.
pub const LEASE_MS: u64 = 1000;

/// Upon what the server decides whether it lets clients write.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    /// A replica takes none anyway, and says what its primary says.
    pub is_primary: bool,
    pub save_failed: bool,
    /// Whether it saves at all, and `stop-writes-on-bgsave-error` is set.
    pub stops_where_save_failed: bool,
    pub aof_failed: bool,
    /// Replicas in touch; `None` where the server asks for none.
    pub good_replicas: Option<u64>,
    pub min_replicas: u64,
}

impl Writes {
    /// Why a primary refuses writes: each reason in words.
    pub fn refused(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.is_primary && self.save_failed && self.stops_where_save_failed {
            reasons.push("the last BGSAVE failed (stop-writes-on-bgsave-error)".into());
        }
        if self.is_primary && self.aof_failed {
            reasons.push("the AOF can't be written".into());
        }
        if let Some(good) = self.wanted().filter(|&good| good < self.min_replicas) {
            let min = self.min_replicas;
            reasons
                .push(format!("min-replicas-to-write is {min}, and replicas in touch are {good}"));
        }
        reasons
    }

    /// Replicas in touch, where writes depend on them.
    fn wanted(&self) -> Option<u64> {
        self.good_replicas.filter(|_| self.is_primary)
    }
}

/// The stream of a primary.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Where it stands.
    pub offset: u64,
    /// How far each replica that follows it has acknowledged it.
    pub acknowledged: Vec<u64>,
}

/// The time in which a node vouches, its ends included. The clock may be set, back too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: i64,
    pub until: i64,
}

impl Span {
    pub const ALWAYS: Self = Self { from: i64::MIN, until: i64::MAX };
    pub const NEVER: Self = Self { from: i64::MAX, until: i64::MIN };

    fn lease(now: i64) -> Self {
        let from = now.saturating_sub_unsigned(LEASE_MS);
        Self { from, until: now.saturating_add_unsigned(LEASE_MS) }
    }
}

/// What the looks at the server have shown.
#[derive(Debug, Default)]
pub struct Vouch {
    /// When the last was.
    last: Option<i64>,
    /// The place in the stream behind which replicas have to acknowledge it.
    unproven: Option<u64>,
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When the node vouches.
    pub span: Span,
    /// Whether it has been stopped since the last look, so that something is to be said in the stream.
    pub was_stopped: bool,
}

impl Vouch {
    /// A look at the server; the stream is asked for where it matters.
    pub fn look(&mut self, now: i64, writes: &Writes, stream: impl FnOnce() -> Stream) -> Look {
        let last = self.last.replace(now);
        let wants_replicas = writes.wanted().is_some();
        let was_stopped = wants_replicas && last.is_some_and(|at| now.abs_diff(at) > LEASE_MS);
        if was_stopped {
            self.unproven = Some(stream().offset);
        } else if !wants_replicas {
            self.unproven = None;
        } else if let Some(stood_at) = self.unproven {
            let there = stream().acknowledged.iter().filter(|&&at| at > stood_at).count() as u64;
            if there >= writes.min_replicas {
                self.unproven = None;
            }
        }
        let span = if self.unproven.is_some() || !writes.refused().is_empty() {
            Span::NEVER
        } else if wants_replicas {
            Span::lease(now)
        } else {
            Span::ALWAYS
        };
        Look { span, was_stopped }
    }

    /// Whether the node has been stopped, and does not know whether it was replaced.
    pub fn is_unproven(&self) -> bool {
        self.unproven.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Writes = Writes {
        is_primary: true,
        save_failed: false,
        stops_where_save_failed: true,
        aof_failed: false,
        good_replicas: None,
        min_replicas: 1,
    };
    const WANTS: Writes = Writes { good_replicas: Some(1), ..WELL };
    const LEASE: i64 = LEASE_MS as i64;

    fn nobody_asks() -> Stream {
        panic!("the stream does not matter")
    }

    fn at(offset: u64, acknowledged: &[u64]) -> impl FnOnce() -> Stream {
        let acknowledged = acknowledged.to_vec();
        move || Stream { offset, acknowledged }
    }

    #[test]
    fn a_primary_that_refuses_writes_never_vouches_and_one_that_takes_them_does() {
        let refused: [fn(&mut Writes); 4] = [
            |writes| writes.save_failed = true,
            |writes| writes.aof_failed = true,
            |writes| writes.good_replicas = Some(0),
            |writes| (writes.good_replicas, writes.min_replicas) = (Some(2), 3),
        ];
        let mut vouch = Vouch::default();
        for refuse in refused {
            let mut writes = WELL;
            refuse(&mut writes);
            assert_eq!(vouch.look(5, &writes, nobody_asks).span, Span::NEVER);
            assert_eq!(writes.refused().len(), 1);
            assert_eq!(vouch.look(6, &WELL, nobody_asks).span, Span::ALWAYS, "by itself");
            writes.is_primary = false;
            assert_eq!(vouch.look(7, &writes, nobody_asks).span, Span::ALWAYS, "a replica");
            assert_eq!(writes.refused(), Vec::<String>::new());
        }
        let goes_on = Writes { save_failed: true, stops_where_save_failed: false, ..WELL };
        assert_eq!(vouch.look(8, &goes_on, nobody_asks).span, Span::ALWAYS);
    }

    #[test]
    fn where_replicas_are_wanted_a_look_is_good_for_a_lease_whichever_way_the_clock_is_set() {
        let mut vouch = Vouch::default();
        let lease =
            |now| Look { span: Span { from: now - LEASE, until: now + LEASE }, was_stopped: false };
        for now in [10_000, 10_000 + LEASE, 10_000] {
            assert_eq!(vouch.look(now, &WANTS, nobody_asks), lease(now));
        }
        for now in [i64::MAX, i64::MIN] {
            let mut vouch = Vouch::default();
            let span = vouch.look(now, &WANTS, nobody_asks).span;
            assert!(span.from <= now && now <= span.until);
        }
    }

    #[test]
    fn who_was_stopped_vouches_when_enough_replicas_have_acknowledged_what_was_said_since() {
        for (gap, min_replicas) in [(LEASE + 1, 1), (-LEASE - 1, 1), (i64::MAX / 2, 2)] {
            let wants = Writes { good_replicas: Some(3), min_replicas, ..WELL };
            let mut vouch = Vouch::default();
            vouch.look(0, &wants, nobody_asks);
            let stopped = Look { span: Span::NEVER, was_stopped: true };
            assert_eq!(vouch.look(gap, &wants, at(70, &[70, 70, 70])), stopped);
            let waits = Look { span: Span::NEVER, was_stopped: false };
            for acknowledged in
                [&[70, 70, 70][..], &[], &[70, 9], &[99][..min_replicas as usize - 1]]
            {
                assert_eq!(
                    vouch.look(gap, &wants, at(99, acknowledged)),
                    waits,
                    "{acknowledged:?}"
                );
                assert!(vouch.is_unproven());
            }
            let enough = &[71, 99, 5];
            let proven = Look { span: Span::lease(gap), was_stopped: false };
            assert_eq!(vouch.look(gap, &wants, at(99, enough)), proven);
            assert_eq!(vouch.look(gap, &wants, nobody_asks), proven);
        }
    }

    #[test]
    fn who_is_stopped_again_asks_again() {
        let mut vouch = Vouch::default();
        vouch.look(0, &WANTS, nobody_asks);
        assert!(vouch.look(5000, &WANTS, at(70, &[70])).was_stopped);
        assert!(vouch.look(9000, &WANTS, at(80, &[80])).was_stopped);
        assert_eq!(vouch.look(9000, &WANTS, at(80, &[80])).span, Span::NEVER);
        assert_eq!(vouch.look(9000, &WANTS, at(90, &[81])).span, Span::lease(9000));
    }

    #[test]
    fn nobody_was_stopped_where_no_replicas_are_wanted() {
        for writes in [WELL, Writes { is_primary: false, ..WANTS }] {
            let mut vouch = Vouch::default();
            vouch.look(0, &WANTS, nobody_asks);
            vouch.look(5000, &WANTS, at(70, &[70]));
            let looked = vouch.look(60_000, &writes, nobody_asks);
            assert_eq!(looked, Look { span: Span::ALWAYS, was_stopped: false });
            assert!(!vouch.is_unproven());
            assert_eq!(vouch.look(60_000, &WANTS, nobody_asks).span, Span::lease(60_000));
        }
    }
}
