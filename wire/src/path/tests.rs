use super::*;

/// Raw path, its one form, names of the notes.
const TABLE: &[(&str, &str, &[&str])] = &[
    ("/", "/", &[]),
    ("/a/b", "/a/b", &[]),
    ("/a/b/", "/a/b/", &[]),
    ("/.hidden/..x/.../a.", "/.hidden/..x/.../a.", &[]),
    ("/a/./b", "/a/b", &["dot-segments"]),
    ("/a/../b", "/b", &["dot-segments"]),
    ("/a/b/..", "/a/", &["dot-segments"]),
    ("/a/.", "/a/", &["dot-segments"]),
    ("/..", "/", &["dot-segments", "above-root"]),
    (
        "/../../etc/passwd",
        "/etc/passwd",
        &["dot-segments", "above-root"],
    ),
    (
        "/v3/echo/../../etc/passwd",
        "/etc/passwd",
        &["dot-segments"],
    ),
    (
        "/%2e%2E/a",
        "/a",
        &["dot-segments", "above-root", "encoded-dot"],
    ),
    ("/a/.%2e/b", "/b", &["dot-segments", "encoded-dot"]),
    ("/a%2eb", "/a.b", &["encoded-dot"]),
    ("//", "/", &["repeated-slash"]),
    ("//a///b//", "/a/b/", &["repeated-slash"]),
    ("/a//../b", "/b", &["dot-segments", "repeated-slash"]),
    ("/a%2fb", "/a%2Fb", &["encoded-slash"]),
    ("/a%2F..%2fb", "/a%2F..%2Fb", &["encoded-slash"]),
    ("/a%5cb", "/a%5Cb", &["encoded-backslash"]),
    ("/%61%7e%2D%5f%41", "/a~-_A", &[]),
    ("/%e2%82%ac", "/%E2%82%AC", &[]),
    ("/%252e%252e/x", "/%252e%252e/x", &["double-encoded"]),
    ("/100%25", "/100%25", &[]),
    ("/a%0d%0ab", "/a%0D%0Ab", &["encoded-control"]),
    ("/%c0%ae%c0%ae/x", "/%C0%AE%C0%AE/x", &["overlong"]),
    ("/a;p=1/b", "/a;p=1/b", &[]),
    ("/a/..;x/b", "/a/..;x/b", &["dot-segments"]),
    ("/a/%2e.;/b", "/a/..;/b", &["dot-segments", "encoded-dot"]),
    ("/a/.;x", "/a/.;x", &["dot-segments"]),
];

#[test]
fn paths_come_into_their_one_form_with_notes() {
    for (raw, form, names) in TABLE {
        let mut out = b"left over".to_vec();
        let notes = normalize(raw, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), *form, "{raw}");
        assert_eq!(notes.names().collect::<Vec<_>>(), *names, "{raw}");
    }
}

#[test]
fn a_path_that_is_plain_needs_no_work() {
    for (raw, form, _) in TABLE {
        let scan = scan(raw.as_bytes());
        assert_eq!((scan.path, scan.all), (raw.len(), raw.len()));
        assert!(!scan.plain || raw == form, "{raw}");
    }
    assert!(scan(b"/v3/tenants/4711/records.json?a=//b").plain);
}

#[test]
fn what_a_path_may_not_have_is_refused() {
    for (raw, rule) in [
        ("", Malformed::TargetForm),
        ("a", Malformed::TargetForm),
        ("/a\\b", Malformed::TargetCharacter),
        ("/a b", Malformed::TargetCharacter),
        ("/a?b", Malformed::TargetCharacter),
        ("/\u{e9}", Malformed::TargetCharacter),
        ("/a\tb", Malformed::ControlCharacter),
        ("/a\u{7f}b", Malformed::ControlCharacter),
        ("/%", Malformed::PercentEscape),
        ("/%1", Malformed::PercentEscape),
        ("/%+1", Malformed::PercentEscape),
        ("/%00", Malformed::EncodedNul),
    ] {
        assert_eq!(normalize(raw, &mut Vec::new()), Err(rule), "{raw:?}");
    }
}
