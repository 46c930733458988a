//! An API on a socket of its own, so that it can do what no HTTP library would. The token call is answered well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::*;

/// What the account-list call gets.
#[derive(Clone)]
pub enum Reply {
    /// These bytes, then the connection is closed.
    Bytes(Arc<[u8]>),
    /// A first piece, then the second so many times.
    Repeated(Arc<[u8]>, Arc<[u8]>, usize),
}

pub struct RawApi {
    pub address: std::net::SocketAddr,
    is_bad: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl RawApi {
    /// Answers well until told otherwise.
    pub async fn start(bad: Reply) -> Self {
        Self::over(bad, None).await
    }

    /// The same behind TLS.
    pub async fn over(bad: Reply, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_bad = Arc::new(AtomicBool::new(false));
        let bad_now = Arc::clone(&is_bad);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (bad, bad_now, tls) = (bad.clone(), Arc::clone(&bad_now), tls.clone());
                tokio::spawn(async move {
                    let _ = match tls {
                        None => answer(stream, &bad, &bad_now).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, &bad, &bad_now).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self {
            address,
            is_bad,
            task,
        }
    }

    pub fn turns_bad(&self, is_bad: bool) {
        self.is_bad.store(is_bad, Ordering::Relaxed);
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
    bad: &Reply,
    is_bad: &AtomicBool,
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
        let token = format!(r#"{{"access_token":"{TOKEN}","expires_in":7200}}"#);
        stream.write_all(&well(&token)).await?;
    } else if !is_bad.load(Ordering::Relaxed) {
        stream.write_all(&well(&accounts().to_string())).await?;
    } else {
        match bad {
            Reply::Bytes(bytes) => stream.write_all(bytes).await?,
            Reply::Repeated(first, again, times) => {
                stream.write_all(first).await?;
                for _ in 0..*times {
                    stream.write_all(again).await?;
                }
            }
        }
    }
    stream.shutdown().await
}
