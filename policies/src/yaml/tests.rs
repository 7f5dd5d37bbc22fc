use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Shop {
    name: String,
    countries: Option<Vec<String>>,
    port: Option<u16>,
    rate: Option<f64>,
    open: Option<bool>,
    rule: Option<Rule>,
    hours: Option<BTreeMap<String, u8>>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Rule {
    Free,
    Price(Price),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Price {
    amount: u32,
}

fn file(text: &str) -> SourceFile {
    SourceFile {
        path: "shop.yaml".to_owned(),
        text: text.to_owned(),
    }
}

fn shop(text: &str) -> Result<Shop, Vec<String>> {
    parse(&file(text), &References::NONE).map_err(|faults| {
        faults
            .iter()
            .map(|f| format!("{}:{} {}", f.line, f.column, f.message))
            .collect()
    })
}

fn fault(text: &str) -> String {
    let faults = shop(text).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].clone()
}

#[test]
fn norway_stays_a_country_and_a_version_keeps_its_zero() {
    let shop = shop("name: 1.10\ncountries: [NO, SE, y, off, 010, 1_000]\n").unwrap();
    assert_eq!(shop.name, "1.10");
    assert_eq!(
        shop.countries.unwrap(),
        ["NO", "SE", "y", "off", "010", "1_000"]
    );
}

#[test]
fn spellings_survive_whatever_they_look_like() {
    for text in [
        "0x1F",
        "1e3",
        "+5",
        "-0",
        ".5",
        "1.0",
        "007",
        "2026-11-22",
        "12:30",
        "~x",
        "0o17",
        "TRUE",
    ] {
        assert_eq!(
            shop(&format!("name: {text}\n")).map(|s| s.name),
            Ok(text.to_owned())
        );
        assert_eq!(
            shop(&format!("name: \"{text}\"")).map(|s| s.name),
            Ok(text.to_owned())
        );
    }
}

#[test]
fn a_byte_order_mark_and_crlf_are_fine() {
    let shop = shop("\u{feff}name: x\r\nport: 80\r\n").unwrap();
    assert_eq!((shop.name.as_str(), shop.port), ("x", Some(80)));
    assert_eq!(
        fault("\u{feff}name: x\r\nport: many\r\n").split(' ').next(),
        Some("2:7")
    );
}

#[test]
fn every_unknown_field_is_named_with_its_place_and_what_was_meant() {
    let faults = parse::<Shop>(
        &file("name: x\nprot: 80\ncuontries: []\n"),
        &References::NONE,
    )
    .unwrap_err();
    let shown: Vec<_> = faults
        .iter()
        .map(|f| (f.line, f.column, f.message.as_str(), f.help.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            (2, 1, "unknown key `prot`", Some("did you mean `port`?")),
            (
                3,
                1,
                "unknown key `cuontries`",
                Some("did you mean `countries`?")
            ),
        ]
    );
}

#[test]
fn a_doubled_key_is_refused_at_its_second_place() {
    let fault = fault("name: x\nport: 1\nport: 2\n");
    assert!(fault.starts_with("3:1 "), "{fault}");
    assert!(fault.contains("duplicate"), "{fault}");
    assert!(shop("name: x\nhours: { mon: 8, mon: 9 }\n").is_err());
}

#[test]
fn types_are_strict_and_say_what_was_expected() {
    for (text, message) in [
        (
            "name: x\nport: many\n",
            "2:7 expected a whole number from 0 to 65535, found the text `many`",
        ),
        (
            "name: x\nport: \"80\"\n",
            "2:7 expected a whole number from 0 to 65535, found the text `80`",
        ),
        (
            "name: x\nport: 65536\n",
            "2:7 expected a whole number from 0 to 65535, found `65536`",
        ),
        (
            "name: x\nport: -1\n",
            "2:7 expected a whole number from 0 to 65535, found `-1`",
        ),
        (
            "name: x\nport: 1.5\n",
            "2:7 expected a whole number from 0 to 65535, found `1.5`",
        ),
        (
            "name: x\nopen: yes\n",
            "2:7 expected true or false, found the text `yes`",
        ),
        (
            "name: x\nrate: .inf\n",
            "2:7 expected a number, found `.inf`",
        ),
        (
            "name: x\ncountries: NO\n",
            "2:12 expected a list, found the text `NO`",
        ),
        ("name: [x]\n", "1:7 expected text, found a list"),
        ("name:\nport: 1\n", "1:5 expected text, found nothing"),
        ("port: 1\n", "1:1 the key `name` is missing"),
        (
            "name: x\nrule: { price: { amount: a lot } }\n",
            "2:26 expected a whole number from 0 to 4294967295, found the text `a lot`",
        ),
        ("name: x\nrule: prize\n", "2:7 `prize` is not known here"),
        ("name: x\nrule: price\n", "2:7 `price` needs a value"),
        ("name: x\nrule: { free: 1 }\n", "2:9 `free` takes no value"),
    ] {
        assert_eq!(fault(text), message, "{text}");
    }
}

#[test]
fn an_empty_value_does_not_switch_a_default_on() {
    assert_eq!(
        fault("name: x\nport:\n").split_once(' ').unwrap().1,
        "expected a whole number from 0 to 65535, found nothing"
    );
}

#[test]
fn a_diagnostic_shows_the_line_a_caret_and_the_help() {
    let faults = parse::<Shop>(
        &file("name: x\nrule: { price: { amonut: 1 } }\n"),
        &References::NONE,
    )
    .unwrap_err();
    let shown: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown[0].lines().next(),
        Some("shop.yaml:2:16: the key `amount` is missing")
    );
    assert_eq!(
        shown[1],
        "shop.yaml:2:18: unknown key `amonut`\n  |\n1 | name: x\n2 | rule: { price: { amonut: 1 } }\n  |                  ^^^^^^\n  = help: did you mean `amount`?"
    );
}

#[test]
fn a_long_line_is_cut_around_the_fault() {
    let text = format!("name: x\ncountries: [{} {{}}]\n", "AA, ".repeat(1_000));
    let faults = parse::<Shop>(&file(&text), &References::NONE).unwrap_err();
    assert_eq!(faults[0].column, 4_014);
    assert!(
        faults[0].frame.lines().all(|line| line.len() < 140),
        "{}",
        faults[0].frame
    );
    assert!(faults[0].frame.contains("{}"));
}

#[test]
fn an_empty_file_is_an_empty_mapping() {
    for text in ["", "\n", "# only a remark\n", "---\n", "\u{feff}"] {
        assert_eq!(fault(text), "1:1 the key `name` is missing", "{text:?}");
    }
}

#[test]
fn references_are_resolved_after_parsing() {
    let env = |name: &str| match name {
        "PORT" => Some("8080".to_owned()),
        "NAME" => Some("a: b\nport: 1".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let read = |path: &str| match path {
        "secret" => Ok("s3cr${PORT}\n".to_owned()),
        other => Err(format!("no file {other}")),
    };
    let refs = References {
        env: &env,
        file: &read,
    };
    let parse = |text: &str| parse::<Shop>(&file(text), &refs);
    let shop = parse("name: ${NAME}\nport: ${PORT}\n").unwrap();
    assert_eq!(
        (shop.name.as_str(), shop.port),
        ("a: b\nport: 1", Some(8080))
    );
    assert_eq!(
        parse("name: x${PORT}y${MISSING:-z}${EMPTY:-}\n")
            .unwrap()
            .name,
        "x8080yz"
    );
    assert_eq!(parse("name: $${PORT}\n").unwrap().name, "${PORT}");
    assert_eq!(
        parse("name: file:secret\n").unwrap().name,
        "s3cr${PORT}",
        "not searched again"
    );
    let message = |text: &str| parse(text).unwrap_err()[0].message.clone();
    assert_eq!(
        message("name: ${MISSING}\n"),
        "the variable `MISSING` is not set"
    );
    assert_eq!(
        message("name: ${EMPTY}\n"),
        "the variable `EMPTY` is not set"
    );
    assert_eq!(
        message("name: ${PORT\n"),
        "a reference without its closing brace"
    );
    assert_eq!(
        message("name: ${a b}\n"),
        "`a b` is not a name of a variable"
    );
    assert_eq!(
        message("name: file:gone\n"),
        "cannot read `gone`: no file gone"
    );
}

#[test]
fn what_a_reference_brings_in_is_not_repeated_in_a_message() {
    #[derive(Debug, Deserialize)]
    struct Strict {
        _size: Option<ByteSize>,
        _rule: Option<Rule>,
        _port: Option<u16>,
    }
    let env = |_: &str| Some("hunter2".to_owned());
    let refs = References {
        env: &env,
        file: &|_| Err(String::new()),
    };
    for text in [
        "_port: ${SECRET}\n",
        "_rule: ${SECRET}\n",
        "_size: ${SECRET}\n",
    ] {
        let faults = parse::<Strict>(&file(text), &refs).unwrap_err();
        assert_eq!((faults[0].line, faults[0].column), (1, 8), "{text}");
        assert!(!faults[0].to_string().contains("hunter2"), "{}", faults[0]);
    }
}

#[test]
fn a_fault_of_meaning_can_be_shown_like_any_other() {
    let source = file("name: x\nport: 7\n");
    let shop: BTreeMap<String, Spanned<String>> = parse(&source, &References::NONE).unwrap();
    let fault = Diagnostic::at(&source, shop["port"].at, "port 7 is taken");
    assert_eq!(
        fault.to_string(),
        "shop.yaml:2:7: port 7 is taken\n  |\n1 | name: x\n2 | port: 7\n  |       ^"
    );
}

#[test]
fn anchors_and_merge_keys_work_within_a_budget() {
    let shop = shop("name: &n shop\nrule: { price: &p { amount: 3 } }\n").unwrap();
    assert_eq!(shop.rule, Some(Rule::Price(Price { amount: 3 })));
    let text = "base: &b { amount: 3 }\nother: { <<: *b }\nsame: *b\n";
    let all: BTreeMap<String, Price> = parse(&file(text), &References::NONE).unwrap();
    assert!(all.values().all(|price| price.amount == 3) && all.len() == 3);
}

#[test]
fn bombs_are_refused() {
    let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{}", level - 1);
        let ten = [below.as_str(); 10].join(",");
        laughs = format!("{laughs}a{level}: &a{level} [{ten}]\n");
    }
    assert!(read(&file(&laughs), 0).is_err());
    assert!(read(&file(&"[".repeat(5_000)), 0).is_err());
    assert!(read(&file(&format!("a: {}", "{b: ".repeat(40))), 0).is_err());
    assert!(read(&file("a: 1\n---\nb: 2\n"), 0).is_err());
    let large = format!("name: {}\n", "x".repeat(MAX_BYTES));
    assert_eq!(
        read(&file(&large), 0).unwrap_err().message,
        "the file is over 4 MiB"
    );
}

#[test]
fn a_list_of_sixty_five_thousand_networks_is_within_the_budget() {
    let nets = (0..65_536)
        .map(|i| format!("  - 10.{}.{}.0/24\n", i / 256, i % 256))
        .collect::<Vec<_>>()
        .concat();
    assert!(read(&file(&format!("nets:\n{nets}")), 0).is_ok());
}

#[test]
fn broken_syntax_has_a_place() {
    for text in [
        "name: [x\n",
        "name: \"x\n",
        "a: b: c\n",
        "name: x\n  port: 1\n",
        "@x: 1\n",
    ] {
        let faults = shop(text).unwrap_err();
        assert!(!faults[0].starts_with("0:"), "{text:?} {faults:?}");
    }
}

#[test]
fn the_nearest_word_is_near() {
    let words = ["europe-west1", "us-central1", "asia-south1"];
    assert_eq!(nearest("europe-west", words), Some("europe-west1"));
    assert_eq!(nearest("us-centrall", words), Some("us-central1"));
    assert_eq!(nearest("mars", words), None);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_panics_and_every_fault_can_be_shown(text in "\\PC{0,200}|[-:{}\\[\\] \n#&*a0\"'|>!?,%@]{0,120}") {
            if let Err(faults) = parse::<Shop>(&file(&text), &References::NONE) {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(!fault.to_string().is_empty());
                }
            }
        }

        #[test]
        fn any_name_that_is_quoted_comes_back(name in "\\PC{0,40}") {
            let text = format!("name: {}\n", serde_json::to_string(&name).unwrap());
            let bare = !name.contains("${") && !name.starts_with("file:");
            prop_assume!(bare);
            prop_assert_eq!(shop(&text).map(|shop| shop.name), Ok(name));
        }
    }
}
