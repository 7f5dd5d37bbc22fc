//! How many retries the whole edge may make.
//!
//! Promises: over ten seconds, retries are at most a share of requests plus a
//! small fixed rate, so that backends that are in trouble do not get a multiple
//! of their load. Refuses by counting, without a lock: threads that ask at the
//! same instant may pass one each.

use super::RetryPolicy;
use crate::Tick;
use crate::state::window::TenSeconds;

/// Width of the window, in seconds.
const WINDOW_S: f32 = 10.0;

/// Requests and retries of the last ten seconds. Survives reloads; has a fixed
/// size.
#[derive(Debug, Default)]
pub struct Budget {
    window: TenSeconds,
}

impl Budget {
    /// A budget that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request, once, however often it is tried.
    pub fn note_request(&self, now: Tick) {
        self.window.add(now);
    }

    /// Takes one retry if there is one.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 7 digits"
    )]
    pub(crate) fn withdraw(&self, policy: &RetryPolicy, now: Tick) -> Withdrawal {
        let tally = self.window.tally(now);
        let allowed = tally.total * policy.budget_percent as f32 / 100.0
            + policy.min_per_second as f32 * WINDOW_S;
        if tally.marked + 1.0 > allowed {
            return Withdrawal::Empty;
        }
        self.window.mark(now);
        Withdrawal::Taken
    }
}

/// What came of asking the budget.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Withdrawal {
    Taken,
    Empty,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(budget: &Budget, policy: &RetryPolicy, now: Tick) -> u32 {
        let mut taken = 0;
        while budget.withdraw(policy, now) == Withdrawal::Taken {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_fifth_of_the_requests_and_ten_a_second_may_be_retried() {
        let policy = RetryPolicy::default();
        let budget = Budget::new();
        for _ in 0..1_000 {
            budget.note_request(Tick(1));
        }
        assert_eq!(
            taken(&budget, &policy, Tick(1)),
            300,
            "200 of 1,000, and 100 in 10 s"
        );
    }

    #[test]
    fn the_budget_refills_as_the_window_slides() {
        let policy = RetryPolicy::default();
        let budget = Budget::new();
        let mut now = Tick(1);
        assert_eq!(taken(&budget, &policy, now), 100);
        now = now + Duration::from_secs(15);
        let again = taken(&budget, &policy, now);
        assert!(
            (45..=55).contains(&again),
            "half of the window has slid by: {again}"
        );
    }

    #[test]
    fn an_outage_costs_at_most_a_fifth_more_requests() {
        let policy = RetryPolicy {
            min_per_second: 0,
            ..RetryPolicy::default()
        };
        let budget = Budget::new();
        let mut retries = 0;
        for request in 0..60_000u64 {
            let now = Tick(request * 1_000_000);
            budget.note_request(now);
            retries += u32::from(budget.withdraw(&policy, now) == Withdrawal::Taken);
        }
        assert!((11_000..=12_600).contains(&retries), "{retries}");
    }
}
