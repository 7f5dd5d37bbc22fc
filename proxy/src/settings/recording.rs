//! Key `recording`: what is done with decisions in full.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use meridian_policies::replay::Thresholds;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::references::beside;
use super::values::{Filled, Size, Within};

/// What is done with decisions in full.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingSettings {
    /// One request of so many is recorded.
    pub one_in: NonZeroU32,
    /// Where records go; `None`: to no file.
    pub file: Option<PathBuf>,
    /// Bytes after which a file is put aside.
    pub rotate: u64,
    /// Files put aside that are kept; 0: none.
    pub keep: u32,
    /// What a reload may change; `None`: reloads are not held against
    /// records.
    pub guard: Option<GuardSettings>,
    /// Policies that decide beside the live ones.
    pub shadow: Option<PathBuf>,
}

/// What a reload may change.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// It is held against so many recent records.
    pub requests: usize,
    /// Shares of them.
    pub thresholds: Thresholds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default = "every")]
    one_in: NonZeroU32,
    #[serde(default)]
    file: Option<Filled>,
    #[serde(default = "rotate")]
    rotate: Size<65_536, 1_099_511_627_776>,
    #[serde(default = "keep")]
    keep: Within<0, 1_000>,
    #[serde(default)]
    guard: Option<RawGuard>,
    #[serde(default)]
    shadow: Option<Filled>,
}

fn every() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn rotate() -> Size<65_536, 1_099_511_627_776> {
    Size(64 << 20)
}

fn keep() -> Within<0, 1_000> {
    Within(4)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGuard {
    #[serde(default = "thousand")]
    requests: Within<1, 100_000>,
    #[serde(default)]
    moved: Option<Percent>,
    #[serde(default)]
    newly_refused: Option<Percent>,
    #[serde(default)]
    newly_allowed: Option<Percent>,
    #[serde(default)]
    leaves_jurisdiction: Option<Percent>,
    #[serde(default)]
    newly_limited: Option<Percent>,
}

fn thousand() -> Within<1, 100_000> {
    Within(1_000)
}

/// `0%` to `100%`, as a share.
#[derive(Copy, Clone)]
struct Percent(f64);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        percent(&text).map(Self).map_err(D::Error::custom)
    }
}

/// Reads `5%` as 0.05.
///
/// # Errors
/// What was expected.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').map(str::trim_end);
    let share = number.and_then(|number| number.parse::<f64>().ok());
    share
        .filter(|share| (0.0..=100.0).contains(share))
        .map(|share| share / 100.0)
        .ok_or_else(|| format!("`{text}` is not a share; write for example 5% or 0.1%"))
}

pub(super) fn compile(raw: Raw, base: &Path) -> RecordingSettings {
    let place = |Filled(path): Filled| beside(base, &path);
    RecordingSettings {
        one_in: raw.one_in,
        file: raw.file.map(place),
        rotate: raw.rotate.0,
        keep: u32::try_from(raw.keep.0).unwrap_or(u32::MAX),
        guard: raw.guard.as_ref().map(guard),
        shadow: raw.shadow.map(place),
    }
}

fn guard(raw: &RawGuard) -> GuardSettings {
    let share = |percent: Option<Percent>| percent.map(|Percent(share)| share);
    GuardSettings {
        requests: usize::try_from(raw.requests.0).unwrap_or(usize::MAX),
        thresholds: Thresholds {
            moved: share(raw.moved),
            newly_refused: share(raw.newly_refused),
            newly_allowed: share(raw.newly_allowed),
            leaves_jurisdiction: share(raw.leaves_jurisdiction),
            newly_limited: share(raw.newly_limited),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_percent() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0 %"), Ok(0.0));
        for text in ["5", "-1%", "101%", "%", "NaN%", ""] {
            assert!(percent(text).unwrap_err().contains("write for example 5%"));
        }
    }
}
