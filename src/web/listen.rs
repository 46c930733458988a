//! Listening sockets: TCP, Unix, and those that systemd opened.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::{ListenAddress, WebConfig};

use super::ServerError;

/// What the kernel holds for a client that doesn't read; it doubles the number for its own use. Left to itself it takes
/// megabytes, and a slow client then seems to take nothing for minutes. Unit: bytes.
const SEND_BUFFER: usize = 128 << 10;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Removed with the socket; `None`: it isn't ours to remove.
        _file: Option<SocketFile>,
    },
}

/// What bytes are read from and written to.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that somebody opened.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        // A socket that refuses a setting is still good.
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is written in one go; there is nothing to wait for.
                let _ = stream.set_nodelay(true);
                let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
                Ok(Accepted::Tcp(stream))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
                Ok(Accepted::Unix(stream))
            }
        }
    }
}

impl Accepted {
    /// Our own address; `None`: a Unix socket.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Whether the client begins with a letter, as each HTTP method does and no TLS handshake.
    pub(super) async fn begins_with_a_letter(&self) -> bool {
        let mut first = [0];
        match self {
            Self::Tcp(stream) => {
                let peeked = stream.peek(&mut first).await;
                peeked.is_ok_and(|bytes| bytes > 0) && first[0].is_ascii_alphabetic()
            }
            // Nobody speaks TLS over a Unix socket by mistake.
            Self::Unix(_) => false,
        }
    }

    pub(super) fn into_stream(self) -> Box<dyn Stream> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Unix(stream) => Box::new(stream),
        }
    }
}

/// As on the command line, but with the port that was found.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("a TCP socket"),
            },
            Self::Unix { listener, .. } => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    // One of Linux's names without a file, which only systemd passes.
                    None => f.write_str("a Unix socket without a path"),
                }
            }
        }
    }
}

/// Opens what the configuration asks for.
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
            ListenAddress::AnyAddress(port) => any_address(*port).await,
            ListenAddress::Socket(address) => TcpListener::bind(*address).await.map(tcp),
            // The first of its addresses that this machine has.
            ListenAddress::Name(name, port) => {
                TcpListener::bind((name.as_str(), *port)).await.map(tcp)
            }
            ListenAddress::Unix(path) => unix(path).await.map(|listener| vec![listener]),
        };
        listeners.extend(opened.map_err(|source| ServerError::Listen {
            address: address.to_string(),
            source,
        })?);
    }
    Ok(listeners)
}

fn tcp(listener: TcpListener) -> Vec<Listener> {
    vec![Listener::Tcp(listener)]
}

/// IPv6 and IPv4, or IPv4 alone where the machine has no IPv6.
async fn any_address(port: u16) -> io::Result<Vec<Listener>> {
    let v6 = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(error) if is_no_such_family(&error) => {
            return TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
                .await
                .map(tcp);
        }
        Err(error) => return Err(error),
    };
    let port = v6.local_addr()?.port();
    let mut listeners = tcp(v6);
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
        // With net.ipv6.bindv6only=1 the first socket leaves IPv4 to this one.
        Ok(v4) => listeners.push(Listener::Tcp(v4)),
        // Else the first one takes both. It could not have been opened if another program had IPv4's.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) if is_no_such_family(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(listeners)
}

fn is_no_such_family(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT`: IPv6 is not in the kernel.
    const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
    // `disable_ipv6=1` leaves the family, but no address in it.
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

/// A Unix socket. The file of one that nobody answers any more is replaced; any other file is left alone.
async fn unix(path: &Path) -> io::Result<Listener> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name which is no socket",
            ));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
            }
            Err(error) => return Err(error),
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another program answers there",
                ));
            }
        },
    }
    let listener = UnixListener::bind(path)?;
    Ok(Listener::Unix {
        _file: Some(SocketFile::of(path)?),
        listener,
    })
}

/// A socket's file, removed with it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            id: Self::id(path)?,
            path: path.to_owned(),
        })
    }

    fn id(path: &Path) -> io::Result<(u64, u64)> {
        let metadata = fs::symlink_metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own file there already.
        if Self::id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
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
                listener: UnixListener::from_std(listener)?,
                _file: None,
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

    async fn open_one(address: ListenAddress) -> Result<Vec<Listener>, ServerError> {
        open(&WebConfig {
            listen_addresses: vec![address],
            ..WebConfig::default()
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
        let error = open_one(ListenAddress::AnyAddress(port)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on :{port}"));

        let named = ListenAddress::Name("localhost".to_owned(), 0);
        assert!(self::port(&open_one(named).await.unwrap()) > 0);
    }

    #[tokio::test]
    async fn unix_socket_replaces_only_a_dead_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exporter.sock");
        let address = ListenAddress::Unix(path.clone());

        // A socket whose owner is gone leaves its file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listeners = open_one(address.clone()).await.unwrap();
        assert_eq!(listeners[0].to_string(), address.to_string());
        UnixStream::connect(&path).await.unwrap();

        assert!(
            open_one(address.clone()).await.is_err(),
            "one that answers stays"
        );
        drop(listeners);
        assert!(!path.exists(), "the file goes with the socket");

        fs::write(&path, "precious").unwrap();
        assert!(open_one(address).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
