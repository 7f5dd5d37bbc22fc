//! When a tunnel ends though nobody broke it: a pure function of time,
//! progress and what it waits for.

use std::time::Duration;

use meridian_policies::{Tick, WebSocketBounds};

use crate::telemetry::WebSocketEnd;

/// A tunnel whose one side has ended waits so long for the other.
pub(super) const HALF_OPEN: Duration = Duration::from_secs(10);
/// After a close frame of the edge: so long for the answers, and so long again
/// for the client's end of a stream.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// The bounds of one tunnel.
#[derive(Copy, Clone, Debug)]
pub(super) struct Terms {
    /// What the route says.
    pub(super) route: WebSocketBounds,
    /// A side may refuse to read for so long.
    pub(super) stall: Duration,
    /// From the begin of the drain on; `None`: up to its bound.
    pub(super) drain: Option<Duration>,
}

/// What a tunnel waits for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Wait {
    /// For bytes from either side.
    Bytes,
    /// For the client to read.
    Client,
    /// For the backend to read.
    Backend,
    /// For the end of the side that has not ended.
    OtherEnd,
    /// For the answers to a close frame of the edge.
    Close,
    /// For the client to end, now that it was told all.
    Finish,
}

/// Where the process stands.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Drain {
    /// It serves.
    No,
    /// What is open may go on.
    Began,
    /// What is open ends now.
    Over,
}

/// What is seen of a tunnel when it has nothing to do.
#[derive(Copy, Clone, Debug)]
pub(super) struct Seen {
    pub(super) now: Tick,
    /// Bytes both ways so far.
    pub(super) moved: u64,
    pub(super) wait: Wait,
    pub(super) drain: Drain,
}

/// What becomes of it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It waits, at most until then.
    Wait(Option<Tick>),
    /// Both sides are told to close.
    Close(WebSocketEnd),
    /// It has waited long enough for what it waits for.
    Over,
}

/// Follows one tunnel.
#[derive(Debug)]
pub(super) struct Watch {
    terms: Terms,
    began: Tick,
    progress: Tick,
    moved: u64,
    wait: (Wait, Tick),
    drain: Option<Tick>,
}

impl Watch {
    /// A tunnel that begins at `now`.
    pub(super) fn new(terms: Terms, now: Tick) -> Self {
        Self {
            terms,
            began: now,
            progress: now,
            moved: 0,
            wait: (Wait::Bytes, now),
            drain: None,
        }
    }

    /// Judges what is seen.
    pub(super) fn look(&mut self, seen: Seen) -> Verdict {
        let now = seen.now;
        if self.moved != seen.moved {
            (self.moved, self.progress) = (seen.moved, now);
        }
        if self.wait.0 != seen.wait {
            self.wait = (seen.wait, now);
        }
        let since = self.wait.1;
        let patience = match seen.wait {
            Wait::Bytes => None,
            Wait::Client | Wait::Backend => Some(since.max(self.progress) + self.terms.stall),
            Wait::OtherEnd => Some(since.max(self.progress) + HALF_OPEN),
            Wait::Close | Wait::Finish => Some(since + CLOSING),
        };
        if patience.is_some_and(|due| due <= now) {
            return Verdict::Over;
        }
        if matches!(seen.wait, Wait::Close | Wait::Finish) {
            return Verdict::Wait(patience);
        }
        let drained = self.drained(seen);
        let route = self.terms.route;
        let ends = [
            (drained, WebSocketEnd::Drained),
            (
                route.max_lifetime.map(|span| self.began + span),
                WebSocketEnd::Lifetime,
            ),
            (
                route.idle.map(|span| self.progress + span),
                WebSocketEnd::Idle,
            ),
        ];
        let mut first = patience;
        for (due, end) in ends {
            let Some(due) = due else { continue };
            if due <= now {
                return Verdict::Close(end);
            }
            first = Some(first.map_or(due, |first| first.min(due)));
        }
        Verdict::Wait(first)
    }

    /// When the drain ends it.
    fn drained(&mut self, seen: Seen) -> Option<Tick> {
        match seen.drain {
            Drain::No => None,
            Drain::Over => Some(seen.now),
            Drain::Began => {
                let began = *self.drain.get_or_insert(seen.now);
                self.terms.drain.map(|grace| began + grace)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Tick {
        Tick(seconds * 1_000_000_000)
    }

    fn watch(idle: u64, max_lifetime: u64, drain: Option<u64>) -> Watch {
        let bound = |seconds: u64| (seconds > 0).then(|| SECOND * u32::try_from(seconds).unwrap());
        let terms = Terms {
            route: WebSocketBounds {
                idle: bound(idle),
                max_lifetime: bound(max_lifetime),
            },
            stall: SECOND * 60,
            drain: drain.map(Duration::from_secs),
        };
        Watch::new(terms, at(0))
    }

    fn seen(seconds: u64, moved: u64, wait: Wait) -> Seen {
        Seen {
            now: at(seconds),
            moved,
            wait,
            drain: Drain::No,
        }
    }

    #[test]
    fn without_bounds_silence_lasts() {
        let mut watch = watch(0, 0, None);
        for day in 0..100 {
            let verdict = watch.look(seen(day * 86_400, 0, Wait::Bytes));
            assert_eq!(verdict, Verdict::Wait(None));
        }
    }

    #[test]
    fn a_byte_either_way_begins_the_idle_time_anew() {
        let mut watch = watch(5, 0, None);
        assert_eq!(
            watch.look(seen(0, 0, Wait::Bytes)),
            Verdict::Wait(Some(at(5)))
        );
        assert_eq!(
            watch.look(seen(4, 1, Wait::Bytes)),
            Verdict::Wait(Some(at(9)))
        );
        assert_eq!(
            watch.look(seen(9, 1, Wait::Bytes)),
            Verdict::Close(WebSocketEnd::Idle)
        );
    }

    #[test]
    fn a_lifetime_ends_however_much_is_said() {
        let mut watch = watch(5, 10, None);
        for second in 0..10 {
            let due = (second + 5).min(10);
            let verdict = watch.look(seen(second, second, Wait::Bytes));
            assert_eq!(verdict, Verdict::Wait(Some(at(due))));
        }
        assert_eq!(
            watch.look(seen(10, 10, Wait::Bytes)),
            Verdict::Close(WebSocketEnd::Lifetime)
        );
    }

    #[test]
    fn a_drain_ends_at_its_bound_or_after_its_own_grace() {
        let draining = |seconds, drain| Seen {
            drain,
            ..seen(seconds, 0, Wait::Bytes)
        };
        let drained = Verdict::Close(WebSocketEnd::Drained);
        let mut patient = watch(0, 0, None);
        assert_eq!(patient.look(draining(9, Drain::Began)), Verdict::Wait(None));
        assert_eq!(patient.look(draining(10, Drain::Over)), drained);
        let mut soon = watch(0, 0, Some(3));
        assert_eq!(
            soon.look(draining(9, Drain::Began)),
            Verdict::Wait(Some(at(12)))
        );
        assert_eq!(soon.look(draining(12, Drain::Began)), drained);
        let mut at_once = watch(0, 0, Some(0));
        assert_eq!(at_once.look(draining(9, Drain::Began)), drained);
    }

    #[test]
    fn who_refuses_to_read_is_waited_for_since_it_began_to() {
        let mut watch = watch(0, 0, None);
        watch.look(seen(100, 7, Wait::Bytes));
        for wait in [Wait::Client, Wait::Backend] {
            assert_eq!(watch.look(seen(200, 7, wait)), Verdict::Wait(Some(at(260))));
        }
        assert_eq!(
            watch.look(seen(230, 8, Wait::Backend)),
            Verdict::Wait(Some(at(290))),
            "progress counts"
        );
        assert_eq!(watch.look(seen(290, 8, Wait::Backend)), Verdict::Over);
    }

    #[test]
    fn a_close_is_not_waited_for_longer_because_of_noise() {
        let mut watch = watch(1, 1, Some(0));
        assert_eq!(
            watch.look(seen(50, 0, Wait::Close)),
            Verdict::Wait(Some(at(52)))
        );
        assert_eq!(
            watch.look(seen(51, 9, Wait::Close)),
            Verdict::Wait(Some(at(52)))
        );
        assert_eq!(watch.look(seen(52, 10, Wait::Close)), Verdict::Over);
        assert_eq!(
            watch.look(seen(52, 10, Wait::Finish)),
            Verdict::Wait(Some(at(54)))
        );
    }

    #[test]
    fn the_other_end_has_its_time_since_the_last_byte() {
        let mut watch = watch(0, 0, None);
        assert_eq!(
            watch.look(seen(20, 0, Wait::OtherEnd)),
            Verdict::Wait(Some(at(30)))
        );
        assert_eq!(
            watch.look(seen(25, 1, Wait::OtherEnd)),
            Verdict::Wait(Some(at(35)))
        );
        assert_eq!(watch.look(seen(35, 1, Wait::OtherEnd)), Verdict::Over);
    }
}
