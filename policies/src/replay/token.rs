//! What a recorded token means to a snapshot.
//!
//! A record holds who vouched for what, and neither token nor subject. A
//! snapshot that has the provider is taken to believe it again; what it would
//! no longer believe counts no more.

use super::decide::Unchecked;
use super::recorded::{RecordedClaims, RecordedRequest, RecordedToken};
use crate::identity::Need;
use crate::{Route, Snapshot, Vouched};

/// The claims that count again.
///
/// # Errors
/// `Ok(None)`: the request is refused for its token. Otherwise what keeps it
/// from being decided.
pub(super) fn claims(
    snapshot: &Snapshot,
    route: Option<&Route>,
    request: &RecordedRequest,
) -> Result<Option<RecordedClaims>, Unchecked> {
    let authentication = snapshot.authentication();
    let need = match route {
        _ if authentication.is_off() => Need::Off,
        Some(route) => authentication.need(route),
        None => authentication.default_need(),
    };
    match (need, &request.token) {
        (Need::Off, RecordedToken::Verified { .. }) => {
            Ok(Some(without(request.claims, [false; 3])))
        }
        (Need::Off, RecordedToken::Missing | RecordedToken::Unread | RecordedToken::Refused)
        | (Need::Optional, RecordedToken::Missing) => Ok(Some(request.claims)),
        (Need::Required, RecordedToken::Missing) => Ok(None),
        (Need::Required | Need::Optional, RecordedToken::Unread) => Err(Unchecked::Token),
        (Need::Required | Need::Optional, RecordedToken::Refused) => {
            Err(Unchecked::RefusedElsewhere)
        }
        (Need::Required | Need::Optional, RecordedToken::Verified { provider }) => {
            let provider = authentication.provider_by_id(provider);
            Ok(provider.map(|(_, provider)| without(request.claims, provider.believes())))
        }
    }
}

/// Without what a token is not believed.
fn without(claims: RecordedClaims, [consent, safeguards, class]: [bool; 3]) -> RecordedClaims {
    let kept = |said: Option<Vouched>, believed: bool| {
        said.filter(|by| match by {
            Vouched::Token => believed,
            Vouched::TrustedHop => true,
        })
    };
    RecordedClaims {
        consent: kept(claims.consent, consent),
        safeguards: kept(claims.safeguards, safeguards),
        // A class comes from tokens alone.
        class: claims.class.filter(|_| class),
    }
}
