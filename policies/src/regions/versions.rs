//! Which version of the backends a request gets (`traffic_policy.version_routing`,
//! seed: "Traffic splitting for canary deployments", 90 to 10).
//!
//! Promises: weights are shares among the versions that can serve in the
//! chosen region; the same draw gets the same version, so a session whose draw
//! stays the same keeps its version, and a changed weight moves only the share
//! that changed. A version that cannot serve there hands its share to the
//! others. Refuses to let an unknown client choose: the header counts for those
//! for whom a trusted hop speaks, and for testers who have shown who they are.

use serde_json::{Value, json};

use super::testers::Testers;
use crate::state::mix;
use crate::{Facts, Trust};

/// Most versions that are routed between.
pub const VERSIONS_MAX: usize = 16;

const SALT_VERSION: u64 = 5 << 32;

/// A version of `version_routing`, by its position.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct VersionIndex(pub u8);

impl VersionIndex {
    /// As an index of a slice.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One version and its share.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighted {
    pub(crate) version: String,
    pub(crate) weight: u32,
}

/// The versions, in the order of the file; none: no routing by version.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    pub(crate) list: Vec<Weighted>,
    /// Name of the testers' header, in lower case.
    pub(crate) header: Option<String>,
    /// Who may use it, besides whoever a trusted hop speaks for.
    pub(crate) testers: Testers,
}

impl Versions {
    /// Whether requests are routed by version at all.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        !self.list.is_empty()
    }

    pub(crate) fn index_of(&self, version: &str) -> Option<VersionIndex> {
        let at = self.list.iter().position(|of| of.version == version)?;
        u8::try_from(at).ok().map(VersionIndex)
    }

    /// The version that a request's header names, if it is one of these and
    /// the caller may choose: a trusted hop speaks for it, or it is a tester.
    pub(crate) fn asked(&self, facts: &Facts<'_>) -> Option<VersionIndex> {
        let value = facts.head.first_named(self.header.as_deref()?)?;
        let may = match facts.peer_trust {
            Trust::Trusted => true,
            Trust::Untrusted => self.testers.include(facts),
        };
        may.then(|| self.index_of(std::str::from_utf8(value).ok()?))
            .flatten()
    }

    /// Chooses among the versions that `can_serve`; `None`: none of them can,
    /// and an endpoint without a listed version must do.
    pub(crate) fn choose(
        &self,
        can_serve: &[bool; VERSIONS_MAX],
        (asked, draw): (Option<VersionIndex>, u64),
    ) -> Option<VersionIndex> {
        let able = |at: VersionIndex| can_serve.get(at.index()).copied().unwrap_or(false);
        if let Some(asked) = asked.filter(|asked| able(*asked)) {
            return Some(asked);
        }
        let indexed = || (0u8..).map(VersionIndex).zip(&self.list);
        let total: u32 = indexed()
            .filter(|(at, _)| able(*at))
            .map(|(_, of)| of.weight)
            .sum();
        // The upper half of a product: no division, no rounding to zero.
        let mut point = ((mix(draw, SALT_VERSION) >> 32) * u64::from(total)) >> 32;
        let drawn = indexed().find(|(at, of)| {
            let weight = if able(*at) { u64::from(of.weight) } else { 0 };
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        });
        // All that can serve have weight 0: better those than none.
        drawn
            .or_else(|| indexed().find(|(at, _)| able(*at)))
            .map(|(at, _)| at)
    }

    /// For `/snapshot`.
    pub(crate) fn to_json(&self) -> Value {
        let one = |of: &Weighted| json!({ "version": of.version, "weight": of.weight });
        json!({
            "list": self.list.iter().map(one).collect::<Vec<_>>(),
            "header": self.header,
            "testers": self.testers.to_json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(weights: &[u32]) -> Versions {
        let list = weights.iter().enumerate().map(|(at, weight)| Weighted {
            version: format!("v{at}"),
            weight: *weight,
        });
        Versions {
            list: list.collect(),
            header: None,
            testers: Testers::default(),
        }
    }

    const ALL: [bool; VERSIONS_MAX] = [true; VERSIONS_MAX];

    fn shares(versions: &Versions, can_serve: &[bool; VERSIONS_MAX]) -> Vec<u32> {
        let mut counts = vec![0; versions.list.len()];
        for draw in 0..10_000 {
            let chosen = versions.choose(can_serve, (None, draw)).unwrap();
            counts[chosen.index()] += 1;
        }
        counts
    }

    #[test]
    fn ninety_to_ten_is_ninety_to_ten() {
        let counts = shares(&versions(&[90, 10]), &ALL);
        assert!((8_850..9_150).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts.iter().sum::<u32>(), 10_000);
    }

    #[test]
    fn a_version_that_cannot_serve_hands_its_share_to_the_others() {
        let three = versions(&[50, 25, 25]);
        let mut can_serve = ALL;
        can_serve[0] = false;
        let counts = shares(&three, &can_serve);
        assert_eq!(counts[0], 0);
        assert!((4_800..5_200).contains(&counts[1]), "{counts:?}");
        assert_eq!(three.choose(&[false; VERSIONS_MAX], (None, 1)), None);
    }

    #[test]
    fn a_version_of_weight_zero_serves_testers_and_in_need() {
        let two = versions(&[100, 0]);
        assert_eq!(shares(&two, &ALL), [10_000, 0]);
        let tester = (Some(VersionIndex(1)), 7);
        assert_eq!(two.choose(&ALL, tester), Some(VersionIndex(1)));
        let mut can_serve = ALL;
        can_serve[0] = false;
        assert_eq!(two.choose(&can_serve, (None, 7)), Some(VersionIndex(1)));
        can_serve = [false; VERSIONS_MAX];
        can_serve[0] = true;
        assert_eq!(two.choose(&can_serve, tester), Some(VersionIndex(0)));
    }

    #[test]
    fn a_changed_weight_moves_only_the_share_that_changed() {
        let (before, after) = (versions(&[90, 10]), versions(&[80, 20]));
        let moved = (0..10_000)
            .filter(|draw| before.choose(&ALL, (None, *draw)) != after.choose(&ALL, (None, *draw)));
        let moved = moved.count();
        assert!((900..1_100).contains(&moved), "{moved}");
    }
}
