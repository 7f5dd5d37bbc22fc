//! The policy's side of the WAF: whether it acts, and which rules are off.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::compile::CompileContext;
use crate::yaml::Spanned;

/// Most rules that may be switched off.
const DISABLED_MAX: usize = 4_096;

/// What a match of a WAF rule leads to.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WafMode {
    /// Nothing is inspected.
    Off,
    /// Matches are recorded, nothing is refused.
    Detect,
    /// Matches are refused with 403.
    Block,
}

/// Key `waf`. Default: block, all rules on.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct WafPolicy {
    /// What a match leads to.
    pub mode: WafMode,
    /// Ids of rules that are switched off, sorted; at most 4,096.
    pub disabled_rules: Vec<String>,
}

impl Default for WafPolicy {
    fn default() -> Self {
        Self {
            mode: WafMode::Block,
            disabled_rules: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWaf {
    mode: Option<WafMode>,
    #[serde(default)]
    disabled_rules: Vec<Spanned<String>>,
}

pub(crate) fn compile(raw: Option<Spanned<RawWaf>>, ctx: &mut CompileContext<'_>) -> WafPolicy {
    let Some(raw) = raw else {
        return WafPolicy::default();
    };
    let mut disabled = BTreeSet::new();
    if let Some(over) = raw.disabled_rules.get(DISABLED_MAX) {
        ctx.error(
            over.at,
            format!("over {DISABLED_MAX} rules are switched off"),
        );
    }
    for rule in &raw.disabled_rules {
        if !disabled.insert(rule.value.clone()) {
            ctx.error(
                rule.at,
                format!("the rule `{}` is listed twice", rule.value),
            );
        }
    }
    WafPolicy {
        mode: raw.mode.unwrap_or(WafMode::Block),
        disabled_rules: disabled.into_iter().collect(),
    }
}
