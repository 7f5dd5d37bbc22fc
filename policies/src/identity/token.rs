//! One token, from bytes to what it says.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::keys::{Algorithm, Key};
use super::{Authentication, Identity, Provider, TOKEN_MAX, TokenFault, json};

/// The three parts of the compact form, and what was signed.
struct Compact<'t> {
    header: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
    signed: &'t [u8],
}

/// Exactly three parts; five would be encryption.
fn parts(token: &[u8]) -> Option<Compact<'_>> {
    let last = token.iter().rposition(|byte| *byte == b'.')?;
    let (signed, signature) = (token.get(..last)?, token.get(last + 1..)?);
    let middle = signed.iter().position(|byte| *byte == b'.')?;
    let (header, payload) = (signed.get(..middle)?, signed.get(middle + 1..)?);
    (!payload.contains(&b'.')).then_some(Compact {
        header,
        payload,
        signature,
        signed,
    })
}

/// Without padding, without bits that mean nothing.
fn decode(text: &[u8]) -> Result<Vec<u8>, TokenFault> {
    BASE64URL_NOPAD
        .decode(text)
        .map_err(|_| TokenFault::Malformed)
}

fn object(text: &[u8]) -> Result<Map<String, Value>, TokenFault> {
    json::object(&decode(text)?).ok_or(TokenFault::Malformed)
}

impl Authentication {
    /// What a token says, if it counts at `now_s` (seconds since 1970). All
    /// that costs little is looked at before the signature.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn verify(&self, token: &[u8], now_s: u64) -> Result<Identity, TokenFault> {
        if token.len() > TOKEN_MAX {
            return Err(TokenFault::TooLong);
        }
        let compact = parts(token).ok_or(TokenFault::Malformed)?;
        let header = object(compact.header)?;
        // Nothing that must be understood is.
        if header.contains_key("crit") {
            return Err(TokenFault::Malformed);
        }
        let claims = object(compact.payload)?;
        let signature = decode(compact.signature)?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let (index, provider) = issuer
            .and_then(|issuer| self.by_issuer(issuer))
            .ok_or(TokenFault::Issuer)?;
        let algorithm = provider.algorithm(&header)?;
        let (from_s, until_s) = provider.times(&claims, now_s)?;
        provider.audience(&claims)?;
        let said = provider.claims.read(&claims)?;
        let key = provider.key(&header, algorithm)?;
        if !key.verifies(algorithm, (compact.signed, &signature)) {
            return Err(TokenFault::Signature);
        }
        Ok(Identity {
            provider: index,
            from_s,
            until_s,
            ..said
        })
    }
}

impl Identity {
    /// Whether it counts at this time, seconds since 1970.
    pub(super) fn counts(&self, now_s: u64) -> Result<(), TokenFault> {
        if now_s >= self.until_s {
            Err(TokenFault::Expired)
        } else if now_s < self.from_s {
            Err(TokenFault::NotYet)
        } else {
            Ok(())
        }
    }
}

impl Provider {
    fn algorithm(&self, header: &Map<String, Value>) -> Result<Algorithm, TokenFault> {
        let name = header.get("alg").and_then(Value::as_str);
        let algorithm = name.and_then(Algorithm::parse);
        algorithm
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or(TokenFault::Algorithm)
    }

    /// From and until when it counts. A token without an end never does.
    fn times(&self, claims: &Map<String, Value>, now_s: u64) -> Result<(u64, u64), TokenFault> {
        let until = match claims.get("exp") {
            Some(value) => seconds(value)?,
            None => return Err(TokenFault::Expired),
        };
        let from = claims.get("nbf").map_or(Ok(0), seconds)?;
        let times = (
            from.saturating_sub(self.leeway_s),
            until.saturating_add(self.leeway_s),
        );
        if now_s >= times.1 {
            return Err(TokenFault::Expired);
        }
        if now_s < times.0 {
            return Err(TokenFault::NotYet);
        }
        Ok(times)
    }

    fn audience(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        let ours = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| self.audiences.iter().any(|one| one == text))
        };
        let is = match claims.get("aud") {
            Some(Value::Array(list)) => list.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        if is {
            Ok(())
        } else {
            Err(TokenFault::Audience)
        }
    }

    /// The key of its `kid`; without one, the only key that fits.
    fn key(&self, header: &Map<String, Value>, algorithm: Algorithm) -> Result<&Key, TokenFault> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        let found = match header.get("kid") {
            Some(Value::String(kid)) => fitting.find(|key| key.kid.as_ref() == Some(kid)),
            Some(_) => return Err(TokenFault::Malformed),
            None => match (fitting.next(), fitting.next()) {
                (only, None) => only,
                (_, Some(_)) => None,
            },
        };
        found.ok_or(TokenFault::Key)
    }
}

/// A `NumericDate`: seconds since 1970, whole or not.
fn seconds(value: &Value) -> Result<u64, TokenFault> {
    if let Some(whole) = value.as_u64() {
        return Ok(whole);
    }
    match value.as_f64() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float becomes the nearest value that there is"
        )]
        Some(part) if part >= 0.0 => Ok(part as u64),
        Some(_) | None => Err(TokenFault::Malformed),
    }
}
