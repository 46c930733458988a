//! Listening sockets: TCP, Unix, and those that systemd passes.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_send_buffer_size};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use crate::config::{ListenAddress, WebConfig};

use super::ServerError;

/// The send buffer of a connection, which the kernel doubles for its own use. By default the kernel buffers megabytes,
/// and a slow client then seems to read nothing for minutes. Unit: bytes.
const SEND_BUFFER: usize = 128 << 10;

/// The number of connections that the kernel queues until they are accepted; tokio uses the same number.
const BACKLOG: u32 = 1024;

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix {
        /// `None` if it isn't ours to remove. Dropped before the socket, so that it never removes a successor's file.
        _file: Option<SocketFile>,
        listener: UnixListener,
    },
}

/// An accepted connection.
pub(super) type Socket = Either<TcpStream, UnixStream>;

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        // A socket that rejects a setting still works.
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A reply is written in one go, so there is nothing to wait for.
                let _ = stream.set_nodelay(true);
                let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
                Ok(Either::Left(stream))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
                Ok(Either::Right(stream))
            }
        }
    }
}

/// Returns our own address of a connection, or `None` for a Unix socket.
pub(super) fn local_address(socket: &Socket) -> Option<SocketAddr> {
    match socket {
        Either::Left(stream) => stream.local_addr().ok(),
        Either::Right(_) => None,
    }
}

/// Reports whether the client's first byte is a letter, as in every HTTP method and in no TLS handshake.
pub(super) async fn begins_with_a_letter(socket: &Socket) -> bool {
    // Whoever connects to a Unix socket knows what it speaks.
    let Either::Left(stream) = socket else {
        return false;
    };
    let mut first = [0];
    stream.peek(&mut first).await.is_ok() && first[0].is_ascii_alphabetic()
}

/// Formats the address as on the command line, but with the actual port.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_err(|_| fmt::Error)?.fmt(f),
            Self::Unix { listener, .. } => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    // A Linux socket without a file, which only systemd passes.
                    None => f.write_str("a Unix socket without a path"),
                }
            }
        }
    }
}

/// Opens the sockets that the configuration asks for.
pub(super) async fn open(config: &WebConfig) -> Result<Vec<Listener>, ServerError> {
    if config.systemd_socket {
        return from_systemd().map_err(|source| ServerError::Listen {
            address: "the sockets of systemd".to_owned(),
            source,
        });
    }
    let mut listeners = Vec::new();
    for address in &config.listen_addresses {
        let opened = match address {
            ListenAddress::AnyAddress(port) => any_address(*port).await.map(Listener::Tcp),
            // Of the addresses of a host name, this binds to the first that the machine has.
            ListenAddress::Host(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            ListenAddress::Unix(path) => unix(path).await,
        };
        listeners.push(opened.map_err(|source| ServerError::Listen {
            address: address.to_string(),
            source,
        })?);
    }
    Ok(listeners)
}

/// Listens on IPv6 and IPv4, or on IPv4 alone if the machine has no IPv6.
async fn any_address(port: u16) -> io::Result<TcpListener> {
    match any_ipv6_and_ipv4(port) {
        Err(error) if is_no_such_family(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        opened => opened,
    }
}

fn any_ipv6_and_ipv4(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    socket.set_reuseaddr(true)?;
    // Regardless of net.ipv6.bindv6only.
    set_ipv6_v6only(&socket, false)?;
    socket.bind((Ipv6Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)
}

fn is_no_such_family(error: &io::Error) -> bool {
    // The kernel has no IPv6, or `disable_ipv6=1` leaves the address family without addresses.
    error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Opens a Unix socket. Replaces the file of a socket that nobody serves any more, and leaves any other file alone.
async fn unix(path: &Path) -> io::Result<Listener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket
        && let Err(error) = UnixStream::connect(path).await
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    Ok(Listener::Unix {
        _file: Some(SocketFile(path.to_owned())),
        listener,
    })
}

/// The file of a Unix socket, removed when dropped.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn from_systemd() -> io::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::with_capacity(passed.len());
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Tcp(TcpListener::from_std(listener)?));
        } else if let Some(listener) = passed.take_unix_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Unix {
                _file: None,
                listener: UnixListener::from_std(listener)?,
            });
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "systemd passed none; is there a .socket unit for this service?",
        ));
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    async fn open_one(address: ListenAddress) -> Result<Vec<Listener>, ServerError> {
        open(&WebConfig {
            listen_addresses: vec![address],
            ..Config::new(Vec::new()).web
        })
        .await
    }

    fn port(listeners: &[Listener]) -> u16 {
        let address: SocketAddr = listeners[0].to_string().parse().unwrap();
        address.port()
    }

    #[tokio::test]
    async fn any_address_takes_ipv4_and_a_port_in_use_is_named() {
        let taken = open_one(ListenAddress::AnyAddress(0)).await.unwrap();
        let port = port(&taken);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let error = open_one(ListenAddress::AnyAddress(port))
            .await
            .err()
            .unwrap();
        assert_eq!(error.to_string(), format!("cannot listen on :{port}"));

        let named = ListenAddress::Host("localhost:0".to_owned());
        assert!(self::port(&open_one(named).await.unwrap()) > 0);
    }

    #[tokio::test]
    async fn unix_socket_replaces_neither_one_that_answers_nor_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exporter.sock");
        let address = ListenAddress::Unix(path.clone());
        let listeners = open_one(address.clone()).await.unwrap();
        assert!(open_one(address.clone()).await.is_err());
        UnixStream::connect(&path).await.unwrap();
        drop(listeners);

        fs::write(&path, "precious").unwrap();
        assert!(open_one(address).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
