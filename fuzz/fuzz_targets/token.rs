#![no_main]
//! Any bytes as a token, as claims and header of a signed one, and as a key
//! set: no panic; nothing that nobody signed counts; and what counts has the
//! issuer, audience and time that it must have, whoever reads it.

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use meridian_policies::identity::{Authentication, TokenCache};
use meridian_policies::{EdgePlace, References, Snapshot, SourceFile};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;

const NOW: u64 = 1_700_000_000;

fn policies(jwks: &str) -> Option<Snapshot> {
    let text = "regions:\n  - { id: us-central1, endpoints: [\"http://127.0.0.1:1\"] }\n\
        residency: off\nauthentication:\n  providers:\n  - id: a\n    issuer: i\n    audiences: [e]\n\
        \x20   keys: file:jwks.json\n    algorithms: [EdDSA, ES256, ES384, RS256, PS512]\n\
        \x20   claims: { groups: [g, h], class: c, consent: y, safeguards: s, purpose: p }\n";
    let source = SourceFile {
        path: "fuzz.yaml".to_owned(),
        text: text.to_owned(),
    };
    let place = EdgePlace {
        region: "us-central1",
    };
    let file = |_: &str| Ok(jwks.to_owned());
    let refs = References {
        env: &|_| None,
        file: &file,
    };
    Snapshot::compile(&[source], &refs, &place).ok()
}

fn b64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn judge(authentication: &Authentication, token: &[u8]) -> bool {
    let cache = TokenCache::keeping(1);
    let told = authentication.verify(token, NOW);
    let kept = cache.verify(authentication, token, NOW);
    assert_eq!(told.as_ref().ok(), kept.as_deref().ok());
    if told.is_ok() {
        assert_eq!(cache.known(token, NOW).unwrap().as_deref(), told.as_ref().ok());
    }
    told.is_ok()
}

fuzz_target!(|data: &[u8]| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = b64(pair.public_key().as_ref());
    let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    let snapshot = policies(&jwks).expect("these policies are good");
    let authentication = snapshot.authentication();
    assert!(!judge(authentication, data), "nobody signed this");
    let (header, claims) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&br#"{"alg":"EdDSA","kid":"k"}"#[..], data),
    };
    let signed = format!("{}.{}", b64(header), b64(claims));
    let token = format!("{signed}.{}", b64(pair.sign(signed.as_bytes()).as_ref()));
    if judge(authentication, token.as_bytes()) {
        let header: Value = serde_json::from_slice(header).unwrap();
        assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519");
        let claims: Value = serde_json::from_slice(claims).unwrap();
        assert_eq!(claims["iss"], "i");
        let audience = &claims["aud"];
        let listed = audience.as_array().is_some_and(|list| list.iter().any(|one| one == "e"));
        assert!(audience == "e" || listed);
        assert!(claims["exp"].as_f64().unwrap() + 61.0 > NOW as f64);
    }
    if let Ok(jwks) = std::str::from_utf8(data)
        && let Some(snapshot) = policies(jwks)
    {
        let authentication = snapshot.authentication();
        assert!(!judge(authentication, token.as_bytes()) || jwks.contains(&x));
    }
});
