use super::*;

fn settled(raw: &str) -> Result<(String, String), Malformed> {
    let mut bytes = raw.as_bytes().to_vec();
    let settled = settle(&mut bytes)?;
    let text = |len| String::from_utf8(bytes[..len].to_vec()).unwrap();
    Ok((text(settled.all), text(settled.host)))
}

#[test]
fn an_authority_has_one_form() {
    for (raw, all, host) in [
        ("Example.COM", "example.com", "example.com"),
        ("example.com.", "example.com", "example.com"),
        ("example.com.:8080", "example.com:8080", "example.com"),
        ("a_b-c:65535", "a_b-c:65535", "a_b-c"),
        ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1"),
        ("[2001:DB8::1]", "[2001:db8::1]", "[2001:db8::1]"),
        ("[::1]:443", "[::1]:443", "[::1]"),
        (
            "[::ffff:192.0.2.1]:1",
            "[::ffff:192.0.2.1]:1",
            "[::ffff:192.0.2.1]",
        ),
    ] {
        assert_eq!(settled(raw), Ok((all.to_owned(), host.to_owned())), "{raw}");
    }
}

#[test]
fn a_host_has_at_most_255_bytes() {
    let label = "a".repeat(63);
    let longest = [label.as_str(); 4].join(".");
    assert_eq!(longest.len(), 255);
    assert!(settled(&longest).is_ok());
    assert_eq!(settled(&format!("{longest}a")), Err(Malformed::HostSyntax));
}

#[test]
fn a_dot_alone_is_no_host() {
    assert_eq!(settled("."), Err(Malformed::HostSyntax));
    assert_eq!(settled("a.."), Err(Malformed::HostSyntax));
}
