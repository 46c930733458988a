//! An API on a socket of its own, so that it can do what no HTTP library would. The token call is answered well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::*;

/// What the account-list call gets.
#[derive(Clone)]
pub enum Reply {
    /// [`accounts`].
    Well,
    /// The same, a byte at a time.
    Dripping,
    /// These bytes, then the connection is closed.
    Bytes(Arc<[u8]>),
    /// A first piece, then the second so many times.
    Repeated(Arc<[u8]>, Arc<[u8]>, usize),
}

pub struct RawApi {
    pub address: std::net::SocketAddr,
    /// `None`: the calls wait for one.
    reply: watch::Sender<Option<Reply>>,
    calls: Arc<Calls>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Calls {
    tokens: AtomicUsize,
    lists: AtomicUsize,
}

impl RawApi {
    /// Answers well until told otherwise.
    pub async fn start() -> Self {
        Self::over(None).await
    }

    /// The same behind TLS.
    pub async fn behind(tls: tokio_rustls::TlsAcceptor) -> Self {
        Self::over(Some(tls)).await
    }

    async fn over(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reply, replies) = watch::channel(Some(Reply::Well));
        let calls = Arc::<Calls>::default();
        let counted = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (replies, calls) = (replies.clone(), Arc::clone(&counted));
                let tls = tls.clone();
                tokio::spawn(async move {
                    let _ = match tls {
                        None => answer(stream, replies, &calls).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, replies, &calls).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self {
            address,
            reply,
            calls,
            task,
        }
    }

    /// Answers account-list calls so from now on.
    pub fn lists(&self, reply: Reply) {
        self.reply.send_replace(Some(reply));
    }

    /// Answers no account-list call before it knows how.
    pub fn holds_lists(&self) {
        self.reply.send_replace(None);
    }

    /// Token calls and list calls so far.
    pub fn token_and_list_calls(&self) -> (usize, usize) {
        let of = |calls: &AtomicUsize| calls.load(Ordering::Relaxed);
        (of(&self.calls.tokens), of(&self.calls.lists))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for RawApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn well(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut replies: watch::Receiver<Option<Reply>>,
    calls: &Calls,
) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..read]);
    }
    if request.starts_with(b"POST /cgi-bin/stable_token ") {
        calls.tokens.fetch_add(1, Ordering::Relaxed);
        let token = format!(r#"{{"access_token":"{TOKEN}","expires_in":7200}}"#);
        stream.write_all(&well(&token)).await?;
        return stream.shutdown().await;
    }
    calls.lists.fetch_add(1, Ordering::Relaxed);
    let reply = match replies.wait_for(Option::is_some).await {
        Ok(reply) => reply.clone(),
        // The test is over.
        Err(_) => None,
    };
    let Some(reply) = reply else {
        return Ok(());
    };
    match reply {
        Reply::Well => stream.write_all(&well(&accounts().to_string())).await?,
        Reply::Dripping => {
            for byte in well(&accounts().to_string()) {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
        Reply::Repeated(first, again, times) => {
            stream.write_all(&first).await?;
            for _ in 0..times {
                stream.write_all(&again).await?;
            }
        }
    }
    stream.shutdown().await
}
