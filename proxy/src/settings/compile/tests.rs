use std::path::{Path, PathBuf};
use std::time::Duration;

use meridian_policies::{Diagnostic, SourceFile};

use crate::settings::{
    AccessLog, AdminBind, ClientAuth, Settings, Surroundings, Switch, Tickets, TlsSettings,
    TlsVersion,
};
use crate::telemetry::audit::{Fsync, Keep, Mode, OnFailure, Refusals};

const SMALL: &str = "edge: { region: here }\nlisteners:\n  - { address: \"0.0.0.0:8080\" }\n";

fn parse(text: &str) -> Result<Settings, Vec<Diagnostic>> {
    let around = Surroundings::given(
        |name| (name == "PORT").then(|| "8181".to_owned()),
        |path| match path {
            "token" => Ok("0123456789abcdef0123\n".to_owned()),
            other => Err(format!("{other}: no such file")),
        },
        3,
    );
    let source = SourceFile {
        path: "conf/meridian.yaml".to_owned(),
        text: text.to_owned(),
    };
    Settings::parse(&source, Path::new("conf/meridian.yaml"), &around)
}

/// The one fault of a text: its line and message.
fn fault(text: &str) -> (u32, String) {
    let faults = parse(text).expect_err("the text has a fault");
    assert_eq!(faults.len(), 1, "{faults:?}");
    (faults[0].line, faults[0].message.clone())
}

#[test]
fn a_small_file_gets_the_stated_defaults() {
    let settings = parse(SMALL).unwrap();
    assert_eq!(settings.threads, 3);
    assert_eq!(settings.policies, PathBuf::from("conf/policies/"));
    assert_eq!(settings.limits.connections, 10_000);
    assert_eq!(settings.limits.connections_per_address, 1_000);
    assert_eq!(settings.limits.head.head_bytes, 65_536);
    assert_eq!(settings.limits.head.fields, 100);
    assert_eq!(settings.limits.buffered_body, 65_536);
    assert_eq!(settings.timeouts.handshake, Duration::from_secs(10));
    assert_eq!(settings.timeouts.upstream_idle, Duration::from_secs(50));
    assert_eq!(settings.timeouts.total, None);
    assert_eq!(settings.telemetry.receipts, 1_024);
    assert_eq!(settings.telemetry.access_log, AccessLog::Stdout);
    assert_eq!(settings.geo.embedded, Switch::On);
    assert_eq!(settings.state_file, None);
    assert!(settings.trusted_hops.is_empty());
    let admin = settings.admin.unwrap();
    assert_eq!(
        admin.bind,
        AdminBind::Tcp("127.0.0.1:9090".parse().unwrap())
    );
    assert_eq!(settings.listeners[0].protocols.h1, Switch::On);
    assert_eq!(settings.listeners[0].protocols.h2, Switch::Off);
}

#[test]
fn recording_is_off_until_it_is_written() {
    assert_eq!(parse(SMALL).unwrap().telemetry.recording, None);
    let text = format!(
        "{SMALL}recording: {{ file: d.jsonl, one_in: 10, rotate: 1MiB, keep: 2, shadow: next/,\n  guard: {{ requests: 50, moved: 20%, leaves_jurisdiction: 0% }} }}\n"
    );
    let recording = parse(&text).unwrap().telemetry.recording.unwrap();
    assert_eq!(recording.file, Some(PathBuf::from("conf/d.jsonl")));
    assert_eq!(recording.shadow, Some(PathBuf::from("conf/next/")));
    assert_eq!(
        (recording.one_in.get(), recording.rotate, recording.keep),
        (10, 1 << 20, 2)
    );
    let guard = recording.guard.unwrap();
    assert_eq!(guard.requests, 50);
    assert_eq!(guard.thresholds.moved, Some(0.2));
    assert_eq!(guard.thresholds.leaves_jurisdiction, Some(0.0));
    assert_eq!(guard.thresholds.newly_refused, None);
    let (line, message) = fault(&format!("{SMALL}recording: {{ guard: {{ moved: 5 }} }}\n"));
    assert_eq!(line, 4);
    assert!(message.contains("write for example 5%"), "{message}");
}

#[test]
fn relative_paths_are_relative_to_the_file_and_others_stay() {
    let text = format!(
        "{SMALL}policies: rules\nstate_file: state.json\nadmin: {{ address: \"unix:admin.sock\" }}\n\
         geo: {{ databases: [city.mmdb, /var/geo.mmdb] }}\ntelemetry: {{ access_log: log/access.json }}\n"
    );
    let settings = parse(&text).unwrap();
    assert_eq!(settings.policies, PathBuf::from("conf/rules"));
    assert_eq!(settings.state_file, Some("conf/state.json".into()));
    assert_eq!(
        settings.admin.unwrap().bind,
        AdminBind::Unix("conf/admin.sock".into())
    );
    assert_eq!(
        settings.geo.databases,
        [PathBuf::from("conf/city.mmdb"), "/var/geo.mmdb".into()]
    );
    assert_eq!(
        settings.telemetry.access_log,
        AccessLog::File("conf/log/access.json".into())
    );
}

#[test]
fn environment_and_secret_files_stand_for_values() {
    let settings = parse(
        "edge: { region: \"${REGION:-here}\" }\nlisteners:\n  - { address: \"127.0.0.1:${PORT}\" }\n\
         admin: { address: \"0.0.0.0:9090\", token: \"file:token\" }\n",
    )
    .unwrap();
    assert_eq!(settings.edge_region, "here");
    assert_eq!(settings.listeners[0].address.port(), 8181);
    let token = settings.admin.unwrap().token.unwrap();
    assert_eq!(token.reveal(), "0123456789abcdef0123");
    assert_eq!(format!("{token:?}"), "Secret(..)");
}

/// Each text has one fault, at this line, told with this word.
fn each_is_told(cases: &[(String, u32, &str)]) {
    for (text, line, word) in cases {
        let (at, message) = fault(text);
        assert!(message.contains(word), "{text}\n{message}");
        assert_eq!(at, *line, "{text}\n{message}");
    }
}

#[test]
fn every_rule_is_told_with_its_place() {
    each_is_told(&[
        (format!("{SMALL}thread: 2\n"), 4, "thread"),
        (format!("{SMALL}threads: 257\n"), 4, "257"),
        (
            format!("{SMALL}timeouts:\n  head: 0s\n"),
            5,
            "deadline of 0",
        ),
        (format!("{SMALL}timeouts:\n  head: soon\n"), 5, "duration"),
        (
            format!("{SMALL}limits:\n  connections: 0\n"),
            5,
            "not within",
        ),
        (
            format!("{SMALL}trusted_hops: [loopback]\n"),
            4,
            "not a network",
        ),
        (
            format!("{SMALL}admin: {{ address: \"0.0.0.0:9090\" }}\n"),
            4,
            "token",
        ),
        (
            format!("{SMALL}admin: {{ address: \"0.0.0.0:9090\", token: short }}\n"),
            4,
            "16 bytes",
        ),
        (
            format!("{SMALL}telemetry:\n  sample:\n    - {{ status: 9xx, one_in: 2 }}\n"),
            6,
            "status",
        ),
        (format!("{SMALL}geo: {{ embedded: maybe }}\n"), 4, "maybe"),
        (format!("{SMALL}policies: \"\"\n"), 4, "empty"),
    ]);
}

#[test]
fn every_rule_of_listeners_is_told_with_its_place() {
    let second = "edge: { region: here }\nlisteners:\n  - ";
    each_is_told(&[
        (
            format!("{second}{{ address: \"8080\" }}\n"),
            3,
            "address and port",
        ),
        (
            format!("{second}{{ address: \"[::]:1\", protocols: [h2] }}\n"),
            3,
            "needs tls",
        ),
        (
            format!("{second}{{ address: \"[::]:1\", protocols: [h1, h3] }}\n"),
            3,
            "h3 needs tls",
        ),
        (
            format!(
                "{second}{{ address: \"[::]:1\", protocols: [h3], tls: {{ certificates: [{{ \
                 cert: a, key: b }}] }} }}\n"
            ),
            3,
            "h3 alone",
        ),
        (
            format!("{second}{{ address: \"[::]:1\", h3_port: 443 }}\n"),
            3,
            "h3_port without h3",
        ),
        (
            format!("{second}{{ address: \"[::]:1\", protocols: [] }}\n"),
            3,
            "without protocols",
        ),
        (
            format!("{second}{{ address: \"[::]:1\", tls: {{ certificates: [] }} }}\n"),
            3,
            "no certificate",
        ),
        (
            "edge: { region: here }\nlisteners: []\n".to_owned(),
            2,
            "no listener",
        ),
        (
            format!("{SMALL}  - {{ address: \"0.0.0.0:8080\" }}\n"),
            3,
            "two listeners",
        ),
    ]);
}

#[test]
fn tls_offers_h1_and_h2_and_any_free_port_may_be_asked_for_twice() {
    let settings = parse(
        "edge: { region: here }\nlisteners:\n  - { address: \"127.0.0.1:0\" }\n  - address: \"127.0.0.1:0\"\n    \
         tls: { certificates: [{ cert: tls.pem, key: tls.key }] }\n",
    )
    .unwrap();
    let tls = settings.listeners[1].tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].cert, PathBuf::from("conf/tls.pem"));
    assert_eq!(settings.listeners[1].protocols.h2, Switch::On);
    assert_eq!(tls.min_version, TlsVersion::V12);
    assert_eq!(tls.client_auth, ClientAuth::Off);
    let rotate = Duration::from_hours(12);
    assert_eq!(tls.tickets, Tickets::On { keys: None, rotate });
}

/// The TLS of one listener, or the fault in it.
fn tls(text: &str) -> Result<TlsSettings, Vec<Diagnostic>> {
    let listener =
        "edge: { region: here }\nlisteners:\n  - address: \"127.0.0.1:0\"\n    tls:\n      ";
    let settings = parse(&format!("{listener}{}\n", text.replace('\n', "\n      ")))?;
    Ok(settings.listeners[0].tls.clone().unwrap())
}

#[test]
fn what_tls_may_say_has_its_meaning() {
    let meant = tls(
        "certificates:\n  - { cert: a.pem, key: a.key, ocsp: a.der, names: [Shop.example, \"*.shop.example\", \"192.0.2.1\"] }\n\
         \x20 - { cert: b.pem, key: b.key, client_auth: { mode: required, ca: b-ca.pem } }\n\
         min_version: \"1.3\"\nclient_auth: { mode: optional, ca: ca.pem }\n\
         session_tickets: { keys: keys, rotate: 1h }",
    )
    .unwrap();
    let [first, second] = meant.certificates.as_slice() else {
        panic!("{meant:?}")
    };
    assert_eq!(first.ocsp, Some(PathBuf::from("conf/a.der")));
    assert_eq!(first.names, ["shop.example", "*.shop.example", "192.0.2.1"]);
    let ca = "conf/b-ca.pem".into();
    assert_eq!(second.client_auth, Some(ClientAuth::Required { ca }));
    let ca = "conf/ca.pem".into();
    assert_eq!(meant.client_auth, ClientAuth::Optional { ca });
    assert_eq!(meant.min_version, TlsVersion::V13);
    let rotate = Duration::from_hours(1);
    let keys = Some("conf/keys".into());
    assert_eq!(meant.tickets, Tickets::On { keys, rotate });
    let off = tls("certificates: [{ cert: a, key: b }]\nsession_tickets: off").unwrap();
    assert_eq!(off.tickets, Tickets::Off);
}

#[test]
fn what_tls_may_not_say_is_told() {
    for (more, word) in [
        ("min_version: \"1.1\"", "1.1"),
        ("client_auth: { mode: required }", "authorities"),
        ("client_auth: { mode: off, ca: x }", "take `ca` out"),
        ("session_tickets: { rotate: 8d }", "1m to 7d"),
        ("session_tickets: never", "never"),
        ("ciphers: all", "ciphers"),
    ] {
        let faults = tls(&format!("certificates: [{{ cert: a, key: b }}]\n{more}")).unwrap_err();
        assert!(faults[0].message.contains(word), "{}", faults[0].message);
    }
    for name in ["a b", "*.*.example", "", "a..b", "*"] {
        let text = format!("certificates: [{{ cert: a, key: b, names: [\"{name}\"] }}]");
        assert!(tls(&text).is_err(), "{name}");
    }
}

#[test]
fn the_admin_side_can_be_turned_off() {
    assert!(
        parse(&format!("{SMALL}admin: {{ address: off }}\n"))
            .unwrap()
            .admin
            .is_none()
    );
}

#[test]
fn a_trusted_hop_is_a_network_or_one_address() {
    let text = format!("{SMALL}trusted_hops: [10.0.0.0/8, 192.0.2.1, \"::1\", \"fd00::/8\"]\n");
    let hops: Vec<String> = parse(&text)
        .unwrap()
        .trusted_hops
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(hops, ["10.0.0.0/8", "192.0.2.1/32", "::1/128", "fd00::/8"]);
}

#[test]
fn the_drain_delay_may_be_nothing_and_the_drain_may_not() {
    let delay = |text: &str| parse(&format!("{SMALL}timeouts: {{ {text} }}\n"));
    assert_eq!(
        delay("drain_delay: 0s").unwrap().timeouts.drain_delay,
        Duration::ZERO
    );
    assert_eq!(
        delay("drain_delay: 5s").unwrap().timeouts.drain_delay,
        Duration::from_secs(5)
    );
    assert!(delay("drain: 0s").is_err());
}

#[test]
fn the_control_socket_lies_beside_the_file_and_has_a_bound() {
    let upgrade = |text: &str| parse(&format!("{SMALL}{text}\n"));
    assert_eq!(upgrade("").unwrap().upgrade, None);
    let given = upgrade("upgrade: { socket: control.sock }\npid_file: pid").unwrap();
    let found = given.upgrade.unwrap();
    assert_eq!(found.socket, PathBuf::from("conf/control.sock"));
    assert_eq!(found.patience, Duration::from_mins(1));
    assert_eq!(given.pid_file, Some(PathBuf::from("conf/pid")));
    assert!(upgrade("upgrade: { patience: 3s }").is_err());
    assert!(upgrade("upgrade: { socket: s, patience: 0s }").is_err());
    assert!(upgrade("upgrade: { socket: \"\" }").is_err());
}

const AUDITED: &str = "telemetry: { audit: { path: audit/";

#[test]
fn an_audit_log_is_off_until_it_has_a_folder_and_then_complete() {
    assert_eq!(parse(SMALL).unwrap().telemetry.audit, None);
    let settings = parse(&format!("{SMALL}{AUDITED} }} }}\n")).unwrap();
    let audit = settings.telemetry.audit.unwrap();
    assert_eq!(audit.path, PathBuf::from("conf/audit/"));
    assert_eq!(audit.mode, Mode::Relaxed);
    assert_eq!(audit.refusals, Refusals::All);
    assert_eq!(audit.transfers_from.as_str(), "tier_4_public");
    assert_eq!(audit.rotate_size, 64 << 20);
    assert_eq!(audit.keep, Keep::All);
    assert_eq!(audit.fsync, Fsync::Interval);
    assert_eq!(audit.on_failure, OnFailure::Refuse);
    assert!(parse(&format!("{SMALL}telemetry: {{ audit: {{}} }}\n")).is_err());
}

#[test]
fn every_key_of_the_audit_log_is_read() {
    let more = ", mode: strict, refusals: law, transfers_from: tier_2_personal, \
                rotate: { size: 1MiB, keep: 7 }, fsync: always, on_failure: refuse";
    let settings = parse(&format!("{SMALL}{AUDITED}{more} }} }}\n")).unwrap();
    let audit = settings.telemetry.audit.unwrap();
    assert_eq!(audit.mode, Mode::Strict);
    assert_eq!(audit.refusals, Refusals::Law);
    assert_eq!(audit.transfers_from.as_str(), "tier_2_personal");
    assert_eq!(audit.rotate_size, 1 << 20);
    assert_eq!(audit.keep, Keep::Files(7.try_into().unwrap()));
    assert_eq!(audit.fsync, Fsync::Always);
    let strict = parse(&format!("{SMALL}{AUDITED}, mode: strict }} }}\n")).unwrap();
    assert_eq!(strict.telemetry.audit.unwrap().fsync, Fsync::Always);
    let off = ", fsync: off, on_failure: serve, rotate: { keep: all }";
    let off = parse(&format!("{SMALL}{AUDITED}{off} }} }}\n")).unwrap();
    let off = off.telemetry.audit.unwrap();
    assert_eq!((off.fsync, off.on_failure), (Fsync::Off, OnFailure::Serve));
}

#[test]
fn an_audit_log_that_contradicts_itself_is_refused() {
    for (more, said) in [
        (", mode: strict, fsync: interval", "write fsync: always"),
        (", mode: strict, fsync: off", "write fsync: always"),
        (", mode: strict, on_failure: serve", "mode: relaxed"),
        (", rotate: { size: 1KiB }", "not within"),
        (", rotate: { keep: 0 }", "write all, or"),
        (", rotate: { keep: some }", "write all, or"),
        (", sync: always", "sync"),
    ] {
        let (line, message) = fault(&format!("{SMALL}{AUDITED}{more} }} }}\n"));
        assert_eq!(line, 4, "{more}");
        assert!(message.contains(said), "{more}: {message}");
    }
}

#[test]
fn a_listener_that_believes_headers_names_from_whom() {
    let listener = |text: &str| {
        let listeners = format!("listeners:\n  - {{ address: \"0.0.0.0:8080\", {text} }}\n");
        parse(&format!("edge: {{ region: here }}\n{listeners}"))
    };
    let good = listener("proxy_protocol: { from: [10.0.0.0/8, 192.0.2.7] }").unwrap();
    let carriers = good.listeners[0].proxy_protocol.as_ref().unwrap();
    let believed = |ip: &str| {
        let ip: std::net::IpAddr = ip.parse().unwrap();
        carriers.iter().any(|net| net.contains(&ip))
    };
    assert!(believed("10.1.2.3") && believed("192.0.2.7") && !believed("192.0.2.8"));
    let quic = "protocols: [h1, h3], tls: { certificates: [{ cert: a, key: b }] }";
    assert!(listener(quic).is_ok());
    assert!(listener(&format!("{quic}, proxy_protocol: {{ from: [10.0.0.0/8] }}")).is_err());
    for bad in [
        "from: []",
        "",
        "from: [everybody]",
        "from: [10.0.0.0/8], version: 2",
    ] {
        let text = format!("proxy_protocol: {{ {bad} }}");
        assert!(listener(&text).is_err(), "{bad}");
    }
}

#[test]
fn what_http2_clients_may_do_has_bounds_that_fit_together() {
    let http2 = |text: &str| parse(&format!("{SMALL}http2: {{ {text} }}\n")).map(|of| of.http2);
    assert_eq!(http2("").unwrap(), crate::settings::Http2::default());
    let large = http2("stream_window: 2MiB, connection_window: 4MiB").unwrap();
    assert_eq!(large.stream_window, 2 * 1024 * 1024);
    assert_eq!(large.connection_window, 4 * 1024 * 1024);
    for bad in [
        "max_concurrent_streams: 0",
        "max_concurrent_streams: 1001",
        "stream_window: 1KiB",
        "stream_window: 2MiB",
        "connection_window: 32KiB",
        "push: on",
    ] {
        assert!(http2(bad).is_err(), "{bad}");
    }
}
