use proptest::prelude::*;

use super::*;

/// A header of version 2.
fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

fn v4() -> Carried {
    Carried::Client {
        source: "192.0.2.1:56324".parse().unwrap(),
        destination: "198.51.100.1:443".parse().unwrap(),
    }
}

fn v6() -> Vec<u8> {
    let (source, destination): (Ipv6Addr, Ipv6Addr) = (
        "2001:db8::1".parse().unwrap(),
        "2001:db8::2".parse().unwrap(),
    );
    let mut body = source.octets().to_vec();
    body.extend(destination.octets());
    body.extend([0xdc, 0x04, 0x01, 0xbb]);
    body
}

fn whole(bytes: &[u8]) -> Carried {
    match read(bytes) {
        Ok(Progress::Whole { carried, length }) if length == bytes.len() => carried,
        other => panic!("{other:?}"),
    }
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// With a checksum over all of it, as a sender computes it.
fn summed(fields: &[u8]) -> Vec<u8> {
    let mut bytes = header(
        0x21,
        0x11,
        &[&V4, fields, &field(TLV_CRC32C, &[0; 4])[..]].concat(),
    );
    let sum = crc32c(bytes.iter().copied()).to_be_bytes();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&sum);
    bytes
}

#[test]
fn both_families_and_both_versions_name_the_client() {
    assert_eq!(whole(&header(0x21, 0x11, &V4)), v4());
    let Carried::Client { source, .. } = whole(&header(0x21, 0x21, &v6())) else {
        panic!("the sender's own")
    };
    assert_eq!(source, "[2001:db8::1]:56324".parse().unwrap());
    assert_eq!(
        whole(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"),
        v4()
    );
    let Carried::Client { destination, .. } =
        whole(b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n")
    else {
        panic!("the sender's own")
    };
    assert_eq!(destination, "[2001:db8::2]:443".parse().unwrap());
}

#[test]
fn health_checks_and_unknown_ends_are_the_senders_own() {
    for bytes in [
        header(0x20, 0x00, &[]),
        header(0x20, 0x11, &V4),
        header(0x20, 0x77, b"whatever"),
        header(0x21, 0x00, &[]),
        header(0x21, 0x00, b"whatever"),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 what ever\r\n".to_vec(),
    ] {
        assert_eq!(whole(&bytes), Carried::Own, "{bytes:?}");
    }
}

#[test]
fn other_commands_families_and_lengths_are_refused() {
    for (bytes, refused) in [
        (header(0x11, 0x11, &V4), Refused::Command),
        (header(0x22, 0x11, &V4), Refused::Command),
        (header(0x21, 0x12, &V4), Refused::Family),
        (header(0x21, 0x31, &[0; 216]), Refused::Family),
        (header(0x21, 0x10, &V4), Refused::Family),
        (header(0x21, 0x11, &V4[..11]), Refused::Truncated),
        (header(0x21, 0x21, &v6()[..35]), Refused::Truncated),
        (
            header(0x21, 0x11, &[&V4[..], &[1]].concat()),
            Refused::Truncated,
        ),
        (
            header(0x21, 0x11, &[&V4[..], &[1, 0, 2, 0]].concat()),
            Refused::Truncated,
        ),
        (header(0x21, 0x11, &[0; 4_081]), Refused::TooLong),
        (b"GET / HTTP/1.1\r\n".to_vec(), Refused::Signature),
        (b"\x16\x03\x01".to_vec(), Refused::Signature),
        (b"PROXIES".to_vec(), Refused::Signature),
    ] {
        assert_eq!(read(&bytes), Err(refused), "{bytes:?}");
    }
}

#[test]
fn fields_are_skipped_and_a_checksum_is_verified() {
    let extra = [field(0x02, b"edge.example"), field(0xe0, &[0; 300])].concat();
    assert_eq!(
        whole(&header(0x21, 0x11, &[&V4, &extra[..]].concat())),
        v4()
    );
    let good = summed(&extra);
    assert_eq!(whole(&good), v4());
    for place in [FIXED, FIXED + 20, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        assert!(read(&bad).is_err(), "{place}");
    }
    let odd = header(0x21, 0x11, &[&V4, &field(TLV_CRC32C, &[0; 3])[..]].concat());
    assert_eq!(read(&odd), Err(Refused::Checksum));
}

/// RFC 3720, B.4.
#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

#[test]
fn lines_that_break_the_grammar_are_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +6324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 1 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 192.0.2.1\r 198.51.100.1 1 443\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(read(line.as_bytes()), Err(Refused::Line), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX));
    assert_eq!(read(long.as_bytes()), Err(Refused::TooLong));
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 16));
    assert_eq!(whole(longest.as_bytes()), Carried::Own);
}

/// Reads as a connection does: only what is certainly missing.
fn in_steps(all: &[u8]) -> Result<(Carried, usize), Refused> {
    let mut seen = 0;
    loop {
        match read(&all[..seen])? {
            Progress::Whole { carried, length } => {
                assert_eq!(length, seen, "nothing was read beyond it");
                return Ok((carried, length));
            }
            Progress::Needs(more) => {
                assert!(more > 0 && seen + more <= all.len(), "{seen} {more}");
                seen += more;
            }
        }
    }
}

#[test]
fn nobody_reads_into_what_follows() {
    for head in [
        header(0x21, 0x11, &V4),
        header(0x21, 0x21, &v6()),
        header(0x20, 0x00, &[]),
        summed(&field(0x02, b"edge.example")),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(),
    ] {
        assert_eq!(in_steps(&head), Ok((whole(&head), head.len())));
        let followed = [&head[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(in_steps(&followed).unwrap().1, head.len());
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_missing_is_bounded(
        tail in proptest::collection::vec(any::<u8>(), 0..200),
        begin in 0..3_usize,
    ) {
        let bytes = match begin {
            0 => tail,
            1 => [&SIGNATURE[..], &tail].concat(),
            _ => [&LINE[..], &tail].concat(),
        };
        match read(&bytes) {
            Ok(Progress::Needs(more)) => {
                prop_assert!(more > 0 && bytes.len() + more <= HEADER_MAX);
            }
            Ok(Progress::Whole { length, .. }) => {
                prop_assert!(length <= bytes.len());
                // The same again, whatever follows.
                prop_assert_eq!(read(&bytes[..length]), read(&bytes));
            }
            Err(_) => {}
        }
    }

    #[test]
    fn every_client_is_named_as_it_was_sent(
        source in any::<(std::net::Ipv4Addr, u16)>(),
        destination in any::<(std::net::Ipv4Addr, u16)>(),
    ) {
        let carried = Carried::Client {
            source: SocketAddr::from(source),
            destination: SocketAddr::from(destination),
        };
        let mut body = source.0.octets().to_vec();
        body.extend(destination.0.octets());
        body.extend(source.1.to_be_bytes());
        body.extend(destination.1.to_be_bytes());
        prop_assert_eq!(whole(&header(0x21, 0x11, &body)), carried);
        let line = format!(
            "PROXY TCP4 {} {} {} {}\r\n",
            source.0, destination.0, source.1, destination.1
        );
        prop_assert_eq!(whole(line.as_bytes()), carried);
    }
}
