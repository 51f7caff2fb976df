//! The machines, sources and errands that a seed begins with.

use super::person::{Client, Errand, Origin, Pair};
use super::{Happening, SERVER, World, path};
use crate::content::Content;
use crate::machine::{Change, Machine};
use crate::options::Tries;
use crate::oracle::Name;
use floe_proto::command::TransferOptions;
use floe_proto::frame::{Direction, Pace, RecogniseWish, ResumeWish, Unasked};
use floe_types::{ChunkSize, Metadata, Micros, Mode, ObjectPath, Precondition, Rate};

/// What a tree holds beside its files: directories of modes that none has while it is filled.
const DIRECTORIES: &[(&str, u32)] = &[("", 0o755), ("a", 0o750), ("a/b", 0o555), ("empty", 0o711)];
const LINK: (&str, &[u8]) = ("a/link", b"b/else");

impl World {
    pub(super) fn set_up(&mut self) {
        let clients = self.options.work.clients;
        for nth in 0..=clients {
            let name = if nth == SERVER { "server".to_owned() } else { format!("client {nth}") };
            let machine = Machine::new(name, self.dice.number());
            machine.tick(self.now);
            self.trace.say(self.now, || format!("{}: {:?}", machine.name, machine.lacks));
            self.machines.push(machine);
        }
        self.cut_off = vec![self.now; clients];
        if self.has_flipped_frames() {
            self.oracle.metadata = crate::oracle::Metadatas::Ignored;
        }
        for nth in 0..clients {
            let mut errands: Vec<Errand> = Vec::new();
            for at in 0..self.options.work.errands {
                let again = errands.last().filter(|_| self.dice.one_in(2)).cloned();
                let errand = again.unwrap_or_else(|| self.errand(nth, at));
                errands.push(errand);
            }
            let mut client = Client::new(nth + 1, errands);
            if let (Tries::Yes, Some(first)) = (self.options.work.twins, self.clients.first()) {
                client.owner = first.owner;
            }
            client.verbs = self.draw_verbs();
            self.clients.push(client);
            self.make_toys(nth);
        }
        self.forbid_directories();
        self.offer_what_stands();
        self.plan_trouble();
        // What was just written is fresh, or it is not.
        let age = if self.dice.one_in(2) { Micros::from_secs(5) } else { Micros::ZERO };
        self.now = self.now.plus(age);
        self.start_server();
        for nth in 0..clients {
            let apart = if self.is_contest() { Micros(50_000) } else { Micros::from_secs(2) };
            let at = self.now.plus(self.dice.span(apart));
            self.at(at, Happening::Person(nth, 0));
        }
    }

    /// What a person wants, with its sources on disk.
    fn errand(&mut self, client: usize, at: usize) -> Errand {
        let contest = self.is_contest() && at == 0;
        let put = self.dice.below(3) > 0 || contest;
        let direction = if put { Direction::Put } else { Direction::Get };
        let shared = put && self.has_rivals() && at == 0;
        let local = path(&format!("own/{at}"));
        let tree = self.dice.one_in(3) && !shared;
        let piped = put && !tree && !shared && self.dice.one_in(5);
        let origin = if piped { Origin::Stdin } else { Origin::Files };
        let kind = if tree { "tree" } else { "file" };
        let remote = if shared {
            path("shared/file")
        } else {
            path(&format!("c{client}/{direction:?}-{at}-{kind}"))
        };
        let local = if put {
            path(&format!("{}-{kind}", local))
        } else {
            path(&format!("got/{at}-{kind}"))
        };
        let (from, to) = match direction {
            Direction::Put => ((client + 1, &local), (SERVER, &remote)),
            Direction::Get => ((SERVER, &remote), (client + 1, &local)),
        };
        let files = if tree { self.tree_files() } else { vec![(ObjectPath::root(), None)] };
        let mut pairs = Vec::new();
        for (beneath, size) in files {
            let source = (from.0, joined(from.1, &beneath));
            let target = (to.0, joined(to.1, &beneath));
            match origin {
                Origin::Files => self.make_source(&source, size),
                Origin::Stdin => self.make_stdin(&source),
            }
            self.make_target(&target, if contest { 16 } else { 3 });
            pairs.push(Pair { source, target, path: beneath });
        }
        let (mut directories, mut links) = (Vec::new(), Vec::new());
        if tree {
            for (name, mode) in DIRECTORIES {
                let beneath = path(name);
                let source = (from.0, joined(from.1, &beneath));
                let target = (to.0, joined(to.1, &beneath));
                // What stands there from an earlier errand is the same.
                let _ = self.machines[from.0].directory_of_mode(&source.1, Mode::from_bits(*mode));
                self.directories.entry(source.clone()).or_default();
                directories.push(Pair { source, target, path: beneath });
            }
            let link = path(LINK.0);
            let _ = self.machines[from.0].link(&joined(from.1, &link), LINK.1);
            links.push(((to.0, joined(to.1, &link)), LINK.1.to_vec()));
        }
        let mut options = self.transfer_options();
        let no_clobber = match shared {
            true => contest,
            false => self.dice.one_in(8),
        };
        if no_clobber {
            options.precondition = Precondition::Absent;
        }
        Errand { direction, local, remote, options, origin, pairs, directories, links }
    }

    /// Whether several put one name at once, and none may replace what another put.
    fn is_contest(&self) -> bool {
        self.options.work.no_clobber == Tries::Yes
    }

    fn tree_files(&mut self) -> Vec<(ObjectPath, Option<usize>)> {
        let mut files = vec![
            (path("0"), Some(0)),
            (path("a/big"), None),
            (path("a/b/chunk"), Some(256 << 10)),
            (path("z"), Some(1)),
        ];
        for nth in 0..self.dice.below(12) {
            let size = self.dice.index(90_000);
            files.push((path(&format!("a/small-{nth}")), Some(size)));
        }
        files
    }

    fn make_source(&mut self, source: &Name, size: Option<usize>) {
        if self.sources.contains_key(source) {
            return;
        }
        let most = self.options.work.file_bytes_max;
        let wide = self.options.work.wide == Tries::Yes;
        let size = size.unwrap_or_else(|| match self.dice.below(8) {
            1.. if wide => most - self.dice.index(most / 2),
            0 => self.dice.index(1 << 16),
            1 => (256 << 10) * (1 + self.dice.index(4)) + self.dice.index(3) - 1,
            _ => self.dice.index(most),
        });
        let content = Content::with_holes(self.dice.number(), size);
        self.write_source(source, &content, Change::InPlace);
    }

    /// What a command is given on standard input, each time: it is no file.
    fn make_stdin(&mut self, source: &Name) {
        let size = self.dice.index(self.options.work.file_bytes_max);
        let size = if self.dice.one_in(6) { 0 } else { size };
        let content = Content::with_holes(self.dice.number(), size);
        let mtime = self.machines[source.0].civil(self.now);
        let metadata = Metadata { mode: Mode::from_bits(0o644), mtime };
        self.sources.entry(source.clone()).or_insert((content, metadata));
        self.piped.insert(source.clone());
    }

    /// Once in so many times something stands there.
    fn make_target(&mut self, target: &Name, one_in: u64) {
        if self.oracle.watches(target) {
            return;
        }
        let mut standing = None;
        if self.dice.one_in(one_in) {
            let content = Content::of(self.dice.number(), self.dice.index(100_000));
            let (machine, path) = target;
            let written = self.machines[*machine].write(path, &content, Change::InPlace);
            standing = written.ok().map(|metadata| (content.root, metadata));
        }
        self.oracle.watch(target.clone(), standing);
    }

    /// Every source as it stands now may be sent.
    fn offer_what_stands(&mut self) {
        let sources: Vec<_> = self
            .sources
            .iter()
            .map(|(name, (content, metadata))| (name.clone(), content.clone(), *metadata))
            .collect();
        for (name, content, metadata) in sources {
            if self.piped.contains(&name) {
                self.offer_everywhere(&name, &content, metadata);
            } else {
                // A machine and its copy do not write at one instant: one version would be two.
                self.now = self.now.plus(Micros(1));
                self.write_source(&name, &content, Change::InPlace);
            }
        }
        self.note_directories();
    }

    fn transfer_options(&mut self) -> TransferOptions {
        let largest = if self.options.work.wide == Tries::Yes { 18 } else { 20 };
        let dice = &mut self.dice;
        TransferOptions {
            chunk: ChunkSize::new(1 << dice.between(18, largest)).unwrap_or(ChunkSize::MIN),
            window: self.options.work.window,
            pace: if dice.one_in(8) { Pace::Lockstep } else { Pace::Streaming },
            resume: if dice.one_in(12) { ResumeWish::Discard } else { ResumeWish::Continue },
            recognise: if dice.one_in(6) {
                RecogniseWish::ByContent
            } else {
                RecogniseWish::ByVersion
            },
            unasked: if dice.one_in(2) { Unasked::Welcome } else { Unasked::Refused },
            rate: if dice.one_in(8) { Rate::new(200_000) } else { None },
            ..TransferOptions::default()
        }
    }
}

fn joined(base: &ObjectPath, tail: &ObjectPath) -> ObjectPath {
    base.join_path(tail).unwrap_or_else(|_| base.clone())
}
