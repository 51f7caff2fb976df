//! The attackers: one thread on a core of its own, with as many connections as are asked for, each
//! from an address of its own beneath 127.

use super::hold_to;
use crate::Result;
use floe_engine::greeting::{Caller, hello, join};
use floe_engine::secure::{Secured, client_handshake};
use floe_engine::ticket::Ticket;
use floe_types::Limits;
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, sleep};

/// Who is attacked, and with what.
#[derive(Clone)]
pub struct Target {
    /// On 127.0.0.1.
    pub port: u16,
    /// It lets in, and allows little.
    pub ticket: Ticket,
}

/// What stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A session over TLS without a transfer.
    Session,
    /// A further connection of one.
    Stream,
    /// A connection that is not let in: it has said nothing, or a few bytes.
    Silent,
}

/// All of them; they are gone when it is dropped.
pub struct Crowd {
    orders: UnboundedSender<Order>,
    told: mpsc::Receiver<usize>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Gather(Kind, usize),
    Churn(u32),
    /// How many handshakes were done so far.
    Count,
}

/// How long whoever was closed stays away.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a greeting may take: a server under siege has many.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often those come that churn, and how many may be under way.
const TICK: Duration = Duration::from_millis(10);
const UNDER_WAY_MAX: usize = 4000;
/// Connections of a session.
const STREAMS: usize = 64;
/// Those that are let in at once.
const AT_ONCE: usize = 64;

impl Crowd {
    /// Nobody yet, on that core.
    pub fn begin(target: Target, core: usize) -> Result<Self> {
        let (orders, heard) = unbounded_channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("crowd".to_owned());
        let thread = thread.spawn(move || {
            if hold_to(core).is_ok()
                && let Ok(runtime) =
                    tokio::runtime::Builder::new_current_thread().enable_all().build()
            {
                let tasks = LocalSet::new();
                tasks.block_on(&runtime, obey(target, heard, tell));
            }
        });
        let thread = thread.map_err(|error| format!("start a thread: {error}"))?;
        Ok(Self { orders, told, thread: Some(thread) })
    }

    /// Has so many stand; how many do: fewer where the server lets no more in.
    pub fn gather(&self, kind: Kind, count: usize) -> Result<usize> {
        self.ask(Order::Gather(kind, count))
    }

    /// Has others come for a handshake and go, so many a second.
    pub fn churn(&self, a_second: u32) -> Result<()> {
        self.ask(Order::Churn(a_second)).map(drop)
    }

    /// How many handshakes were done; and everybody is gone.
    pub fn end(self) -> Result<u64> {
        Ok(self.ask(Order::Count)? as u64)
    }

    fn ask(&self, order: Order) -> Result<usize> {
        let gone = || "the attackers are gone".to_owned();
        self.orders.send(order).map_err(|_| gone())?;
        self.told.recv().map_err(|_| gone())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Nobody orders any more: the thread ends, and all its connections with it.
        self.orders = unbounded_channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A session that stands, and how it is joined.
struct Standing {
    _link: Secured,
    session: [u8; 16],
    secret: [u8; 32],
}

/// What stands, and what was done.
struct State {
    target: Target,
    sessions: Vec<Standing>,
    streams: Vec<Secured>,
    /// Addresses that were used.
    next: Rc<Cell<u32>>,
    standing: Rc<Cell<usize>>,
    handshakes: Rc<Cell<usize>>,
}

async fn obey(target: Target, mut orders: UnboundedReceiver<Order>, told: mpsc::Sender<usize>) {
    let (next, standing, handshakes) = (Rc::default(), Rc::default(), Rc::default());
    let (sessions, streams) = (Vec::new(), Vec::new());
    let mut state = State { target, sessions, streams, next, standing, handshakes };
    while let Some(order) = orders.recv().await {
        let answer = match order {
            Order::Gather(Kind::Session, count) => state.enter(count).await,
            Order::Gather(Kind::Stream, count) => state.join(count).await,
            Order::Gather(Kind::Silent, count) => state.stand(count).await,
            Order::Churn(a_second) => {
                state.churn(a_second);
                0
            }
            Order::Count => state.handshakes.get(),
        };
        if told.send(answer).is_err() {
            return;
        }
    }
}

impl State {
    /// Sessions, until there are so many or the server is busy.
    async fn enter(&mut self, count: usize) -> usize {
        let (target, next) = (self.target.clone(), Rc::clone(&self.next));
        let enter = move |nth: usize| {
            let (target, next) = (target.clone(), Rc::clone(&next));
            async move {
                let mut link = secure(&target, &next).await?;
                let mut client = [7; 16];
                client[..8].copy_from_slice(&(nth as u64).to_be_bytes());
                let caller = Caller { client, ticket: Some(&target.ticket), agent: "siege" };
                let (limits, until) = (Limits::default(), Instant::now() + PATIENCE);
                let welcome = hello(&mut link, caller, &limits, until).await.ok()?;
                let (session, secret) = (welcome.session, welcome.secret);
                Some(Standing { _link: link, session, secret })
            }
        };
        self.sessions = all_of(count, enter).await;
        self.sessions.len()
    }

    /// Further streams of those sessions, as many as are let in.
    async fn join(&mut self, count: usize) -> usize {
        let (target, next) = (self.target.clone(), Rc::clone(&self.next));
        let leads: Vec<_> = self.sessions.iter().map(|lead| (lead.session, lead.secret)).collect();
        let join_one = move |nth: usize| {
            let (target, next) = (target.clone(), Rc::clone(&next));
            let lead = leads.get(nth / (STREAMS - 1)).copied();
            async move {
                let ((session, secret), limits) = (lead?, Limits::default());
                let mut link = secure(&target, &next).await?;
                let until = Instant::now() + PATIENCE;
                join(&mut link, session, &secret, &limits, until).await.ok()?;
                Some(link)
            }
        };
        self.streams = all_of(count, join_one).await;
        self.streams.len()
    }

    /// Those that say nothing, or begin a record; who is closed comes again. How many stand once
    /// all have come.
    async fn stand(&mut self, count: usize) -> usize {
        let came = Rc::new(Cell::new(0));
        for nth in 0..count {
            let (port, next) = (self.target.port, Rc::clone(&self.next));
            let (standing, came) = (Rc::clone(&self.standing), Rc::clone(&came));
            spawn_local(async move {
                let mut first = Some(came);
                loop {
                    let socket = dial(port, &next).await;
                    first.take().inspect(|came| came.set(came.get() + 1));
                    if let Some(mut socket) = socket {
                        standing.set(standing.get() + 1);
                        if nth % 2 == 0 {
                            let _ = socket.write_all(&[22, 3, 1, 2, 0, 1]).await;
                        }
                        // Until the server ends it.
                        let _ = socket.readable().await;
                        standing.set(standing.get() - 1);
                    }
                    sleep(AGAIN).await;
                }
            });
        }
        while came.get() < count {
            sleep(TICK).await;
        }
        self.standing.get()
    }

    /// Whole handshakes, and nothing behind them.
    fn churn(&self, a_second: u32) {
        let (target, next) = (self.target.clone(), Rc::clone(&self.next));
        let done = Rc::clone(&self.handshakes);
        spawn_local(async move {
            let (mut ticks, under_way) = (interval(TICK), Rc::new(Cell::new(0)));
            let mut owed = 0.0;
            loop {
                ticks.tick().await;
                owed += f64::from(a_second) * TICK.as_secs_f64();
                while owed >= 1.0 {
                    owed -= 1.0;
                    if under_way.get() >= UNDER_WAY_MAX {
                        continue;
                    }
                    under_way.set(under_way.get() + 1);
                    let (target, next) = (target.clone(), Rc::clone(&next));
                    let (done, under_way) = (Rc::clone(&done), Rc::clone(&under_way));
                    spawn_local(async move {
                        if secure(&target, &next).await.is_some() {
                            done.set(done.get() + 1);
                        }
                        under_way.set(under_way.get() - 1);
                    });
                }
            }
        });
    }
}

/// What `make` makes of each number, some at once, until one comes to nothing.
async fn all_of<T: 'static, F: Future<Output = Option<T>>>(
    count: usize,
    make: impl Fn(usize) -> F + 'static,
) -> Vec<T> {
    let (made, next) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let make = Rc::new(make);
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (made, next, make) = (Rc::clone(&made), Rc::clone(&next), Rc::clone(&make));
            spawn_local(async move {
                while next.get() < count {
                    let nth = next.get();
                    next.set(nth + 1);
                    match make(nth).await {
                        Some(one) => made.borrow_mut().push(one),
                        None => next.set(count),
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        // One that failed has made none; the others go on.
        let _ = worker.await;
    }
    made.take()
}

/// A connection with TLS.
async fn secure(target: &Target, next: &Cell<u32>) -> Option<Secured> {
    let socket = dial(target.port, next).await?;
    client_handshake(socket, target.ticket.pin(), Instant::now() + PATIENCE).await.ok()
}

/// A connection from an address that nobody used lately.
async fn dial(port: u16, next: &Cell<u32>) -> Option<TcpStream> {
    next.set((next.get() + 1) % 0xfe_0000);
    let [_, high, middle, low] = (next.get() + 0x1_0000).to_be_bytes();
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, high, middle, low), 0))).ok()?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.ok()
}
