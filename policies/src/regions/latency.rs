//! How far a region is from a client, in milliseconds, before anything is
//! measured.
//!
//! Promises: the estimate comes from the latency matrix, from the row of the
//! listed region nearest to the client plus the way there; where the matrix is
//! silent, from the great circle. For a client of whom only the country is
//! known it is one load from a table; for a point it is dot products. Refuses
//! to believe in anything faster than light in fibre.

use meridian_geo::{Country, Location, Point};

use super::compiled::Region;
use super::place::UnitVector;
use crate::RegionIndex;

/// Round trip of a path of no length: 5 ms, the diagonal of the seed's matrix.
const BASE_MS: f32 = 5.0;

/// Round-trip milliseconds per kilometre of great circle: 0.013, the slope
/// through the seed's matrix (fibre alone is 0.010; the rest is detours).
const MS_PER_KM: f32 = 0.013;

/// Round trip in straight fibre: no path is faster than 0.010 ms per km.
const FIBRE_MS_PER_KM: f32 = 0.010;

/// Estimated round trip over so many kilometres.
pub(crate) fn by_distance(km: f32) -> f32 {
    BASE_MS + km * MS_PER_KM
}

/// An estimate and the least that physics allows, in milliseconds.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) expected: f32,
    pub(crate) floor: f32,
}

impl Estimate {
    /// Not a number where nothing is expected; the floor is never above what
    /// the matrix claims.
    fn new(expected: Option<f32>, km: Option<f32>) -> Self {
        let expected = expected.unwrap_or(f32::NAN);
        Self {
            expected,
            floor: expected.min(km.unwrap_or(0.0) * FIBRE_MS_PER_KM),
        }
    }

    /// With what measurements say, never under the floor.
    pub(crate) fn corrected(self, correction_ms: f32) -> f32 {
        let corrected = self.expected + correction_ms;
        // One instruction, unlike `max`, which looks for what is no number.
        if corrected > self.floor {
            corrected
        } else {
            self.floor
        }
    }
}

/// Estimates for every country and region, and what a point needs.
#[derive(Debug)]
pub(crate) struct LatencyMap {
    regions: usize,
    /// Region to region, milliseconds, row by row; not a number where neither
    /// the matrix nor two places say anything.
    pairs: Vec<f32>,
    places: Vec<Option<UnitVector>>,
    /// Regions that the matrix lists; all with a place, if it lists none.
    anchors: Vec<(u16, UnitVector)>,
    /// Country by country in the order of codes, `regions` estimates each.
    countries: Vec<Estimate>,
    /// From two letters to the row in `countries`.
    rows: Vec<u16>,
    /// What a client without a place gets: as if it stood at the edge.
    elsewhere: Vec<Estimate>,
    /// Regions from the nearest on, for each row of `countries`, for each
    /// region as an anchor, and for `elsewhere`.
    country_orders: Vec<u16>,
    anchor_orders: Vec<u16>,
    elsewhere_order: Vec<u16>,
}

/// Appends regions from the nearest on; first those of which nothing is known.
fn push_order(estimates: &[f32], orders: &mut Vec<u16>) {
    let start = orders.len();
    orders.extend((0u16..).take(estimates.len()));
    let ms = |at: u16| match estimates.get(usize::from(at)) {
        Some(ms) if ms.is_finite() => *ms,
        Some(_) | None => f32::NEG_INFINITY,
    };
    if let Some(order) = orders.get_mut(start..) {
        order.sort_by(|a, b| ms(*a).total_cmp(&ms(*b)));
    }
}

const NO_ROW: u16 = u16::MAX;

impl LatencyMap {
    /// `listed` is the matrix: from, to, milliseconds; a pair given in one
    /// direction stands for both.
    pub(crate) fn compile(
        regions: &[Region],
        listed: &[(RegionIndex, RegionIndex, f32)],
        edge: Option<RegionIndex>,
    ) -> Self {
        let places: Vec<_> = regions.iter().map(|r| r.place.and_then(unit)).collect();
        let mut map = Self {
            regions: regions.len(),
            pairs: pairs(&places, listed),
            anchors: anchors(&places, listed),
            places,
            countries: Vec::new(),
            rows: vec![NO_ROW; 26 * 26],
            elsewhere: Vec::new(),
            country_orders: Vec::new(),
            anchor_orders: Vec::new(),
            elsewhere_order: Vec::new(),
        };
        map.elsewhere = (0..regions.len())
            .map(|to| map.at_region(edge, to))
            .collect();
        map.fill_countries();
        map.fill_orders();
        map
    }

    /// What the matrix (or distance) says from one region to another.
    pub(crate) fn between(&self, from: RegionIndex, to: RegionIndex) -> Option<f32> {
        self.pair(from.0, usize::from(to.0))
            .filter(|ms| ms.is_finite())
    }

    /// The client's place, made ready to be asked about many regions.
    pub(crate) fn origin(&self, location: &Location) -> Origin<'_> {
        if let Some(point) = location.point.and_then(unit) {
            return self
                .origin_at(point)
                .map_or_else(|| self.elsewhere(), Origin::Point);
        }
        let row = location.country.and_then(|country| self.row(country));
        row.unwrap_or_else(|| self.elsewhere())
    }

    fn row(&self, country: Country) -> Option<Origin<'_>> {
        let row = *self.rows.get(slot(country)?)?;
        let start = usize::from(row).checked_mul(self.regions)?;
        let estimates = self
            .countries
            .get(start..start.checked_add(self.regions)?)?;
        Some(Origin::Table(
            estimates,
            self.order_of(&self.country_orders, row),
        ))
    }

    fn origin_at(&self, place: UnitVector) -> Option<PointOrigin<'_>> {
        let nearest = |best: Option<(u16, f32)>, &(region, at): &(u16, UnitVector)| {
            let near = place.dot(at);
            match best {
                Some((_, other)) if other >= near => best,
                Some(_) | None => Some((region, near)),
            }
        };
        let (anchor, _) = self.anchors.iter().fold(None, nearest)?;
        let anchor_place = self.places.get(usize::from(anchor)).copied().flatten()?;
        Some(PointOrigin {
            map: self,
            place,
            anchor,
            way: place.distance_km(anchor_place) * MS_PER_KM,
        })
    }

    fn pair(&self, from: u16, to: usize) -> Option<f32> {
        let at = usize::from(from)
            .checked_mul(self.regions)?
            .checked_add(to)?;
        self.pairs.get(at).copied()
    }

    fn at_region(&self, from: Option<RegionIndex>, to: usize) -> Estimate {
        let place = |at: usize| self.places.get(at).copied().flatten();
        let known = from
            .and_then(|from| self.pair(from.0, to))
            .filter(|ms| ms.is_finite());
        let ends = from
            .and_then(|from| place(usize::from(from.0)))
            .zip(place(to));
        Estimate::new(known, ends.map(|(from, to)| from.distance_km(to)))
    }

    fn fill_orders(&mut self) {
        let expected = |row: &[Estimate]| row.iter().map(|of| of.expected).collect::<Vec<_>>();
        if self.regions == 0 {
            return;
        }
        for row in self.countries.chunks(self.regions) {
            push_order(&expected(row), &mut self.country_orders);
        }
        for row in self.pairs.chunks(self.regions) {
            push_order(row, &mut self.anchor_orders);
        }
        push_order(&expected(&self.elsewhere), &mut self.elsewhere_order);
    }

    /// The part of `orders` that belongs to a row.
    fn order_of<'o>(&self, orders: &'o [u16], row: u16) -> &'o [u16] {
        let start = usize::from(row) * self.regions;
        orders.get(start..start + self.regions).unwrap_or_default()
    }

    fn elsewhere(&self) -> Origin<'_> {
        Origin::Table(&self.elsewhere, &self.elsewhere_order)
    }

    fn fill_countries(&mut self) {
        let mut rows = Vec::new();
        let mut countries = Vec::new();
        for country in Country::all() {
            let (Some(slot), Some(place)) = (slot(country), unit(country.centroid())) else {
                continue;
            };
            let Some(origin) = self.origin_at(place) else {
                continue;
            };
            let row = u16::try_from(rows.len()).unwrap_or(NO_ROW);
            rows.push((slot, row));
            countries.extend((0..self.regions).map(|to| origin.estimate(to)));
        }
        self.countries = countries;
        for (slot, row) in rows {
            if let Some(entry) = self.rows.get_mut(slot) {
                *entry = row;
            }
        }
    }
}

/// Where a client is, in the form that is cheapest for it.
pub(crate) enum Origin<'a> {
    /// A row of estimates, one a region, and the regions from the nearest on.
    Table(&'a [Estimate], &'a [u16]),
    /// A point of its own.
    Point(PointOrigin<'a>),
}

impl Origin<'_> {
    /// Regions from the nearest on: estimates never fall. First come those of
    /// which nothing is known.
    pub(crate) fn order(&self) -> &[u16] {
        match self {
            Self::Table(_, order) => order,
            Self::Point(origin) => origin
                .map
                .order_of(&origin.map.anchor_orders, origin.anchor),
        }
    }

    /// Estimate to a region; `None` when nothing at all is known of the way.
    pub(crate) fn estimate(&self, to: RegionIndex) -> Option<Estimate> {
        let to = usize::from(to.0);
        let estimate = match self {
            Self::Table(row, _) => row.get(to).copied()?,
            Self::Point(origin) => origin.estimate(to),
        };
        estimate.expected.is_finite().then_some(estimate)
    }
}

/// A client with coordinates.
pub(crate) struct PointOrigin<'a> {
    map: &'a LatencyMap,
    place: UnitVector,
    anchor: u16,
    way: f32,
}

impl PointOrigin<'_> {
    fn estimate(&self, to: usize) -> Estimate {
        let km = self
            .map
            .places
            .get(to)
            .copied()
            .flatten()
            .map(|at| self.place.distance_km(at));
        let via = self.map.pair(self.anchor, to).filter(|ms| ms.is_finite());
        Estimate::new(via.map(|ms| ms + self.way).or(km.map(by_distance)), km)
    }
}

fn unit(point: Point) -> Option<UnitVector> {
    UnitVector::from_degrees(f64::from(point.lat()), f64::from(point.lon()))
}

fn slot(country: Country) -> Option<usize> {
    let &[first, second] = country.as_str().as_bytes() else {
        return None;
    };
    let letter = |byte: u8| {
        byte.checked_sub(b'A')
            .filter(|at| *at < 26)
            .map(usize::from)
    };
    Some(letter(first)? * 26 + letter(second)?)
}

/// The full table: listed pairs first, the other direction second, distance
/// where neither is listed.
fn pairs(places: &[Option<UnitVector>], listed: &[(RegionIndex, RegionIndex, f32)]) -> Vec<f32> {
    let n = places.len();
    let mut table: Vec<f32> = places
        .iter()
        .flat_map(|from| places.iter().map(move |to| derived(*from, *to)))
        .collect();
    for (diagonal, value) in table.iter_mut().step_by(n + 1).enumerate() {
        if diagonal < n {
            *value = BASE_MS;
        }
    }
    let mut set = |from: RegionIndex, to: RegionIndex, ms: f32| {
        if let Some(value) = table.get_mut(usize::from(from.0) * n + usize::from(to.0)) {
            *value = ms;
        }
    };
    for &(from, to, ms) in listed {
        set(to, from, ms);
    }
    for &(from, to, ms) in listed {
        set(from, to, ms);
    }
    table
}

fn derived(from: Option<UnitVector>, to: Option<UnitVector>) -> f32 {
    match (from, to) {
        (Some(from), Some(to)) => by_distance(from.distance_km(to)),
        (None, _) | (_, None) => f32::NAN,
    }
}

fn anchors(
    places: &[Option<UnitVector>],
    listed: &[(RegionIndex, RegionIndex, f32)],
) -> Vec<(u16, UnitVector)> {
    let named = |at: u16| {
        listed
            .iter()
            .any(|(from, to, _)| from.0 == at || to.0 == at)
    };
    let indexed = (0u16..).zip(places);
    let all: Vec<_> = indexed
        .filter_map(|(at, place)| place.map(|place| (at, place)))
        .collect();
    let listed: Vec<_> = all.iter().copied().filter(|(at, _)| named(*at)).collect();
    if listed.is_empty() { all } else { listed }
}
