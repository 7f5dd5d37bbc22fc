//! From a request to its answer. Promises that control paths (`/v3/health`,
//! and with faults on `/v3/log` and `/fault`) are never delayed, that what is
//! not a known path is 404, and that every other request is counted, noted,
//! delayed and exposed to the fault in force, in that order.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header::ALLOW};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    body::{Answer, Cut, Tracked, json, no_room, refusal},
    echo,
    fault::{Effect, Fault, FaultPlan, HEALTH_PATH, Outcome, Reset},
    journal::Journal,
    link::Link,
    load::{Kind, Load},
    mcp::Mcp,
    options::Options,
    store::{Store, StoreError},
    streams,
    tools::Regional,
    ws,
};

/// Longest body of `POST /fault`, in bytes.
const FAULT_BODY_MAX: usize = 64 * 1024;
/// Names this region on every answer.
const REGION_HEADER: HeaderName = HeaderName::from_static("x-backend-region");

/// One regional server: everything that its connections share.
pub(crate) struct Backend {
    options: Options,
    pub(crate) load: Arc<Load>,
    store: Arc<Store>,
    mcp: Mcp,
    journal: Mutex<Journal>,
    faults: Mutex<FaultPlan>,
    started: Instant,
    /// Cancelled when a stop begins: health says so, connections wind down.
    pub(crate) draining: CancellationToken,
    /// Cancelled when standing streams have to end.
    pub(crate) closing: CancellationToken,
    /// Tasks of the echoes that are open.
    pub(crate) sockets: TaskTracker,
}

/// What `/v3/health` answers.
#[derive(Serialize)]
struct Health<'a> {
    region: &'a str,
    /// `healthy`, `unhealthy` (by a fault) or `draining`.
    status: &'static str,
    in_flight: usize,
    capacity: usize,
    /// `in_flight` over `capacity`, 0 to 1.
    utilization: f64,
    streams: usize,
    sessions: usize,
    requests_total: u64,
    cancelled_total: u64,
    records: usize,
    uptime_seconds: u64,
    version: &'static str,
}

impl Backend {
    /// Opens the store and builds the MCP service.
    pub(crate) fn new(options: Options) -> Result<Self, StoreError> {
        let store = Arc::new(
            options
                .store
                .as_deref()
                .map_or_else(|| Ok(Store::in_memory()), Store::open)?,
        );
        let journal = Journal::open(options.log.as_deref()).map_err(|error| StoreError::File {
            path: options.log.clone().unwrap_or_default(),
            error,
        })?;
        let load = Arc::new(Load::new(options.capacity));
        let closing = CancellationToken::new();
        let server = Regional::new(
            options.region.clone(),
            Arc::clone(&store),
            Arc::clone(&load),
        );
        let mcp = Mcp::new(&options, server, closing.clone());
        Ok(Self {
            options,
            load,
            store,
            mcp,
            journal: Mutex::new(journal),
            faults: Mutex::default(),
            started: Instant::now(),
            draining: CancellationToken::new(),
            closing,
            sockets: TaskTracker::new(),
        })
    }

    /// Answers one request. An error closes the connection unanswered.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        link: &Arc<Link>,
    ) -> io::Result<Answer> {
        link.mark_used();
        let mut answer = match request.uri().path() {
            HEALTH_PATH => self.health(link).await?,
            "/v3/log" if self.options.faults => self.log(&request),
            "/fault" if self.options.faults => self.fault(request).await,
            _ => self.serve(request, link).await?,
        };
        if let Ok(region) = HeaderValue::from_str(self.options.region.as_str()) {
            answer.headers_mut().insert(REGION_HEADER, region);
        }
        Ok(answer)
    }

    /// Everything but the control paths.
    async fn serve(&self, request: Request<Incoming>, link: &Arc<Link>) -> io::Result<Answer> {
        let kind = kind_of(&request);
        let Some(guard) = self.load.enter(kind) else {
            return Ok(no_room("as many requests in flight as this server takes"));
        };
        let (parts, body) = request.into_parts();
        if self.options.faults || self.options.log.is_some() {
            lock(&self.journal).record(&parts)?;
        }
        let effect = self.draw(parts.uri.path());
        let half = self.options.delay / 2;
        let rest = self.options.delay.saturating_sub(half);
        pause(half + effect.latency).await;
        if let Some(answer) = self.fail(effect, link).await? {
            pause(rest).await;
            return Ok(answer);
        }
        let request = Request::from_parts(parts, body);
        if request.uri().path() == "/v3/ws/echo" {
            pause(rest).await;
            let held = ws::Held {
                link: Arc::clone(link),
                guard,
                closing: self.closing.clone(),
            };
            let (answer, task) = ws::upgrade(request, held);
            task.map(|task| self.sockets.spawn(task));
            return Ok(answer);
        }
        let answer = self.route(request).await;
        pause(rest).await;
        Ok(answer.map(|body| {
            let body = Tracked { body, guard }.boxed_unsync();
            match effect.outcome {
                Outcome::Reset(Reset::MidBody) => Cut::new(body, Arc::clone(link)).boxed_unsync(),
                Outcome::Reset(Reset::BeforeAnswer)
                | Outcome::Serve
                | Outcome::Fail(_)
                | Outcome::Hang
                | Outcome::Unhealthy => body,
            }
        }))
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let uri = request.uri().clone();
        let region = &self.options.region;
        let made = match uri.path() {
            "/mcp" => Ok(self.mcp.answer(request).await),
            "/v3/echo" => Ok(echo::describe(request, region).await),
            "/v3/echo/body" => Ok(echo::stream(request)),
            "/v3/sse" => streams::events(&uri, region, self.closing.clone()),
            "/v3/bytes" => streams::bytes(&uri),
            "/v3/trailers" => Ok(streams::trailers()),
            path => Ok(match path.strip_prefix("/v3/status/") {
                Some(code) => streams::status(code),
                None => refusal(StatusCode::NOT_FOUND, "no such path"),
            }),
        };
        made.unwrap_or_else(|answer| *answer)
    }

    /// What the fault in force puts in place of an answer, if anything.
    async fn fail(&self, effect: Effect, link: &Arc<Link>) -> io::Result<Option<Answer>> {
        match effect.outcome {
            Outcome::Serve | Outcome::Unhealthy | Outcome::Reset(Reset::MidBody) => Ok(None),
            Outcome::Fail(code) => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                Ok(Some(refusal(status, "fault on demand")))
            }
            Outcome::Hang => {
                self.closing.cancelled().await;
                Err(io::ErrorKind::TimedOut.into())
            }
            Outcome::Reset(Reset::BeforeAnswer) => {
                link.cut();
                std::future::pending().await
            }
        }
    }

    async fn health(&self, link: &Arc<Link>) -> io::Result<Answer> {
        let effect = self.draw(HEALTH_PATH);
        pause(effect.latency).await;
        if let Some(answer) = self.fail(effect, link).await? {
            return Ok(answer);
        }
        let (status, code) = if effect.outcome == Outcome::Unhealthy {
            ("unhealthy", StatusCode::SERVICE_UNAVAILABLE)
        } else if self.draining.is_cancelled() {
            ("draining", StatusCode::SERVICE_UNAVAILABLE)
        } else {
            ("healthy", StatusCode::OK)
        };
        let (in_flight, capacity) = (self.load.in_flight(), self.load.capacity());
        let report = Health {
            region: self.options.region.as_str(),
            status,
            in_flight,
            capacity,
            utilization: share(in_flight, capacity),
            streams: self.load.streams(),
            sessions: self.mcp.sessions().await,
            requests_total: self.load.requests(),
            cancelled_total: self.load.cancelled(),
            records: self.store.len(),
            uptime_seconds: self.started.elapsed().as_secs(),
            version: env!("CARGO_PKG_VERSION"),
        };
        Ok(json(code, &report))
    }

    fn log(&self, request: &Request<Incoming>) -> Answer {
        match *request.method() {
            Method::GET => match streams::number(request.uri(), "limit", u64::MAX) {
                Ok(limit) => {
                    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                    json(StatusCode::OK, &lock(&self.journal).report(limit))
                }
                Err(answer) => *answer,
            },
            Method::DELETE => {
                lock(&self.journal).clear();
                crate::body::empty(StatusCode::NO_CONTENT)
            }
            _ => not_allowed("GET, DELETE"),
        }
    }

    async fn fault(&self, request: Request<Incoming>) -> Answer {
        match *request.method() {
            Method::GET => {}
            Method::DELETE => lock(&self.faults).clear(),
            Method::POST => {
                let Ok(body) = Limited::new(request.into_body(), FAULT_BODY_MAX)
                    .collect()
                    .await
                else {
                    return refusal(StatusCode::BAD_REQUEST, "body: at most 64 KiB");
                };
                match Fault::parse(&body.to_bytes()) {
                    Ok(fault) => lock(&self.faults).set(fault),
                    Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
                }
            }
            _ => return not_allowed("GET, POST, DELETE"),
        }
        json(StatusCode::OK, &lock(&self.faults).report())
    }

    fn draw(&self, path: &str) -> Effect {
        if self.options.faults {
            lock(&self.faults).draw(path)
        } else {
            Effect::NONE
        }
    }
}

fn kind_of(request: &Request<Incoming>) -> Kind {
    let standing = match request.uri().path() {
        "/mcp" => request.method() == Method::GET,
        path => path == "/v3/ws/echo",
    };
    if standing {
        Kind::Standing
    } else {
        Kind::Request
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Zero capacity is fully used.
fn share(part: usize, whole: usize) -> f64 {
    let number = |n| u32::try_from(n).map_or(f64::from(u32::MAX), f64::from);
    if whole == 0 {
        1.0
    } else {
        number(part) / number(whole)
    }
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

/// Plans and journals are whole after each call, so a panic elsewhere does
/// not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
