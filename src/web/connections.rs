//! Open connections: TLS, HTTP/1.1, and what keeps a client from holding one for nothing.
//!
//! Their number is bounded. When there are too many, the one that has waited longest for its client makes room for the
//! next, so that whoever opens connections and says nothing keeps nobody out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::listen::{Accepted, Stream};
use super::replies;
use super::routes::Routes;

/// A request's head with its first line; a longer one gets 431. Browsers and scrapers send less than 2 KiB. Unit: bytes.
const MAX_HEAD: usize = 16 << 10;

/// What hyper holds for a client that doesn't read, besides one chunk of a page. Unit: bytes.
const MAX_BUFFER: usize = 32 << 10;

/// The time between two tries to find a connection that can make room while each is being answered.
const ROOM_RETRY: Duration = Duration::from_millis(50);

/// Enough connections for anybody who means well.
const MAX_CONNECTIONS: usize = 512;
/// At least so many, however few file descriptors there are.
const MIN_CONNECTIONS: usize = 8;

/// What a client may hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections open at one time.
    pub(super) connections: usize,
    /// For the TLS handshake.
    pub(super) handshake: Duration,
    /// For the client to send a whole request after the last one, and to take something of what is ready for it. Beyond
    /// the scrape intervals that most people use, so that a scraper can keep its connection.
    pub(super) client: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // Half of this process's file descriptors are left for WeChat and for files.
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        Self {
            connections: usize::try_from(descriptors)
                .unwrap_or(usize::MAX)
                .clamp(MIN_CONNECTIONS, MAX_CONNECTIONS),
            handshake: Duration::from_secs(10),
            client: Duration::from_secs(150),
        }
    }
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    routes: Routes,
    limits: Limits,
    stop: watch::Sender<bool>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<u64, Entry>,
    last_id: u64,
}

#[derive(Debug)]
struct Entry {
    task: AbortHandle,
    /// `None` while a request is being answered.
    waiting_since: Option<Instant>,
}

/// One of the open connections until dropped.
#[derive(Debug)]
struct Connection {
    id: u64,
    all: Arc<Connections>,
}

/// A request being answered, until its reply has been handed to hyper or dropped.
#[derive(Debug)]
struct Answering(Arc<Connection>);

impl Connections {
    pub(super) fn new(routes: Routes, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            routes,
            limits,
            stop: watch::Sender::new(false),
            open: Mutex::default(),
        })
    }

    /// Serves one more connection in a task of its own, as soon as there is room.
    pub(super) async fn add(self: &Arc<Self>, accepted: Accepted) {
        while self.open.lock().by_id.len() >= self.limits.connections {
            let Some(closed) = self.close_longest_waiting() else {
                tokio::time::sleep(ROOM_RETRY).await;
                continue;
            };
            // Its descriptor is free only then, and connections can come faster than tasks end.
            while !closed.is_finished() {
                tokio::task::yield_now().await;
            }
        }
        let mut open = self.open.lock();
        open.last_id += 1;
        let id = open.last_id;
        let all = Arc::clone(self);
        let connection = Arc::new(Connection { id, all });
        // The lock is held until the entry is there, so the task can't remove it before.
        let task = tokio::spawn(connection.serve(accepted)).abort_handle();
        let waiting_since = Some(Instant::now());
        open.by_id.insert(
            id,
            Entry {
                task,
                waiting_since,
            },
        );
    }

    /// The connection that is being closed; `None` where each one is being answered.
    pub(super) fn close_longest_waiting(&self) -> Option<AbortHandle> {
        let mut open = self.open.lock();
        let waiting = open.by_id.iter();
        let waiting = waiting.filter_map(|(id, entry)| Some((entry.waiting_since?, *id)));
        let (_, id) = waiting.min()?;
        let entry = open.by_id.remove(&id)?;
        entry.task.abort();
        Some(entry.task)
    }

    /// Takes no more requests, and waits for the answers under way.
    pub(super) async fn finish(&self) {
        self.stop.send_replace(true);
        self.stop.closed().await;
    }

    pub(super) fn close_all(&self) {
        for entry in self.open.lock().by_id.values() {
            entry.task.abort();
        }
    }
}

impl Connection {
    fn answering(self: &Arc<Self>) -> Answering {
        self.set_waiting_since(None);
        Answering(Arc::clone(self))
    }

    fn set_waiting_since(&self, since: Option<Instant>) {
        if let Some(entry) = self.all.open.lock().by_id.get_mut(&self.id) {
            entry.waiting_since = since;
        }
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let limits = self.all.limits;
        let mut stop = self.all.stop.subscribe();
        let tls = self.all.routes.access.tls();
        let is_tls = tls.is_some();
        let local = accepted.local_address();
        let handshake = async {
            let is_plain_http = is_tls && accepted.begins_with_a_letter().await;
            let mut stream = TimeoutStream::new(accepted.into_stream());
            stream.set_write_timeout(Some(limits.client));
            let stream: Box<dyn Stream> = Box::new(Box::pin(stream));
            let stream: Box<dyn Stream> = match tls {
                Some(file) if !is_plain_http => {
                    let config = file.tls().await.map_err(io::Error::other)?;
                    Box::new(TlsAcceptor::from(config).accept(stream).await?)
                }
                _ => stream,
            };
            Ok::<_, io::Error>((stream, is_plain_http))
        };
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(limits.handshake, handshake) => handshake,
            () = told_to_stop(&mut stop) => return,
        };
        let (stream, is_plain_http) = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        };

        let service = service_fn(|request: Request<Incoming>| {
            let answering = self.answering();
            let routes = &self.all.routes;
            // Bodies are never read. hyper closes the connection where it can't skip one.
            let (head, _) = request.into_parts();
            async move {
                let reply = if is_plain_http {
                    routes.refuse_plain_http()
                } else {
                    routes.answer(&head, local).await
                };
                Ok::<_, Infallible>(replies::holding(reply, answering))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.client)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            // A client may say that it sends nothing more and still wait for its answer (`nc -N`).
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told_to_stop(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        let Err(error) = ended else { return };
        // hyper has answered a request that was too broken to be routed.
        if error.is_parse_too_large() {
            let code = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            self.all.routes.count_unrouted(code);
        } else if error.is_parse() {
            self.all.routes.count_unrouted(StatusCode::BAD_REQUEST);
        }
        tracing::debug!(error = &error as &dyn Error, "connection ended");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open.lock().by_id.remove(&self.id);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set_waiting_since(Some(Instant::now()));
    }
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is as good.
    let _ = stop.wait_for(|stop| *stop).await;
}
