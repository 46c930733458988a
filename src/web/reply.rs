//! Answers: bodies that share their bytes, and the small ones of plain text.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::routes::Place;
use super::streams::Stream;

/// A body of parts that are sent as they are, without a copy.
#[derive(Debug, Default)]
pub(super) struct Parts {
    first: Bytes,
    rest: std::vec::IntoIter<Bytes>,
    left: u64,
    /// Held until the body is sent or dropped.
    pub(super) place: Option<Place>,
    /// The HTTP/2 stream that takes it.
    pub(super) stream: Option<Stream>,
}

pub(super) type Reply = Response<Parts>;

impl From<Vec<Bytes>> for Parts {
    fn from(parts: Vec<Bytes>) -> Self {
        Self {
            left: parts.iter().map(|part| part.len() as u64).sum(),
            rest: parts.into_iter(),
            ..Self::default()
        }
    }
}

impl From<Bytes> for Parts {
    fn from(bytes: Bytes) -> Self {
        Self {
            left: bytes.len() as u64,
            first: bytes,
            ..Self::default()
        }
    }
}

impl Parts {
    /// Unit: bytes.
    fn content_length(&self) -> u64 {
        self.left
    }
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let first = std::mem::take(&mut this.first);
        let next = std::iter::once(first)
            .chain(&mut this.rest)
            .find(|part| !part.is_empty());
        Poll::Ready(next.map(|mut part| {
            let is_last = part.len() as u64 == this.left;
            if is_last && part.len() > 1 && this.stream.is_some() {
                // HTTP/2 takes a part in whole as soon as the client takes its first byte. The last byte goes apart,
                // so that this body, and with it the stream, is on record until the client has taken the rest.
                this.first = part.split_off(part.len() - 1);
            }
            this.left -= part.len() as u64;
            Ok(Frame::data(part))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

pub(super) const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_SNIFF: (HeaderName, HeaderValue) = (
    hyper::header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);

/// A body of that type.
pub(super) fn reply(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Parts>,
) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// A line of plain text, which no browser takes for anything else.
pub(super) fn line(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = reply(status, PLAIN_TEXT, text.into());
    let (name, value) = NO_SNIFF;
    reply.headers_mut().insert(name, value);
    reply
}

/// 405 with what would have been allowed.
pub(super) fn method_not_allowed(allowed: &'static str) -> Reply {
    let mut reply = line(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not allowed here\n",
    );
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

/// The same answer without its body, as HEAD has it.
pub(super) fn without_body(reply: Reply) -> Reply {
    let (mut head, body) = reply.into_parts();
    head.headers
        .insert(CONTENT_LENGTH, HeaderValue::from(body.content_length()));
    Response::from_parts(head, Parts::default())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body;

    use super::*;

    #[tokio::test]
    async fn parts_are_sent_in_order_and_their_length_is_known() {
        let parts = ["", "one ", "", "two", ""];
        let body: Parts = parts
            .into_iter()
            .map(Bytes::from)
            .collect::<Vec<_>>()
            .into();
        assert_eq!(body.size_hint().exact(), Some(7));
        assert!(!body.is_end_stream());
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(sent, "one two");
    }

    #[test]
    fn empty_body_ends_at_once() {
        assert!(Parts::from(Vec::new()).is_end_stream());
        assert!(Parts::from(Bytes::new()).is_end_stream());
    }
}
