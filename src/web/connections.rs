//! Open connections: TLS, HTTP/1.1, and what keeps clients from holding connections without using them.
//!
//! The number of connections is bounded. At the bound, the connection that has waited longest for its client is closed
//! to make room for the next, so that silent clients can't keep others out.

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
use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listen::{self, Socket};
use super::replies;
use super::routes::Routes;
use crate::exposition::Handler;

/// The longest request head with its first line; others get 431. Browsers and scrapers send under 2 KiB. Unit: bytes.
const MAX_HEAD: usize = 16 << 10;

/// The most that hyper buffers for a client that doesn't read, besides one chunk of a page. Unit: bytes.
const MAX_BUFFER: usize = 32 << 10;

/// The reply to a client that speaks plain HTTP on a TLS port, in Go's words.
const HTTPS_ONLY: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// How long a new connection waits, while all are being answered, before it looks again for one that can be closed.
const ROOM_RETRY: Duration = Duration::from_millis(50);

/// The number of connections that may be open at one time, unless more are needed to probe many Mini Programs.
const MIN_CONNECTIONS: usize = 512;

/// Limits on what a client may hold, and for how long.
pub(super) struct Limits {
    /// The number of connections open at one time.
    pub(super) connections: usize,
    /// The time for the TLS handshake.
    pub(super) handshake: Duration,
    /// The time for a client to send a whole request after the last one, and to read some of what is ready for it. It
    /// exceeds the usual scrape intervals, so that a scraper can keep its connection.
    pub(super) client: Duration,
}

impl Limits {
    /// Returns the limits for that many requests at one time, each of which needs a connection.
    pub(super) fn of(requests: Option<usize>) -> Self {
        let connections = requests.unwrap_or(0).max(MIN_CONNECTIONS);
        // Half of the process's file descriptors are reserved for WeChat and for files.
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let descriptors = usize::try_from(descriptors / 2).unwrap_or(usize::MAX);
        Self {
            connections: connections.min(descriptors),
            handshake: Duration::from_secs(10),
            client: Duration::from_secs(150),
        }
    }
}

pub(super) struct Connections {
    routes: Routes,
    limits: Limits,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// May include connections that have ended; see [`Self::open`].
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    task: AbortHandle,
    waiting_since: WaitingSince,
}

/// When a connection began to wait for its client; `None` while a request is being answered.
type WaitingSince = Arc<Mutex<Option<Instant>>>;

/// A request being answered, until its reply has been handed to hyper or dropped.
struct Answering(WaitingSince);

impl Connections {
    pub(super) fn new(routes: Routes, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            routes,
            limits,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            connections: Mutex::default(),
        })
    }

    /// Serves another connection in a task of its own, as soon as there is room.
    pub(super) async fn add(self: &Arc<Self>, socket: Socket) {
        while self.open().len() >= self.limits.connections {
            if self.close_longest_waiting() {
                // The descriptor is free once the task has ended.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(ROOM_RETRY).await;
            }
        }
        let waiting_since = Arc::new(Mutex::new(Some(Instant::now())));
        let serving = Arc::clone(self).serve(socket, Arc::clone(&waiting_since));
        let task = self.tasks.spawn(serving).abort_handle();
        self.connections.lock().push(Connection {
            task,
            waiting_since,
        });
    }

    /// Closes the connection that has waited longest for its client. Returns false if all are being answered.
    pub(super) fn close_longest_waiting(&self) -> bool {
        let open = self.open();
        let waiting = open.iter().filter_map(|connection| {
            let since = *connection.waiting_since.lock();
            Some((since?, &connection.task))
        });
        let longest = waiting.min_by_key(|(since, _)| *since);
        longest.map(|(_, task)| task.abort()).is_some()
    }

    /// Stops taking requests and waits for those in progress to be answered.
    pub(super) async fn finish(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(super) fn close_all(&self) {
        for connection in self.open().iter() {
            connection.task.abort();
        }
    }

    /// Returns the connections that have not ended.
    fn open(&self) -> MutexGuard<'_, Vec<Connection>> {
        let mut connections = self.connections.lock();
        connections.retain(|connection| !connection.task.is_finished());
        connections
    }

    async fn serve(self: Arc<Self>, socket: Socket, waiting_since: WaitingSince) {
        let local = listen::local_address(&socket);
        let handshake =
            async { tokio::time::timeout(self.limits.handshake, self.handshake(socket)).await? };
        let stream = match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            None => return,
        };
        let service = service_fn(|request: Request<Incoming>| {
            let answering = Answering::new(&waiting_since);
            let routes = &self.routes;
            // Bodies are never read. hyper closes the connection if it can't skip one.
            let (head, _) = request.into_parts();
            async move {
                let reply = routes.answer(&head, local).await;
                Ok::<_, Infallible>(replies::holding(reply, answering))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.client)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            // A client may close its sending side and still wait for the reply (`nc -N`).
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        let Err(error) = ended else { return };
        // hyper has already answered a request that was too malformed to be routed.
        if error.is_parse() {
            let code = if error.is_parse_too_large() {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            self.routes.count(Handler::Other, code);
        }
        tracing::debug!(error = &error as &dyn Error, "connection ended");
    }

    /// Returns the stream that carries HTTP, after the TLS handshake if TLS is served.
    async fn handshake(
        &self,
        mut socket: Socket,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let tls = self.routes.access.tls();
        if tls.is_some() && listen::begins_with_a_letter(&socket).await {
            let code = StatusCode::BAD_REQUEST;
            self.routes.count(Handler::Other, code);
            // Closing a connection with unread data resets it, and the reply may be lost.
            let _ = socket.read(&mut vec![0; MAX_HEAD]).await?;
            socket.write_all(HTTPS_ONLY).await?;
            return Err(io::Error::other("the client speaks plain HTTP"));
        }
        let mut stream = TimeoutStream::new(socket);
        stream.set_write_timeout(Some(self.limits.client));
        let stream = Box::pin(stream);
        let Some(file) = tls else {
            return Ok(Either::Right(stream));
        };
        let config = file.tls().await.map_err(io::Error::other)?;
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Either::Left(stream))
    }
}

impl Answering {
    fn new(waiting_since: &WaitingSince) -> Self {
        *waiting_since.lock() = None;
        Self(Arc::clone(waiting_since))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        *self.0.lock() = Some(Instant::now());
    }
}
