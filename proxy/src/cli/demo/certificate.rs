//! The demo's self-signed certificate: localhost, `127.0.0.1` and `::1`.

use rcgen::generate_simple_self_signed;

/// Certificate and key, both PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) fn make() -> anyhow::Result<Pair> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = generate_simple_self_signed(names)?;
    Ok(Pair {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    })
}
