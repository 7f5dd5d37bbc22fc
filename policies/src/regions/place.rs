//! Where things are on the globe, in a form that costs little to compare.
//!
//! Promises: a distance between two places costs one dot product and a short
//! polynomial, no trigonometry; every finite latitude and longitude gives a
//! finite answer. Refuses coordinates outside the globe.

/// Mean radius of the Earth in kilometres (IUGG).
const EARTH_RADIUS_KM: f32 = 6_371.0;

/// A point on the unit sphere.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct UnitVector {
    x: f32,
    y: f32,
    z: f32,
}

impl UnitVector {
    /// From degrees. `None` outside -90..=90 and -180..=180, or when not a
    /// number.
    pub(crate) fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        Some(Self {
            x: narrow(latitude.cos() * longitude.cos()),
            y: narrow(latitude.cos() * longitude.sin()),
            z: narrow(latitude.sin()),
        })
    }

    /// Cosine of the angle between the two: 1 is the same place, -1 the other
    /// side of the globe. Larger is nearer, so the nearest of many places
    /// needs nothing else.
    pub(crate) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// Great-circle distance in kilometres, 0 to 20,015; off by at most 0.5 km
    /// from the formula and by the square root of rounding near 0 km.
    pub(crate) fn distance_km(self, other: Self) -> f32 {
        arc_cosine(self.dot(other)) * EARTH_RADIUS_KM
    }
}

/// Abramowitz and Stegun 4.4.45: error below 0.00007 radians.
fn arc_cosine(cosine: f32) -> f32 {
    let x = cosine.abs().min(1.0);
    let polynomial = 1.570_728_8 + x * (-0.212_114_4 + x * (0.074_261_0 - x * 0.018_729_3));
    let angle = (1.0 - x).sqrt() * polynomial;
    if cosine < 0.0 {
        std::f32::consts::PI - angle
    } else {
        angle
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a coordinate within -1..=1 keeps 7 digits"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latitude: f64, longitude: f64) -> UnitVector {
        UnitVector::from_degrees(latitude, longitude).unwrap()
    }

    #[test]
    fn known_distances_come_out_within_one_percent() {
        let brussels = at(50.85, 4.35);
        let cases = [
            (at(51.51, -0.13), 321.0),
            (at(40.71, -74.01), 5_890.0),
            (at(1.35, 103.82), 10_570.0),
            (at(-33.87, 151.21), 16_750.0),
        ];
        for (place, expected) in cases {
            let found = brussels.distance_km(place);
            assert!(
                (found - expected).abs() < expected * 0.01,
                "{found} is not {expected}"
            );
        }
    }

    #[test]
    fn the_same_place_is_less_than_ten_kilometres_away() {
        for (latitude, longitude) in [(0.0, 0.0), (50.45, 3.82), (-90.0, 0.0), (12.0, -179.9)] {
            let place = at(latitude, longitude);
            assert!(place.distance_km(place) < 10.0);
        }
    }

    #[test]
    fn antipodes_are_half_the_globe_apart() {
        let found = at(10.0, 20.0).distance_km(at(-10.0, -160.0));
        assert!((found - 20_015.0).abs() < 20.0, "{found}");
    }

    #[test]
    fn coordinates_off_the_globe_are_refused() {
        for (latitude, longitude) in [
            (90.1, 0.0),
            (0.0, 180.5),
            (f64::NAN, 0.0),
            (0.0, f64::INFINITY),
        ] {
            assert_eq!(UnitVector::from_degrees(latitude, longitude), None);
        }
    }
}
