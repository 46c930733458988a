//! Open connections: TLS, HTTP/1.1, and what keeps a client from holding one for nothing.
//!
//! Their number is bounded. When there are too many, the one that has waited longest for its client makes room for the
//! next, so that whoever opens connections and says nothing keeps nobody out.

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

/// A request's head with its first line; a longer one gets 431. Browsers and scrapers send less than 2 KiB. Unit: bytes.
const MAX_HEAD: usize = 16 << 10;

/// What hyper holds for a client that doesn't read, besides one chunk of a page. Unit: bytes.
const MAX_BUFFER: usize = 32 << 10;

/// To a client that speaks plain HTTP on a TLS port, in Go's words.
const HTTPS_ONLY: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// The time between two tries to find a connection that can make room while each is being answered.
const ROOM_RETRY: Duration = Duration::from_millis(50);

/// Connections that may be open at one time; more only where there are many Mini Programs to be probed.
const MIN_CONNECTIONS: usize = 512;

/// What a client may hold, and for how long.
pub(super) struct Limits {
    /// Connections open at one time.
    pub(super) connections: usize,
    /// For the TLS handshake.
    pub(super) handshake: Duration,
    /// For the client to send a whole request after the last one, and to take something of what is ready for it. Beyond
    /// the scrape intervals that most people use, so that a scraper can keep its connection.
    pub(super) client: Duration,
}

impl Limits {
    /// For so many requests at one time, each of which needs a connection.
    pub(super) fn of(requests: Option<usize>) -> Self {
        let connections = requests.unwrap_or(0).max(MIN_CONNECTIONS);
        // Half of this process's file descriptors are left for WeChat and for files.
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let descriptors = usize::try_from(descriptors / 2).unwrap_or(usize::MAX);
        Self {
            connections: connections.min(descriptors),
            handshake: Duration::from_secs(10),
            client: Duration::from_secs(150),
        }
    }
}

/// All connections.
pub(super) struct Connections {
    routes: Routes,
    limits: Limits,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// May hold some that have ended; see [`Self::open`].
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    task: AbortHandle,
    waiting_since: WaitingSince,
}

/// Since when a connection waits for its client; `None` while a request is being answered.
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

    /// Serves one more connection in a task of its own, as soon as there is room.
    pub(super) async fn add(self: &Arc<Self>, socket: Socket) {
        while self.open().len() >= self.limits.connections {
            if self.close_longest_waiting() {
                // Its descriptor is free when its task has ended.
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

    /// False where each one is being answered.
    pub(super) fn close_longest_waiting(&self) -> bool {
        let open = self.open();
        let waiting = open.iter().filter_map(|connection| {
            let since = *connection.waiting_since.lock();
            Some((since?, &connection.task))
        });
        let longest = waiting.min_by_key(|(since, _)| *since);
        longest.map(|(_, task)| task.abort()).is_some()
    }

    /// Takes no more requests, and waits for the answers under way.
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

    /// Those that have not ended.
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
            // Bodies are never read. hyper closes the connection where it can't skip one.
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
            // A client may say that it sends nothing more and still wait for its answer (`nc -N`).
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
        // hyper has answered a request that was too broken to be routed.
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

    /// The bytes that HTTP is spoken in.
    async fn handshake(
        &self,
        mut socket: Socket,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let tls = self.routes.access.tls();
        if tls.is_some() && listen::begins_with_a_letter(&socket).await {
            let code = StatusCode::BAD_REQUEST;
            self.routes.count(Handler::Other, code);
            // What is left unread when a connection is closed resets it, and the answer may be lost.
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
