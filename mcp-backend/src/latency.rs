//! The latency matrix. Promises the time between two places, in either
//! direction, from a YAML or JSON map. Refuses times that are negative, not
//! finite or above [`DELAY_MAX`], and pairs that it does not list.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::region::Region;

/// Longest delay that is accepted, a minute: more is a fault, not a distance.
pub const DELAY_MAX: Duration = Duration::from_mins(1);

/// Rows of milliseconds by name of place.
type Rows = BTreeMap<String, BTreeMap<String, f64>>;

/// Milliseconds from place to place. An empty one knows no pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatencyMatrix(Rows);

/// What was wrong with a matrix or a question to it.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// The text is no map of maps of numbers.
    #[error("latency matrix: {0}")]
    Syntax(String),
    /// A time that no distance has.
    #[error("latency matrix: {from} to {to} is {ms} ms, expected 0 to 60000")]
    OutOfRange {
        /// Row.
        from: String,
        /// Column.
        to: String,
        /// The value as written, in milliseconds.
        ms: f64,
    },
    /// Neither direction of the pair is listed.
    #[error("latency matrix: nothing between {0} and {1}")]
    UnknownPair(Region, Region),
}

/// Both accepted shapes: the bare map, or a policy file that has it as a key.
#[derive(Deserialize)]
struct PolicyFile {
    latency_matrix: Rows,
}

impl LatencyMatrix {
    /// Reads `text`: either `{place: {place: ms}}` or a file with that map
    /// under the key `latency_matrix` (its other keys are not ours to check).
    pub fn parse(text: &str) -> Result<Self, LatencyError> {
        let rows = match yaml_serde::from_str::<PolicyFile>(text) {
            Ok(file) => file.latency_matrix,
            Err(_) => yaml_serde::from_str::<Rows>(text)
                .map_err(|error| LatencyError::Syntax(error.to_string()))?,
        };
        let max = DELAY_MAX.as_secs_f64() * 1e3;
        for (from, row) in &rows {
            if let Some((to, &ms)) = row.iter().find(|(_, ms)| !(0.0..=max).contains(*ms)) {
                return Err(LatencyError::OutOfRange {
                    from: from.clone(),
                    to: to.clone(),
                    ms,
                });
            }
        }
        Ok(Self(rows))
    }

    /// Time between two places. The row of `from` wins over that of `to`; a
    /// place that is not listed with itself is at distance zero from itself.
    pub fn between(&self, from: &Region, to: &Region) -> Result<Duration, LatencyError> {
        let cell = |a: &Region, b: &Region| self.0.get(a.as_str())?.get(b.as_str()).copied();
        match cell(from, to).or_else(|| cell(to, from)) {
            Some(ms) => Ok(Duration::from_secs_f64(ms / 1e3)),
            None if from == to => Ok(Duration::ZERO),
            None => Err(LatencyError::UnknownPair(from.clone(), to.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Region {
        name.parse().unwrap()
    }

    fn ms(matrix: &str, from: &str, to: &str) -> u128 {
        let matrix = LatencyMatrix::parse(matrix).unwrap();
        matrix
            .between(&region(from), &region(to))
            .unwrap()
            .as_millis()
    }

    #[test]
    fn one_direction_in_the_file_serves_both() {
        let matrix = "{europe-west1: {us-central1: 120, europe-west1: 5}}";
        assert_eq!(ms(matrix, "us-central1", "europe-west1"), 120);
        assert_eq!(ms(matrix, "europe-west1", "us-central1"), 120);
        assert_eq!(ms(matrix, "europe-west1", "europe-west1"), 5);
        assert_eq!(ms(matrix, "us-central1", "us-central1"), 0);
    }

    #[test]
    fn json_and_a_policy_file_with_other_keys_are_read_too() {
        assert_eq!(ms(r#"{"a":{"b":7}}"#, "a", "b"), 7);
        assert_eq!(
            ms(
                "regions: [{id: a}]\nlatency_matrix:\n  a: {b: 9}\n",
                "b",
                "a"
            ),
            9
        );
    }

    #[test]
    fn impossible_times_and_unknown_pairs_are_errors() {
        for bad in [
            "{a: {b: -1}}",
            "{a: {b: .nan}}",
            "{a: {b: 60001}}",
            "{a: 3}",
            "[",
        ] {
            assert!(LatencyMatrix::parse(bad).is_err(), "{bad}");
        }
        let matrix = LatencyMatrix::parse("{a: {b: 1}}").unwrap();
        assert!(matrix.between(&region("a"), &region("c")).is_err());
    }
}
