#![no_main]
//! Reads any bytes as a header, whole and as a connection does: only what is
//! certainly missing. Both must come to the same.

use libfuzzer_sys::fuzz_target;
use meridian_wire::proxy_protocol::{HEADER_MAX, Progress, read};

fuzz_target!(|data: &[u8]| {
    let whole = read(data);
    let mut seen = 0;
    let stepped = loop {
        match read(&data[..seen]) {
            Ok(Progress::Needs(more)) => {
                assert!(more > 0 && seen + more <= HEADER_MAX);
                if seen + more > data.len() {
                    return assert!(!matches!(whole, Ok(Progress::Whole { .. })));
                }
                seen += more;
            }
            done => break done,
        }
    };
    assert_eq!(stepped, whole);
    if let Ok(Progress::Whole { length, .. }) = whole {
        assert_eq!(length, seen);
    }
});
