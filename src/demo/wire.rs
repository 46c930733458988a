//! The socket: requests in, answers out, and every way in which a connection can go wrong.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::answer::{Answer, GATEWAY_PAGE, PORTAL_PAGE};
use super::api::SimulatedApi;
use super::fault::FaultKind;
use super::question::{Question, Received};

/// No request that WeChat understands is longer. Unit: bytes.
const REQUEST_MAX: usize = 1024 * 1024;

/// In how many pieces a slow answer comes.
const PIECES: u32 = 20;

/// What `huge` sends in all. Unit: bytes.
const FLOOD: usize = 256 * 1024 * 1024;

/// Time for the first half of an answer to leave before the connection ends.
const FLUSH: Duration = Duration::from_millis(20);

/// The connection must end here.
#[derive(Debug)]
pub(super) struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulation ends the connection")
    }
}

impl std::error::Error for CutOff {}

/// Takes connections until it is dropped, and every connection with it.
pub(super) async fn serve(listener: TcpListener, api: Arc<SimulatedApi>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&api)));
                }
                // Out of file descriptors, perhaps; that passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, api: Arc<SimulatedApi>) {
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let stream = Resettable {
        stream,
        reset: Arc::clone(&reset),
    };
    let service = service_fn(move |request| respond(request, Arc::clone(&api), Arc::clone(&reset)));
    // Its error is a fault on purpose, or a client that left.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    api: Arc<SimulatedApi>,
    reset: Arc<AtomicBool>,
) -> Result<Response<Delivery>, CutOff> {
    let question = read(request).await?;
    let received = Arc::new(api.receive(question));
    match received.fault() {
        Some(FaultKind::Hang) => std::future::pending().await,
        Some(FaultKind::Reset) => {
            reset.store(true, Ordering::Relaxed);
            Err(CutOff)
        }
        Some(FaultKind::Status(status)) => {
            let status = StatusCode::from_u16(status).map_err(|_| CutOff)?;
            Ok(response(
                Answer::page(status, GATEWAY_PAGE),
                Delivery::whole,
            ))
        }
        Some(FaultKind::Html) => {
            let answer = Answer::page(StatusCode::OK, PORTAL_PAGE);
            Ok(response(answer, Delivery::whole))
        }
        Some(FaultKind::Empty) => Ok(response(Answer::bare(StatusCode::OK), Delivery::whole)),
        Some(FaultKind::Huge) => {
            let flood = Flood::of(&received);
            Ok(response(Answer::good(Bytes::new()), |_| {
                Delivery::Flood(flood)
            }))
        }
        fault => {
            let task = tokio::task::spawn_blocking(move || api.answer(&received));
            let answer = task.await.map_err(|_| CutOff)?;
            Ok(match fault {
                Some(FaultKind::Slow(takes)) => {
                    response(answer, |body| Delivery::slow(body, takes))
                }
                Some(FaultKind::Truncated) => response(answer, Delivery::truncated),
                _ => response(answer, Delivery::whole),
            })
        }
    }
}

async fn read(request: Request<Incoming>) -> Result<Question, CutOff> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_MAX)
        .collect()
        .await
        .map_err(|_| CutOff)?
        .to_bytes();
    // The host is only there to make a whole URL of it.
    let query = parts.uri.query().unwrap_or_default();
    let url = reqwest::Url::parse(&format!("http://localhost/?{query}")).map_err(|_| CutOff)?;
    Ok(Question {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        body,
        chunked: parts.headers.contains_key(TRANSFER_ENCODING),
    })
}

fn response(answer: Answer, deliver: impl FnOnce(Bytes) -> Delivery) -> Response<Delivery> {
    let mut response = Response::new(deliver(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(answer.content_type),
    );
    if answer.open_interface {
        let sequence = hyper::header::HeaderValue::from_static("simulated-seqid");
        headers.insert("x-openapi-seqid", sequence);
    }
    response
}

/// How a body goes out.
pub(super) enum Delivery {
    /// At once; `None`: it has gone.
    Whole(Option<Bytes>),
    /// In pieces, with a pause before each.
    Slow {
        rest: Bytes,
        pieces: u32,
        pause: Duration,
        sleep: Pin<Box<Sleep>>,
    },
    /// Half of what the header promises.
    Truncated {
        promised: u64,
        half: Option<Bytes>,
        sleep: Pin<Box<Sleep>>,
    },
    /// More than anybody wants.
    Flood(Flood),
}

impl Delivery {
    fn whole(body: Bytes) -> Self {
        Self::Whole(Some(body).filter(|body| !body.is_empty()))
    }

    fn slow(body: Bytes, takes: Duration) -> Self {
        let pause = takes / PIECES;
        Self::Slow {
            rest: body,
            pieces: PIECES,
            pause,
            sleep: Box::pin(tokio::time::sleep(pause)),
        }
    }

    fn truncated(mut body: Bytes) -> Self {
        let promised = body.len() as u64;
        body.truncate(body.len() / 2);
        Self::Truncated {
            promised,
            half: Some(body),
            sleep: Box::pin(tokio::time::sleep(FLUSH)),
        }
    }
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Slow {
                rest,
                pieces,
                pause,
                sleep,
            } => {
                if *pieces == 0 {
                    return Poll::Ready(None);
                }
                std::task::ready!(sleep.as_mut().poll(context));
                let length = rest.len().div_ceil(*pieces as usize);
                *pieces -= 1;
                sleep.as_mut().reset(Instant::now() + *pause);
                Poll::Ready(Some(Ok(Frame::data(rest.split_to(length)))))
            }
            Self::Truncated { half, sleep, .. } => {
                if let Some(half) = half.take().filter(|half| !half.is_empty()) {
                    sleep.as_mut().reset(Instant::now() + FLUSH);
                    return Poll::Ready(Some(Ok(Frame::data(half))));
                }
                std::task::ready!(sleep.as_mut().poll(context));
                Poll::Ready(Some(Err(CutOff)))
            }
            Self::Flood(flood) => Poll::Ready(flood.next().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            Self::Slow { rest, .. } => SizeHint::with_exact(rest.len() as u64),
            Self::Truncated { promised, .. } => SizeHint::with_exact(*promised),
            // Chunked: its length is not told before.
            Self::Flood(_) => SizeHint::default(),
        }
    }
}

/// JSON that begins well and goes on and on.
pub(super) struct Flood {
    head: Option<Bytes>,
    piece: Bytes,
    left: usize,
}

impl Flood {
    fn of(received: &Received) -> Self {
        let (head, piece) = if received.lists_accounts() {
            let row = r#"{"biz_id":"","delivery_id":"","quota_num":0,"alias":""},"#;
            (r#"{"count":1,"list":["#, row.repeat(1024))
        } else {
            (r#"{"errcode":0,"errmsg":"ok"#, "k".repeat(64 * 1024))
        };
        Self {
            head: Some(Bytes::from_static(head.as_bytes())),
            piece: Bytes::from(piece),
            left: FLOOD,
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        self.left = self.left.checked_sub(self.piece.len())?;
        Some(self.piece.clone())
    }
}

/// A connection that ends with RST instead of FIN once the flag is up.
struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::Value;

    use super::super::{Fault, Options, Simulation};
    use super::*;

    const TOKEN: &str = "/cgi-bin/token?grant_type=client_credential&appid=wx0000000000000001";
    const ACCOUNTS: &str = "/cgi-bin/express/business/account/getall";

    async fn simulation(fault: &str) -> Simulation {
        let faults = match fault {
            "" => Vec::new(),
            fault => vec![fault.parse::<Fault>().unwrap()],
        };
        let options = Options {
            faults,
            ..Options::default()
        };
        Simulation::start(&options).await.unwrap()
    }

    struct Client {
        client: reqwest::Client,
        address: std::net::SocketAddr,
    }

    impl Client {
        fn to(simulation: &Simulation) -> Self {
            // reqwest wants a provider even for plain HTTP; another test may have been first.
            let _ = rustls::crypto::ring::default_provider().install_default();
            Self {
                client: reqwest::Client::builder().no_proxy().build().unwrap(),
                address: simulation.address(),
            }
        }

        async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
            let url = format!("http://{}{path}", self.address);
            self.client.get(url).send().await
        }
    }

    async fn get(simulation: &Simulation, path: &str) -> reqwest::Result<reqwest::Response> {
        Client::to(simulation).get(path).await
    }

    #[tokio::test]
    async fn account_list_is_read_over_a_socket() {
        let simulation = simulation("").await;
        let secret = crate::demo::APPSECRET;
        let reply = get(&simulation, &format!("{TOKEN}&secret={secret}"))
            .await
            .unwrap();
        let reply: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        let token = reply["access_token"].as_str().unwrap();
        let list = get(&simulation, &format!("{ACCOUNTS}?access_token={token}"))
            .await
            .unwrap();
        let list: Value = serde_json::from_str(&list.text().await.unwrap()).unwrap();
        assert_eq!(list["count"], 12);
        assert_eq!(simulation.calls(ACCOUNTS), 1);
    }

    #[tokio::test]
    async fn reset_connection_has_no_answer() {
        let simulation = simulation("reset").await;
        let error = get(&simulation, ACCOUNTS).await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!(simulation.calls(ACCOUNTS), 1);
    }

    #[tokio::test]
    async fn truncated_answer_promises_more_than_comes() {
        let simulation = simulation("truncated").await;
        let reply = get(&simulation, ACCOUNTS).await.unwrap();
        let promised = reply.content_length().unwrap();
        assert!(promised > 0);
        assert!(reply.bytes().await.is_err());
    }

    #[tokio::test]
    async fn slow_answer_is_whole_in_the_end() {
        let simulation = simulation("slow-40ms").await;
        let begun = Instant::now();
        let reply = get(&simulation, ACCOUNTS).await.unwrap();
        let reply: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        assert_eq!(reply["errcode"], 41001);
        // Sleeps never end early.
        assert!(begun.elapsed() >= Duration::from_millis(40));
    }

    #[tokio::test]
    async fn hanging_call_is_on_record_and_without_an_answer() {
        let simulation = simulation("hang").await;
        let client = Client::to(&simulation);
        let call = tokio::spawn(async move { client.get(ACCOUNTS).await });
        let arrived = async {
            while simulation.calls(ACCOUNTS) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, arrived).await.unwrap();
        assert!(!call.is_finished());
        call.abort();
        simulation.clear_faults();
        assert!(get(&simulation, ACCOUNTS).await.is_ok());
    }

    #[tokio::test]
    async fn gateway_errors_and_pages_are_no_json() {
        for (fault, status) in [("502", 502), ("html", 200), ("empty", 200)] {
            let simulation = simulation(fault).await;
            let reply = get(&simulation, ACCOUNTS).await.unwrap();
            assert_eq!(reply.status().as_u16(), status);
            let text = reply.text().await.unwrap();
            assert_eq!(text.is_empty(), fault == "empty");
            assert!(serde_json::from_str::<Value>(&text).is_err());
        }
    }

    #[tokio::test]
    async fn huge_answer_is_more_than_a_client_should_take() {
        let simulation = simulation("huge").await;
        let mut reply = get(&simulation, ACCOUNTS).await.unwrap();
        assert_eq!(reply.content_length(), None);
        let mut taken = 0;
        while taken < 8 * 1024 * 1024 {
            taken += reply.chunk().await.unwrap().unwrap().len();
        }
    }

    #[tokio::test]
    async fn dropped_simulation_listens_no_more() {
        let simulation = simulation("").await;
        let address = simulation.address();
        drop(simulation);
        // The task that held the socket ends at its next turn.
        for _ in 0..1000 {
            if TcpStream::connect(address).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{address} still answers");
    }
}
