//! The built-in rules. Own writing; no rule set was copied.
//!
//! Every pattern needs at least one of its rule's words, so that a text
//! without them never reaches the pattern. Patterns see decoded text, ignore
//! case and treat bytes as bytes.

use crate::rules::{Place, Places, View};

/// How a pattern becomes a hit.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Check {
    /// The pattern matches.
    Pattern,
    /// The pattern matches, also after SQL comments are taken out.
    SqlPattern,
    /// As `SqlPattern`, and both groups of a match hold the same value.
    SqlEqualSides,
}

/// One rule of the table.
#[derive(Debug)]
pub(crate) struct RuleSpec {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) places: Places,
    pub(crate) check: Check,
    pub(crate) words: &'static [&'static str],
    pub(crate) patterns: &'static [&'static str],
}

impl RuleSpec {
    pub(crate) const fn looks_at(&self, view: View) -> bool {
        match view {
            View::Plain => true,
            View::Uncommented => match self.check {
                Check::Pattern => false,
                Check::SqlPattern | Check::SqlEqualSides => true,
            },
        }
    }
}

/// Path, query and form bodies: where values are glued into something else.
const VALUES: Places = Places::of(&[Place::Path, Place::Query, Place::Form]);
const PATH: Places = Places::of(&[Place::Path]);
const QUERY_AND_FORM: Places = Places::of(&[Place::Query, Place::Form]);
const VALUES_AND_FIELDS: Places =
    Places::of(&[Place::Path, Place::Query, Place::Form, Place::Field]);
const EVERYWHERE: Places = Places::of(&[
    Place::Path,
    Place::Query,
    Place::Form,
    Place::Field,
    Place::Text,
]);
const FIELDS: Places = Places::of(&[Place::Field, Place::Query]);

pub(crate) static BUILTIN: [RuleSpec; 18] = [
    RuleSpec {
        id: "path-traversal",
        title: "Dot segments that climb in the path",
        places: PATH,
        check: Check::Pattern,
        words: &[".."],
        patterns: &[
            r"(?:^|[/\\])\.\.(?:;[^/\\]*)?(?:[/\\?#\x00]|$)",
            r"[/\\]\.{3,}[/\\]{2,}\.{2,}",
        ],
    },
    RuleSpec {
        id: "query-traversal",
        title: "Several dot segments in a row in a value",
        places: QUERY_AND_FORM,
        check: Check::Pattern,
        words: &[".."],
        patterns: &[r#"(?:^|[/\\=&:\s'"])\.{2,4}(?:;[^/\\&]*)?[/\\]+\.{2,4}(?:;[^/\\&]*)?[/\\]"#],
    },
    RuleSpec {
        id: "system-file",
        title: "A file of the operating system by its path",
        places: VALUES,
        check: Check::Pattern,
        words: &[
            "passwd", "shadow", "sudoers", "proc", ".ini", "system32", "id_rsa",
        ],
        patterns: &[
            r"(?:^|[/\\=:])etc[/\\]+(?:\.[/\\]+)*(?:passwd|g?shadow|sudoers)(?:[^\w.]|$)",
            r"[/\\]proc[/\\]+(?:self|\d+)[/\\]+(?:environ|cmdline|maps|mem|fd|root|cwd)",
            r"[/\\=](?:win|boot)\.ini(?:\W|$)",
            r"windows[/\\]+system32",
            r"\.ssh[/\\]+id_rsa",
        ],
    },
    RuleSpec {
        id: "hidden-file",
        title: "A file that is never meant to be served",
        places: PATH,
        check: Check::Pattern,
        words: &[
            "/.git",
            "/.env",
            "/.svn",
            "/.hg",
            "/.ht",
            "/.aws",
            "/.ssh",
            "/.ds_store",
            "/.docker",
            "/.kube",
            "/.npmrc",
            "/.bash_history",
        ],
        patterns: &[
            r"/\.(?:git|svn|hg|aws|ssh|docker|kube)(?:/|$)",
            r"/\.env(?:\.[\w-]{1,32})?(?:/|$)",
            r"/\.(?:gitconfig|git-credentials|htpasswd|htaccess|ds_store|npmrc|bash_history)$",
        ],
    },
    RuleSpec {
        id: "null-byte",
        title: "A null byte",
        places: VALUES,
        check: Check::Pattern,
        words: &["\0"],
        patterns: &[r"\x00"],
    },
    RuleSpec {
        id: "encoding-depth",
        title: "A path still encoded after three rounds of decoding",
        places: PATH,
        check: Check::Pattern,
        words: &["%"],
        patterns: &["%[0-9a-f]{2}"],
    },
    RuleSpec {
        id: "sqli-tautology",
        title: "SQL: a quote broken out of, then a comparison",
        places: VALUES,
        check: Check::SqlPattern,
        words: &["'", "\""],
        patterns: &[
            concat!(
                r#"['"]\s*\)*\s*(?:or|and|xor|\|\||&&)[\s(]*(?:not[\s(]+)?"#,
                r#"(?:'[^'&]{0,32}'|"[^"&]{0,32}"|-?\d{1,20}(?:\.\d{1,9})?|true|false|null)"#,
                r#"[\s)]*(?:(?:=|<=>|<>|!=|<|>)\s*['"\d(@\-\w]"#,
                r#"|like\s*['"\d]|is\s+(?:not\s+)?null\b|in\s*\(|(?:regexp|rlike)\s*['"])"#,
            ),
            r#"['"]\s*\)*\s*(?:or|\|\|)\s+[a-z_]\w{0,31}\s+(?:is\s+(?:not\s+)?null\b|like\s+['"])"#,
            r#"['"]\s*=\s*['"]\s*(?:or\b|and\b|--|#)"#,
        ],
    },
    RuleSpec {
        id: "sqli-equal-sides",
        title: "SQL: a condition that is always true",
        places: VALUES,
        check: Check::SqlEqualSides,
        words: &["or", "and", "||", "&&"],
        patterns: &[concat!(
            r"(?:(?:\bor|\band|\bxor)[\s(]+|(?:\|\||&&)[\s(]*)",
            r#"(\d{1,20}|'[^'&]{0,32}'|"[^"&]{0,32}")\s*(?:=|<=>|like\b)\s*"#,
            r#"(\d{1,20}|'[^'&]{0,32}'|"[^"&]{0,32}")"#,
        )],
    },
    RuleSpec {
        id: "sqli-union",
        title: "SQL: a second query by UNION",
        places: VALUES,
        check: Check::SqlPattern,
        words: &["union"],
        patterns: &[r#"[\d'")`;/.]\s*union[\s(]+(?:(?:all|distinct)[\s(]+)?select[\s(*'"@+\-`]"#],
    },
    RuleSpec {
        id: "sqli-stacked",
        title: "SQL: a second statement after a semicolon",
        places: VALUES,
        check: Check::SqlPattern,
        words: &[";"],
        patterns: &[
            concat!(
                r";\s*(?:drop|alter|create|truncate)\s+",
                r"(?:table|database|schema|view|index|user|role|procedure|function|trigger)\s+\S"
            ),
            r";\s*(?:insert\s+into|delete\s+from)\s+\w",
            r";\s*update\s+[\w.`]{1,64}\s+set\s+\w",
            r";\s*exec(?:ute)?[\s(]+(?:xp_|sp_|master\b|immediate\b)",
            r";\s*declare\s+@\w",
            r";\s*shutdown\s*(?:;|--|$)",
            r";\s*select\s+(?:pg_)?sleep\s*\(",
        ],
    },
    RuleSpec {
        id: "sqli-comment",
        title: "SQL: a quote broken out of, the rest commented away",
        places: VALUES,
        check: Check::SqlPattern,
        words: &["--", "#", "/*"],
        patterns: &[
            r#"['"]\s*\)*\s*;?\s*(?:--|#)[\s+\-]*(?:&|$)"#,
            r#"['"]\s*\)*\s*;?\s*/\*"#,
            r#"['"]\s*\)*\s*(?:or|and|union|order\s+by|group\s+by|having)\b[^&]{0,200}?(?:--|#)[\s+\-]*(?:&|$)"#,
            r"=-?\d{1,20}[\s)]+(?:order|group)\s+by\s+\d{1,4}\s*(?:--|#)",
        ],
    },
    RuleSpec {
        id: "sqli-function",
        title: "SQL: functions used to wait, read files or run programs",
        places: VALUES,
        check: Check::SqlPattern,
        words: &[
            "sleep(",
            "benchmark(",
            "waitfor",
            "extractvalue",
            "updatexml",
            "load_file",
            "outfile",
            "dumpfile",
            "xp_cmdshell",
            "information_schema",
        ],
        patterns: &[
            r#"(?:['"()\d,]|\b(?:or|and|select))\s*\(*\s*(?:pg_)?sleep\(\s*['"\d]"#,
            r"benchmark\(\s*\d{3,}\s*,",
            r#"waitfor\s+delay\s*['"]"#,
            r"(?:extractvalue|updatexml)\s*\(\s*[\w'(]+\s*,",
            r#"load_file\s*\(\s*(?:['"(]|0x|char)"#,
            r#"into\s+(?:out|dump)file\s*['"]"#,
            r"xp_cmdshell\s*(?:\(|'|$)",
            r"from\s+information_schema\s*\.",
        ],
    },
    RuleSpec {
        id: "xss-tag",
        title: "HTML: a tag that runs or embeds",
        places: VALUES_AND_FIELDS,
        check: Check::Pattern,
        words: &["script", "<iframe", "<object", "<embed", "<applet"],
        patterns: &[
            r"<\s*/?\s*script(?:[\s/>]|$)",
            r"<(?:iframe|object|embed|applet)[\s/>]",
        ],
    },
    RuleSpec {
        id: "xss-event",
        title: "HTML: an event handler",
        places: VALUES,
        check: Check::Pattern,
        words: &["on"],
        patterns: &[
            r#"<[a-z!/][^>]{0,512}[\s/"'`]on[a-z]{3,32}\s*="#,
            concat!(
                r#"["'`][\s/]*on(?:abort|animation\w{3,9}|auxclick|before\w{3,12}|blur|change|click|"#,
                r"copy|cut|dblclick|drag\w{0,5}|drop|error|focus\w{0,3}|hashchange|input|invalid|key\w{2,5}|",
                r"load\w{0,8}|message|mouse\w{2,5}|paste|pointer\w{2,12}|reset|resize|scroll|select|",
                r"submit|toggle|touch\w{3,6}|transition\w{3,6}|unload|wheel)\s*=",
            ),
        ],
    },
    RuleSpec {
        id: "xss-uri",
        title: "HTML: an address that is a program",
        places: VALUES,
        check: Check::Pattern,
        words: &[":"],
        patterns: &[
            concat!(
                r"\bj[\t\r\n]*a[\t\r\n]*v[\t\r\n]*a[\t\r\n]*s[\t\r\n]*c[\t\r\n]*r[\t\r\n]*i[\t\r\n]*",
                r#"p[\t\r\n]*t[\t\r\n]*:\s*(?:/[/*]|[\w.$]{1,64}[(`=\[]|['"`(\[%])"#,
            ),
            r"\bvbscript:\s*\w{1,64}[\s(]",
            r"\bdata:text/(?:html|xml)[,;]",
        ],
    },
    RuleSpec {
        id: "command-injection",
        title: "Shell: a command after a separator",
        places: VALUES,
        check: Check::Pattern,
        words: &[
            ";",
            "|",
            "&",
            "`",
            "$(",
            "/bin/",
            "/dev/tcp/",
            "cmd",
            "powershell",
            "\n",
        ],
        patterns: &[
            r"(?:[;|\n`]|&&|\$\()\s*(?:cat|head|tail|less|more|tac|nl|xxd)\s+(?:-\w+\s+)*[/~.*$]",
            r#"(?:[;|\n`]|&&|\$\()\s*(?:wget|curl)\s+(?:-|["']?(?:https?|ftp):|\d{1,3}\.)"#,
            r"(?:[;|\n`]|&&|\$\()\s*(?:ba|da|z|k)?sh\s+-[a-z]",
            r"(?:[;|\n`]|&&|\$\()\s*(?:python\d?|perl|php|ruby|node)\s+-[a-z]",
            concat!(
                r"(?:[;|\n]|&&)\s*(?:whoami|uname|ifconfig|netstat|printenv)",
                r"\s*(?:$|[;|&`)#\n]|\s-[a-z])"
            ),
            r"(?:&&|\|\|)\s*(?:id|ls|pwd|env|ps|dir)\s*(?:$|[;|&`)#\n]|\s-[a-z]|\s/)",
            r"[;|\n]\s*(?:id|ls|ps|env|dir)\s+[-/]",
            r"[;|\n]\s*(?:rm\s+-[rf]|nc\s+(?:-[a-z]+\s+)*[\w.]+\s+\d|ping\s+-[cn]\s)",
            concat!(
                r"(?:\$\(|[^\s`]`)\s*(?:id|ls|cat|pwd|env|ps|whoami|uname|hostname|curl|wget|nc|",
                r"ping|sleep|echo|bash|sh)(?:\s[^)`]{0,256})?[)`]"
            ),
            r"/bin/(?:ba|da|z|k|c)?sh\s+-[a-z]",
            r"/dev/tcp/[\w.]+/\d",
            r"\bcmd(?:\.exe)?\s+/c\s",
            r"\bpowershell(?:\.exe)?\s+-(?:e|enc|encodedcommand|nop|noprofile|w|c|command)\s",
        ],
    },
    RuleSpec {
        id: "jndi-lookup",
        title: "A logger's lookup that loads code",
        places: EVERYWHERE,
        check: Check::Pattern,
        words: &["${"],
        patterns: &[
            r"\$\{\s*jndi\s*:",
            r"\$\{\s*\$\{\s*(?:[\w:]{0,32}:-|lower:|upper:|env:|sys:|date:|main:)",
            r"\$\{\s*(?:j|jn|jnd)\$\{",
            r"\$\{\s*(?:lower|upper)\s*:[^}]{0,16}\}[^}]{0,64}ndi",
        ],
    },
    RuleSpec {
        id: "shellshock",
        title: "A shell function in a field",
        places: FIELDS,
        check: Check::Pattern,
        words: &["()"],
        patterns: &[r"^\(\)\s*\{", r"=\(\)\s*\{[^}]{0,64};\s*\}\s*;"],
    },
];
