//! Whom a request's token speaks of.
//!
//! Promises: where no policy asks for tokens this is one comparison; a token
//! that was verified before costs a hash; a signature is computed only for a
//! request that the limits admit. A token that is there and does not count is
//! a 401, whatever the route would have done without one.

use std::sync::Arc;

use meridian_policies::identity::{Bearer, TokenCount, bearer};
use meridian_policies::{Facts, Identity, Need, RejectReason, TokenFault, TokenNote};

use super::admit::{self, Findings, Question};
use super::refuse::Refusal;

/// What a request's token says; `None`: it has none and needs none, or nobody
/// looks.
#[inline]
pub fn identify(
    ask: &Question<'_>,
    facts: &Facts<'_>,
    findings: &mut Findings,
) -> Result<Option<Arc<Identity>>, Box<Refusal>> {
    if ask.generation.snapshot.authentication().is_off() {
        return Ok(None);
    }
    look(ask, facts, findings)
}

#[inline(never)]
fn look(
    ask: &Question<'_>,
    facts: &Facts<'_>,
    findings: &mut Findings,
) -> Result<Option<Arc<Identity>>, Box<Refusal>> {
    let need = ask.generation.snapshot.authentication().need(ask.route.1);
    let shown = match need {
        Need::Off => return Ok(None),
        Need::Required | Need::Optional => bearer(facts.head),
    };
    let token = match shown {
        Bearer::Token(token) => token,
        Bearer::Faulty(fault) => return Err(refused(ask, findings, fault)),
        Bearer::Missing => {
            findings.token = TokenNote::Missing;
            return match need {
                Need::Required => Err(missing(ask)),
                Need::Optional | Need::Off => Ok(None),
            };
        }
    };
    let now_s = ask.edge.clock.unix_ms_at(ask.now) / 1_000;
    let identity = match ask.generation.tokens.known(token, now_s) {
        Ok(Some(identity)) => {
            ask.edge.telemetry.token(TokenCount::Known);
            identity
        }
        Ok(None) => {
            admit::limit(ask, facts, findings)?;
            let authentication = ask.generation.snapshot.authentication();
            let verified = ask.generation.tokens.verify(authentication, token, now_s);
            let identity = verified.map_err(|fault| refused(ask, findings, fault))?;
            ask.edge.telemetry.token(TokenCount::Verified);
            identity
        }
        Err(fault) => return Err(refused(ask, findings, fault)),
    };
    findings.token = TokenNote::Verified(identity.provider);
    Ok(Some(identity))
}

#[cold]
fn missing(ask: &Question<'_>) -> Box<Refusal> {
    ask.edge.telemetry.token(TokenCount::Missing);
    let detail = "the route needs a bearer token in Authorization";
    let mut refusal = Refusal::new(RejectReason::Unauthorized, detail).by("missing");
    refusal.challenge = Some(ask.generation.snapshot.authentication().challenge(None));
    Box::new(refusal)
}

#[cold]
fn refused(ask: &Question<'_>, findings: &mut Findings, fault: TokenFault) -> Box<Refusal> {
    findings.token = TokenNote::Refused(fault);
    ask.edge.telemetry.token(TokenCount::Refused(fault));
    let authentication = ask.generation.snapshot.authentication();
    let mut refusal = Refusal::new(RejectReason::Unauthorized, fault.text()).by(fault.as_str());
    refusal.challenge = Some(authentication.challenge(Some(fault)));
    Box::new(refusal)
}
