//! What the demo says when it is ready.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::output;

/// Where everything is.
pub(super) struct Ready {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    /// `http://ADDRESS`; `None` when the file turns the admin side off or puts
    /// it on a unix socket.
    pub(super) admin: Option<SocketAddr>,
    pub(super) dir: PathBuf,
    pub(super) backends: Vec<Place>,
}

/// A backend as it is told about.
pub(super) struct Place {
    pub(super) region: &'static str,
    pub(super) url: String,
    pub(super) pid: u32,
}

/// One `tools/list` of the era without sessions.
const TOOLS_LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"curl","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

impl Ready {
    /// One line of JSON.
    pub(super) fn print_json(&self) {
        let backends: serde_json::Map<String, serde_json::Value> = self
            .backends
            .iter()
            .map(|backend| {
                (
                    backend.region.to_owned(),
                    json!({ "url": backend.url, "pid": backend.pid }),
                )
            })
            .collect();
        output::line(json!({
            "http": format!("http://{}", self.http),
            "https": format!("https://{}", self.https),
            "admin": self.admin.map(|admin| format!("http://{admin}")),
            "dir": self.dir,
            "backends": backends,
        }));
    }

    /// A line an endpoint, and commands to try.
    pub(super) fn print(&self) {
        output::line(format_args!("http     http://{}", self.http));
        output::line(format_args!("https    https://{} (h1, h2, h3)", self.https));
        if let Some(admin) = self.admin {
            output::line(format_args!("admin    http://{admin}"));
        }
        for backend in &self.backends {
            output::line(format_args!(
                "backend  {} {} (pid {})",
                backend.url, backend.region, backend.pid
            ));
        }
        output::line(format_args!(
            "files    {} (edit them while this runs)",
            self.dir.display()
        ));
        output::line("\nTry:");
        for command in self.commands() {
            output::line(format_args!("\n{command}"));
        }
    }

    fn commands(&self) -> [String; 3] {
        let http = format!("http://{}/v3/echo", self.http);
        let secret = "-H 'x-data-class: tier_1_pii'";
        [
            format!(
                "# a German client with personal data: Europe answers\ncurl -si -H 'X-Forwarded-For: 91.64.0.1' {secret} {http}"
            ),
            format!(
                "# an Indian one: no region may, 451 says why\ncurl -si -H 'X-Forwarded-For: 49.36.0.1' {secret} {http}"
            ),
            format!(
                "# the tools of the nearest MCP server\ncurl -s --cacert '{}' https://localhost:{}/mcp \
                 -H 'content-type: application/json' -H 'accept: application/json, text/event-stream' \
                 -H 'mcp-protocol-version: 2026-07-28' -H 'mcp-method: tools/list' \
                 -d '{TOOLS_LIST}'",
                self.dir.join("tls.pem").display(),
                self.https.port(),
            ),
        ]
    }
}
