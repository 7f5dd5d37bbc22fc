//! The name of a region. Promises that a [`Region`] is short, lower-case and
//! safe in a header, a log line and a file name. Refuses everything else.

use std::{fmt, str::FromStr};

/// Longest accepted name, in bytes (a DNS label, RFC 1035 section 2.3.4).
const NAME_MAX: usize = 63;

/// A region's name: 1 to 63 of `a-z`, `0-9` and `-`, such as `europe-west1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a region's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no region name: 1 to 63 of a-z, 0-9 and '-'")]
pub struct BadRegion(String);

impl FromStr for Region {
    type Err = BadRegion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=NAME_MAX).contains(&text.len());
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits && plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadRegion(text.chars().take(80).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_clouds_are_accepted() {
        for name in ["us-central1", "europe-west1", "a", &"x".repeat(63)] {
            assert_eq!(name.parse::<Region>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_break_a_header_or_a_path_are_refused() {
        for name in ["", "US", "a b", "a/b", "a\r\nb", "é", &"x".repeat(64)] {
            assert!(name.parse::<Region>().is_err(), "{name:?}");
        }
    }
}
