//! The one place that makes and configures sockets, and asks them how their path is.
//!
//! Kernel autotuning is left alone, but on loopback, where explicit buffers were measured to be
//! half as fast again. Nothing is read or written here.

use floe_proto::command::{Congestion, PathSample};
use floe_types::{ByteCount, Code, Fault, Micros, Rate};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

const BACKLOG: i32 = 1024;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// How long an address may be silent before the next is tried too.
const HEAD_START: Duration = Duration::from_secs(2);
const LOOPBACK_BUFFER_BYTES: usize = 1 << 20;
/// Bytes the kernel takes that it has not sent yet: enough to keep a path busy between two turns
/// of a lane, little enough that control frames do not wait long behind data.
const UNSENT_BYTES_MAX: u32 = 1 << 20;
/// Without pacing: over loopback BBR was measured to cost a fifth more processor time
/// (docs/performance.md).
const UNPACED: [&[u8]; 2] = [b"cubic", b"reno"];
/// A loss here and there costs the others most of a long path.
const LOSS_TOLERANT: [&[u8]; 1] = [b"bbr"];
/// From this round trip on a path is long.
const LONG_PATH: Micros = Micros(5_000);
/// What gives way at a loss: BBR takes losses for noise, and keeps its share. Not `lp`, which where
/// it is there goes by the delay, too: two that decide that would wait for each other.
const YIELDING: [&[u8]; 2] = [b"cubic", b"reno"];
/// How long what the kernel has not sent yet may take at a pace: what comes behind it waits.
const PACED_UNSENT: Micros = Micros::from_millis(100);
const PACED_UNSENT_BYTES_MIN: u64 = 16 << 10;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Listens on an address; `[::]` takes both families.
///
/// # Errors
/// `AddressInUse`, `PermissionDenied`, `Usage` for an address that is not of this machine.
pub fn listen(addr: SocketAddr) -> Result<TcpListener, Fault> {
    in_runtime(bind(addr)?)
}

/// As `listen`, by a listener that there is for that address already, if there is one.
///
/// # Errors
/// As `listen`.
pub fn take_or_listen(
    addr: SocketAddr,
    there: &mut Vec<std::net::TcpListener>,
) -> Result<TcpListener, Fault> {
    match there.iter().position(|one| one.local_addr().is_ok_and(|own| own == addr)) {
        Some(at) => in_runtime(there.swap_remove(at)),
        None => listen(addr),
    }
}

fn in_runtime(listener: std::net::TcpListener) -> Result<TcpListener, Fault> {
    TcpListener::from_std(listener)
        .map_err(|error| Fault::new(Code::Other, format!("listen: {}", reason(&error))))
}

/// Listens before there is a runtime.
///
/// # Errors
/// As `listen`.
pub fn bind(addr: SocketAddr) -> Result<std::net::TcpListener, Fault> {
    let made = || -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(!addr.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if is_loopback(addr) {
            choose_congestion(&SockRef::from(&socket), &UNPACED);
        }
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    made().map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::AddrInUse => Code::AddressInUse,
            io::ErrorKind::PermissionDenied => Code::PermissionDenied,
            io::ErrorKind::AddrNotAvailable => Code::Usage,
            _ => Code::Other,
        };
        Fault::new(code, format!("listen on {addr}: {}", reason(&error)))
    })
}

/// Connects to the first address of `host` that answers, each with `patience`. One that says
/// nothing does not hold the others up: after a head start the next is tried beside it.
///
/// # Errors
/// `Unreachable`; the detail names the last address that failed.
pub async fn dial(host: &str, port: u16, patience: Duration) -> Result<TcpStream, Fault> {
    let unreachable = |what: String| Fault::new(Code::Unreachable, what);
    let shown = floe_types::escape::Escaped(host.as_bytes());
    let found = timeout(patience, lookup_host((host, port))).await;
    let addrs = match found {
        Ok(Ok(addrs)) => addrs,
        Ok(Err(error)) => {
            return Err(unreachable(format!("look up \"{shown}\": {}", reason(&error))));
        }
        Err(_) => return Err(unreachable(format!("look up \"{shown}\": no answer"))),
    };
    let addrs: Vec<SocketAddr> = addrs.take(ADDRESSES_MAX).collect();
    match race(&addrs, patience, HEAD_START).await {
        Ok(stream) => Ok(stream),
        Err(Some((addr, why))) => {
            Err(unreachable(format!("connect to \"{shown}\" at {addr}: {why}")))
        }
        Err(None) => Err(unreachable(format!("look up \"{shown}\": no address"))),
    }
}

/// Connects to this very address.
///
/// # Errors
/// `Unreachable`.
pub async fn dial_address(addr: SocketAddr, patience: Duration) -> Result<TcpStream, Fault> {
    let connected = race(&[addr], patience, patience).await;
    connected.map_err(|failed| {
        let why = failed.map_or_else(String::new, |(_, why)| why);
        Fault::new(Code::Unreachable, format!("connect to {addr}: {why}"))
    })
}

/// The first connection that comes about; else which address failed last, and why.
async fn race(
    addrs: &[SocketAddr],
    patience: Duration,
    head_start: Duration,
) -> Result<TcpStream, Option<(SocketAddr, String)>> {
    let mut tries = JoinSet::new();
    let mut rest = addrs.iter().copied();
    let mut last = None;
    loop {
        let next = rest.next();
        if let Some(addr) = next {
            tries.spawn(async move { (addr, timeout(patience, connect(addr)).await) });
        }
        let wait = if next.is_some() { head_start } else { patience };
        match timeout(wait, tries.join_next()).await {
            Ok(Some(Ok((_, Ok(Ok(stream)))))) => {
                configure(&stream);
                return Ok(stream);
            }
            Ok(Some(Ok((addr, Ok(Err(error)))))) => last = Some((addr, reason(&error))),
            Ok(Some(Ok((addr, Err(_))))) => last = Some((addr, "no answer".to_owned())),
            Ok(None) if next.is_none() => return Err(last),
            // Its time is over, or nothing is under way: the next one, or another look.
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if is_loopback(addr) {
        // Before it connects: pacing that has begun does not end with another choice.
        choose_congestion(&SockRef::from(&socket), &UNPACED);
    }
    socket.connect(addr).await
}

/// Whether the peer is reached without leaving this machine.
#[must_use]
pub fn is_local(stream: &TcpStream) -> bool {
    stream.peer_addr().is_ok_and(is_loopback)
}

fn is_loopback(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
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
    let loopback = is_local(stream);
    if loopback {
        socket.set_send_buffer_size(LOOPBACK_BUFFER_BYTES)?;
        socket.set_recv_buffer_size(LOOPBACK_BUFFER_BYTES)?;
    } else {
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    }
    let long = path(stream).is_some_and(|path| path.round_trip >= LONG_PATH);
    choose_congestion(
        &socket,
        if loopback {
            &UNPACED
        } else if long {
            &LOSS_TOLERANT
        } else {
            &[]
        },
    );
    Ok(())
}

/// Bounds how fast a connection sends, by a congestion control that gives way; `None` lifts the
/// bound. A failure is logged: the connection works without.
pub fn pace(stream: &TcpStream, pace: Option<Rate>) {
    let socket = SockRef::from(stream);
    let per_sec = pace.map_or(u64::MAX, Rate::bytes_per_sec);
    if pace.is_some() {
        choose_congestion(&socket, &YIELDING);
    }
    let unsent = per_sec.saturating_mul(PACED_UNSENT.0) / Micros::from_secs(1).0;
    let unsent = unsent.clamp(PACED_UNSENT_BYTES_MIN, UNSENT_BYTES_MAX.into());
    let unsent = u32::try_from(unsent).unwrap_or(UNSENT_BYTES_MAX);
    let paced = set_pace(stream, per_sec).and_then(|()| socket.set_tcp_notsent_lowat(unsent));
    if let Err(error) = paced {
        tracing::debug!(%error, "a socket is not paced");
    }
}

/// By SO_MAX_PACING_RATE; TCP paces by itself where the device's queue does not.
#[allow(unsafe_code)] // no safe wrapper of it exists in rustix or socket2
fn set_pace(stream: &TcpStream, per_sec: u64) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `size` bytes of `per_sec`, which outlives the call, and the
    // descriptor is open while `stream` is borrowed.
    let done = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            (&raw const per_sec).cast(),
            size,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the first congestion control that this process may use, unless the socket has one of them.
/// Where none is allowed, the system's choice stands.
fn choose_congestion(socket: &SockRef<'_>, wanted: &[&[u8]]) {
    let has = socket.tcp_congestion().unwrap_or_default();
    let has = has.split(|byte| *byte == 0).next().unwrap_or_default();
    if wanted.contains(&has) {
        return;
    }
    let _chosen = wanted.iter().find(|name| socket.set_tcp_congestion(name).is_ok());
}

/// What the kernel knows of a connection's path; `None` where it does not say.
#[must_use]
pub fn path(stream: &TcpStream) -> Option<PathSample> {
    let state = tcp_state(stream)?;
    let micros = |time: u32| Micros(u64::from(time));
    Some(PathSample {
        round_trip: micros(state.tcpi_rtt),
        round_trip_min: micros(state.tcpi_min_rtt.min(state.tcpi_rtt)),
        peer_window: ByteCount(state.tcpi_snd_wnd.into()),
        sending: Micros(state.tcpi_busy_time),
        peer_limited: Micros(state.tcpi_rwnd_limited),
        sent: ByteCount(state.tcpi_bytes_sent),
        sent_again: ByteCount(state.tcpi_bytes_retrans),
        acked: ByteCount(state.tcpi_bytes_acked),
        congestion: congestion(stream),
        worked: Micros::ZERO,
        ran: Micros::ZERO,
    })
}

fn congestion(stream: &TcpStream) -> Congestion {
    match SockRef::from(stream).tcp_congestion() {
        Ok(name) if name.starts_with(b"bbr") => Congestion::Model,
        _ => Congestion::Losses,
    }
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
    async fn an_address_that_says_nothing_does_not_hold_the_next_one_up() {
        // A queue that is full: the kernel drops what asks to come in, as a black hole does.
        let hole = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        hole.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        hole.listen(0).unwrap();
        let silent = hole.local_addr().unwrap().as_socket().unwrap();
        let _first = std::net::TcpStream::connect(silent).unwrap();
        let open = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let open = open.local_addr().map(|addr| (addr, open)).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let stream = race(&[silent, open.0], day, Duration::from_millis(1)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open.0);
        // One that refuses gives its turn away at once, whatever the head start.
        let free = listen("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
        let stream = race(&[free, open.0], day, day).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open.0);
        assert!(race(&[], day, day).await.unwrap_err().is_none());
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

    #[tokio::test]
    async fn what_gives_way_is_paced_and_slows_down_at_a_loss() {
        let open = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = open.local_addr().unwrap().port();
        let stream = dial("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        let told = || tcp_state(&stream).unwrap().tcpi_max_pacing_rate;
        pace(&stream, Rate::new(100_000));
        assert_eq!(told(), 100_000);
        assert_eq!(path(&stream).unwrap().congestion, Congestion::Losses);
        assert_eq!(SockRef::from(&stream).tcp_notsent_lowat().unwrap(), 16 << 10);
        pace(&stream, None);
        assert_eq!(told(), u64::MAX);
    }

    #[tokio::test]
    async fn loopback_is_not_paced_and_what_may_not_be_chosen_is_left_alone() {
        let open = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = open.local_addr().unwrap().port();
        let stream = dial("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        let socket = SockRef::from(&stream);
        let now = || {
            let name = socket.tcp_congestion().unwrap();
            name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
        };
        // Every kernel has reno, and every process may use it.
        assert!(UNPACED.contains(&now().as_slice()), "{:?}", now());
        let before = now();
        choose_congestion(&socket, &[b"nothing"]);
        assert_eq!(now(), before);
    }
}
