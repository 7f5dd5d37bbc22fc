//! Points on the globe and the distance between them.

/// Mean radius of the Earth, kilometres (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0;

/// A place on the globe, in degrees. Always finite and within -90..=90 north,
/// -180..=180 east.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Point {
    lat: f32,
    lon: f32,
}

impl Point {
    /// Degrees north and east. `None` outside the globe and for not-a-number.
    pub fn new(lat: f32, lon: f32) -> Option<Self> {
        let on_globe = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        on_globe.then_some(Self { lat, lon })
    }

    /// For the country table, whose rows a test checks.
    pub(crate) const fn of_table(lat: f32, lon: f32) -> Self {
        Self { lat, lon }
    }

    /// Degrees north.
    pub fn lat(self) -> f32 {
        self.lat
    }

    /// Degrees east.
    pub fn lon(self) -> f32 {
        self.lon
    }

    /// Great-circle distance in kilometres (haversine, spherical Earth: within
    /// 0.5 % of the true one). 0 to about 20,015.
    #[expect(clippy::cast_possible_truncation, reason = "at most 20,015 km")]
    pub fn distance_km(self, other: Self) -> f32 {
        let (lat_a, lat_b) = (radians(self.lat), radians(other.lat));
        let lat_half = (lat_b - lat_a) / 2.0;
        let lon_half = (radians(other.lon) - radians(self.lon)) / 2.0;
        let chord = lat_half.sin().powi(2) + lat_a.cos() * lat_b.cos() * lon_half.sin().powi(2);
        (2.0 * EARTH_RADIUS_KM * chord.clamp(0.0, 1.0).sqrt().asin()) as f32
    }

    /// The candidate with the smallest distance, and that distance in
    /// kilometres. Of equals the first; `None` of none.
    pub fn nearest<T>(self, candidates: impl IntoIterator<Item = (T, Self)>) -> Option<(T, f32)> {
        candidates
            .into_iter()
            .map(|(candidate, point)| (candidate, self.distance_km(point)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

fn radians(degrees: f32) -> f64 {
    f64::from(degrees).to_radians()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(lat: f32, lon: f32) -> Point {
        Point::new(lat, lon).unwrap()
    }

    #[test]
    fn a_point_outside_the_globe_is_refused() {
        for (lat, lon) in [
            (90.1, 0.0),
            (-90.1, 0.0),
            (0.0, 180.1),
            (0.0, -180.1),
            (f32::NAN, 0.0),
            (0.0, f32::NAN),
            (f32::INFINITY, 0.0),
        ] {
            assert_eq!(Point::new(lat, lon), None, "{lat} {lon}");
        }
        assert!(Point::new(-90.0, 180.0).is_some());
    }

    #[test]
    fn known_distances_come_out_within_half_a_percent() {
        let frankfurt = point(50.11, 8.68);
        for (place, lat, lon, km) in [
            ("London", 51.51, -0.13, 638.0),
            ("New York", 40.71, -74.01, 6_203.0),
            ("Singapore", 1.35, 103.82, 10_270.0),
            ("Sydney", -33.87, 151.21, 16_490.0),
        ] {
            let measured = frankfurt.distance_km(point(lat, lon));
            assert!((measured - km).abs() < km * 0.005, "{place}: {measured}");
        }
    }

    #[test]
    fn the_date_line_is_no_barrier() {
        let measured = point(0.0, 179.5).distance_km(point(0.0, -179.5));
        assert!((measured - 111.2).abs() < 1.0, "{measured}");
    }

    #[test]
    fn nearest_takes_the_first_of_equals_and_nothing_of_none() {
        let here = point(0.0, 0.0);
        let places = [
            ("far", point(0.0, 40.0)),
            ("east", point(0.0, 1.0)),
            ("west", point(0.0, -1.0)),
        ];
        assert_eq!(here.nearest(places).map(|(name, _)| name), Some("east"));
        assert_eq!(here.nearest(std::iter::empty::<((), Point)>()), None);
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_bounded_and_zero_at_home(
            a in (-90f32..=90.0, -180f32..=180.0),
            b in (-90f32..=90.0, -180f32..=180.0),
        ) {
            let (a, b) = (point(a.0, a.1), point(b.0, b.1));
            let there = a.distance_km(b);
            prop_assert!((0.0..=20_016.0).contains(&there));
            prop_assert!((there - b.distance_km(a)).abs() <= 0.01);
            prop_assert!(a.distance_km(a) < 0.01);
        }
    }
}
