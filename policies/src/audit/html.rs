//! A report as one page: no script, no style sheet, no font, no picture from
//! elsewhere. Everything that comes from a record is escaped.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}\
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}\
.good{color:#0a7a32;font-weight:600}.bad{color:#c01820;font-weight:600}\
code{overflow-wrap:anywhere}@media(prefers-color-scheme:dark){.good{color:#5bd68a}.bad{color:#ff8087}}";

/// The page of a report's data.
pub(super) fn page(report: &Value) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    page.begin(report);
    page.chain(at(report, &["audit_log_stats", "chain"]));
    page.transfers(at(report, &["cross_border_transfers"]));
    page.refusals(at(report, &["refusals"]));
    page.section("Checks that backends asked for");
    page.counts(
        at(report, &["residency_checks", "by_outcome"]),
        ["Outcome", "Checks"],
    );
    page.violations(at(report, &["violations"]));
    page.section("Consent and safeguards that were vouched for");
    page.counts(
        at(report, &["consent_stats", "by_claim"]),
        ["Claim and who vouched for it", "Transfers"],
    );
    page.section("Encryption in transit");
    page.counts(
        at(report, &["encryption_stats", "by_transport"]),
        ["Transport", "Transfers"],
    );
    page.operations(at(report, &["operations"]));
    page.section("Records");
    page.counts(
        at(report, &["audit_log_stats", "by_event_type"]),
        ["Kind", "Records"],
    );
    page.0.push_str("</body></html>\n");
    page.0
}

fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter()
        .fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

struct Page(String);

impl Page {
    fn begin(&mut self, report: &Value) {
        self.0.push_str(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>Residency report</title><style>",
        );
        self.0.push_str(STYLE);
        self.0
            .push_str("</style></head><body><h1>Residency report</h1><p>");
        self.escaped(at(report, &["period", "from"]));
        self.0.push_str(" to ");
        self.escaped(at(report, &["period", "to"]));
        self.0.push_str(" (not included), made ");
        self.escaped(at(report, &["generated_at"]));
        self.0.push_str("</p>");
    }

    fn section(&mut self, title: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "<h2>{title}</h2>");
    }

    /// A value as text, with everything that HTML would read taken out.
    fn escaped(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.escape(text),
            Value::Null => self.0.push('-'),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.escape(&value.to_string());
            }
        }
    }

    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                plain => self.0.push(plain),
            }
        }
    }

    fn head(&mut self, columns: &[&str]) {
        self.0.push_str("<table><thead><tr>");
        for column in columns {
            let _ = write!(self.0, "<th scope=\"col\">{column}</th>");
        }
        self.0.push_str("</tr></thead><tbody>");
    }

    fn row(&mut self, cells: &[&Value]) {
        self.0.push_str("<tr>");
        for cell in cells {
            let class = if cell.is_number() { " class=\"n\"" } else { "" };
            let _ = write!(self.0, "<td{class}>");
            self.escaped(cell);
            self.0.push_str("</td>");
        }
        self.0.push_str("</tr>");
    }

    fn end(&mut self) {
        self.0.push_str("</tbody></table>");
    }

    fn none(&mut self) {
        self.0.push_str("<p>None.</p>");
    }

    fn counts(&mut self, counts: &Value, columns: [&str; 2]) {
        let Some(counts) = counts.as_object().filter(|counts| !counts.is_empty()) else {
            return self.none();
        };
        self.head(&columns);
        for (name, count) in counts {
            self.row(&[&Value::String(name.clone()), count]);
        }
        self.end();
    }

    fn chain(&mut self, chain: &Value) {
        self.section("The log itself");
        if at(chain, &["intact"]) == &Value::Bool(true) {
            self.0
                .push_str("<p class=\"good\">The chain is intact.</p>");
        } else {
            self.0
                .push_str("<p class=\"bad\">The chain is broken.</p><ul>");
            for fault in at(chain, &["listed"]).as_array().into_iter().flatten() {
                self.0.push_str("<li>");
                self.escaped(fault);
                self.0.push_str("</li>");
            }
            self.0.push_str("</ul>");
        }
        self.0.push_str("<p>Lines read: ");
        self.escaped(at(chain, &["lines"]));
        self.0.push_str("; last line: ");
        self.escaped(at(chain, &["head_seq"]));
        self.0.push_str(", <code>");
        self.escaped(at(chain, &["head_hash"]));
        self.0.push_str("</code></p>");
    }

    fn transfers(&mut self, transfers: &Value) {
        self.section("Transfers across borders, by regulation");
        let laws = at(transfers, &["by_regulation"]).as_object();
        let Some(laws) = laws.filter(|laws| !laws.is_empty()) else {
            return self.none();
        };
        for (law, of) in laws {
            self.0.push_str("<h3>");
            self.escape(law);
            self.0.push_str(": ");
            self.escaped(at(of, &["total"]));
            self.0.push_str("</h3>");
            let audited = at(of, &["audit_frequency"]);
            if audited.as_str().is_some_and(|often| !often.is_empty()) {
                self.0.push_str("<p>To be audited: ");
                self.escaped(audited);
                self.0.push_str("</p>");
            }
            self.counts(at(of, &["by_basis"]), ["Legal basis", "Transfers"]);
            self.counts(at(of, &["by_class"]), ["Data class", "Transfers"]);
            self.counts(at(of, &["by_way"]), ["From and to", "Transfers"]);
        }
    }

    fn refusals(&mut self, refusals: &Value) {
        self.section("Refusals");
        self.counts(at(refusals, &["by_reason"]), ["Reason", "Requests"]);
        self.section("Refusals by law");
        self.counts(at(refusals, &["by_law"]), ["Law and rule", "Requests"]);
    }

    fn violations(&mut self, violations: &Value) {
        self.section("Violations");
        let listed = at(violations, &["listed"]).as_array();
        let Some(listed) = listed.filter(|listed| !listed.is_empty()) else {
            return self.0.push_str("<p class=\"good\">None.</p>");
        };
        self.0.push_str("<p class=\"bad\">");
        self.escaped(at(violations, &["total"]));
        self.0.push_str(" in all.</p>");
        self.head(&["When", "Line", "What", "Request"]);
        for one in listed {
            self.row(&["at", "seq", "what", "request_id"].map(|key| at(one, &[key])));
        }
        self.end();
    }

    fn operations(&mut self, operations: &Value) {
        self.section("What operators did");
        let Some(listed) = operations.as_array().filter(|listed| !listed.is_empty()) else {
            return self.none();
        };
        self.head(&["When", "What", "Region", "Why"]);
        for one in listed {
            self.row(&["at", "action", "region", "reason"].map(|key| at(one, &[key])));
        }
        self.end();
    }
}
