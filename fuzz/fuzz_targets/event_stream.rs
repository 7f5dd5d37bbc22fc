#![no_main]
//! Runs `oracle::events::event_stream` on any bytes.

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target runs one of the functions")]
#[path = "../../wire/tests/wire/oracle.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| oracle::events::event_stream(data));
