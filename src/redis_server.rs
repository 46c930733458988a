//! A real Redis server for tests.

#![cfg(test)]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;

/// A Redis server that belongs to one test and ends with it.
pub(crate) struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts a server with these flags on a free port.
    pub(crate) fn start(flags: &[&str]) -> Self {
        // Another process can take the free port before Redis does; then another port is tried.
        let mut tries = (0..5).filter_map(|_| Self::try_start(flags));
        let server = tries.next();
        server.expect("redis-server should start on one of 5 free ports")
    }

    fn try_start(flags: &[&str]) -> Option<Self> {
        let port = free_port();
        let directory = tempfile::tempdir().unwrap();
        let (listens, dir) = (port.to_string(), directory.path().to_str().unwrap());
        let usual = [
            "--bind",
            "127.0.0.1",
            "--port",
            &listens,
            "--save",
            "",
            "--dir",
            dir,
        ];
        let arguments = [&usual[..], flags].concat();
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        let mut server = Self {
            child: spawn(&arguments),
            port,
            arguments,
            _directory: directory,
        };
        server.answers().then_some(server)
    }

    /// Waits until the server answers or ends, and reports whether it answers.
    fn answers(&mut self) -> bool {
        for _ in 0..600 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not answer");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Sends one command.
    pub(crate) async fn run(&self, command: &[&str]) -> redis::Value {
        let (name, arguments) = command.split_first().unwrap();
        let mut connection = self.connect().await;
        redis::cmd(name)
            .arg(arguments)
            .query_async(&mut connection)
            .await
            .unwrap()
    }

    /// Kills the server, which loses its data.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Restarts the server on its old port, empty.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        // Another process may have taken the port meanwhile; the next try may find it free again.
        for _ in 0..20 {
            self.child = spawn(&self.arguments);
            if self.answers() {
                return;
            }
        }
        panic!("redis-server did not start again on port {}", self.port);
    }

    /// Suspends the server: connections stay open, and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Resumes the server.
    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
    }
}

fn spawn(arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server should be installed: these tests run against a real one")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
