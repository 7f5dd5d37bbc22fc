//! Mirror of `retry` as it is written.

use serde::Deserialize;

use crate::yaml::Spanned;

/// `retry`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRetry {
    pub(crate) max_retries: Option<Spanned<u8>>,
    pub(crate) budget_percent: Option<Spanned<u32>>,
    pub(crate) min_per_second: Option<Spanned<u32>>,
    pub(crate) statuses: Option<Spanned<Vec<u16>>>,
    #[serde(default)]
    pub(crate) safe_tools: Vec<Spanned<String>>,
}
