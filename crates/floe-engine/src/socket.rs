//! The one place that makes and configures sockets, and asks them how their path is.
//!
//! Kernel autotuning is left alone, but on loopback, where explicit buffers were measured to be
//! half as fast again (ENGINE). Nothing is read or written here.

use floe_proto::command::PathSample;
use floe_types::{Code, Fault, Micros};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, lookup_host};

const BACKLOG: i32 = 1024;
const LOOPBACK_BUFFER_BYTES: usize = 1 << 20;
/// Bytes the kernel takes that it has not sent yet: enough to keep a path busy between two turns
/// of a lane, little enough that control frames do not wait long behind data.
const UNSENT_BYTES_MAX: u32 = 1 << 20;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Listens on an address; `[::]` takes both families.
///
/// # Errors
/// `AddressInUse`, `PermissionDenied`, `Unreachable` for an address that is not of this machine.
pub fn listen(addr: SocketAddr) -> Result<TcpListener, Fault> {
    let made = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(!addr.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    made().map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::AddrInUse => Code::AddressInUse,
            io::ErrorKind::PermissionDenied => Code::PermissionDenied,
            io::ErrorKind::AddrNotAvailable => Code::Unreachable,
            _ => Code::Other,
        };
        Fault::new(code, format!("listen on {addr}: {}", reason(&error)))
    })
}

/// Connects to the first address of `host` that answers, each with `patience`.
///
/// # Errors
/// `Unreachable`; the detail names the last address tried.
pub async fn dial(host: &str, port: u16, patience: Duration) -> Result<TcpStream, Fault> {
    let unreachable = |what: String| Fault::new(Code::Unreachable, what);
    let shown = floe_types::escape::Escaped(host.as_bytes());
    let found = tokio::time::timeout(patience, lookup_host((host, port))).await;
    let addrs = match found {
        Ok(Ok(addrs)) => addrs,
        Ok(Err(error)) => {
            return Err(unreachable(format!("look up \"{shown}\": {}", reason(&error))));
        }
        Err(_) => return Err(unreachable(format!("look up \"{shown}\": no answer"))),
    };
    let mut last = unreachable(format!("look up \"{shown}\": no address"));
    for addr in addrs {
        let why = match tokio::time::timeout(patience, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => {
                configure(&stream);
                return Ok(stream);
            }
            Ok(Err(error)) => reason(&error),
            Err(_) => "no answer".to_owned(),
        };
        last = unreachable(format!("connect to \"{shown}\" at {addr}: {why}"));
    }
    Err(last)
}

/// Sets what every connection wants. A failure is logged: the connection works without.
pub fn configure(stream: &TcpStream) {
    if let Err(error) = try_configure(stream) {
        tracing::debug!(%error, "a socket option was refused");
    }
}

fn try_configure(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    if stream.peer_addr().is_ok_and(|addr| addr.ip().to_canonical().is_loopback()) {
        socket.set_send_buffer_size(LOOPBACK_BUFFER_BYTES)?;
        socket.set_recv_buffer_size(LOOPBACK_BUFFER_BYTES)?;
    } else {
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    }
    Ok(())
}

/// What the kernel knows of a connection's path; `None` where it does not say.
#[must_use]
pub fn path(stream: &TcpStream) -> Option<PathSample> {
    let state = tcp_state(stream)?;
    Some(PathSample { round_trip: Micros(u64::from(state.tcpi_rtt)) })
}

/// The state of a connection, by TCP_INFO.
#[allow(unsafe_code)] // no safe wrapper of TCP_INFO exists in rustix or socket2
fn tcp_state(stream: &TcpStream) -> Option<libc::tcp_info> {
    let size = size_of::<libc::tcp_info>();
    let mut len = libc::socklen_t::try_from(size).ok()?;
    // SAFETY: tcp_info is plain integers, for which all zeros is a value; the kernel writes at
    // most `len` bytes into it, and the descriptor is open while `stream` is borrowed.
    unsafe {
        let mut state: libc::tcp_info = std::mem::zeroed();
        let done = libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut len,
        );
        (done == 0).then_some(state)
    }
}

/// An error without the number of the system in it.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let short = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = short.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_says_so() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let fault = listen(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(fault.code, Code::AddressInUse);
        assert!(fault.detail.starts_with("listen on 127.0.0.1:"), "{fault}");
    }

    #[tokio::test]
    async fn dialling_nobody_is_unreachable_and_somebody_has_a_path() {
        let free = listen("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
        let fault = dial("127.0.0.1", free.port(), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(fault.code, Code::Unreachable);
        assert!(fault.detail.ends_with("connection refused"), "{fault}");
        let open = listen("[::1]:0".parse().unwrap()).unwrap();
        let port = open.local_addr().unwrap().port();
        let stream = dial("::1", port, Duration::from_secs(5)).await.unwrap();
        assert!(path(&stream).is_some());
    }
}
