//! An issuer of tokens, with a key of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

pub(crate) struct Issuer {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

impl Issuer {
    pub(crate) fn new(kid: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self { kid, pair }
    }

    /// Its JWK set.
    pub(crate) fn keys(&self) -> String {
        let x = b64(self.pair.public_key());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x });
        json!({ "keys": [key] }).to_string()
    }

    /// A token of the issuer for the edge, with these claims as well (`null`
    /// takes one out), for five minutes.
    pub(crate) fn token(&self, more: &Value) -> String {
        let mut claims = json!({ "iss": "https://login.example", "aud": "edge", "sub": "u-1",
            "exp": now_s() + 300 });
        for (name, value) in more.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        self.sign(&json!({ "alg": "EdDSA", "kid": self.kid }), &claims)
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }
}

/// Policies that believe the key set `jwks.json`; `more` are lines of the key
/// `authentication` and of its provider.
pub(crate) fn policy(of_all: &str, of_provider: &str) -> String {
    format!(
        "authentication:\n  providers:\n  - id: corp\n    issuer: https://login.example\n\
         \x20   audiences: [edge]\n    keys: file:jwks.json\n    algorithms: [EdDSA]\n\
         \x20   {of_provider}\n  {of_all}\n"
    )
}
