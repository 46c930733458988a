//! Where an HTTP/1 connection stands, so that a client that doesn't move on can be cut off.
//!
//! A connection looks at this once a tick instead of setting a timer for each request: a state that many ticks find
//! unchanged has lasted that long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For a request to begin.
    Idle = 0,
    /// For the rest of a request's head.
    Head = 1,
    /// For us.
    Answer = 2,
    /// For the client to take what was written.
    Taking = 3,
}

/// The state and the number of its changes, in one word: two bits and thirty.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    fn get(&self) -> Waiting {
        match self.0.load(Ordering::Relaxed) & 3 {
            0 => Waiting::Idle,
            1 => Waiting::Head,
            2 => Waiting::Answer,
            _ => Waiting::Taking,
        }
    }

    // Only the connection's own task changes it, so load and store need not be one step.
    fn set(&self, waiting: Waiting) {
        let changes = (self.0.load(Ordering::Relaxed) >> 2).wrapping_add(1);
        self.0
            .store((changes << 2) | waiting as u32, Ordering::Relaxed);
    }

    /// A request's head is complete.
    pub(super) fn request(&self) {
        self.set(Waiting::Answer);
    }

    /// The answer is made.
    pub(super) fn answered(&self) {
        self.set(Waiting::Taking);
    }
}

/// Counts how many ticks a state has lasted.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    seen: u32,
    count: u32,
}

impl Ticks {
    /// Between ticks: what the connection waits for, and for how many ticks it has.
    pub(super) fn now(&self, pace: &Pace) -> (Waiting, u32) {
        let is_unchanged = self.seen == pace.0.load(Ordering::Relaxed);
        (pace.get(), if is_unchanged { self.count } else { 0 })
    }

    /// One tick later: what the connection waits for, and for how many ticks it has.
    pub(super) fn tick(&mut self, pace: &Pace) -> (Waiting, u32) {
        let now = pace.0.load(Ordering::Relaxed);
        if self.seen == now {
            self.count += 1;
        } else {
            self.seen = now;
            self.count = 0;
        }
        (pace.get(), self.count)
    }
}

/// A socket that tells the pace of what passes through it.
#[derive(Debug)]
pub(super) struct Paced<I> {
    pub(super) io: I,
    pub(super) pace: Arc<Pace>,
}

impl<I> Paced<I> {
    fn writes(&self) {
        if !matches!(self.pace.get(), Waiting::Taking | Waiting::Answer) {
            self.pace.set(Waiting::Taking);
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Paced<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before && self.pace.get() == Waiting::Idle {
            self.pace.set(Waiting::Head);
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Paced<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes();
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes();
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        // HTTP/1 flushes when its buffer has been written out.
        if result.is_ready() && self.pace.get() == Waiting::Taking {
            self.pace.set(Waiting::Idle);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_that_lasts_is_counted_and_a_change_begins_anew() {
        let (pace, mut ticks) = (Pace::default(), Ticks::default());
        assert_eq!(ticks.tick(&pace), (Waiting::Idle, 1));
        assert_eq!(ticks.tick(&pace), (Waiting::Idle, 2));
        pace.request();
        assert_eq!(ticks.tick(&pace), (Waiting::Answer, 0));
        pace.answered();
        pace.request();
        // The same state as before, but a new one.
        assert_eq!(ticks.tick(&pace), (Waiting::Answer, 0));
        assert_eq!(ticks.tick(&pace), (Waiting::Answer, 1));
        assert_eq!(ticks.now(&pace), (Waiting::Answer, 1));
        pace.answered();
        assert_eq!(ticks.now(&pace), (Waiting::Taking, 0));
    }
}
