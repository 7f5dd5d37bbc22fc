//! One connection over time: sends, notices that it broke, opens it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri, Version};
use tokio::sync::Mutex;

use crate::connect::{Connector, Sender};
use crate::plan::{Plan, Protocol};
use crate::record::{Answer, Failure};
use crate::run::RunError;

/// The request in the form the protocol wants.
pub(crate) fn template(plan: &Plan) -> Result<Request<Full<Bytes>>, RunError> {
    let failed = |error: hyper::http::Error| RunError::Request(error.to_string());
    let request = &plan.request;
    let path = plan
        .target
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let mut built = Request::new(Full::new(request.body.clone()));
    *built.method_mut() = request.method.clone();
    *built.headers_mut() = request.headers.clone();
    match plan.protocol {
        Protocol::H1 => {
            *built.uri_mut() = path
                .parse()
                .map_err(|e| failed(hyper::http::Error::from(e)))?;
            let host = HeaderValue::from_str(&request.authority)
                .map_err(|e| failed(hyper::http::Error::from(e)))?;
            built.headers_mut().insert(HOST, host);
        }
        Protocol::H2 | Protocol::H3 => {
            let scheme = plan.target.uri.scheme_str().unwrap_or("http");
            *built.uri_mut() = Uri::builder()
                .scheme(scheme)
                .authority(request.authority.as_str())
                .path_and_query(path)
                .build()
                .map_err(failed)?;
            *built.version_mut() = match plan.protocol {
                Protocol::H1 | Protocol::H2 => Version::HTTP_2,
                Protocol::H3 => Version::HTTP_3,
            };
        }
    }
    Ok(built)
}

/// A connection's place. Holds at most one connection.
pub(crate) struct Lane {
    connector: Arc<Connector>,
    sender: Mutex<Option<Sender>>,
    reconnects: AtomicU64,
}

impl Lane {
    /// Opens the first connection.
    pub(crate) async fn open(connector: Arc<Connector>) -> Result<Self, Failure> {
        let sender = connector.connect().await?;
        Ok(Self {
            connector,
            sender: Mutex::new(Some(sender)),
            reconnects: AtomicU64::new(0),
        })
    }

    /// How often it had to be opened again.
    pub(crate) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Sends `request` and reads the whole answer. Dropping the future gives
    /// an h1 connection up: its answer would be taken for the next one's.
    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        match self.checkout().await? {
            Sender::H1(mut sender) => {
                let answer = match sender.send_request(request).await {
                    Ok(response) => read(response).await?,
                    Err(_) => return Err(Failure::Broken),
                };
                *self.sender.lock().await = Some(Sender::H1(sender));
                Ok(answer)
            }
            Sender::H2(mut sender) => match sender.send_request(request).await {
                Ok(response) => read(response).await,
                Err(_) => Err(Failure::Broken),
            },
            Sender::H3(mut sender) => sender.exchange(request).await,
        }
    }

    /// A sender that is ready: the connection's, or a new connection's when
    /// the server has closed it.
    async fn checkout(&self) -> Result<Sender, Failure> {
        let mut held = self.sender.lock().await;
        let ready = match held.take() {
            None => None,
            Some(Sender::H1(mut sender)) => {
                sender.ready().await.is_ok().then_some(Sender::H1(sender))
            }
            Some(Sender::H2(mut sender)) => {
                sender.ready().await.is_ok().then_some(Sender::H2(sender))
            }
            Some(Sender::H3(sender)) => sender.is_open().then_some(Sender::H3(sender)),
        };
        let sender = if let Some(sender) = ready {
            sender
        } else {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
            self.connector.connect().await?
        };
        match &sender {
            Sender::H1(_) => {}
            Sender::H2(shared) => *held = Some(Sender::H2(shared.clone())),
            Sender::H3(shared) => *held = Some(Sender::H3(shared.clone())),
        }
        Ok(sender)
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut body_bytes = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Truncated)?;
        body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(Answer { status, body_bytes })
}
