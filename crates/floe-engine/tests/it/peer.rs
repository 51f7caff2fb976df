//! A client that a test leads by the hand: it says what it likes, and reads when it likes.

use crate::house::House;
use floe_engine::greeting::{Caller, hello};
use floe_engine::secure::{Flushed, Scratch, Secured, Took, client_handshake};
use floe_engine::ticket::Ticket;
use floe_proto::codec::{Decoded, Decoder, encode};
use floe_proto::command::TransferOptions;
use floe_proto::frame::{Direction, Frame, Open, Packing, Priority, ReceiptWish, Unasked, Welcome};
use floe_types::{ByteCount, Limits, ObjectPath, TransferId};
use std::io::IoSlice;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::time::Instant;

/// One stream of a session.
pub struct Peer {
    link: Secured,
    decoder: Decoder,
    scratch: Scratch,
    pub welcome: Welcome,
}

impl Peer {
    /// Connects and says HELLO, as the owner. Its receive buffer is small.
    pub async fn greet(house: &House, client: u8) -> Self {
        Self::greet_as(house, client, Some(&house.ticket)).await
    }

    /// The same, with a ticket or as anybody.
    pub async fn greet_as(house: &House, client: u8, ticket: Option<&Ticket>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let socket = socket.connect(house.address).await.unwrap();
        let (limits, deadline) = (Limits::default(), Instant::now() + Duration::from_secs(30));
        let mut link = client_handshake(socket, house.pin, deadline).await.unwrap();
        let caller = Caller { client: [client; 16], ticket, agent: "test" };
        let welcome = hello(&mut link, caller, &limits, deadline).await.unwrap();
        let mut decoder = Decoder::new(&limits);
        decoder.enter_session();
        Self { link, decoder, scratch: Scratch::small(), welcome }
    }

    /// Opens its first transfer.
    pub async fn open(&mut self, direction: Direction, path: ObjectPath) -> TransferId {
        self.open_as(direction, path, None).await
    }

    /// The same, as a probe of so many bytes.
    pub async fn probe(&mut self, direction: Direction, size: u64) {
        self.open_as(direction, ObjectPath::root(), Some(ByteCount(size))).await;
    }

    async fn open_as(
        &mut self,
        direction: Direction,
        path: ObjectPath,
        probe: Option<ByteCount>,
    ) -> TransferId {
        let transfer = TransferId(0);
        let TransferOptions { chunk, pace, precondition, resume, recognise, .. } =
            TransferOptions::default();
        let window = ByteCount(64 << 20);
        let open = Open {
            transfer,
            direction,
            path,
            chunk,
            window,
            pace,
            precondition,
            resume,
            recognise,
            unasked: Unasked::Refused,
            receipts: ReceiptWish::None,
            probe,
            packing: Packing::Auto,
            priority: Priority::Normal,
            rate: None,
        };
        self.say(&Frame::Open(open)).await;
        transfer
    }

    pub async fn say(&mut self, frame: &Frame<()>) {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes).unwrap();
        self.write(&bytes).await;
    }

    pub async fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = self.link.write_plain(&[IoSlice::new(bytes)]).unwrap();
            bytes = &bytes[count..];
            if count == 0 || self.link.flush().unwrap() == Flushed::Pending {
                self.link.socket().writable().await.unwrap();
            }
        }
    }

    /// The next frame that is no DATA.
    pub async fn hear(&mut self) -> Frame<()> {
        let mut bytes = [0; 4096];
        loop {
            let want = self.decoder.wanted().min(bytes.len());
            match self.link.read_plain(&mut bytes[..want], &mut self.scratch).unwrap() {
                Took::WouldBlock => self.link.socket().readable().await.unwrap(),
                Took::End(_) => panic!("the server ended the connection"),
                Took::Bytes(count) => match self.decoder.feed(&bytes[..count]).unwrap().decoded {
                    Some(Decoded::Frame(frame)) => return frame,
                    Some(Decoded::Data(_) | Decoded::Entries(_)) => {
                        panic!("what the test did not ask for")
                    }
                    Some(Decoded::Skipped(_)) | None => {}
                },
            }
        }
    }
}
