//! What a trusted hop vouches for: consent, safeguards, purpose.
//!
//! Promises: only what the key `classify.from_trusted_hops` names is believed,
//! and only on connections of trusted hops; everybody else's fields count for
//! nothing and are dropped before a request is forwarded. A field that comes
//! twice, or says anything but what is listed here, vouches for nothing.

use meridian_wire::{Known, RequestHead};
use serde::{Deserialize, Serialize};

use crate::facts::{Claims, Purpose, Trust, Vouched};
use crate::{Obligation, Snapshot};

/// Longest purpose, bytes.
const PURPOSE_MAX: usize = 64;

/// What trusted hops may vouch for.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Claim {
    /// `x-consent: granted`.
    Consent,
    /// `x-safeguards: in-place`.
    Safeguards,
    /// `x-purpose: support`.
    Purpose,
}

/// Key `classify.from_trusted_hops`, compiled.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Believed {
    consent: bool,
    safeguards: bool,
    purpose: bool,
}

impl Believed {
    pub(super) fn new(claims: &[Claim]) -> Self {
        let has = |claim| claims.contains(&claim);
        Self {
            consent: has(Claim::Consent),
            safeguards: has(Claim::Safeguards),
            purpose: has(Claim::Purpose),
        }
    }

    /// As it is written.
    pub(super) fn names(self) -> Vec<Obligation> {
        [
            (self.consent, Obligation::Consent),
            (self.safeguards, Obligation::Safeguards),
            (self.purpose, Obligation::Purpose),
        ]
        .into_iter()
        .filter_map(|(is, claim)| is.then_some(claim))
        .collect()
    }
}

/// What the connection's other end vouches for, in this request.
#[inline]
pub fn vouched<'h>(snapshot: &Snapshot, head: &'h RequestHead, trust: Trust) -> Claims<'h> {
    match trust {
        Trust::Untrusted => Claims::default(),
        Trust::Trusted => snapshot.classify.believed.read(head),
    }
}

impl Believed {
    fn read(self, head: &RequestHead) -> Claims<'_> {
        let says = |believed: bool, known, word: &[u8]| {
            let said = believed && only(head, known).is_some_and(|value| value == word);
            said.then_some(Vouched::TrustedHop)
        };
        let purpose = self.purpose.then(|| only(head, Known::XPurpose)).flatten();
        Claims {
            consent: says(self.consent, Known::XConsent, b"granted"),
            safeguards: says(self.safeguards, Known::XSafeguards, b"in-place"),
            purpose: purpose.and_then(word).map(|text| Purpose {
                text,
                by: Vouched::TrustedHop,
            }),
            class: None,
            identity: None,
        }
    }
}

/// The value of a field that comes once.
fn only(head: &RequestHead, known: Known) -> Option<&[u8]> {
    (head.count(known) == 1)
        .then(|| head.first(known))
        .flatten()
}

/// A purpose is one word.
fn word(value: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let sane = (1..=PURPOSE_MAX).contains(&value.len()) && value.iter().all(plain);
    sane.then(|| std::str::from_utf8(value).ok()).flatten()
}
