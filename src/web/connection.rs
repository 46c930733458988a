//! One connection: TLS, HTTP/1.1, and the limits that keep a client from holding it for nothing.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::crowd::{Crowd, Member, connections_for_descriptors};
use super::listen::Accepted;
use super::pace::{Pace, Paced, Ticks, Waiting};
use super::reply::Reply;
use super::routes::Routes;

/// A request's head, its line included; more is answered with 431. Browsers and scrapers send less than 2 KiB.
const MAX_HEAD: usize = 16 << 10;

/// What waits to be sent before more of a page is written: bounds what a client that doesn't read costs. Unit: bytes.
const MAX_BUFFER: usize = 64 << 10;

/// What a client may hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections open at one time.
    pub(super) connections: u32,
    /// How often a connection is looked at; the other times are counted in it.
    pub(super) tick: Duration,
    /// For the TLS handshake.
    pub(super) handshake: Duration,
    /// For the rest of a request's head, once it has begun.
    pub(super) head: Duration,
    /// Between requests. Beyond the scrape intervals that people use, so that a scraper can keep its connection.
    pub(super) idle: Duration,
    /// For the client to take what is ready for it.
    pub(super) taking: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: connections_for_descriptors(),
            tick: Duration::from_secs(2),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(330),
            taking: Duration::from_secs(60),
        }
    }
}

impl Limits {
    fn ticks(self, time: Duration) -> u32 {
        let ticks = time.as_nanos().div_ceil(self.tick.as_nanos().max(1));
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
    }
}

/// Whether the server goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It does.
    Serving,
    /// It stops: requests under way are answered, no more are taken.
    Finishing,
    /// It has stopped.
    Ended,
}

/// What a connection needs to be answered.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) routes: Arc<Routes>,
    pub(super) limits: Limits,
    pub(super) crowd: Arc<Crowd>,
    pub(super) stage: watch::Receiver<Stage>,
}

/// When a verdict is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// Now and then.
    Tick,
    /// Another connection needs the place.
    AskedToLeave,
}

/// What is to become of a connection.
enum Verdict {
    Stay,
    /// After the requests under way.
    End,
    /// At once.
    Cut,
}

impl Door {
    /// Answers one connection until it ends.
    pub(super) async fn serve(self: Arc<Self>, accepted: Accepted, member: Member) {
        let member = Arc::new(member);
        match accepted {
            Accepted::Tcp(stream) => {
                let local = stream.local_addr().ok();
                self.greet(stream, local, member).await;
            }
            Accepted::Unix(stream) => self.greet(stream, None, member).await,
        }
    }

    async fn greet<I>(&self, stream: I, local: Option<SocketAddr>, member: Arc<Member>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(config) = self.routes.gate.tls() else {
            return self.http1(stream, local, &member).await;
        };
        let handshake = async {
            // As with exporter-toolkit, the handshake fails as long as the configuration is bad.
            let config = config.await.map_err(io::Error::other)?;
            TlsAcceptor::from(config).accept(stream).await
        };
        let mut stage = self.stage.clone();
        let stream = tokio::select! {
            biased;
            stream = tokio::time::timeout(self.limits.handshake, handshake) => stream,
            () = left(&mut stage, Stage::Serving) => return,
            () = member.asked_to_leave() => return,
        };
        match stream {
            Ok(Ok(stream)) => {
                self.http1(stream, local, &member).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn http1<I>(&self, stream: I, local: Option<SocketAddr>, member: &Member)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Arc::new(Pace::default());
        let io = TokioIo::new(Paced {
            io: stream,
            pace: Arc::clone(&pace),
        });
        let service = service_fn(|request: Request<Incoming>| {
            pace.request();
            member.is_busy();
            let pace = Arc::clone(&pace);
            let routes = Arc::clone(&self.routes);
            async move {
                let reply = answer(&routes, request, local).await;
                pace.answered();
                member.waits();
                Ok::<Reply, Infallible>(reply)
            }
        });
        let connection = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            // A client may say that it sends nothing more and still wait for its answer (`nc -N`).
            .half_close(true)
            .serve_connection(io, service);

        let mut ticks = Ticks::default();
        let verdict = |occasion| {
            if occasion == Occasion::AskedToLeave {
                return match ticks.now(&pace) {
                    (Waiting::Idle | Waiting::Head, _) => Verdict::Cut,
                    // A client that reads has taken what it gets by then.
                    (Waiting::Taking, lasted) if lasted > 0 => Verdict::Cut,
                    (Waiting::Taking | Waiting::Answer, _) => Verdict::Stay,
                };
            }
            let (waiting, lasted) = ticks.tick(&pace);
            let (limit, verdict) = match waiting {
                Waiting::Answer => return Verdict::Stay,
                Waiting::Idle => (self.limits.idle, Verdict::End),
                Waiting::Head => (self.limits.head, Verdict::Cut),
                Waiting::Taking => (self.limits.taking, Verdict::Cut),
            };
            if lasted >= self.limits.ticks(limit) {
                verdict
            } else {
                Verdict::Stay
            }
        };
        let ended = self.until_end(connection, member, verdict).await;
        if let Some(Err(error)) = ended {
            self.log(&error);
        }
    }

    /// Drives a connection; `None`: it was cut.
    async fn until_end<C: GracefulConnection>(
        &self,
        connection: C,
        member: &Member,
        mut verdict: impl FnMut(Occasion) -> Verdict,
    ) -> Option<Result<(), C::Error>> {
        let mut connection = pin!(connection);
        let mut stage = self.stage.clone();
        let mut known = Stage::Serving;
        let mut tick = tokio::time::interval_at(
            tokio::time::Instant::now() + self.limits.tick,
            self.limits.tick,
        );
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Whether its end has been asked for already; a client that ignores that is cut later.
        let mut ending = 0;
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => return Some(result),
                () = left(&mut stage, known) => {
                    known = *stage.borrow();
                    if known == Stage::Ended || stage.has_changed().is_err() {
                        return None;
                    }
                    connection.as_mut().graceful_shutdown();
                }
                () = member.asked_to_leave() => match verdict(Occasion::AskedToLeave) {
                    Verdict::Stay | Verdict::End => member.waits(),
                    Verdict::Cut => return None,
                },
                _ = tick.tick() => match verdict(Occasion::Tick) {
                    Verdict::Stay => {}
                    Verdict::End if ending == 0 => {
                        ending = 1;
                        connection.as_mut().graceful_shutdown();
                    }
                    Verdict::End => {
                        ending += 1;
                        if ending > self.limits.ticks(self.limits.taking) {
                            return None;
                        }
                    }
                    Verdict::Cut => return None,
                },
            }
        }
    }

    fn log(&self, error: &(dyn Error + 'static)) {
        let hyper = error.downcast_ref::<hyper::Error>();
        if hyper.is_some_and(hyper::Error::is_parse_too_large) {
            self.routes
                .count_unrouted(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        } else if hyper.is_some_and(hyper::Error::is_parse) {
            self.routes.count_unrouted(StatusCode::BAD_REQUEST);
        }
        tracing::debug!(error, "connection ended");
    }
}

/// Waits until the stage is another one than `known`; a server that is gone counts as that.
async fn left(stage: &mut watch::Receiver<Stage>, known: Stage) {
    // An error means that the sender is gone.
    let _ = stage.wait_for(|stage| *stage != known).await;
}

/// Bodies are never read: the request is dropped before its answer is made, and hyper closes what it can't skip.
async fn answer(routes: &Routes, request: Request<Incoming>, local: Option<SocketAddr>) -> Reply {
    let (head, body) = request.into_parts();
    drop(body);
    routes.answer(&head, local).await
}
