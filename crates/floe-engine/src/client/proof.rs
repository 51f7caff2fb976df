//! The receipts of one command, over all the sessions it takes.
//!
//! A receipt that does not hold ends the transfer, as bytes that do not match their digest do: the
//! server is not what it should be. So does a file that takes no more lines, once.

use super::{Connect, Credential};
use crate::identity::NewKey;
use crate::receipt::{Evidence, Ledger};
use crate::secure::Security;
use floe_proto::frame::{Receipt, ReceiptWish};
use floe_types::{ByteCount, Code, Fault, ObjectPath, Root};
use std::sync::{Arc, Mutex};

/// Where receipts are kept; several transfers may share it.
pub type Receipts = Arc<Mutex<Ledger>>;

/// What a command keeps of receipts, if it wants any.
pub(super) struct Proof {
    evidence: Option<Evidence>,
    broken: Option<Fault>,
}

impl Proof {
    /// It wants none.
    pub(super) const fn none() -> Self {
        Self { evidence: None, broken: None }
    }

    /// Kept there.
    ///
    /// # Errors
    /// `NotAllowed`: nothing says which key is the server's.
    pub(super) fn kept(ledger: Receipts, connect: &Connect) -> Result<Self, Fault> {
        let pin = match (&connect.credential, connect.security) {
            (_, Security::Tls { pin }) => pin,
            (Credential::Ticket(ticket), Security::Plaintext) => ticket.pin(),
            (Credential::Anonymous, Security::Plaintext) => {
                return Err(Fault::new(Code::NotAllowed, "take receipts without a ticket"));
            }
        };
        Ok(Self { evidence: Some(Evidence::new(ledger, pin)), broken: None })
    }

    /// The server has these keys, too.
    pub(super) fn trust(&mut self, keys: &[NewKey]) {
        if let Some(evidence) = &mut self.evidence {
            keys.iter().for_each(|key| evidence.trust(key.new));
        }
    }

    /// What the server is asked.
    pub(super) const fn wish(&self) -> ReceiptWish {
        if self.evidence.is_some() { ReceiptWish::Signed } else { ReceiptWish::None }
    }

    /// Why it is not to go on.
    pub(super) fn broken(&self) -> Option<Fault> {
        self.broken.clone()
    }

    pub(super) fn hear(&mut self, receipt: Receipt) {
        if let Some(evidence) = &mut self.evidence {
            let heard = evidence.hear(receipt);
            self.note(heard);
        }
    }

    /// An object is committed; `path` is where the server has it.
    pub(super) async fn finish(&mut self, path: ObjectPath, object: (ByteCount, Root)) {
        let Some(evidence) = &mut self.evidence else { return };
        let mut finished = evidence.finish(path, object);
        if finished.is_ok() && evidence.is_full() {
            finished = evidence.write().await;
        }
        self.note(finished);
    }

    /// Makes durable what there is, also where the command failed.
    pub(super) async fn end(&mut self, result: Result<(), Fault>) -> Result<(), Fault> {
        if let Some(evidence) = &mut self.evidence {
            let synced = evidence.sync().await;
            self.note(synced);
        }
        result.and(self.broken.take().map_or(Ok(()), Err))
    }

    fn note(&mut self, outcome: Result<(), Fault>) {
        if let Err(fault) = outcome {
            self.broken.get_or_insert(fault);
        }
    }
}
