//! What VALIDATE says of a live record: the checks in the order in which they are decided, so that
//! someone who presents a wrong secret learns nothing of the key's state.

use crate::record::addresses::Address;
use crate::record::digest::{Digest, NEVER};
use crate::record::layout::Record;

/// The answer for a live record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no such key.
    Absent,
    /// The secret is wrong, or is no longer accepted.
    Mismatch,
    /// `is_active` is false.
    Disabled,
    /// `expires_at` has come.
    Expired,
    /// The record does not allow the address, or wants one.
    ForbiddenIp,
    /// The record does not grant the request with this number.
    Forbidden(usize),
    /// All holds, but no secret was compared: the record has no digest, or none was presented.
    Unverified,
    /// The secret matched and all holds.
    Valid,
}

/// Judges a record at `now` (epoch milliseconds) for a presented digest, the address from which it was presented,
/// and requested scopes.
pub fn judge<'a>(
    record: &Record,
    presented: Option<&Digest>,
    address: impl FnOnce() -> Option<Address>,
    requests: impl IntoIterator<Item = &'a [u8]>,
    now: i64,
) -> Verdict {
    if record.is_absent() {
        return Verdict::Absent;
    }
    let compared = match presented {
        Some(presented) if record.has_digest() => {
            if record.accepts_until(presented).is_none_or(|end| now >= end) {
                return Verdict::Mismatch;
            }
            true
        }
        _ => false,
    };
    if !record.is_active() {
        return Verdict::Disabled;
    }
    if record.expires_at().is_some_and(|expires_at| now >= expires_at) {
        return Verdict::Expired;
    }
    if !record.admits(address) {
        return Verdict::ForbiddenIp;
    }
    for (number, request) in requests.into_iter().enumerate() {
        if !record.grants(request) {
            return Verdict::Forbidden(number);
        }
    }
    if compared {
        Verdict::Valid
    } else {
        Verdict::Unverified
    }
}

/// When [`Verdict::Valid`] or [`Verdict::Unverified`] ends by itself, if nobody changes the record: the soonest
/// of the ends of the record, its key and the digest that was presented.
pub fn ends_at(
    record: &Record,
    presented: Option<&Digest>,
    key_expires_at: Option<i64>,
) -> Option<i64> {
    let digest_end = match presented {
        Some(presented) if record.has_digest_ends() => record.accepts_until(presented),
        _ => None,
    };
    let digest_end = digest_end.filter(|end| *end != NEVER);
    [record.expires_at(), key_expires_at, digest_end].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::digest::Accepted;
    use crate::record::sanitise::{Limits, Parts};

    const NOW: i64 = 1_700_000_000_000;
    const RIGHT: Digest = [1; 32];
    const OLD: Digest = [2; 32];
    const WRONG: Digest = [3; 32];

    fn record(
        active: bool,
        expires_at: &str,
        scopes: &str,
        digests: &[Accepted],
    ) -> Record<'static> {
        let json = format!(
            r#"{{"id":"k","user_id":"u","is_active":{active},"expires_at":{expires_at},"scopes":{scopes}}}"#
        );
        let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
        Record::new(&parts, digests, b"", &[]).unwrap()
    }

    #[test]
    fn the_first_check_that_fails_decides() {
        use Verdict::*;
        let never = "null";
        let now = &NOW.to_string();
        let next = &(NOW + 1).to_string();
        let both: &[Digest] = &[RIGHT, OLD];
        // active, expires_at, scopes, stored digests, presented, requests -> verdict
        type Case<'a> =
            (bool, &'a str, &'a str, &'a [Digest], Option<Digest>, &'a [&'a [u8]], Verdict);
        let cases: [Case; 21] = [
            (true, never, "[]", &[RIGHT], Some(RIGHT), &[], Valid),
            (true, never, "[]", &[RIGHT], Some(WRONG), &[], Mismatch),
            (true, never, "[]", &[RIGHT], None, &[], Unverified),
            (true, never, "[]", &[], Some(RIGHT), &[], Unverified),
            (true, never, "[]", &[], None, &[], Unverified),
            (true, never, "[]", both, Some(RIGHT), &[], Valid),
            (true, never, "[]", both, Some(OLD), &[], Valid),
            (true, never, "[]", both, Some(WRONG), &[], Mismatch),
            (false, now, "[]", &[RIGHT], Some(WRONG), &[b"a"], Mismatch),
            (false, now, "[]", &[RIGHT], Some(RIGHT), &[b"a"], Disabled),
            (false, now, "[]", &[RIGHT], None, &[b"a"], Disabled),
            (false, now, "[]", &[], Some(WRONG), &[b"a"], Disabled),
            (true, now, "[]", &[RIGHT], Some(RIGHT), &[b"a"], Expired),
            (true, now, "[]", &[], None, &[b"a"], Expired),
            (true, next, "[]", &[RIGHT], Some(RIGHT), &[b"a"], Forbidden(0)),
            (true, next, "[]", &[RIGHT], Some(RIGHT), &[], Valid),
            (true, never, r#"["a"]"#, &[RIGHT], Some(RIGHT), &[b"a", b"b", b"c"], Forbidden(1)),
            (true, never, r#"["a","b"]"#, &[RIGHT], Some(RIGHT), &[b"a", b"b"], Valid),
            (true, never, r#"["a","b"]"#, &[RIGHT], None, &[b"b", b"a"], Unverified),
            (true, never, r#"["a"]"#, &[], None, &[b"b"], Forbidden(0)),
            (true, "0", r#"["*"]"#, &[RIGHT], Some(RIGHT), &[b"a"], Expired),
        ];
        for (number, (active, expires_at, scopes, stored, presented, requests, verdict)) in
            cases.into_iter().enumerate()
        {
            let stored: Vec<Accepted> = stored.iter().copied().map(Accepted::from).collect();
            let record = record(active, expires_at, scopes, &stored);
            let said = judge(&record, presented.as_ref(), || None, requests.iter().copied(), NOW);
            assert_eq!(said, verdict, "case {number}");
        }
        let absent = Record::absent(b"", &[]).unwrap();
        assert_eq!(judge(&absent, Some(&RIGHT), || None, [&b"a"[..]], NOW), Absent);
    }

    #[test]
    fn an_address_is_asked_for_behind_expiry_and_before_scopes() {
        use Verdict::*;
        let judged = |fields: &str, address: Option<&str>, requests: &[&'static [u8]]| {
            let json = format!(r#"{{"id":"k","is_active":true,{fields}}}"#);
            let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
            let record = Record::new(&parts, &[RIGHT.into()], b"", &[b"tag"]).unwrap();
            assert!(Record::read(record.bytes()).unwrap().is_sound());
            let address = address.map(|text| Address::parse(text.as_bytes()).unwrap());
            judge(&record, Some(&RIGHT), || address, requests.iter().copied(), NOW)
        };
        let office = r#""allowed_ips":["10.0.0.0/8","2001:db8::1"],"scopes":["a"]"#;
        assert_eq!(judged(office, Some("10.1.2.3"), &[b"a"]), Valid);
        assert_eq!(judged(office, Some("::ffff:10.1.2.3"), &[]), Valid);
        assert_eq!(judged(office, Some("2001:db8::1"), &[]), Valid);
        assert_eq!(judged(office, Some("11.0.0.0"), &[b"b"]), ForbiddenIp);
        assert_eq!(judged(office, None, &[]), ForbiddenIp);
        assert_eq!(judged(office, Some("10.1.2.3"), &[b"b"]), Forbidden(0));
        let over = format!(r#"{office},"expires_at":1"#);
        assert_eq!(judged(&over, Some("11.0.0.0"), &[]), Expired);
        assert_eq!(judged(r#""allowed_ips":[]"#, Some("10.1.2.3"), &[]), ForbiddenIp);
        assert_eq!(judged(r#""allowed_ips":null"#, None, &[]), Valid);
        assert_eq!(judged(r#""name":null"#, Some("10.1.2.3"), &[]), Valid);
    }

    #[test]
    fn an_answer_ends_with_the_first_that_does() {
        for (expires_at, key_expires_at, end) in [
            ("null", None, None),
            ("7", None, Some(7)),
            ("null", Some(8), Some(8)),
            ("7", Some(8), Some(7)),
            ("9", Some(8), Some(8)),
        ] {
            let record = record(true, expires_at, "[]", &[RIGHT.into()]);
            for presented in [None, Some(&RIGHT)] {
                let said = ends_at(&record, presented, key_expires_at);
                assert_eq!(said, end, "{expires_at} {key_expires_at:?}");
            }
        }
    }

    #[test]
    fn a_digest_that_ends_is_wrong_from_that_millisecond_on() {
        use Verdict::*;
        let digests = [RIGHT.into(), Accepted { digest: OLD, until: NOW }];
        let both = record(true, "null", "[]", &digests);
        let said = |record: &Record, digest, now| judge(record, Some(&digest), || None, [], now);
        for (digest, before, then) in
            [(RIGHT, Valid, Valid), (OLD, Valid, Mismatch), (WRONG, Mismatch, Mismatch)]
        {
            assert_eq!((said(&both, digest, NOW - 1), said(&both, digest, NOW)), (before, then));
        }
        assert_eq!(judge(&both, None, || None, [], NOW), Unverified);
        // Also where nothing else is left, which is not the same as to have had none.
        let old = record(true, "null", "[]", &digests[1..]);
        assert_eq!((said(&old, OLD, NOW), said(&old, RIGHT, NOW)), (Mismatch, Mismatch));
        let over = record(true, "null", "[]", &[Accepted { digest: OLD, until: i64::MIN }]);
        assert_eq!(said(&over, OLD, i64::MIN), Mismatch);
        // A wrong secret is not told the state, and one that has ended neither.
        let disabled = record(false, "null", "[]", &digests);
        assert_eq!(
            (said(&disabled, OLD, NOW - 1), said(&disabled, OLD, NOW)),
            (Disabled, Mismatch)
        );
        for (presented, key_expires_at, end) in [
            (Some(&OLD), None, Some(NOW)),
            (Some(&OLD), Some(NOW - 1), Some(NOW - 1)),
            (Some(&OLD), Some(NOW + 1), Some(NOW)),
            (Some(&RIGHT), Some(NOW + 1), Some(NOW + 1)),
            (Some(&RIGHT), None, None),
            (None, None, None),
        ] {
            assert_eq!(ends_at(&both, presented, key_expires_at), end);
        }
    }
}
