//! Who a request comes from, by the token that it carries (RFC 7519 in the
//! compact form of RFC 7515, as a bearer token of RFC 6750).
//!
//! Promises: a token counts only when one of the listed issuers signed it with
//! a key of the local file, for a listed audience, by a listed algorithm that
//! fits the key, and when its time has come and is not over. A token that is
//! there and does not count is a refusal, never an anonymous request. What is
//! verified is bytes, keys and a time: nothing is fetched. Refuses: unsigned
//! tokens and shared secrets, whatever a token says of its own key (`jwk`,
//! `jku`, `x5c`), extensions that must be understood (`crit`), names that come
//! twice, and tokens anywhere but in `Authorization`.
//!
//! Bounds: 16 providers, 64 keys each, tokens of 8 KiB, 16,384 verified tokens
//! kept.

mod bearer;
mod cache;
mod claims;
mod compiled;
mod json;
mod keys;
mod raw;
mod token;
mod who;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use bearer::{Bearer, bearer};
pub use cache::TokenCache;
pub use compiled::{Authentication, Provider};
pub(crate) use compiled::{compile, ids};
pub(crate) use raw::RawAuthentication;
pub(crate) use who::{RawTokenRule, TokenRule};

use crate::residency::DataClass;

/// Longest token, bytes: 8 KiB.
pub const TOKEN_MAX: usize = 8 * 1024;

/// Whether a request must show a token.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Without one it is refused.
    Required,
    /// It may; one that is there must be good.
    Optional,
    /// Nobody looks.
    Off,
}

/// A provider of one snapshot.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct ProviderIndex(pub u8);

/// What a verified token says. Its bound is that of a token.
#[derive(Clone, Eq, PartialEq)]
pub struct Identity {
    /// Who vouches for it.
    pub provider: ProviderIndex,
    /// Whom it speaks of; unique within its issuer.
    pub subject: Option<String>,
    /// Groups, roles or scopes.
    pub groups: Vec<String>,
    /// Class of the data; one that can't be read is the strictest.
    pub class: Option<DataClass>,
    /// The person consented to a transfer across borders.
    pub consent: bool,
    /// Safeguards are in place.
    pub safeguards: bool,
    /// Purpose of the processing, one word.
    pub purpose: Option<String>,
    /// Seconds since 1970 from which it counts, leeway included.
    pub(crate) from_s: u64,
    /// Seconds since 1970 from which it counts no more, leeway included.
    pub(crate) until_s: u64,
}

impl Identity {
    /// A token that is assumed, for questions about requests that nobody sent.
    pub fn assumed(provider: ProviderIndex, subject: Option<String>, groups: Vec<String>) -> Self {
        Self {
            provider,
            subject,
            groups,
            class: None,
            consent: false,
            safeguards: false,
            purpose: None,
            from_s: 0,
            until_s: u64::MAX,
        }
    }

    /// What stands for the subject in the audit log: half of the SHA-256 of
    /// issuer, a zero byte and subject, in hex. Whoever knows the subject
    /// finds its records; the log itself names nobody. `None`: no subject.
    pub fn pseudonym(&self, issuer: &str) -> Option<String> {
        let subject = self.subject.as_deref()?;
        let hash = Sha256::new()
            .chain_update(issuer)
            .chain_update([0])
            .chain_update(subject)
            .finalize();
        let mut text = String::with_capacity(32);
        for byte in hash.iter().take(16) {
            let _ = write!(text, "{byte:02x}");
        }
        Some(text)
    }
}

/// Without what it says: that is personal data.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity(provider {})", self.provider.0)
    }
}

/// What became of a request's token.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum TokenNote {
    /// Nobody looked for one.
    #[default]
    NotAsked,
    /// There was none.
    Missing,
    /// It does not count.
    Refused(TokenFault),
    /// It counts.
    Verified(ProviderIndex),
}

/// Why a token does not count.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFault {
    /// More than one `Authorization`.
    Twice,
    /// Over [`TOKEN_MAX`].
    TooLong,
    /// Not three parts of base64url with JSON in the first two, a name twice,
    /// an extension that must be understood, or a claim of the wrong type.
    Malformed,
    /// An algorithm that its provider does not list.
    Algorithm,
    /// An issuer that is not listed.
    Issuer,
    /// For another audience.
    Audience,
    /// Its time is over, or it has no end.
    Expired,
    /// Its time has not come.
    NotYet,
    /// No key of its issuer fits its `kid` and algorithm; without `kid`, not
    /// exactly one.
    Key,
    /// Somebody else signed it, or something else.
    Signature,
}

impl TokenFault {
    /// Stable name, for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Twice => "twice",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Key => "key",
            Self::Signature => "signature",
        }
    }

    /// One phrase for whoever sent it. Only characters that may stand in a
    /// quoted string.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Twice => "more than one Authorization field",
            Self::TooLong => "the token is over 8 KiB",
            Self::Malformed => "the token is malformed",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::Issuer => "the token's issuer is not known",
            Self::Audience => "the token is for another audience",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Key => "the token's key is not known",
            Self::Signature => "the token's signature is wrong",
        }
    }
}

/// What is counted of tokens.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum TokenCount {
    /// It was verified before.
    Known,
    /// Its signature was computed, and it counts.
    Verified,
    /// There was none where one is needed.
    Missing,
    /// It does not count.
    Refused(TokenFault),
}

impl TokenCount {
    /// Everything that is counted, by position.
    pub const NAMES: [&'static str; 13] = [
        "known",
        "verified",
        "missing",
        TokenFault::Twice.as_str(),
        TokenFault::TooLong.as_str(),
        TokenFault::Malformed.as_str(),
        TokenFault::Algorithm.as_str(),
        TokenFault::Issuer.as_str(),
        TokenFault::Audience.as_str(),
        TokenFault::Expired.as_str(),
        TokenFault::NotYet.as_str(),
        TokenFault::Key.as_str(),
        TokenFault::Signature.as_str(),
    ];

    /// Position in [`Self::NAMES`].
    pub const fn index(self) -> usize {
        match self {
            Self::Known => 0,
            Self::Verified => 1,
            Self::Missing => 2,
            Self::Refused(fault) => 3 + fault as usize,
        }
    }
}
