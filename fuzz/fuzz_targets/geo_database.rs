#![no_main]
//! Any bytes as a geo database: refused, or asked without a panic.

use std::net::IpAddr;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use meridian_geo::{Database, Embedded, Locator};

/// The end of a file that maxminddb looks for.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

fn ask(bytes: Vec<u8>) {
    let Ok(database) = Database::open("fuzz", bytes, u64::MAX, None) else {
        return;
    };
    let locator = Locator::builder()
        .shared_database(Arc::new(database))
        .embedded(Embedded::Off)
        .build();
    let Ok(locator) = locator else { return };
    for address in ["8.8.8.8", "255.255.255.255", "2001:4860::8888", "91.64.0.1"] {
        let address: IpAddr = address.parse().unwrap();
        let _ = locator.locate(address);
        let _ = locator.survey(address);
    }
}

fuzz_target!(|data: &[u8]| {
    ask(data.to_vec());
    // The same with a marker in the middle, so that the fuzzer need not find it.
    let middle = data.len() / 2;
    let (tree, metadata) = data.split_at(middle);
    ask([tree, MARKER, metadata].concat());
});
