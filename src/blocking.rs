//! What hangs or takes long, aside from the threads that serve scrapes.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task;

/// A thread's worth of file reading: one at a time, so that a file system that hangs takes one thread and not one more
/// with each scrape.
#[derive(Debug, Default)]
pub(crate) struct BlockingReads(Arc<Mutex<()>>);

/// What is longer than this takes long to read. Unit: bytes.
pub(crate) const LONG_TO_READ: usize = 256 << 10;

/// The reading before it has not come back.
#[derive(Debug, thiserror::Error)]
#[error("an earlier reading of it still hangs")]
pub(crate) struct Hanging;

impl BlockingReads {
    /// Runs `read` on a thread of its own, unless another reading has not come back. Whoever stops waiting leaves it
    /// running.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hanging> {
        let turn = Arc::clone(&self.0).try_lock_owned();
        Ok(read_in_turn(turn.map_err(|_| Hanging)?, read).await)
    }

    /// Runs `read` on a thread of its own, once the readings before it have come back. Whoever stops waiting leaves it
    /// running.
    pub(crate) async fn wait_and_run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        read_in_turn(Arc::clone(&self.0).lock_owned().await, read).await
    }
}

async fn read_in_turn<T: Send + 'static>(
    turn: OwnedMutexGuard<()>,
    read: impl FnOnce() -> T + Send + 'static,
) -> T {
    on_its_own_thread(move || {
        // Ends with the reading, even if nobody waits for that any more.
        let _turn = turn;
        read()
    })
    .await
}

/// Does what takes long where the time keeps nobody waiting. A panic there goes on here: it is a fault of the
/// exporter's, not of what was read.
pub(crate) async fn on_its_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody cancels it: the runtime is ending, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Does it here, or on a thread of its own where it `takes_long`.
pub(crate) async fn work<T: Send + 'static>(
    takes_long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if takes_long {
        on_its_own_thread(work).await
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinError;

    use super::*;

    #[tokio::test]
    async fn reading_that_hangs_is_not_joined_by_another_one() {
        let aside = BlockingReads::default();
        let (end, hanging) = mpsc::channel::<()>();
        let hangs = {
            let aside = BlockingReads(Arc::clone(&aside.0));
            tokio::spawn(async move { aside.run(move || hanging.recv()).await })
        };
        while aside.0.try_lock().is_ok() {
            task::yield_now().await;
        }
        assert!(matches!(aside.run(|| ()).await, Err(Hanging)));
        drop(end);
        hangs.await.unwrap().unwrap().unwrap_err();
        assert!(aside.run(|| ()).await.is_ok());
    }

    #[tokio::test]
    async fn panic_aside_is_one_of_whoever_asked() {
        fn fault() {
            panic!("a fault");
        }
        let is_fault = |ended: Result<(), JoinError>| {
            let panic = ended.unwrap_err().into_panic();
            panic.downcast_ref() == Some(&"a fault")
        };
        let reading = task::spawn(async { BlockingReads::default().run(fault).await.unwrap() });
        assert!(is_fault(reading.await));
        for takes_long in [false, true] {
            assert!(is_fault(task::spawn(work(takes_long, fault)).await));
        }
    }
}
