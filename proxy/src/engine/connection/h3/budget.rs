//! What a QUIC client may send that carries no request and costs the edge.
//!
//! Promises: counted from what quinn counts anyway, looked at when a client
//! has begun some streams, and every [`LOOK`] while it has not. Refuses: more
//! of a kind than any client needs.

use std::time::Duration;

use meridian_policies::Tick;
use quinn::FrameStats;

/// How often a connection on which nothing begins is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Frames of a kind that a client may send in [`WINDOW`].
const FRAMES_MAX: u64 = 400;
/// Requests in it that break a rule of messages.
const MALFORMED_MAX: u64 = 100;
const WINDOW: Duration = Duration::from_secs(10);

/// Counts since the connection began.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Seen {
    /// `RESET_STREAM` and `STOP_SENDING`.
    resets: u64,
    /// PING: each is acknowledged.
    pings: u64,
    /// `PATH_CHALLENGE`, and connection ids that come and go: each is answered.
    paths: u64,
    /// Requests that break a rule of messages.
    malformed: u64,
}

impl Seen {
    pub(super) fn new(frames: &FrameStats, malformed: u64) -> Self {
        Self {
            resets: frames.reset_stream + frames.stop_sending,
            pings: frames.ping,
            paths: frames.path_challenge + frames.new_connection_id + frames.retire_connection_id,
            malformed,
        }
    }
}

/// One connection's counts at the beginning of a window.
#[derive(Debug)]
pub(super) struct Budget {
    since: Tick,
    before: Seen,
}

impl Budget {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            since: now,
            before: Seen::default(),
        }
    }

    /// False when the client has sent too much of a kind.
    pub(super) fn allows(&mut self, seen: Seen, now: Tick) -> bool {
        let before = &self.before;
        let allowed = seen.resets - before.resets <= FRAMES_MAX
            && seen.pings - before.pings <= FRAMES_MAX
            && seen.paths - before.paths <= FRAMES_MAX
            && seen.malformed - before.malformed <= MALFORMED_MAX;
        if now >= self.since + WINDOW {
            (self.since, self.before) = (now, seen);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_budget_that_a_window_renews() {
        let at = |second: u64| Tick(second * 1_000_000_000);
        let frames = |of: fn(&mut FrameStats) -> &mut u64, count| {
            let mut frames = FrameStats::default();
            *of(&mut frames) = count;
            Seen::new(&frames, 0)
        };
        let kinds: [fn(&mut FrameStats) -> &mut u64; 6] = [
            |frames| &mut frames.reset_stream,
            |frames| &mut frames.stop_sending,
            |frames| &mut frames.ping,
            |frames| &mut frames.path_challenge,
            |frames| &mut frames.new_connection_id,
            |frames| &mut frames.retire_connection_id,
        ];
        for kind in kinds {
            let mut budget = Budget::new(at(0));
            assert!(budget.allows(frames(kind, 400), at(9)));
            assert!(!budget.allows(frames(kind, 401), at(9)));
            let mut budget = Budget::new(at(0));
            assert!(budget.allows(frames(kind, 400), at(10)));
            assert!(budget.allows(frames(kind, 800), at(19)));
            assert!(!budget.allows(frames(kind, 801), at(19)));
        }
    }

    #[test]
    fn malformed_requests_have_one_of_their_own() {
        let mut budget = Budget::new(Tick(0));
        let malformed = |count| Seen::new(&FrameStats::default(), count);
        assert!(budget.allows(malformed(100), Tick(1)));
        assert!(!budget.allows(malformed(101), Tick(1)));
    }
}
