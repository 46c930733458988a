//! What hangs or takes long, on threads that serve no scrapes.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task;

/// A thread's worth of file reading: one at a time, so that a file system that hangs takes one thread and not one more
/// with each scrape.
#[derive(Debug, Default)]
pub(crate) struct BlockingReads(Arc<Mutex<()>>);

impl BlockingReads {
    /// Runs `read` once the readings before it have come back, which one that hangs may never do. Whoever stops waiting
    /// leaves the reading running.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let turn = Arc::clone(&self.0).lock_owned().await;
        run(move || {
            // Ends with the reading, even if nobody waits for that any more.
            let _turn = turn;
            read()
        })
        .await
    }
}

/// Does what takes long where the time keeps nobody waiting. A panic there goes on here: it is a fault of the
/// exporter's, not of what was read.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody cancels it: the runtime is ending, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn reading_waits_for_one_that_hangs_even_where_nobody_waits_for_that_any_more() {
        let reads = BlockingReads::default();
        let (end, hanging) = mpsc::channel::<()>();
        let soon = Duration::from_millis(50);
        let hangs = timeout(soon, reads.run(move || hanging.recv()));
        hangs.await.unwrap_err();
        timeout(soon, reads.run(|| ())).await.unwrap_err();
        drop(end);
        reads.run(|| ()).await;
    }
}
