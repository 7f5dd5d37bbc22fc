//! How slow is too slow: deadlines of an exchange as a pure function of what
//! it waits for, since when, and how much has passed.

use std::time::Duration;

use meridian_policies::Tick;

use crate::settings::Timeouts;

/// What an exchange waits for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Wait {
    /// More of the request from the client.
    Client,
    /// The backend takes no more of the request.
    UpstreamWrite,
    /// The head of the answer, after the whole request was sent.
    FirstByte,
    /// The client takes no more of the answer.
    ClientWrite,
    /// More of the answer.
    Answer,
}

/// Which deadline has passed; each is an outcome of its own.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Late {
    /// The request's body came slower than the least rate.
    BodyRate,
    /// The backend stopped reading the request.
    UpstreamWrite,
    /// No answer began in time.
    FirstByte,
    /// The client stopped reading the answer, or read it below the least rate.
    ClientWrite,
    /// The answer paused for longer than the route allows.
    Idle,
    /// The whole exchange took longer than the route allows.
    Total,
}

/// The bounds of one exchange.
#[derive(Copy, Clone, Debug)]
pub struct Bounds {
    /// No rate is asked of a body for this long.
    pub body_grace: Duration,
    /// Bytes per second after that, and of an answer once the client has made
    /// the edge wait for `stall` in all; 0: no rate is asked for.
    pub body_rate: u64,
    /// From the end of the request to the head of the answer.
    pub first_byte: Duration,
    /// Neither side may refuse to read for longer.
    pub stall: Duration,
    /// Longest pause within an answer; none by default (SSE is quiet for long).
    pub idle: Option<Duration>,
    /// Longest exchange; none by default.
    pub total: Option<Duration>,
}

impl Bounds {
    /// The process's bounds, before a route narrows them.
    pub fn new(timeouts: &Timeouts) -> Self {
        Self {
            body_grace: timeouts.body_grace,
            body_rate: timeouts.body_rate,
            first_byte: timeouts.first_byte,
            stall: timeouts.idle,
            idle: None,
            total: timeouts.total,
        }
    }
}

/// Follows the progress of one exchange.
#[derive(Debug)]
pub struct Pace {
    bounds: Bounds,
    began: Tick,
    progress: Tick,
    moved: u64,
    wait: Wait,
    uploaded: u64,
    upload_paused: Duration,
    /// When the client last sent something of its body, or was asked again.
    heard: Tick,
    /// When it was last said what it waits for.
    seen: Tick,
    /// How long the client has made the edge wait with its answer, until then,
    /// and the bytes that it took meanwhile.
    held: Duration,
    taken: u64,
}

impl Pace {
    /// An exchange that begins at `now`.
    pub fn new(bounds: Bounds, now: Tick) -> Self {
        Self {
            bounds,
            began: now,
            progress: now,
            moved: 0,
            wait: Wait::Client,
            uploaded: 0,
            upload_paused: Duration::ZERO,
            heard: now,
            seen: now,
            held: Duration::ZERO,
            taken: 0,
        }
    }

    /// The exchange waits: `moved` counts all bytes both ways so far,
    /// `uploaded` those of the request's body. When is it late?
    #[expect(
        clippy::too_many_arguments,
        reason = "what it waits for, how far it is, and when"
    )]
    pub fn waits(&mut self, wait: Wait, moved: u64, uploaded: u64, now: Tick) -> Option<Tick> {
        if self.wait != Wait::Client && wait == Wait::Client {
            // The client was not asked for anything meanwhile.
            self.upload_paused += now.saturating_sub(self.progress);
            self.heard = now;
        }
        if uploaded != self.uploaded {
            self.heard = now;
        }
        if self.wait == Wait::ClientWrite {
            self.held += now.saturating_sub(self.seen);
            self.taken += moved - self.moved;
        }
        if moved != self.moved || wait != self.wait {
            self.progress = now;
        }
        (self.moved, self.wait, self.uploaded) = (moved, wait, uploaded);
        self.seen = now;
        let own = match wait {
            Wait::Client => self.slow_at(),
            Wait::UpstreamWrite => Some(self.progress + self.bounds.stall),
            Wait::ClientWrite => Some(self.untaken_at()),
            Wait::FirstByte => Some(self.progress + self.bounds.first_byte),
            Wait::Answer => self.bounds.idle.map(|idle| self.progress + idle),
        };
        let total = self.bounds.total.map(|total| self.began + total);
        match (own, total) {
            (Some(own), Some(total)) => Some(own.min(total)),
            (own, total) => own.or(total),
        }
    }

    /// The deadline fired: is it late, and for what?
    pub fn late(&self, now: Tick) -> Option<Late> {
        if self
            .bounds
            .total
            .is_some_and(|total| now >= self.began + total)
        {
            return Some(Late::Total);
        }
        let (due, late) = match self.wait {
            Wait::Client => (self.slow_at()?, Late::BodyRate),
            Wait::UpstreamWrite => (self.progress + self.bounds.stall, Late::UpstreamWrite),
            Wait::ClientWrite => (self.untaken_at(), Late::ClientWrite),
            Wait::FirstByte => (self.progress + self.bounds.first_byte, Late::FirstByte),
            Wait::Answer => (self.progress + self.bounds.idle?, Late::Idle),
        };
        (now >= due).then_some(late)
    }

    /// When the bytes that came so far are too few, or the last of them came
    /// too long ago: a fast beginning does not pay for silence. Never without a
    /// rate.
    fn slow_at(&self) -> Option<Tick> {
        let earned = self
            .uploaded
            .saturating_mul(1_000)
            .checked_div(self.bounds.body_rate)?;
        let patience = self.bounds.body_grace + self.upload_paused + Duration::from_millis(earned);
        let silence = self.bounds.stall.max(self.bounds.body_grace);
        Some((self.began + patience).min(self.heard + silence))
    }

    /// When the client has taken nothing for too long, or too little in all the
    /// time that the edge has waited for it: a byte now and then does not keep
    /// an answer.
    fn untaken_at(&self) -> Tick {
        let stalled = self.progress + self.bounds.stall;
        let earned = self.taken.saturating_mul(1_000);
        match earned.checked_div(self.bounds.body_rate) {
            None => stalled,
            Some(earned) => {
                let patience = self.bounds.stall + Duration::from_millis(earned);
                stalled.min(self.seen + patience.saturating_sub(self.held))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bounds() -> Bounds {
        Bounds {
            body_grace: Duration::from_secs(10),
            body_rate: 1_024,
            first_byte: Duration::from_secs(30),
            stall: Duration::from_mins(1),
            idle: None,
            total: None,
        }
    }

    #[test]
    fn a_body_below_the_rate_is_late_after_the_grace() {
        let mut pace = Pace::new(bounds(), Tick(0));
        assert_eq!(
            pace.waits(Wait::Client, 0, 0, Tick(0)),
            Some(Tick(10 * SECOND))
        );
        assert_eq!(
            pace.waits(Wait::Client, 2_048, 2_048, Tick(SECOND)),
            Some(Tick(12 * SECOND))
        );
        assert_eq!(pace.late(Tick(12 * SECOND - 1)), None);
        assert_eq!(pace.late(Tick(12 * SECOND)), Some(Late::BodyRate));
    }

    #[test]
    fn a_client_that_takes_a_byte_now_and_then_is_late_all_the_same() {
        let mut pace = Pace::new(bounds(), Tick(0));
        let mut due = None;
        for second in (0..=50).step_by(10) {
            assert_eq!(pace.late(Tick(second * SECOND)), None);
            due = pace.waits(Wait::ClientWrite, second / 10, 0, Tick(second * SECOND));
        }
        // 60 s, and 4 ms for five bytes.
        assert_eq!(due, Some(Tick(60 * SECOND + 4_000_000)));
        assert_eq!(pace.late(Tick(60 * SECOND)), None);
        assert_eq!(pace.late(Tick(61 * SECOND)), Some(Late::ClientWrite));
    }

    #[test]
    fn a_client_that_takes_enough_or_waits_for_the_backend_is_never_late() {
        let mut pace = Pace::new(bounds(), Tick(0));
        for second in 0..1_000 {
            let now = Tick(second * SECOND);
            assert_eq!(pace.late(now), None, "{second}");
            pace.waits(Wait::ClientWrite, second * 1_024, 0, now);
        }
        let mut pace = Pace::new(bounds(), Tick(0));
        for second in 0..1_000 {
            // A byte each time, and the backend is what is waited for.
            pace.waits(Wait::ClientWrite, second, 0, Tick(second * SECOND));
            let now = Tick(second * SECOND + SECOND / 100);
            assert_eq!(pace.late(now), None, "{second}");
            pace.waits(Wait::Answer, second, 0, now);
        }
    }

    #[test]
    fn without_a_rate_any_progress_keeps_an_answer() {
        let bounds = Bounds {
            body_rate: 0,
            ..bounds()
        };
        let mut pace = Pace::new(bounds, Tick(0));
        for minute in 0..100 {
            let now = Tick(minute * 50 * SECOND);
            assert_eq!(pace.late(now), None);
            pace.waits(Wait::ClientWrite, minute, 0, now);
        }
    }

    #[test]
    fn a_fast_beginning_does_not_pay_for_silence() {
        let mut pace = Pace::new(bounds(), Tick(0));
        let due = pace.waits(Wait::Client, 10 << 20, 10 << 20, Tick(SECOND));
        assert_eq!(due, Some(Tick(61 * SECOND)));
        let due = pace.waits(Wait::Client, 11 << 20, 11 << 20, Tick(31 * SECOND));
        assert_eq!(due, Some(Tick(91 * SECOND)));
        assert_eq!(pace.late(Tick(91 * SECOND)), Some(Late::BodyRate));
    }

    #[test]
    fn without_a_rate_a_body_is_never_late() {
        let mut pace = Pace::new(
            Bounds {
                body_rate: 0,
                ..bounds()
            },
            Tick(0),
        );
        assert_eq!(pace.waits(Wait::Client, 0, 0, Tick(0)), None);
        assert_eq!(pace.late(Tick(u64::MAX)), None);
    }

    #[test]
    fn time_in_which_the_backend_did_not_read_is_not_the_clients() {
        let mut pace = Pace::new(bounds(), Tick(0));
        pace.waits(Wait::Client, 1, 1, Tick(0));
        pace.waits(Wait::UpstreamWrite, 2, 2, Tick(SECOND));
        let due = pace.waits(Wait::Client, 3, 3, Tick(21 * SECOND)).unwrap();
        assert!(due > Tick(29 * SECOND));
    }

    #[test]
    fn the_first_byte_is_counted_from_the_end_of_the_request() {
        let mut pace = Pace::new(bounds(), Tick(0));
        pace.waits(Wait::Client, 0, 0, Tick(0));
        let due = pace.waits(Wait::FirstByte, 10, 10, Tick(5 * SECOND));
        assert_eq!(due, Some(Tick(35 * SECOND)));
        assert_eq!(pace.late(Tick(35 * SECOND)), Some(Late::FirstByte));
    }

    #[test]
    fn a_quiet_answer_is_never_late_unless_the_route_says_so() {
        let mut pace = Pace::new(bounds(), Tick(0));
        assert_eq!(pace.waits(Wait::Answer, 10, 0, Tick(0)), None);
        assert_eq!(pace.late(Tick(u64::MAX)), None);
        let mut pace = Pace::new(
            Bounds {
                total: Some(Duration::from_secs(1)),
                ..bounds()
            },
            Tick(0),
        );
        assert_eq!(pace.waits(Wait::Answer, 10, 0, Tick(0)), Some(Tick(SECOND)));
        assert_eq!(pace.late(Tick(SECOND)), Some(Late::Total));
    }

    #[test]
    fn progress_moves_the_stall() {
        let mut pace = Pace::new(bounds(), Tick(0));
        pace.waits(Wait::ClientWrite, 1, 0, Tick(0));
        assert_eq!(
            pace.waits(Wait::ClientWrite, 1_025, 0, Tick(SECOND)),
            Some(Tick(61 * SECOND))
        );
        assert_eq!(
            pace.waits(Wait::ClientWrite, 1_025, 0, Tick(2 * SECOND)),
            Some(Tick(61 * SECOND))
        );
    }
}
