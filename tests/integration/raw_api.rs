//! An API on a raw socket, so that it can do what no HTTP library would. It answers token calls correctly.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::*;

/// The reply to an account-list call: a first piece, then another one that many times with a pause before each. Then
/// the connection is closed.
#[derive(Clone)]
pub struct Reply {
    pub first: Vec<u8>,
    pub again: Vec<u8>,
    pub times: usize,
    pub pause: Duration,
}

impl Reply {
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::repeated(bytes, "", 0)
    }

    pub fn repeated(first: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>, times: usize) -> Self {
        Self {
            first: first.into(),
            again: again.into(),
            times,
            pause: Duration::ZERO,
        }
    }

    /// Returns 200 with this body.
    pub fn body(body: &str) -> Self {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ";
        Self::bytes(format!("{head}{}\r\n\r\n{body}", body.len()))
    }

    /// Returns [`accounts`].
    pub fn well() -> Self {
        Self::body(&accounts().to_string())
    }
}

pub struct RawApi {
    address: SocketAddr,
    /// `None` while the calls wait for a reply.
    reply: watch::Sender<Option<Reply>>,
    tokens: AtomicUsize,
    lists: AtomicUsize,
}

impl RawApi {
    /// Starts an API that gives this reply to account-list calls. With `None`, they wait until a reply is set.
    pub async fn start(reply: Option<Reply>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            reply: watch::Sender::new(reply),
            tokens: AtomicUsize::default(),
            lists: AtomicUsize::default(),
        });
        let started = Arc::clone(&api);
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = Arc::clone(&api);
                tokio::spawn(async move { api.answer(stream).await });
            }
        });
        started
    }

    /// Sets the reply to account-list calls from now on.
    pub fn lists(&self, reply: impl Into<Option<Reply>>) {
        self.reply.send_replace(reply.into());
    }

    /// Returns the numbers of token calls and list calls so far.
    pub fn token_and_list_calls(&self) -> (usize, usize) {
        let of = |calls: &AtomicUsize| calls.load(Ordering::Relaxed);
        (of(&self.tokens), of(&self.lists))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let reply = if request.starts_with(b"POST /cgi-bin/stable_token ") {
            self.tokens.fetch_add(1, Ordering::Relaxed);
            Reply::body(&format!(
                r#"{{"access_token":"{TOKEN}","expires_in":7200}}"#
            ))
        } else {
            self.lists.fetch_add(1, Ordering::Relaxed);
            let mut replies = self.reply.subscribe();
            let reply = replies.wait_for(Option::is_some).await;
            reply.expect("the API lives").clone().expect("a reply")
        };
        stream.write_all(&reply.first).await?;
        for _ in 0..reply.times {
            tokio::time::sleep(reply.pause).await;
            stream.write_all(&reply.again).await?;
        }
        stream.shutdown().await
    }
}
