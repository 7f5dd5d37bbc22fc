//! Which region and which endpoint serve an attempt.
//!
//! Promises: hard gates come before preferences. Only regions of the permit are
//! looked at; among them drain, health and ejection decide first, then the
//! failover state, then the score, then the session's pin, then the endpoint.
//! The same snapshot, state, time and draw give the same choice; nothing is
//! allocated once `candidates` has its size. Refuses to leave the permit in any
//! need: what cannot be served inside is not served.

mod absence;
mod orders;
mod sessions;

use std::cmp::Ordering;

use meridian_geo::Location;

use super::choice::{AffinityOutcome, Ask, Candidate, Choice, NoRegion, Removal, Seen};
use super::compiled::{HotRegion, Role};
use super::endpoint::{self, Pool, Supply};
use super::failover::Phase;
use super::gates::{Gate, is_out};
use super::latency::Origin;
use super::score::{Terms, load_score};
use crate::affinity::SessionKey;
use crate::outliers::OutlierPolicy;
use crate::residency::{Permitted, Standing};
use crate::state::{RegionState, View, mix};
use crate::{EndpointIndex, RegionIndex, Snapshot};

/// Scores that differ by less are a tie: half a point.
const TIE: f32 = 0.5;

/// Salts that keep one draw's uses independent of each other.
const SALT_SHARE: u64 = 1 << 32;
const SALT_TIE: u64 = 2 << 32;

/// Chooses, and fills `candidates` with the permitted regions that it looked
/// at. It looks at them from the nearest on, and at no more once even an idle
/// one could not reach the best score: [`complete`] says the rest.
///
/// # Errors
/// Why no permitted region can serve; never a region outside the permit.
pub fn select(
    snapshot: &Snapshot,
    view: &View,
    ask: &Ask<'_>,
    candidates: &mut Vec<Candidate>,
) -> Result<Choice, NoRegion> {
    // Orders compare all that are permitted.
    let looks = if view.may_be_ruled(ask.now) {
        Looks::All
    } else {
        Looks::Enough
    };
    choose((snapshot, view), ask, looks, candidates)
}

/// The same choice, with `candidates` filled with every region in index order.
///
/// # Errors
/// As [`select`].
pub fn select_all(
    snapshot: &Snapshot,
    view: &View,
    ask: &Ask<'_>,
    candidates: &mut Vec<Candidate>,
) -> Result<Choice, NoRegion> {
    choose((snapshot, view), ask, Looks::All, candidates)
}

/// How many regions are looked at.
#[derive(Copy, Clone)]
enum Looks {
    Enough,
    All,
}

fn choose(
    (snapshot, view): (&Snapshot, &View),
    ask: &Ask<'_>,
    looks: Looks,
    candidates: &mut Vec<Candidate>,
) -> Result<Choice, NoRegion> {
    let facts = (ask.permitted, &ask.facts.location);
    let weighing = Weighing {
        snapshot,
        view,
        ask,
        scale: Scale::new(snapshot, facts, ask.draw),
    };
    candidates.clear();
    // Indices mean what they mean in the snapshot that made them.
    if !ask.permitted.is_of(snapshot) || view.stamp != snapshot.stamp {
        return Err(NoRegion::OtherGeneration);
    }
    let mut top = Top::default();
    match looks {
        Looks::Enough => weighing.nearest(candidates, &mut top),
        Looks::All => weighing.every(candidates, &mut top),
    }
    if view.may_be_ruled(ask.now) && !is_out(Gate::Order) {
        weighing.obey(candidates, &mut top);
    }
    let affinity = match weighing.pin(candidates) {
        Pin::Kept(choice) => {
            clear(candidates, choice.region);
            return Ok(choice);
        }
        Pin::Not(outcome) => outcome,
    };
    let found = match ask.session {
        None => weighing
            .scale
            .best(candidates, &top)
            .map(|region| (region, affinity)),
        Some(key) => {
            let settled = weighing.scale.settle(candidates, &top, key);
            settled.map(|(region, outcome)| (region, affinity.or(outcome)))
        }
    };
    let Some((region, affinity)) = found else {
        return Err(weighing.none(candidates));
    };
    let endpoint = weighing
        .endpoint(region)
        .ok_or_else(|| weighing.none(candidates))?;
    Ok(Choice {
        region,
        endpoint,
        affinity,
        session: ask.session,
        stamp: snapshot.stamp,
    })
}

/// Chooses again among regions that look as `look` says, with the draw of a
/// recorded decision. `None` where nothing can serve. A session that was kept
/// in `again.pin` stays there, if law and route allow it. Fills `candidates`
/// as [`select`] does.
pub(crate) fn choose_again(
    snapshot: &Snapshot,
    facts: (&Permitted, &Location),
    again: &Again<'_>,
    candidates: &mut Vec<Candidate>,
) -> Option<RegionIndex> {
    let scale = Scale::new(snapshot, facts, again.draw);
    let look = again.look;
    let mut top = Top::default();
    candidates.clear();
    let regions = (0u16..).map(RegionIndex).zip(&snapshot.regions.hot);
    let weighed = regions.map(|(at, hot)| scale.weigh(at, hot, || Some(look(at))));
    candidates.extend(weighed.map(|candidate| top.note(candidate)));
    let permitted = scale.permitted;
    if !permitted.is_of(snapshot) {
        return None;
    }
    let pin = again
        .pin
        .filter(|at| permitted.allows(*at) && permitted.in_route(*at));
    if let Some(region) = pin {
        clear(candidates, region);
        return Some(region);
    }
    match again.session {
        None => scale.best(candidates, &top),
        Some(key) => scale
            .settle(candidates, &top, key)
            .map(|(region, _)| region),
    }
}

/// What a recorded choice depended on, beside facts and law.
pub(crate) struct Again<'a> {
    /// Its draw.
    pub(crate) draw: u64,
    /// What its session's place was computed from.
    pub(crate) session: Option<SessionKey>,
    /// The region that its session was kept in.
    pub(crate) pin: Option<RegionIndex>,
    /// What a region looked like, and what took it out for its state.
    pub(crate) look: &'a dyn Fn(RegionIndex) -> (Seen, Option<Removal>),
}

/// The terms of a candidate's score, from what was seen of its region; zeros
/// where nothing was weighed. With the snapshot, permit and location of its
/// decision they are those that it was weighed with.
pub fn terms(
    snapshot: &Snapshot,
    permitted: &Permitted,
    location: &Location,
    candidate: &Candidate,
) -> Terms {
    let scale = Scale::new(snapshot, (permitted, location), 0);
    let hot = snapshot.regions.hot.get(candidate.region.index());
    match (hot, scale.standing(candidate.region)) {
        (Some(hot), Some(standing)) if !candidate.removed_by.is_some_and(Removal::is_fixed) => {
            scale.terms(candidate.region, hot, (standing, &candidate.seen))
        }
        (Some(_) | None, _) => Terms::default(),
    }
}

fn clear(candidates: &mut [Candidate], region: RegionIndex) {
    let mut found = candidates.iter_mut();
    if let Some(candidate) = found.find(|candidate| candidate.region == region) {
        candidate.removed_by = None;
    }
}

/// Every region in index order: those that [`select`] looked at as it left
/// them, the others with what kept it from looking. The score of one that was
/// outscored is the most that it could have had without a measurement. Of no
/// candidates it makes none: nothing was weighed.
pub fn complete(
    snapshot: &Snapshot,
    (permitted, location): (&Permitted, &Location),
    candidates: &[Candidate],
) -> Vec<Candidate> {
    if candidates.is_empty() {
        return Vec::new();
    }
    let scale = Scale::new(snapshot, (permitted, location), 0);
    let mut seen = vec![None; snapshot.regions.hot.len()];
    for candidate in candidates {
        if let Some(slot) = seen.get_mut(candidate.region.index()) {
            *slot = Some(*candidate);
        }
    }
    let indexed = (0u16..).map(RegionIndex).zip(&snapshot.regions.hot);
    indexed
        .zip(seen)
        .map(|((at, hot), seen)| {
            seen.unwrap_or_else(|| {
                let idle = scale.weigh(at, hot, || Some((Seen::IDLE, None)));
                match idle.removed_by {
                    Some(removal) if removal.is_fixed() => idle,
                    Some(_) | None => Candidate {
                        removed_by: Some(Removal::Outscored),
                        ..idle
                    },
                }
            })
        })
        .collect()
}

/// The best tier seen so far, and the best score in it.
pub(super) struct Top {
    tier: u8,
    score: f32,
}

impl Default for Top {
    fn default() -> Self {
        Self {
            tier: u8::MAX,
            score: f32::NEG_INFINITY,
        }
    }
}

impl Top {
    pub(super) fn note(&mut self, candidate: Candidate) -> Candidate {
        if let Some(tier) = tier(candidate.removed_by) {
            if tier < self.tier {
                *self = Self {
                    tier,
                    score: candidate.score,
                };
            } else if tier == self.tier && candidate.score > self.score {
                self.score = candidate.score;
            }
        }
        candidate
    }
}

/// What becomes of a session's pin.
enum Pin {
    Kept(Choice),
    Not(AffinityOutcome),
}

/// What weighs regions, once it is known what they look like: the same for a
/// request and for its replay.
pub(super) struct Scale<'a> {
    snapshot: &'a Snapshot,
    permitted: &'a Permitted,
    origin: Origin<'a>,
    draw: u64,
}

impl<'a> Scale<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        (permitted, location): (&'a Permitted, &Location),
        draw: u64,
    ) -> Self {
        Self {
            snapshot,
            permitted,
            origin: snapshot.regions.latency.origin(location),
            draw,
        }
    }

    /// Weighs a region by what `look` finds there; it is not called for one
    /// that law, route or configuration leave out.
    #[inline]
    pub(super) fn weigh(
        &self,
        at: RegionIndex,
        hot: &HotRegion,
        look: impl FnOnce() -> Option<(Seen, Option<Removal>)>,
    ) -> Candidate {
        let out = |removal| Candidate {
            region: at,
            removed_by: Some(removal),
            score: 0.0,
            seen: Seen::IDLE,
        };
        let Some(standing) = self.standing(at) else {
            return out(Removal::Law);
        };
        if !self.permitted.in_route(at) {
            return out(Removal::RouteConstraint);
        }
        // Named, but not served from here: nothing to weigh.
        if hot.endpoints.is_empty() {
            return out(Removal::NoEndpoints);
        }
        if hot.serves(self.permitted).is_empty() {
            return out(Removal::Plaintext);
        }
        let Some((seen, removal)) = look() else {
            return out(Removal::NoEndpoints);
        };
        let terms = self.terms(at, hot, (standing, &seen));
        Candidate {
            region: at,
            removed_by: removal.or_else(|| self.gate(at, hot, &seen)),
            score: self.snapshot.regions.scoring.total(&terms),
            seen,
        }
    }

    #[inline]
    fn terms(
        &self,
        at: RegionIndex,
        hot: &HotRegion,
        (standing, seen): (Standing, &Seen),
    ) -> Terms {
        let scoring = &self.snapshot.regions.scoring;
        Terms {
            latency: scoring.latency(self.round_trip(at, hot, seen)),
            load: load_score(seen.load),
            compliance: match standing {
                Standing::Own => 100.0,
                Standing::Allowed => 70.0,
                Standing::Conditional => 40.0,
            },
            cost: hot.cost,
        }
    }

    /// How the law stands to a region; `None` if it is not permitted.
    fn standing(&self, at: RegionIndex) -> Option<Standing> {
        let standing = self.permitted.standing(at);
        if standing.is_none() && is_out(Gate::Law) {
            Some(Standing::Allowed)
        } else {
            standing
        }
    }

    /// Estimate from the client, corrected by what this edge measures; not a
    /// number where there is neither.
    fn round_trip(&self, at: RegionIndex, hot: &HotRegion, seen: &Seen) -> f32 {
        let measured = (seen.measured_ms > 0.0).then_some(seen.measured_ms);
        let Some(estimate) = self.origin.estimate(at) else {
            return measured.unwrap_or(f32::NAN);
        };
        let correction = match (measured, hot.from_edge_ms) {
            (Some(measured), Some(listed)) => measured - listed,
            (Some(_) | None, Some(_) | None) => 0.0,
        };
        estimate.corrected(correction)
    }

    /// What takes a permitted region out that can serve. The order is that of
    /// hardness.
    fn gate(&self, at: RegionIndex, hot: &HotRegion, seen: &Seen) -> Option<Removal> {
        let phase = seen.phase;
        if phase == Phase::Failed && !is_out(Gate::Failover) {
            return Some(Removal::Failed);
        }
        let headroom = self.headroom(seen.load);
        match hot.role {
            Role::Active if phase == Phase::Active && headroom >= 1.0 && hot.weight >= 1.0 => None,
            Role::Standby | Role::Active if headroom <= 0.0 => Some(Removal::Full),
            Role::Standby => Some(Removal::Standby),
            Role::Active => {
                let when = |wanted| if phase == wanted { seen.share } else { 1.0 };
                self.share(
                    at,
                    [
                        (when(Phase::Recovering), Removal::Recovering),
                        (headroom, Removal::Headroom),
                        (when(Phase::Degraded), Removal::Degraded),
                        (hot.weight, Removal::Weight),
                    ],
                )
            }
        }
    }

    /// Share of a region's traffic that still fits: all up to the spill
    /// threshold, none at full load, a straight line between.
    fn headroom(&self, load: f32) -> f32 {
        let from = self.snapshot.regions.failover.spill_at;
        if load <= from || is_out(Gate::Headroom) {
            return 1.0;
        }
        ((1.0 - load) / (1.0 - from).max(f32::EPSILON)).clamp(0.0, 1.0)
    }

    /// Holds a request back that is over the product of the shares; named is
    /// the one that tipped it.
    fn share(&self, at: RegionIndex, factors: [(f32, Removal); 4]) -> Option<Removal> {
        let drawn = unit(mix(self.draw, SALT_SHARE | u64::from(at.0)));
        let mut share = 1.0;
        factors.into_iter().find_map(|(factor, removal)| {
            share *= factor;
            (drawn >= share).then_some(removal)
        })
    }

    /// The best region of the best tier; the tier's removals are taken back.
    pub(super) fn best(&self, candidates: &mut [Candidate], top: &Top) -> Option<RegionIndex> {
        let mut best: Option<RegionIndex> = None;
        for candidate in candidates.iter_mut() {
            if tier(candidate.removed_by) != Some(top.tier) {
                continue;
            }
            candidate.removed_by = None;
            if candidate.score > top.score - TIE
                && best.is_none_or(|other| self.wins_tie(candidate.region, other))
            {
                best = Some(candidate.region);
            }
        }
        best
    }

    /// The decision matrix first; what it leaves open is drawn.
    fn wins_tie(&self, one: RegionIndex, other: RegionIndex) -> bool {
        let total = |at: RegionIndex| {
            self.snapshot
                .regions
                .hot
                .get(at.index())
                .map_or(0.0, |hot| hot.tie_break)
        };
        let drawn = |at: RegionIndex| mix(self.draw, SALT_TIE | u64::from(at.0));
        match total(one).total_cmp(&total(other)) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => drawn(one) > drawn(other),
        }
    }
}

/// One request being weighed.
struct Weighing<'a> {
    snapshot: &'a Snapshot,
    view: &'a View,
    ask: &'a Ask<'a>,
    scale: Scale<'a>,
}

impl Weighing<'_> {
    /// Weighs every region, in index order.
    fn every(&self, candidates: &mut Vec<Candidate>, top: &mut Top) {
        let regions = (0u16..).map(RegionIndex).zip(&self.snapshot.regions.hot);
        let weighed = regions.map(|(at, hot)| self.scale.weigh(at, hot, || self.look(at, hot)));
        candidates.extend(weighed.map(|candidate| top.note(candidate)));
    }

    /// Weighs permitted regions from the nearest on, until no further one can
    /// be as good as the best, or share its sessions.
    fn nearest(&self, candidates: &mut Vec<Candidate>, top: &mut Top) {
        let scoring = &self.snapshot.regions.scoring;
        let Some(rest) = scoring.at_most_beside_latency() else {
            return self.every(candidates, top);
        };
        if self.ask.session.is_none() {
            return self.until((rest, TIE), |top, _, _| top.score, (candidates, top));
        }
        let best_of = |_: &Top, weighed: &Candidate, best: f32| match weighed.removed_by {
            None => best.max(self.scale.worth(weighed)),
            Some(_) => best,
        };
        let bar = self.scale.session_bar(rest);
        self.until(bar, best_of, (candidates, top));
    }

    /// From the nearest on, until even `rest` beside its latency's part would
    /// leave a region so far `behind` the best one that serves.
    #[inline]
    fn until(
        &self,
        (rest, behind): (f32, f32),
        best_of: impl Fn(&Top, &Candidate, f32) -> f32,
        (candidates, top): (&mut Vec<Candidate>, &mut Top),
    ) {
        let scoring = &self.snapshot.regions.scoring;
        let correction = self.view.least_correction();
        let mut best = f32::NEG_INFINITY;
        for at in self.scale.origin.order().iter().copied().map(RegionIndex) {
            let Some(hot) = self.snapshot.regions.hot.get(at.index()) else {
                continue;
            };
            if top.tier == 0
                && let Some(estimate) = self.scale.origin.estimate(at)
                && scoring.latency_part(estimate.expected + correction) + rest < best - behind
            {
                return;
            }
            let weighed = self.scale.weigh(at, hot, || self.look(at, hot));
            match weighed.removed_by {
                Some(Removal::Law | Removal::RouteConstraint) => {}
                Some(_) | None => candidates.push(top.note(weighed)),
            }
            best = best_of(top, &weighed, best);
        }
    }

    /// What a region looks like now, and whether it can serve at all.
    #[inline]
    fn look(&self, at: RegionIndex, hot: &HotRegion) -> Option<(Seen, Option<Removal>)> {
        let state = self.view.region(at)?;
        let seen = |(phase, share)| Seen {
            load: state.load(hot.capacity, self.ask.now),
            measured_ms: state.path().round_trip_ms(self.ask.now).unwrap_or(0.0),
            share,
            phase,
        };
        if state.drained_until() > self.ask.now {
            return Some((seen((Phase::Active, 1.0)), Some(Removal::Draining)));
        }
        if let Supply::None(reason) = self.supply(hot, state) {
            return Some((seen((Phase::Active, 1.0)), Some(reason)));
        }
        Some((seen(self.phase(at, state)), None))
    }

    /// The region's place in its machine, caught up with now, and its share.
    fn phase(&self, at: RegionIndex, state: &RegionState) -> (Phase, f32) {
        if state.standing().phase == Phase::Active {
            return (Phase::Active, 1.0);
        }
        let Some((standing, seen)) = self.view.settle(self.snapshot, at, self.ask.now) else {
            return (Phase::Failed, 0.0);
        };
        // While several regions have failed, what still serves sheds nothing.
        let share = match standing.phase {
            Phase::Degraded if self.view.is_alarmed() => 1.0,
            Phase::Active | Phase::Degraded | Phase::Failed | Phase::Recovering => {
                standing.share(seen, &self.snapshot.regions.failover, self.ask.now)
            }
        };
        (standing.phase, share)
    }

    fn supply(&self, hot: &HotRegion, state: &RegionState) -> Supply {
        let untroubled = state.is_untroubled(self.ask.now);
        endpoint::supply(
            self.view,
            hot.serves(self.ask.permitted),
            self.ask,
            (self.policy(), untroubled),
        )
    }

    fn policy(&self) -> &OutlierPolicy {
        &self.snapshot.outliers.detection
    }

    fn endpoint(&self, region: RegionIndex) -> Option<EndpointIndex> {
        let hot = self.snapshot.regions.hot.get(region.index())?;
        let supply = self.supply(hot, self.view.region(region)?);
        endpoint::pick(&Pool {
            snapshot: self.snapshot,
            view: self.view,
            endpoints: hot.serves(self.ask.permitted),
            ask: self.ask,
            supply,
        })
    }

    /// A session stays where it is, unless law or health forbid it.
    fn pin(&self, candidates: &[Candidate]) -> Pin {
        let Some(pin) = self.ask.affinity else {
            return Pin::Not(AffinityOutcome::NotAsked);
        };
        let found = self.snapshot.regions.endpoint_by_tag(pin.0);
        let Some((endpoint, compiled)) =
            found.and_then(|at| Some((at, self.snapshot.regions.endpoints.get(at.index())?)))
        else {
            return Pin::Not(AffinityOutcome::Gone);
        };
        let region = compiled.region;
        if self.scale.standing(region).is_none() || !self.ask.permitted.in_route(region) {
            return Pin::Not(AffinityOutcome::YieldedToLaw);
        }
        let hot = self.snapshot.regions.hot.get(region.index());
        if !hot.is_some_and(|hot| hot.serves(self.ask.permitted).contains(&endpoint.0)) {
            return Pin::Not(AffinityOutcome::YieldedToLaw);
        }
        let mut weighed = candidates.iter();
        let weighed = weighed.find(|candidate| candidate.region == region);
        if weighed.is_some_and(|candidate| candidate.removed_by == Some(Removal::Forced)) {
            return Pin::Not(AffinityOutcome::YieldedToOperator);
        }
        let now = self.ask.now;
        let drained = self
            .view
            .region(region)
            .is_none_or(|state| state.drained_until() > now);
        let usable = self
            .view
            .endpoint(endpoint)
            .is_some_and(|state| state.is_usable(now));
        if drained || !usable || self.ask.tried.contains(endpoint) {
            return Pin::Not(AffinityOutcome::YieldedToHealth);
        }
        Pin::Kept(Choice {
            region,
            endpoint,
            affinity: AffinityOutcome::Kept,
            session: None,
            stamp: self.snapshot.stamp,
        })
    }
}

/// Which removals give way first when nothing better is left; `None` never
/// does. A standby serves before a full or returning region is pushed further,
/// a failed region only when all else is out.
fn tier(removal: Option<Removal>) -> Option<u8> {
    match removal {
        None => Some(0),
        Some(Removal::Weight | Removal::Degraded) => Some(1),
        Some(Removal::Standby) => Some(2),
        Some(Removal::Recovering | Removal::Headroom) => Some(3),
        Some(Removal::Full) => Some(4),
        Some(Removal::Failed) => Some(5),
        Some(
            Removal::Law
            | Removal::RouteConstraint
            | Removal::NoEndpoints
            | Removal::Plaintext
            | Removal::Draining
            | Removal::Forced
            | Removal::Pinned
            | Removal::Unhealthy
            | Removal::Ejected
            | Removal::Tried
            | Removal::Outscored,
        ) => None,
    }
}

/// 0 to just under 1.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
fn unit(random: u64) -> f32 {
    (random >> 40) as f32 / (1u64 << 24) as f32
}

#[cfg(test)]
mod generations;
#[cfg(test)]
mod tests;
