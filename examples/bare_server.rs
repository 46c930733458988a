//! A bare hyper server that answers every request with the bytes of a file: what serving costs at least.
//!
//! `cargo run --release --example bare_server -- ADDRESS FILE CONTENT_TYPE [CONTENT_ENCODING]`

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file, content_type, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: bare_server ADDRESS FILE CONTENT_TYPE [CONTENT_ENCODING]");
    };
    let page = Bytes::from(std::fs::read(file)?);
    let content_type = HeaderValue::from_str(content_type)?;
    let coding = rest
        .first()
        .map(|coding| HeaderValue::from_str(coding))
        .transpose()?;
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (page, content_type, coding) = (page.clone(), content_type.clone(), coding.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
                let mut response = Response::new(Full::new(page.clone()));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, content_type.clone());
                if let Some(coding) = &coding {
                    response
                        .headers_mut()
                        .insert(CONTENT_ENCODING, coding.clone());
                }
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that leaves is no error of a load test.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
