//! What hangs or takes long, aside from the threads that serve scrapes.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task;

/// A thread's worth of file reading: one at a time, so that a file system that hangs takes one thread and not one more
/// with each scrape.
#[derive(Debug, Default)]
pub(crate) struct Aside(Arc<Mutex<()>>);

/// The turn to read, until the reading has come back.
#[derive(Debug)]
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

/// What is longer than this takes long to read. Unit: bytes.
pub(crate) const LONG: usize = 256 << 10;

/// The reading can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Hindered {
    /// The one before it has not come back.
    #[error("an earlier reading of it still hangs")]
    Hanging,
    /// The exporter is stopping.
    #[error("the exporter is stopping")]
    Stopping,
}

impl Aside {
    /// Runs `read` on a thread of its own, unless another reading has not come back. Whoever stops waiting leaves it
    /// running.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hindered> {
        let free = Arc::clone(&self.0).try_lock_owned();
        let turn = free.map_err(|_| Hindered::Hanging)?;
        Turn { _guard: turn }.run(read).await
    }

    /// The next turn, once the readings before it have come back.
    pub(crate) async fn turn(&self) -> Turn {
        Turn {
            _guard: Arc::clone(&self.0).lock_owned().await,
        }
    }
}

impl Turn {
    /// Runs `read` on a thread of its own. Whoever stops waiting leaves it running.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hindered> {
        let reading = task::spawn_blocking(move || {
            let _turn = self;
            read()
        });
        reading.await.map_err(|_| Hindered::Stopping)
    }
}

/// Does it here, or where it `takes_long` on a thread where the time keeps nobody waiting; `None`: it was broken off
/// there.
pub(crate) async fn work<T: Send + 'static>(
    takes_long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if takes_long {
        task::spawn_blocking(work).await.ok()
    } else {
        Some(work())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn reading_that_hangs_is_not_joined_by_another_one() {
        let aside = Aside::default();
        let (end, hanging) = mpsc::channel::<()>();
        let hangs = {
            let aside = Aside(Arc::clone(&aside.0));
            tokio::spawn(async move { aside.run(move || hanging.recv()).await })
        };
        while aside.0.try_lock().is_ok() {
            task::yield_now().await;
        }
        assert!(matches!(aside.run(|| ()).await, Err(Hindered::Hanging)));
        drop(end);
        hangs.await.unwrap().unwrap().unwrap_err();
        assert!(aside.run(|| ()).await.is_ok());
    }
}
