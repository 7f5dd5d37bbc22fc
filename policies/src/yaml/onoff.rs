//! `on` and `off`.

use serde::Deserialize;

/// A switch: `on` or `off`; `true` and `false` mean the same.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Deserialize)]
pub enum OnOff {
    /// `on`
    #[serde(rename = "on", alias = "true")]
    On,
    /// `off`
    #[serde(rename = "off", alias = "false")]
    Off,
}
