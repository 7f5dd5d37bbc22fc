//! `scoring` and `traffic_policy.failover`, from written to meant.

use super::Build;
use crate::regions::failover::FailoverPolicy;
use crate::regions::prices::{ELSEWHERE, EgressPrices, SAME_SUPER_REGION};
use crate::regions::raw::{RawCurve, RawEgressPrices, RawFailover, RawScoring, RawWeights};
use crate::regions::score::{Bracket, Curve, Scoring, Terms};
use crate::yaml::Spanned;

impl Build<'_, '_> {
    pub(super) fn scoring(&mut self, raw: &RawScoring) -> Scoring {
        for (region, total) in raw.tie_break.iter().flat_map(|pairs| &pairs.0) {
            self.named(region);
            if !(0.0..=1_000.0).contains(&total.value) {
                self.fault(
                    total.at,
                    "not a total",
                    "write the sum of the matrix, 0 to 1000",
                );
            }
        }
        let scoring = self.weighted(&raw.weights);
        let curve = raw.curve.map_or(Curve::Brackets, |curve| match curve {
            RawCurve::Brackets => Curve::Brackets,
            RawCurve::Smooth => Curve::Smooth,
        });
        let brackets = raw.latency_brackets.as_ref().map_or_else(
            || scoring.brackets().to_vec(),
            |raw| {
                raw.iter()
                    .map(|b| Bracket {
                        below_ms: b.below_ms,
                        score: b.score,
                    })
                    .collect()
            },
        );
        let beyond = raw
            .beyond
            .as_ref()
            .map_or(scoring.beyond(), |beyond| beyond.value);
        let at = raw.latency_brackets.as_ref().map(|brackets| brackets.at);
        let at = at
            .or(raw.beyond.as_ref().map(|beyond| beyond.at))
            .unwrap_or_default();
        scoring
            .clone()
            .with_curve(curve, brackets, beyond)
            .unwrap_or_else(|| {
                self.fault(
                    at,
                    "the brackets make no curve",
                    "1 to 16, ascending, scores 0 to 100",
                );
                scoring
            })
    }

    fn weighted(&mut self, raw: &RawWeights) -> Scoring {
        let default = Scoring::default();
        let shipped = default.weights();
        let given = [&raw.latency, &raw.load, &raw.compliance, &raw.cost];
        let at = given
            .iter()
            .find_map(|weight| weight.as_ref().map(|weight| weight.at));
        let Some(at) = at else { return default };
        let or = |given: &Option<Spanned<f32>>, shipped: f32| given.map_or(shipped, |w| w.value);
        let weights = Terms {
            latency: or(&raw.latency, shipped.latency),
            load: or(&raw.load, shipped.load),
            compliance: or(&raw.compliance, shipped.compliance),
            cost: or(&raw.cost, shipped.cost),
        };
        default.clone().with_weights(weights).unwrap_or_else(|| {
            self.fault(
                at,
                "these weights have no sum",
                "none below 0, at least one above",
            );
            default
        })
    }

    /// What is left out is as shipped.
    pub(super) fn prices(&mut self, raw: &RawEgressPrices) -> EgressPrices {
        let mut price = |given: Option<Spanned<f32>>, shipped: f32| {
            self.not_negative(given, "a price is not negative")
                .unwrap_or(shipped)
        };
        let mut prices = EgressPrices {
            same_super_region: price(raw.same_super_region, SAME_SUPER_REGION),
            elsewhere: price(raw.elsewhere, ELSEWHERE),
            pairs: Vec::new(),
        };
        for (from, row) in raw.pairs.iter().flat_map(|pairs| &pairs.0) {
            let start = self.named(from);
            for (to, price) in &row.0 {
                let end = self.named(to);
                let price = self.not_negative(Some(*price), "a price is not negative");
                if let (Some(start), Some(end), Some(price)) = (start, end, price) {
                    prices.pairs.push((start, end, price));
                }
            }
        }
        prices
    }

    pub(super) fn failover(&mut self, raw: &RawFailover) -> FailoverPolicy {
        let shipped = FailoverPolicy::default();
        let policy = FailoverPolicy {
            failed_unhealthy: self.percent(raw.failover_threshold, shipped.failed_unhealthy),
            failed_errors: self.percent(raw.failover_error_threshold, shipped.failed_errors),
            degraded_unhealthy: self.percent(raw.degraded_threshold, shipped.degraded_unhealthy),
            degraded_errors: self.percent(raw.degraded_error_threshold, shipped.degraded_errors),
            spill_at: self.percent(raw.spill_threshold, shipped.spill_at),
            min_requests: raw.min_requests.unwrap_or(shipped.min_requests),
            dwell: raw.dwell.map_or(shipped.dwell, |span| span.0),
            failback_delay: raw
                .failback_delay
                .map_or(shipped.failback_delay, |span| span.0),
            ramp: raw.ramp.map_or(shipped.ramp, |span| span.0),
        };
        let pairs = [
            (
                raw.degraded_threshold,
                policy.degraded_unhealthy > policy.failed_unhealthy,
            ),
            (
                raw.degraded_error_threshold,
                policy.degraded_errors > policy.failed_errors,
            ),
        ];
        for (given, crossed) in pairs {
            if let Some(given) = given.filter(|_| crossed) {
                self.fault(
                    given.at,
                    "degraded only after failed",
                    "make it the smaller of the two",
                );
            }
        }
        policy
    }

    /// 1 to 100 percent as a share.
    fn percent(&mut self, given: Option<Spanned<f32>>, default: f32) -> f32 {
        let Some(given) = given else { return default };
        if !(1.0..=100.0).contains(&given.value) {
            self.fault(given.at, "not a percentage", "write 1 to 100");
            return default;
        }
        given.value / 100.0
    }
}
