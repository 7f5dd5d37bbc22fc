//! The run itself: lanes, a pacer, and a bounded end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::connect::Connector;
use crate::lane::{Lane, template};
use crate::plan::{Load, Plan};
use crate::record::{Answer, Failure, Record, Times};
use crate::report::Report;
use crate::schedule::Schedule;

/// Pause of a sender after a connection could not be opened: a closed loop
/// would otherwise spin against a dead server.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Why a run could not begin. Failures during a run are results.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Certificates, host name or TLS settings.
    #[error("TLS: {0}")]
    Tls(String),
    /// The request cannot be built.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The first connections could not be opened.
    #[error("cannot open connection {number} of {of} to {url}: {failure:?}")]
    Open {
        /// Which one, from one.
        number: usize,
        /// How many were wanted.
        of: usize,
        /// The target.
        url: String,
        /// Why.
        failure: Failure,
    },
    /// No thread for the pacer.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What all senders of a run share.
struct Shared {
    plan: Plan,
    template: Request<Full<Bytes>>,
    begin: Instant,
    /// Requests to make in all; `u64::MAX` when only time ends a closed run.
    limit: u64,
    next: AtomicU64,
    due: Semaphore,
    record: Mutex<Record>,
    /// Recorded requests that have neither been answered nor failed yet.
    open: AtomicU64,
    over: AtomicBool,
}

/// Runs `plan` to its end: at most warm-up, duration and timeout.
///
/// # Errors
/// [`RunError`] when it cannot begin.
pub async fn run(plan: Plan) -> Result<Report, RunError> {
    let connector = Arc::new(Connector::new(plan.target.clone(), plan.protocol)?);
    let template = template(&plan)?;
    let lanes = open_lanes(&plan, &connector).await?;
    let shared = Arc::new(Shared::new(plan, template));
    let pacer = start_pacer(&shared)?;
    let mut senders = JoinSet::new();
    for lane in &lanes {
        for _ in 0..shared.plan.lanes.streams.get() {
            senders.spawn(send_all(Arc::clone(&shared), Arc::clone(lane)));
        }
    }
    let end = shared.plan.window.warm_up + shared.plan.window.duration + shared.plan.timeout;
    let finished = async { while senders.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout_at((shared.begin + end).into(), finished)
        .await
        .is_ok();
    shared.over.store(true, Ordering::Relaxed);
    if !in_time {
        senders.shutdown().await;
    }
    if let Some(pacer) = pacer {
        pacer.thread().unpark();
        // The pacer cannot panic: it sleeps and counts.
        drop(pacer.join());
    }
    let reconnects = lanes.iter().map(|lane| lane.reconnects()).sum();
    Ok(shared.report(reconnects))
}

async fn open_lanes(plan: &Plan, connector: &Arc<Connector>) -> Result<Vec<Arc<Lane>>, RunError> {
    let count = plan.lanes.connections.get();
    let mut lanes = Vec::with_capacity(count);
    for number in 1..=count {
        let opened = tokio::time::timeout(plan.timeout, Lane::open(Arc::clone(connector))).await;
        let lane = opened
            .unwrap_or(Err(Failure::Timeout))
            .map_err(|failure| RunError::Open {
                number,
                of: count,
                url: plan.target.uri.to_string(),
                failure,
            })?;
        lanes.push(Arc::new(lane));
    }
    Ok(lanes)
}

impl Shared {
    fn new(plan: Plan, template: Request<Full<Bytes>>) -> Self {
        let window = plan.window;
        let by_count = window
            .requests
            .map_or(u64::MAX, |requests| u64::from(requests.get()));
        let by_time = match plan.load {
            Load::Open(rate) => Schedule::new(rate).starts_before(window.warm_up + window.duration),
            Load::Closed => u64::MAX,
        };
        Self {
            plan,
            template,
            begin: Instant::now(),
            limit: by_count.min(by_time),
            next: AtomicU64::new(0),
            due: Semaphore::new(0),
            record: Mutex::new(Record::new()),
            open: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next request's turn: its intended start, or `None` when
    /// there are no more.
    async fn next_start(&self) -> Option<Instant> {
        match self.plan.load {
            Load::Open(rate) => {
                self.due.acquire().await.ok()?.forget();
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                (index < self.limit).then(|| self.begin + Schedule::new(rate).start_of(index))
            }
            Load::Closed => {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                let now = Instant::now();
                let end = self.plan.window.warm_up + self.plan.window.duration;
                (index < self.limit && now.duration_since(self.begin) < end).then_some(now)
            }
        }
    }

    fn counts(&self, intended: Instant) -> bool {
        intended.duration_since(self.begin) >= self.plan.window.warm_up
    }

    async fn send_one(&self, lane: &Lane, intended: Instant) {
        let counts = self.counts(intended);
        if counts {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        let sent = Instant::now();
        let exchange = lane.exchange(self.template.clone());
        let result = tokio::time::timeout(self.plan.timeout, exchange).await;
        let times = Times {
            intended,
            sent,
            ended: Instant::now(),
        };
        let result = result.unwrap_or(Err(Failure::Timeout));
        if counts {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.enter(result, times);
        }
        if matches!(result, Err(Failure::Connect | Failure::Tls)) {
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    fn enter(&self, result: Result<Answer, Failure>, times: Times) {
        let mut record = self.lock();
        match result {
            Ok(answer) => {
                record.answered(answer, times);
                if !self.plan.ok.contains(&answer.status) {
                    record.failed(Failure::Status, 1);
                }
            }
            Err(failure) => record.failed(failure, 1),
        }
    }

    /// Requests that should have started in the recorded time and never did.
    fn unsent(&self) -> u64 {
        let Load::Open(rate) = self.plan.load else {
            return 0;
        };
        let warm_up = Schedule::new(rate).starts_before(self.plan.window.warm_up);
        let started = self.next.load(Ordering::Relaxed).min(self.limit);
        self.limit.saturating_sub(started.max(warm_up))
    }

    fn report(&self, reconnects: u64) -> Report {
        let mut record = self.lock();
        record.reconnects = reconnects;
        record.failed(Failure::Timeout, self.open.load(Ordering::Relaxed));
        record.failed(Failure::Unsent, self.unsent());
        Report::new(&self.plan, &record, self.begin + self.plan.window.warm_up)
    }
}

async fn send_all(shared: Arc<Shared>, lane: Arc<Lane>) {
    while let Some(intended) = shared.next_start().await {
        shared.send_one(&lane, intended).await;
    }
}

/// A thread of its own: the runtime's timers count whole milliseconds.
fn start_pacer(shared: &Arc<Shared>) -> Result<Option<std::thread::JoinHandle<()>>, RunError> {
    let Load::Open(rate) = shared.plan.load else {
        return Ok(None);
    };
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("pacer".to_owned());
    thread
        .spawn(move || pace(&shared, Schedule::new(rate)))
        .map(Some)
        .map_err(RunError::Thread)
}

fn pace(shared: &Shared, schedule: Schedule) {
    let senders = shared.plan.lanes.connections.get() * shared.plan.lanes.streams.get();
    let mut given = 0;
    while given < shared.limit && !shared.over.load(Ordering::Relaxed) {
        let elapsed = shared.begin.elapsed();
        let due = schedule.due(elapsed).min(shared.limit);
        shared
            .due
            .add_permits(usize::try_from(due - given).unwrap_or(0));
        given = due;
        let wait = schedule
            .start_of(given)
            .saturating_sub(shared.begin.elapsed());
        if !wait.is_zero() && given < shared.limit {
            std::thread::park_timeout(wait.min(Duration::from_millis(100)));
        }
    }
    // One more turn for everybody, to see that there are no more requests.
    shared.due.add_permits(senders);
}
