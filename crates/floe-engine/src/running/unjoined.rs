//! A session of a server that nobody has joined, for tests.

use super::*;

impl Running {
    /// A server's session that nobody has joined.
    pub(crate) fn unjoined() -> Arc<Self> {
        use crate::buffer::Pool;
        use floe_proto::command::{Config, Holes, Role, StreamCount};
        use floe_proto::frame::Verbs;
        let limits = Limits::default();
        let clock = Clock::start();
        let config = Config {
            limits: limits.clone(),
            verbs: Verbs::LIST,
            piece_bytes: ByteCount(u64::from(Limits::PIECE_BYTES)),
            streams: StreamCount::Fixed(1),
            buffers: ByteCount(1 << 20),
            holes: Holes::AsHoles,
        };
        let core = Session::new(Role::Server, config, clock.now());
        let files = Files::local(floe_store::OwnerId([0; 32]), Pool::new(ByteCount(0)), 256);
        let terms = Terms::new(Limits::PIECE_BYTES, None, 0);
        Self::new(core, clock, limits, terms, Arc::new(files), DiskThreads::new(), None)
    }
}
