//! What a client is told of its objects, held against what it did itself, and kept.
//!
//! Writing is done by a thread of its own, so that a slow disk holds up nothing that speaks. The
//! first failure stands: the command ends with it.

use super::ledger::Ledger;
use super::line::Receipt;
use super::sign::is_signed;
use super::statement::Statement;
use super::tree::Tree;
use crate::identity::KeyPin;
use floe_proto::frame::Receipt as Told;
use floe_types::{ByteCount, Code, Fault, ObjectPath, Root};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// One transfer's receipts.
pub struct Evidence {
    ledger: Arc<Mutex<Ledger>>,
    /// The key that is trusted, and those that took its place.
    pins: Vec<KeyPin>,
    /// What was signed last, and is for the objects that are committed next.
    told: Option<(Told, Tree)>,
    /// Lines that are not written yet.
    lines: Vec<Receipt>,
    writing: Option<oneshot::Receiver<Result<(), Fault>>>,
}

impl Evidence {
    /// To be kept there, of a server with this key.
    pub fn new(ledger: Arc<Mutex<Ledger>>, pin: KeyPin) -> Self {
        Self { ledger, pins: vec![pin], told: None, lines: Vec::new(), writing: None }
    }

    /// The server has another key, for which the one that is trusted vouched.
    pub fn trust(&mut self, pin: KeyPin) {
        if !self.pins.contains(&pin) {
            self.pins.push(pin);
        }
    }

    /// The server signed.
    ///
    /// # Errors
    /// `Integrity`: not with its key, or it is no signature.
    pub fn hear(&mut self, told: Told) -> Result<(), Fault> {
        let fail = |why: &str| Err(Fault::new(Code::Integrity, format!("take a receipt: {why}")));
        if !self.pins.contains(&KeyPin::of_public_key(&told.key)) {
            return fail("it is signed with another key than the server's");
        }
        let Some(tree) = Tree::of(told.leaves.clone()) else { return fail("it is for nothing") };
        if !is_signed(&told.key, told.scheme, &told.signature, tree.root()) {
            return fail("its signature does not hold");
        }
        self.told = Some((told, tree));
        Ok(())
    }

    /// An object is committed: what was signed last is for it, too.
    ///
    /// # Errors
    /// `Integrity` where it is not.
    pub fn finish(
        &mut self,
        path: ObjectPath,
        (size, root): (ByteCount, Root),
    ) -> Result<(), Fault> {
        let missing = |path: &ObjectPath| {
            Fault::new(Code::Integrity, format!("take a receipt of \"{path}\": it is not signed"))
        };
        let Some((told, tree)) = &self.told else { return Err(missing(&path)) };
        let statement =
            Statement { root, size, path, ticket: told.ticket.clone(), time: told.time };
        let leaf = statement.leaf();
        let Some(place) = tree.leaves().iter().position(|one| *one == leaf) else {
            return Err(missing(&statement.path));
        };
        let nth = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        self.lines.push(Receipt {
            statement,
            key: told.key.clone(),
            scheme: told.scheme,
            signature: told.signature.clone(),
            place: nth(place),
            of: nth(tree.leaves().len()),
            siblings: tree.siblings(place),
        });
        Ok(())
    }

    /// Has what waits written, and waits for what was being written before.
    ///
    /// # Errors
    /// The system's.
    pub async fn write(&mut self) -> Result<(), Fault> {
        self.settle().await?;
        let (lines, ledger) = (std::mem::take(&mut self.lines), Arc::clone(&self.ledger));
        self.begin(move || {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().try_for_each(|receipt| ledger.append(receipt))
        })
    }

    /// Whether so many wait that they should be written.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= LINES_WAITING
    }

    /// Makes all of them durable.
    ///
    /// # Errors
    /// The system's.
    pub async fn sync(&mut self) -> Result<(), Fault> {
        self.write().await?;
        self.settle().await?;
        let ledger = Arc::clone(&self.ledger);
        self.begin(move || ledger.lock().unwrap_or_else(PoisonError::into_inner).sync())?;
        self.settle().await
    }

    fn begin(
        &mut self,
        work: impl FnOnce() -> Result<(), Fault> + Send + 'static,
    ) -> Result<(), Fault> {
        let (said, heard) = oneshot::channel();
        let thread = std::thread::Builder::new().name("floe-receipts".to_owned());
        let started = thread.spawn(move || said.send(work()).unwrap_or(()));
        started
            .map_err(|error| Fault::new(Code::LimitExceeded, format!("start a thread: {error}")))?;
        self.writing = Some(heard);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Fault> {
        match self.writing.take() {
            Some(heard) => heard.await.unwrap_or_else(|_| {
                Err(Fault::new(Code::Other, "a thread ended without an answer"))
            }),
            None => Ok(()),
        }
    }
}

/// So many are written at once.
const LINES_WAITING: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::sign::sign;
    use super::*;
    use crate::identity::{Identity, Signer};
    use crate::state::State;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text.as_bytes()).unwrap()
    }

    fn statement(text: &str) -> Statement {
        let (root, size) = (Root([1; 32]), ByteCount(2));
        Statement { root, size, path: path(text), ticket: "t".to_owned(), time: 3 }
    }

    struct Desk {
        dir: tempfile::TempDir,
        identity: Identity,
    }

    impl Desk {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let identity = Identity::load_or_create(&State::open(dir.path()).unwrap()).unwrap();
            Self { dir, identity }
        }

        fn told(&self, names: &[&str]) -> Told {
            let statements: Vec<_> = names.iter().map(|name| statement(name)).collect();
            sign(&Signer::new(&self.identity).unwrap(), &statements).unwrap().unwrap()
        }

        fn evidence(&self) -> Evidence {
            let ledger = Ledger::open(&self.dir.path().join("r")).unwrap();
            Evidence::new(Arc::new(Mutex::new(ledger)), self.identity.pin())
        }
    }

    #[test]
    fn what_is_signed_is_kept_and_what_is_not_fails() {
        let desk = Desk::new();
        let mut evidence = desk.evidence();
        let object = (ByteCount(2), Root([1; 32]));
        assert_eq!(evidence.finish(path("a"), object).unwrap_err().code, Code::Integrity);
        evidence.hear(desk.told(&["a", "b", "c"])).unwrap();
        for name in ["b", "a", "c"] {
            evidence.finish(path(name), object).unwrap();
        }
        for (name, object) in
            [("d", object), ("a", (ByteCount(3), object.1)), ("a", (object.0, Root([2; 32])))]
        {
            let fault = evidence.finish(path(name), object).unwrap_err();
            assert_eq!(fault.code, Code::Integrity, "{name}");
        }
        assert_eq!(evidence.lines.len(), 3);
        assert!(evidence.lines.iter().all(|receipt| receipt.verify().is_ok()));
    }

    #[test]
    fn another_key_and_a_signature_of_something_else_are_refused() {
        let (desk, other) = (Desk::new(), Desk::new());
        let mut evidence = desk.evidence();
        let mut forged = desk.told(&["a"]);
        forged.leaves[0][0] ^= 1;
        let mut unknown = desk.told(&["a"]);
        unknown.scheme = 0x0401;
        let mut keyless = desk.told(&["a"]);
        keyless.key.clear();
        for told in [other.told(&["a"]), forged, unknown, keyless] {
            assert_eq!(evidence.hear(told).unwrap_err().code, Code::Integrity);
        }
        assert!(evidence.told.is_none());
        // Once the own key has vouched for it, another's receipts hold.
        evidence.trust(other.identity.pin());
        for told in [other.told(&["a"]), desk.told(&["a"])] {
            evidence.hear(told).unwrap();
        }
    }
}
