//! Who may choose a version (`traffic_policy.version_testers`).
//!
//! Promises: by a verified token or a verified certificate of the connection's
//! other end, and by nothing that a client merely says.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::Facts;
use crate::access::CertificatePattern;
use crate::compile::CompileContext;
use crate::identity::{RawTokenRule, TokenRule};
use crate::yaml::Spanned;

/// Mirror of `version_testers`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTesters {
    token: Option<Spanned<RawTokenRule>>,
    client_certificate: Option<Vec<Spanned<String>>>,
}

/// Whoever one of both means. The default means nobody.
#[derive(Debug, Default)]
pub(crate) struct Testers {
    token: Option<TokenRule>,
    certificates: Vec<CertificatePattern>,
}

impl Testers {
    pub(crate) fn compile(raw: &Spanned<RawTesters>, ctx: &mut CompileContext<'_>) -> Self {
        let (token, certificates) = (&raw.value.token, &raw.value.client_certificate);
        if token.is_none() && certificates.as_ref().is_none_or(Vec::is_empty) {
            ctx.error_help(
                raw.at,
                "nobody is a tester",
                "name them by `token` or `client_certificate`, or take the key out",
            );
        }
        let certificates = certificates.iter().flatten();
        Self {
            certificates: certificates
                .filter_map(|pattern| CertificatePattern::compile(pattern, ctx))
                .collect(),
            token: token.as_ref().map(|rule| TokenRule::compile(rule, ctx)),
        }
    }

    pub(crate) fn include(&self, facts: &Facts<'_>) -> bool {
        let shown = facts.certificate;
        self.token
            .as_ref()
            .is_some_and(|rule| rule.holds(facts.claims.identity))
            || shown.is_some_and(|shown| self.certificates.iter().any(|p| p.matches(shown)))
    }

    /// For `/snapshot`.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "token": self.token.as_ref().map(TokenRule::to_json),
            "client_certificates": self.certificates.len(),
        })
    }
}
