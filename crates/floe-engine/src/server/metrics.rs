//! Numbers for what watches a server (Prometheus' text format), and whether it is well.
//!
//! HTTP/1.1 as far as two pages without parameters need it, by hand: a head of a few KiB is read,
//! an answer is written, the connection is closed. No bodies, no reuse, few at once, a deadline for
//! each; who has asked nothing yet, or has an answer and stays, gives way to who comes. An HTTP
//! library would bring a parser, a router and a connection pool to a process that needs none of
//! them.

use super::Hall;
use super::tally::{Sums, Way, word};
use floe_proto::frame::Direction;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// Connections at once. Where all are being answered, others are closed.
const READERS_MAX: usize = 8;
/// How long one may take, from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the audit log may take to say whether it can be written.
const LOOK: Duration = Duration::from_secs(2);
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 4 << 10;
/// What is read of what a client still says, so that it reads its answer.
const LINGER_BYTES_MAX: u64 = 64 << 10;
/// After a failure of accept: a rest, so that it does not spin.
const REST: Duration = Duration::from_millis(100);

/// Answers, for ever.
pub(super) async fn attend(hall: Arc<Hall>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(READERS_MAX));
    let (looking, idle) = (Arc::new(Semaphore::new(1)), Idle::default());
    let desk = Arc::new(Desk { hall, looking, idle });
    for number in 0.. {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(REST).await;
            continue;
        };
        if places.available_permits() == 0 && !desk.idle.send_one_away() {
            continue;
        }
        // Whoever was sent away is gone at once.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let desk = Arc::clone(&desk);
        let guest = Guest { number, leave: Arc::default() };
        desk.idle.add(&guest);
        tokio::spawn(async move {
            // Who is too slow is hung up on.
            tokio::select! {
                _ = timeout(PATIENCE, talk(&desk, &guest, socket)) => {}
                () = guest.leave.notified() => {}
            }
            desk.idle.remove(&guest);
            drop(place);
        });
    }
}

/// What all who ask share.
struct Desk {
    hall: Arc<Hall>,
    /// Held while it is looked at the audit log: a disk that hangs has one question, not one for
    /// each who asks.
    looking: Arc<Semaphore>,
    idle: Idle,
}

/// A connection, by the order in which they came.
struct Guest {
    number: u64,
    /// Notified when it has to leave.
    leave: Arc<Notify>,
}

/// Those that have asked nothing yet, or were answered: they may have to leave.
#[derive(Default)]
struct Idle(Mutex<BTreeMap<u64, Arc<Notify>>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, guest: &Guest) {
        self.lock().insert(guest.number, Arc::clone(&guest.leave));
    }

    /// Whether it may stay: nobody told it to leave before.
    fn remove(&self, guest: &Guest) -> bool {
        self.lock().remove(&guest.number).is_some()
    }

    /// The oldest has to leave, if there is one.
    fn send_one_away(&self) -> bool {
        let oldest = self.lock().pop_first();
        oldest.inspect(|(_, leave)| leave.notify_one()).is_some()
    }
}

async fn talk(desk: &Desk, guest: &Guest, mut socket: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !is_whole(&head) && head.len() < HEAD_BYTES_MAX {
        let read = socket.read(&mut part).await?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&part[..read]);
    }
    if !desk.idle.remove(guest) {
        return Ok(());
    }
    let page = match Asked::of(&head) {
        Ok((method, Page::Metrics)) => (method, OK, METRICS, text(&desk.hall)),
        Ok((method, Page::Health)) => match health(desk).await {
            Ok(()) => (method, OK, PLAIN, "ok\n".to_owned()),
            Err(why) => (method, "503 Service Unavailable", PLAIN, format!("{why}\n")),
        },
        Err(status) => (Method::Get, status, PLAIN, format!("{status}\n")),
    };
    let (method, status, kind, body) = page;
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: \
         no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if method == Method::Get {
        answer.push_str(&body);
    }
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    desk.idle.add(guest);
    // Closed with bytes unread, the answer might be lost.
    tokio::io::copy(&mut socket.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    Get,
    Head,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Page {
    Metrics,
    Health,
}

/// What a head asks for.
struct Asked;

impl Asked {
    /// # Errors
    /// The status that says what is wrong with it.
    fn of(head: &[u8]) -> Result<(Method, Page), &'static str> {
        const BAD: &str = "400 Bad Request";
        let end = head.windows(4).position(|end| end == b"\r\n\r\n");
        let head = &head[..end.ok_or("431 Request Header Fields Too Large")?];
        let head = std::str::from_utf8(head).or(Err(BAD))?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        if words.next().is_some() || !version.is_some_and(|it| it.starts_with("HTTP/1.")) {
            return Err(BAD);
        }
        let with_body = lines.filter_map(|line| line.split_once(':')).any(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding")
                || (name.eq_ignore_ascii_case("content-length") && value.trim() != "0")
        });
        if with_body {
            return Err("413 Content Too Large");
        }
        let method = match method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            _ => return Err("405 Method Not Allowed"),
        };
        match target.unwrap_or_default().split('?').next() {
            Some("/metrics") => Ok((method, Page::Metrics)),
            Some("/healthz") => Ok((method, Page::Health)),
            _ => Err("404 Not Found"),
        }
    }
}

/// Whether clients are let in and can be served.
async fn health(desk: &Desk) -> Result<(), String> {
    let hall = &desk.hall;
    if hall.is_draining() {
        return Err("draining".to_owned());
    }
    // As they were read last: the patrol looks every second.
    hall.roster.is_read().map_err(|_| "the tickets cannot be read".to_owned())?;
    let Some(audit) = hall.audit.clone() else { return Ok(()) };
    let asked = timeout(LOOK, async {
        let alone = Arc::clone(&desk.looking).acquire_owned().await.ok()?;
        let (said, heard) = oneshot::channel();
        hall.threads.names.submit(Box::new(move || {
            // Nobody may wait any more.
            let _ = said.send(audit.may_write());
            drop(alone);
        }));
        heard.await.ok()
    });
    match asked.await {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(fault))) => Err(format!("the audit log cannot be written: {fault}")),
        _ => Err("the disk of the audit log does not answer".to_owned()),
    }
}

fn text(hall: &Hall) -> String {
    let (sums, sessions) = hall.tally.sums();
    let mut page = Text(String::new());
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    page.one("floe_build_info", GAUGE, "The version that runs.", &[(version.as_str(), 1)]);
    let whole = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let age = hall.age().as_secs();
    let draining = u64::from(hall.is_draining());
    let free = hall.sockets.available_permits();
    for (name, kind, help, number) in [
        ("floe_uptime_seconds", GAUGE, "Since the server began.", age),
        ("floe_draining", GAUGE, "1 while it ends and lets nobody in.", draining),
        ("floe_sessions", GAUGE, "Sessions that run.", whole(sessions)),
        ("floe_sessions_total", COUNTER, "Sessions that began.", sums.sessions),
        (
            "floe_sessions_old_key_total",
            COUNTER,
            "Sessions whose client knew the server by the key before.",
            hall.keys.old_sessions(),
        ),
        ("floe_refused_total", COUNTER, "Clients and streams not let in.", sums.refused),
        ("floe_connections_free", GAUGE, "Connections it has room for.", whole(free)),
        ("floe_buffers_bytes", GAUGE, "What buffers hold.", hall.pool.held().0),
        ("floe_buffers_peak_bytes", GAUGE, "What they held at most.", hall.pool.held_max().0),
    ] {
        page.one(name, kind, help, &[("", number)]);
    }
    page.ways(&sums);
    page.0
}

/// Name, kind and help of a number that there is for each way, and which one.
type Row = (&'static str, &'static str, &'static str, fn(&Way) -> u64);

/// A page of numbers.
struct Text(String);

impl Text {
    fn one(&mut self, name: &str, kind: &str, help: &str, samples: &[(&str, u64)]) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, number) in samples {
            let _ = writeln!(self.0, "{name}{labels} {number}");
        }
    }

    fn ways(&mut self, sums: &Sums) {
        let each: [Row; 3] = [
            ("floe_transfers", GAUGE, "Transfers that run.", |way| way.running),
            (
                "floe_transfer_bytes_total",
                COUNTER,
                "Bytes of files that went over the network, before compression, repeated ones and \
                 those of probes, too.",
                |way| way.bytes,
            ),
            (
                "floe_entries_total",
                COUNTER,
                "Entries committed, or found as they should be.",
                |way| way.entries,
            ),
        ];
        let [put, get] = [Direction::Put, Direction::Get].map(word);
        for (name, kind, help, number) in each {
            let label = |way: &str| format!("{{direction=\"{way}\"}}");
            let (put, get) = (label(put), label(get));
            let [puts, gets] = &sums.ways;
            self.one(
                name,
                kind,
                help,
                &[(put.as_str(), number(puts)), (get.as_str(), number(gets))],
            );
        }
        let mut samples = Vec::new();
        for (way, sum) in [put, get].into_iter().zip(&sums.ways) {
            for (result, number) in [("done", sum.done), ("failed", sum.failed)] {
                let labels = format!("{{direction=\"{way}\",result=\"{result}\"}}");
                samples.push((labels, number));
            }
        }
        let samples: Vec<_> = samples.iter().map(|(labels, nth)| (labels.as_str(), *nth)).collect();
        self.one("floe_transfers_total", COUNTER, "Transfers that ended.", &samples);
    }
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";
const OK: &str = "200 OK";
const PLAIN: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pages_are_there_and_nothing_else_is_understood() {
        let asked = |head: &str| Asked::of(head.as_bytes());
        let host = "Host: a\r\n\r\n";
        for (line, page) in [
            ("GET /metrics HTTP/1.1", Ok((Method::Get, Page::Metrics))),
            ("GET /metrics?x=1 HTTP/1.0", Ok((Method::Get, Page::Metrics))),
            ("HEAD /healthz HTTP/1.1", Ok((Method::Head, Page::Health))),
            ("GET / HTTP/1.1", Err("404 Not Found")),
            ("GET /metrics/../x HTTP/1.1", Err("404 Not Found")),
            ("POST /metrics HTTP/1.1", Err("405 Method Not Allowed")),
            ("GET /metrics", Err("400 Bad Request")),
            ("GET /metrics HTTP/1.1 x", Err("400 Bad Request")),
            ("", Err("400 Bad Request")),
        ] {
            assert_eq!(asked(&format!("{line}\r\n{host}")), page, "{line}");
        }
        for header in ["Content-Length: 5", "content-length:5", "Transfer-Encoding: chunked"] {
            let head = format!("GET /metrics HTTP/1.1\r\n{header}\r\n{host}");
            assert_eq!(asked(&head), Err("413 Content Too Large"), "{header}");
        }
        let none = asked("GET /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(none, Ok((Method::Get, Page::Metrics)));
        assert_eq!(Asked::of(b"GET /metrics HT"), Err("431 Request Header Fields Too Large"));
        assert_eq!(Asked::of(b"\xff\r\n\r\n"), Err("400 Bad Request"));
    }
}
