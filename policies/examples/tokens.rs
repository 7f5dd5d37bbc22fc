//! Instructions per token, to be run under callgrind:
//!
//! ```text
//! tests-clients/tokens_python.py > made.json    # by the Python of scripts/test
//! cargo build --release -p meridian-policies --example tokens
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!   target/release/examples/tokens made.json RS256 verify 100
//! ```
//!
//! Run it with two counts: the difference by the difference of the counts is
//! the price of one. `verify` looks at every token anew, `known` at one that
//! was verified before.

use std::env;
use std::hint::black_box;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meridian_policies::identity::TokenCache;
use meridian_policies::{EdgePlace, References, Snapshot, SourceFile};
use serde_json::Value;

/// Why it could not be set up.
type Failure = &'static str;

const POLICIES: &str = "
regions: [{ id: us-central1, endpoints: ['http://127.0.0.1:1'] }]
residency: off
authentication:
  providers:
    - id: corp
      issuer: https://login.example
      audiences: [edge]
      keys: file:jwks.json
      algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
";

#[expect(
    clippy::disallowed_methods,
    reason = "an example reads files and the clock"
)]
fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("FILE ALGORITHM verify|known COUNT");
    let (file, algorithm, part, count) = (next()?, next()?, next()?, next()?);
    let made = std::fs::read_to_string(file).map_err(|_| "the file can't be read")?;
    let made: Value = serde_json::from_str(&made).map_err(|_| "the file is no JSON")?;
    let count: u32 = count.parse().map_err(|_| "the count is no number")?;
    let jwks = made.get("keys").ok_or("no keys")?.to_string();
    let token = made.pointer(&format!("/good/{algorithm}"));
    let token = token.and_then(Value::as_str).ok_or("no such token")?;
    let source = SourceFile {
        path: "tokens.yaml".to_owned(),
        text: POLICIES.to_owned(),
    };
    let file = |_: &str| Ok(jwks.clone());
    let refs = References {
        env: &|_| None,
        file: &file,
    };
    let place = EdgePlace {
        region: "us-central1",
    };
    let snapshot =
        Snapshot::compile(&[source], &refs, &place).map_err(|_| "policies with faults")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since: Duration| since.as_secs());
    let (authentication, cache) = (snapshot.authentication(), TokenCache::new());
    let verified = cache.verify(authentication, token.as_bytes(), now);
    verified.map_err(|_| "the token does not count any more: make a new file")?;
    for _ in 0..count {
        let token = black_box(token.as_bytes());
        match part.as_str() {
            "verify" => drop(black_box(authentication.verify(token, now))),
            "known" => drop(black_box(cache.known(token, now))),
            _ => return Err("verify or known?"),
        }
    }
    Ok(())
}
