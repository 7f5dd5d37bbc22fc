//! What a region is worth to a request: four terms and their weights.
//!
//! Promises: every term and the sum lie in 0..=100; weights are normalised, so
//! only their ratios matter. Refuses weights that are negative or all zero.
//! Source: the seed's "Region Selection Algorithm" (0.5 latency, 0.3 load,
//! 0.2 compliance; brackets 20/50/100/150 ms to 100/90/70/50/20).

use serde::Serialize;

/// Terms of a score, each 0 (worst) to 100 (best).
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize)]
pub struct Terms {
    /// From the estimated round trip.
    pub latency: f32,
    /// Room left in the region.
    pub load: f32,
    /// Own jurisdiction 100, allowed 70, with an obligation 40.
    pub compliance: f32,
    /// Cheapest 100, dearest 0; 100 where no price is known.
    pub cost: f32,
}

/// Weights, brackets and tie-break, as meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scoring {
    weights: Terms,
    curve: Curve,
    /// Ascending by `below_ms`, at most 16.
    brackets: Vec<Bracket>,
    steps: Steps,
    beyond: f32,
    /// No longer way has more points.
    falls: bool,
}

/// Brackets in the form that costs a request least: bounds side by side, to be
/// compared at once, and the scores by how many bounds a round trip is below.
#[derive(Clone, Debug, PartialEq)]
struct Steps {
    /// Ascending; nothing is below what fills a four up.
    first: [f32; 4],
    /// Where there are more than four.
    further: Vec<[f32; 4]>,
    /// From the last bracket's score to the first one's.
    scores: Vec<f32>,
    /// Below no bound.
    beyond: f32,
}

impl Steps {
    fn new(brackets: &[Bracket], beyond: f32) -> Self {
        let mut bounds = brackets.iter().map(|bracket| bracket.below_ms);
        let mut four = |_| std::array::from_fn(|_| bounds.next().unwrap_or(f32::NEG_INFINITY));
        Self {
            first: four(0),
            further: (1..brackets.len().div_ceil(4)).map(four).collect(),
            scores: brackets.iter().rev().map(|bracket| bracket.score).collect(),
            beyond,
        }
    }

    /// What is no number is below nothing.
    #[inline]
    fn score(&self, ms: f32) -> f32 {
        let below =
            |four: &[f32; 4]| -> u32 { four.map(|bound| u32::from(ms < bound)).iter().sum() };
        let mut count = below(&self.first);
        for four in &self.further {
            count += below(four);
        }
        let score = count
            .checked_sub(1)
            .and_then(|at| self.scores.get(at as usize));
        score.copied().unwrap_or(self.beyond)
    }
}

/// How brackets are read.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Curve {
    /// As steps, after the seed.
    Brackets,
    /// As points of a line, so that a millisecond never costs ten points.
    Smooth,
}

impl Curve {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Brackets => "brackets",
            Self::Smooth => "smooth",
        }
    }
}

/// Below so many milliseconds: so many points.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Bracket {
    pub(crate) below_ms: f32,
    pub(crate) score: f32,
}

/// The seed's brackets.
const BRACKETS: [Bracket; 4] = [
    Bracket {
        below_ms: 20.0,
        score: 100.0,
    },
    Bracket {
        below_ms: 50.0,
        score: 90.0,
    },
    Bracket {
        below_ms: 100.0,
        score: 70.0,
    },
    Bracket {
        below_ms: 150.0,
        score: 50.0,
    },
];

/// The seed's score beyond the last bracket.
const BEYOND: f32 = 20.0;

impl Default for Scoring {
    fn default() -> Self {
        Self {
            weights: Terms {
                latency: 0.5,
                load: 0.3,
                compliance: 0.2,
                cost: 0.0,
            },
            curve: Curve::Brackets,
            brackets: BRACKETS.to_vec(),
            steps: Steps::new(&BRACKETS, BEYOND),
            beyond: BEYOND,
            falls: true,
        }
    }
}

impl Scoring {
    /// With other weights; they are divided by their sum. `None` if one is
    /// negative or not finite, or all are zero.
    pub(crate) fn with_weights(self, weights: Terms) -> Option<Self> {
        let Terms {
            latency,
            load,
            compliance,
            cost,
        } = weights;
        let sum = latency + load + compliance + cost;
        let valid = [latency, load, compliance, cost]
            .iter()
            .all(|w| w.is_finite() && *w >= 0.0);
        (valid && sum.is_finite() && sum > 0.0).then(|| Self {
            weights: Terms {
                latency: latency / sum,
                load: load / sum,
                compliance: compliance / sum,
                cost: cost / sum,
            },
            ..self
        })
    }

    /// With another latency curve. `None` if the brackets do not ascend or a
    /// score is outside 0..=100.
    pub(crate) fn with_curve(
        self,
        curve: Curve,
        brackets: Vec<Bracket>,
        beyond: f32,
    ) -> Option<Self> {
        let ascending = brackets.is_sorted_by(|a, b| a.below_ms < b.below_ms);
        let scores = brackets.iter().map(|bracket| bracket.score).chain([beyond]);
        let sane = scores
            .into_iter()
            .all(|score| (0.0..=100.0).contains(&score))
            && brackets
                .iter()
                .all(|bracket| bracket.below_ms.is_finite() && bracket.below_ms > 0.0)
            && !brackets.is_empty()
            && brackets.len() <= 16;
        (ascending && sane).then_some(Self {
            curve,
            steps: Steps::new(&brackets, beyond),
            falls: brackets.is_sorted_by(|a, b| a.score >= b.score)
                && brackets.last().is_none_or(|last| last.score >= beyond),
            brackets,
            beyond,
            ..self
        })
    }

    pub(crate) fn brackets(&self) -> &[Bracket] {
        &self.brackets
    }

    pub(crate) fn beyond(&self) -> f32 {
        self.beyond
    }

    pub(crate) fn curve(&self) -> Curve {
        self.curve
    }

    /// Normalised weights, for `/snapshot`.
    pub(crate) fn weights(&self) -> Terms {
        self.weights
    }

    /// Points for a round trip; one that is unknown, not a number, is beyond
    /// all brackets.
    #[inline]
    pub(crate) fn latency(&self, ms: f32) -> f32 {
        match self.curve {
            // Without a branch to mispredict.
            Curve::Brackets => self.steps.score(ms),
            Curve::Smooth => self.smooth(ms),
        }
    }

    /// Straight lines between the middles of the brackets; flat before the
    /// first, and from the last bracket's middle down to `beyond` at one and a
    /// half times its end.
    fn smooth(&self, ms: f32) -> f32 {
        let mut start = 0.0;
        let mut last: Option<(f32, f32)> = None;
        let end = self
            .brackets
            .last()
            .map_or(0.0, |bracket| bracket.below_ms * 1.5);
        let middles = self.brackets.iter().map(|bracket| {
            let middle = f32::midpoint(start, bracket.below_ms);
            start = bracket.below_ms;
            (middle, bracket.score)
        });
        for (at, score) in middles.chain([(end, self.beyond)]) {
            if ms < at {
                return last.map_or(score, |(from, high)| {
                    high + (score - high) * (ms - from) / (at - from)
                });
            }
            last = Some((at, score));
        }
        self.beyond
    }

    /// The most that the other terms can add; `None` where a longer way may
    /// score higher, so that no order of ways bounds the sum.
    #[inline]
    pub(crate) fn at_most_beside_latency(&self) -> Option<f32> {
        let others = self.weights.load + self.weights.compliance + self.weights.cost;
        self.falls.then_some(100.0 * others)
    }

    /// What the latency term adds for a round trip.
    #[inline]
    pub(crate) fn latency_part(&self, ms: f32) -> f32 {
        self.latency(ms) * self.weights.latency
    }

    /// The weighted sum.
    pub(crate) fn total(&self, terms: &Terms) -> f32 {
        terms.latency * self.weights.latency
            + terms.load * self.weights.load
            + terms.compliance * self.weights.compliance
            + terms.cost * self.weights.cost
    }
}

/// Points for a load of 0 (idle) to 1 (full) and beyond.
pub(crate) fn load_score(load: f32) -> f32 {
    // One instruction a bound, unlike `clamp`, which keeps what is no number.
    let room = 100.0 * (1.0 - load);
    let room = if room > 0.0 { room } else { 0.0 };
    if room < 100.0 { room } else { 100.0 }
}

/// Points for a price; `dearest` is the highest of all regions.
pub(crate) fn cost_score(price: Option<f32>, dearest: f32) -> f32 {
    match price {
        Some(price) if dearest > 0.0 => (100.0 * (1.0 - price / dearest)).clamp(0.0, 100.0),
        Some(_) | None => 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_brackets_hold_at_their_edges() {
        let scoring = Scoring::default();
        let cases = [
            (0.0, 100.0),
            (19.9, 100.0),
            (20.0, 90.0),
            (49.9, 90.0),
            (50.0, 70.0),
        ];
        let more = [
            (99.9, 70.0),
            (100.0, 50.0),
            (149.9, 50.0),
            (150.0, 20.0),
            (9_999.0, 20.0),
        ];
        for (ms, score) in cases.into_iter().chain(more) {
            assert!(
                (scoring.latency(ms) - score).abs() < f32::EPSILON,
                "{ms} ms"
            );
        }
        assert!((scoring.latency(f32::NAN) - 20.0).abs() < f32::EPSILON);
    }

    #[test]
    fn as_many_brackets_as_one_likes_are_read_as_they_are_listed() {
        for count in 1..=16u8 {
            let brackets: Vec<Bracket> = (1..=count)
                .map(|at| Bracket {
                    below_ms: f32::from(at) * 10.0,
                    score: 100.0 - f32::from(at),
                })
                .collect();
            let listed = |ms: f32| {
                let found = brackets.iter().find(|bracket| ms < bracket.below_ms);
                found.map_or(7.0, |bracket| bracket.score)
            };
            let scoring = Scoring::default()
                .with_curve(Curve::Brackets, brackets.clone(), 7.0)
                .unwrap();
            for ms in (0..400u16).map(|half| f32::from(half) / 2.0) {
                assert_eq!(
                    scoring.latency(ms).to_bits(),
                    listed(ms).to_bits(),
                    "{ms} ms"
                );
            }
            for odd in [f32::NAN, f32::INFINITY] {
                assert_eq!(scoring.latency(odd).to_bits(), 7.0_f32.to_bits());
            }
        }
    }

    #[test]
    fn room_is_from_none_to_all() {
        for (load, points) in [
            (0.0, 100.0),
            (0.25, 75.0),
            (1.0, 0.0),
            (9.0, 0.0),
            (-1.0, 100.0),
        ] {
            assert!((load_score(load) - points).abs() < f32::EPSILON, "{load}");
        }
        assert!(load_score(f32::NAN).abs() < f32::EPSILON);
    }

    #[test]
    fn the_seeds_sum_comes_out_with_the_seeds_weights() {
        let terms = Terms {
            latency: 90.0,
            load: 50.0,
            compliance: 70.0,
            cost: 0.0,
        };
        assert!((Scoring::default().total(&terms) - 74.0).abs() < 0.001);
    }

    #[test]
    fn only_the_ratios_of_weights_matter() {
        let terms = Terms {
            latency: 90.0,
            load: 50.0,
            compliance: 70.0,
            cost: 10.0,
        };
        let weights = Terms {
            latency: 5.0,
            load: 3.0,
            compliance: 2.0,
            cost: 0.0,
        };
        let scaled = Scoring::default().with_weights(weights).unwrap();
        assert!((scaled.total(&terms) - 74.0).abs() < 0.001);
    }

    #[test]
    fn weights_that_mean_nothing_are_refused() {
        for weights in [
            Terms::default(),
            Terms {
                latency: -1.0,
                load: 2.0,
                ..Terms::default()
            },
            Terms {
                latency: f32::NAN,
                ..Terms::default()
            },
        ] {
            assert_eq!(Scoring::default().with_weights(weights), None);
        }
    }

    #[test]
    fn a_smooth_curve_never_jumps_and_never_rises() {
        let steps = Scoring::default();
        let brackets = steps.brackets().to_vec();
        let scoring = steps.with_curve(Curve::Smooth, brackets, BEYOND).unwrap();
        let mut last = 100.0;
        for tenth in 0..4_000u16 {
            let score = scoring.latency(f32::from(tenth) / 10.0);
            assert!(
                score <= last + 0.001 && last - score < 0.2,
                "{tenth}: {last} to {score}"
            );
            last = score;
        }
        assert!((last - BEYOND).abs() < 0.001);
    }

    #[test]
    fn brackets_out_of_order_are_refused() {
        let brackets = vec![
            Bracket {
                below_ms: 50.0,
                score: 90.0,
            },
            Bracket {
                below_ms: 20.0,
                score: 100.0,
            },
        ];
        assert_eq!(
            Scoring::default().with_curve(Curve::Brackets, brackets, 20.0),
            None
        );
    }

    #[test]
    fn the_dearest_region_gets_no_points_for_cost() {
        for (price, score) in [
            (Some(0.12), 0.0),
            (Some(0.0), 100.0),
            (Some(0.06), 50.0),
            (None, 100.0),
        ] {
            assert!((cost_score(price, 0.12) - score).abs() < 0.01);
        }
    }
}
