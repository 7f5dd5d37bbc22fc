//! What every test needs: a backend on a free port and plain ways to talk to it.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian_backend::{Options, ServeError, serve};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// A test that waits longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running backend.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<Result<(), ServeError>>,
}

/// Options for tests: a region and faults.
pub(crate) fn options() -> Options {
    Options {
        faults: true,
        ..Options::new("europe-west1".parse().unwrap())
    }
}

/// Starts a backend on a free port.
pub(crate) async fn start(options: Options) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let task = tokio::spawn(serve(options, listener, shutdown));
    Server {
        address,
        stop: Some(stop),
        task,
    }
}

impl Server {
    /// Begins the stop.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end of the stop.
    pub(crate) async fn stopped(self) {
        within(self.task).await.unwrap().unwrap();
    }

    /// One HTTP/1.1 connection.
    pub(crate) async fn h1(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Client::H1(sender, self.address)
    }

    /// One HTTP/2 connection with prior knowledge.
    pub(crate) async fn h2(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) =
            conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        Client::H2(sender, self.address)
    }

    /// Sends one request on a connection of its own and reads the answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        self.h1().await.ask(method, path, body).await
    }

    /// Sets a fault.
    pub(crate) async fn fault(&self, fault: &Value) {
        let reply = self.ask("POST", "/fault", &fault.to_string()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }

    /// The load report.
    pub(crate) async fn health(&self) -> (StatusCode, Value) {
        let reply = self.ask("GET", "/v3/health", "").await;
        (reply.status, reply.json())
    }

    /// Waits until the load report's `field` is `value`.
    pub(crate) async fn until(&self, field: &str, value: u64) {
        within(async {
            while self.health().await.1[field] != value {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A client connection of either version.
pub(crate) enum Client {
    H1(conn::http1::SendRequest<Full<Bytes>>, SocketAddr),
    H2(conn::http2::SendRequest<Full<Bytes>>, SocketAddr),
}

impl Client {
    /// Sends a request as it is.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, hyper::Error> {
        let answer = async {
            match self {
                Self::H1(sender, _) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::H2(sender, _) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        within(answer).await
    }

    /// A request with the right authority for this version.
    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let builder = Request::builder().method(method);
        match self {
            Self::H1(_, address) => builder.uri(path).header("host", address.to_string()),
            Self::H2(_, address) => builder.uri(format!("http://{address}{path}")),
        }
    }

    /// Sends and reads to the end.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, hyper::Error> {
        let (parts, body) = self.send(request).await?.into_parts();
        let body = within(body.collect()).await?;
        let trailers = body.trailers().cloned();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    /// Sends and reads to the end what has to succeed.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let request = self
            .request(method, path)
            .body(Full::from(body.to_owned()))
            .unwrap();
        self.exchange(request).await.unwrap()
    }

    /// Calls an MCP method of the modern era and returns the raw answer.
    pub(crate) async fn modern(&mut self, method: &str, params: Value) -> http::Response<Incoming> {
        let request = self.modern_request(method, params);
        self.send(request).await.unwrap()
    }

    /// The request for [`Client::modern`].
    pub(crate) fn modern_request(&self, method: &str, mut params: Value) -> Request<Full<Bytes>> {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "progressToken": "p",
        });
        let mut builder = mcp_headers(self.request("POST", "/mcp"))
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            builder = builder.header("mcp-name", name);
        }
        for (param, header) in [("class", "Data-Class"), ("region", "Region")] {
            if let Some(value) = params["arguments"][param].as_str() {
                builder = builder.header(format!("mcp-param-{header}"), value);
            }
        }
        params["_meta"] = meta;
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        builder.body(Full::from(body.to_string())).unwrap()
    }

    /// Calls a tool in the modern era and returns its result.
    pub(crate) async fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let params = json!({ "name": name, "arguments": arguments });
        let answer = self.modern("tools/call", params).await;
        let body = within(answer.into_body().collect())
            .await
            .unwrap()
            .to_bytes();
        let reply: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(reply["id"], 7, "{reply}");
        reply["result"].clone()
    }
}

/// The headers that every MCP request needs.
pub(crate) fn mcp_headers(builder: http::request::Builder) -> http::request::Builder {
    builder
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
}

/// An answer that was read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Fails the test instead of hanging it.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

/// The next event of an SSE body, without its line of `data:`; `None` at the end.
pub(crate) async fn next_event(body: &mut Incoming, rest: &mut String) -> Option<String> {
    loop {
        if let Some((event, tail)) = rest.split_once("\n\n") {
            let event = event.to_owned();
            *rest = tail.into();
            return Some(event);
        }
        let data = within(body.frame()).await?.unwrap().into_data().ok()?;
        rest.push_str(std::str::from_utf8(&data).unwrap());
    }
}

/// The next event that carries JSON.
pub(crate) async fn next_json(body: &mut Incoming, rest: &mut String) -> Option<Value> {
    loop {
        let event = next_event(body, rest).await?;
        let data: String = event
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .collect();
        if let Ok(value) = serde_json::from_str(data.trim()) {
            return Some(value);
        }
    }
}
