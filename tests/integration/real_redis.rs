//! A real Redis: Debian's package, as a child process.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::free_address;

/// On a free port of 127.0.0.1; ended when dropped.
pub struct Redis {
    child: Child,
    pub port: u16,
    _scratch: tempfile::TempDir,
}

impl Redis {
    /// One that speaks plain TCP and asks for no password.
    pub async fn start() -> Self {
        Self::listening(|port| vec!["--port".to_owned(), port.to_string()]).await
    }

    /// One with these flags, which make it listen on that port.
    pub async fn listening(flags: impl FnOnce(u16) -> Vec<String>) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let port = free_address().port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(scratch.path())
            .args(flags(port))
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (Debian package redis-server)");
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            child,
            port,
            _scratch: scratch,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
