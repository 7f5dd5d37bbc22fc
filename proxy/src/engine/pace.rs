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
    /// The client stopped reading the answer.
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
    /// Bytes per second after that; 0: no rate is asked for.
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
        if moved != self.moved || wait != self.wait {
            self.progress = now;
        }
        (self.moved, self.wait, self.uploaded) = (moved, wait, uploaded);
        let own = match wait {
            Wait::Client => self.slow_at(),
            Wait::UpstreamWrite | Wait::ClientWrite => Some(self.progress + self.bounds.stall),
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
            Wait::ClientWrite => (self.progress + self.bounds.stall, Late::ClientWrite),
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
            pace.waits(Wait::ClientWrite, 2, 0, Tick(SECOND)),
            Some(Tick(61 * SECOND))
        );
        assert_eq!(
            pace.waits(Wait::ClientWrite, 2, 0, Tick(2 * SECOND)),
            Some(Tick(61 * SECOND))
        );
    }
}
