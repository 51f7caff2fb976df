//! One round: a server, some commands, what goes wrong, and what holds in the end.

use crate::breach::Promise;
use crate::case::{Case, TICK};
use crate::client::{Clients, Piped};
use crate::dice::Dice;
use crate::entry::Compare;
use crate::names::{self, os};
use crate::place::{Others, Place, shown};
use crate::plan::{Disk, Plan, SMALL_DISK, Shape, TaskPlan, Trouble, Verb};
use crate::proxy::Proxy;
use crate::room::Room;
use crate::server::{Seat, Serving, Wire};
use crate::source::Source;
use crate::task::Task;
use crate::tree::{Tree, plant_file, plant_older, plant_tree};
use crate::trouble::Victims;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The ground of a round.
struct Ground {
    case: Arc<Case>,
    program: PathBuf,
    dir: PathBuf,
    /// Where the server's directory and what comes back lie.
    disk: PathBuf,
    wire: Wire,
}

/// Lets a round happen in a directory of its own, which exists.
pub(crate) fn run(
    case: &Arc<Case>,
    program: &Path,
    dir: &Path,
    plan: &Plan,
    dice: &Dice,
) -> io::Result<()> {
    case.note(&format_args!("{plan:#?}"));
    let mut room = match plan.disk {
        Disk::Own => None,
        Disk::Small => Some(Room::mount(dir.join("small"), SMALL_DISK)?),
    };
    let disk = room.as_ref().map_or(dir, Room::path).to_owned();
    let ground = Ground {
        case: Arc::clone(case),
        program: program.to_owned(),
        dir: dir.to_owned(),
        disk,
        wire: plan.wire,
    };
    let result = ground.play(plan, dice, room.as_ref());
    if !case.breaches().is_empty()
        && let Some(room) = &mut room
    {
        room.keep();
    }
    result
}

impl Ground {
    fn play(&self, plan: &Plan, dice: &Dice, room: Option<&Room>) -> io::Result<()> {
        for name in ["served", "back"] {
            fs::create_dir(self.disk.join(name))?;
        }
        fs::create_dir(self.dir.join("local"))?;
        let seat = Arc::new(Seat::start(&self.case, self.serving(plan.memory))?);
        if !self.case.goes_on() {
            return Ok(());
        }
        let ticket = seat.ticket()?;
        let mut tasks: Vec<Task> = Vec::new();
        for (nth, one) in plan.tasks.iter().enumerate() {
            let before = tasks.last_mut().filter(|_| one.rival);
            let task = self.prepare(nth, one, dice.fork(nth as u64), (&seat, &ticket), before)?;
            tasks.push(task);
        }
        let twins = Mutex::default();
        let victims = Victims { case: &self.case, seat: &seat, tasks: &tasks, room, twins };
        self.act(&victims, &plan.troubles, dice)?;
        if plan.last_kill && self.case.goes_on() {
            self.case.note(&"the server is killed once more");
            seat.kill(Duration::ZERO)?;
        }
        self.await_sweep();
        seat.end()?;
        if self.case.goes_on() {
            self.check_end(&tasks)?;
        }
        self.case.count("rounds");
        Ok(())
    }

    /// All commands run, things go wrong, then nothing does, and everything finishes.
    fn act(
        &self,
        victims: &Victims<'_>,
        troubles: &[(u64, Trouble)],
        dice: &Dice,
    ) -> io::Result<()> {
        let failed = Mutex::new(None);
        let note = |result: io::Result<()>| {
            if let Err(error) = result {
                self.case.stop();
                crate::case::lock(&failed).get_or_insert(error);
            }
        };
        thread::scope(|scope| {
            for task in victims.tasks {
                let (dice, note) = (dice.fork(100 + task.nth as u64), &note);
                scope.spawn(move || note(task.drive(dice)));
            }
            note(victims.hurt(troubles, &mut dice.fork(200)));
            note(victims.calm());
            while !victims.tasks.iter().all(Task::is_done) {
                note(victims.look());
                self.case.pause(Duration::from_millis(40));
                if !self.case.goes_on() {
                    break;
                }
            }
            // Whoever still runs is left alone no longer.
            if !self.case.goes_on() {
                for task in victims.tasks {
                    task.send(Signal::KILL);
                }
            }
        });
        failed.into_inner().unwrap_or_default().map_or(Ok(()), Err)
    }

    /// A server that starts takes away what those before it left, but not before it listens.
    fn await_sweep(&self) {
        let area = self.disk.join("served/.floe");
        let begun = Instant::now();
        let left = || left_in(&area).is_ok_and(|names| names.len() > 1);
        while left() && begun.elapsed() < SWEEP && self.case.goes_on() {
            thread::sleep(TICK);
        }
    }

    /// When all is over: exactly what should be there is, and nothing is left behind.
    fn check_end(&self, tasks: &[Task]) -> io::Result<()> {
        for task in tasks {
            for wrong in task.place.look(task.compare(Compare::All))? {
                self.case.breach(Promise::Kept, format!("{} in the end: {wrong}", task.name()));
            }
        }
        // What is refused keeps its stage for a week, and so does a second run of a command that
        // began once a rival had replaced what the first one put, and was killed for good.
        let has_twins = |task: &Task| task.history.twins.load(Ordering::Acquire) > 0;
        let refused = |task: &Task| task.history.refused.load(Ordering::Acquire);
        let stages_stay = tasks.iter().any(refused)
            || tasks.iter().any(|task| task.rivalled) && tasks.iter().any(has_twins);
        let mut areas = vec![(self.disk.join("served"), Some("id"))];
        areas.extend(
            tasks
                .iter()
                .filter(|task| task.plan.verb == Verb::Get && !task.is_drawn())
                .map(|task| (task.place.base().parent().unwrap_or(&self.disk).to_owned(), None)),
        );
        for (place, stays) in areas {
            for name in left_in(&place.join(".floe"))? {
                if Some(name.as_str()) != stays && !stages_stay {
                    let seen = format!("{} is left in {}", name, shown(&place.join(".floe")));
                    self.case.breach(Promise::Clean, seen);
                }
            }
        }
        Ok(())
    }

    fn serving(&self, memory: u64) -> Serving {
        Serving {
            program: self.program.clone(),
            served: self.disk.join("served"),
            state: self.dir.join("server-state"),
            log: self.dir.join("server.log"),
            memory,
            wire: self.wire,
        }
    }

    fn prepare(
        &self,
        nth: usize,
        plan: &TaskPlan,
        mut dice: Dice,
        (seat, ticket): (&Arc<Seat>, &str),
        rival: Option<&mut Task>,
    ) -> io::Result<Task> {
        let (names, own) = (self.names(nth, plan, &mut dice), names::distant_name(&mut dice, nth));
        let remote = names.iter().fold(self.disk.join("served"), |path, name| path.join(os(name)));
        let local = self.dir.join("local").join(os(&own));
        let back = self.disk.join("back").join(format!("{nth}")).join(os(&own));
        let (from, to) = match plan.verb {
            Verb::Put => (local, remote),
            Verb::Get => (remote, back),
        };
        make_parent(&from)?;
        let tree = plant(&mut dice, plan.shape, &from)?;
        let plain = plan.weather.corrupt > 0;
        let others = if plain { Others::Allowed } else { Others::Refused };
        let (place, standing, names) = match rival {
            Some(rival) => {
                rival.rivalled = true;
                // A get comes from a name of its own to the same place.
                let names = if plan.verb == Verb::Put { rival.names.clone() } else { names };
                (Arc::clone(&rival.place), rival.standing.clone(), names)
            }
            None => {
                let standing = self.standing(plan, &mut dice, &tree, (&from, &to))?;
                let drawn = plan.verb == Verb::Get && matches!(plan.shape, Shape::Pipe(_));
                let base = if drawn { from.clone() } else { to };
                (Arc::new(Place::new(base, &standing, others)), standing, names)
            }
        };
        place.expect(&tree);
        let proxy = Proxy::start(seat.door(), plan.weather, dice.fork(1))?;
        let piped = match (plan.shape, plan.verb) {
            (Shape::Pipe(_), Verb::Put) => Piped::Fed(from.clone()),
            (Shape::Pipe(_), Verb::Get) => Piped::Drawn(from.clone()),
            _ => Piped::No,
        };
        let args = self.args(plan, names::url(proxy.port(), &names), &from, place.base(), &piped);
        let state = self.dir.join(format!("state-{nth}"));
        let clients = Clients { program: self.program.clone(), ticket: ticket.to_owned(), state };
        let log = self.dir.join(format!("task-{nth}.log"));
        let audit = self.dir.join("server-state/audit.jsonl");
        self.case.note(&format_args!("task {nth}: {args:?}"));
        Ok(Task {
            case: Arc::clone(&self.case),
            nth,
            plan: plan.clone(),
            source: Source::new(from, tree),
            place,
            standing,
            names,
            proxy,
            clients,
            args,
            piped,
            log,
            audit,
            rivalled: plan.rival,
            history: Default::default(),
            current: Default::default(),
        })
    }

    /// The remote names of a task: sometimes in a directory that has to be made.
    fn names(&self, nth: usize, plan: &TaskPlan, dice: &mut Dice) -> Vec<Vec<u8>> {
        let name = names::distant_name(dice, nth);
        if plan.verb == Verb::Put && dice.percent(30) {
            vec![format!("d-{nth}").into_bytes(), b"e".to_vec(), name]
        } else {
            vec![name]
        }
    }

    /// What stands at the final name before.
    fn standing(
        &self,
        plan: &TaskPlan,
        dice: &mut Dice,
        tree: &Tree,
        (from, to): (&Path, &Path),
    ) -> io::Result<Tree> {
        if plan.verb == Verb::Get && matches!(plan.shape, Shape::Pipe(_)) {
            debug_assert!(from.exists());
            return Ok(tree.clone());
        }
        // A directory that is missing is made by the command, but where what comes back lies.
        if plan.verb == Verb::Get || plan.older {
            make_parent(to)?;
        }
        match plan.shape {
            _ if !plan.older => Ok(Tree::new()),
            Shape::File(size) | Shape::Pipe(size) => {
                let size = dice.scaled(size.max(1));
                plant_file(dice, to, size)
            }
            Shape::Tree { .. } => plant_older(dice, to, tree),
        }
    }

    fn args(
        &self,
        plan: &TaskPlan,
        url: OsString,
        from: &Path,
        to: &Path,
        piped: &Piped,
    ) -> Vec<OsString> {
        let pipe = || OsString::from("-");
        let (verb, first, second) = match (plan.verb, piped) {
            (Verb::Put, Piped::No) => ("put", from.into(), url),
            (Verb::Put, _) => ("put", pipe(), url),
            (Verb::Get, Piped::No) => ("get", url, to.into()),
            (Verb::Get, _) => ("get", url, pipe()),
        };
        let mut args = vec![OsString::from(verb), first, second];
        let mut flag = |name: &str, value: Option<String>| {
            args.push(name.into());
            args.extend(value.map(OsString::from));
        };
        let flags = &plan.flags;
        match (flags.lockstep, flags.streams) {
            (true, _) => flag("--lockstep", None),
            (false, None) => flag("--streams", Some("auto".to_owned())),
            (false, Some(streams)) => flag("--streams", Some(streams.to_string())),
        }
        flag("--chunk", Some(flags.chunk.to_string()));
        flag("--window", Some(flags.window.to_string()));
        if let Some(limit) = flags.limit {
            flag("--limit", Some(limit.to_string()));
        }
        for (name, set) in [
            ("--no-clobber", flags.no_clobber),
            ("--checksum", flags.checksum),
            ("--plaintext", self.wire == Wire::Plain),
        ] {
            if set {
                flag(name, None);
            }
        }
        args
    }
}

/// How long a server may take to clear up.
const SWEEP: Duration = Duration::from_secs(5);

/// Makes what a task moves.
fn plant(dice: &mut Dice, shape: Shape, path: &Path) -> io::Result<Tree> {
    Ok(match shape {
        Shape::File(size) => plant_file(dice, path, size)?,
        // A pipe has neither mode nor time.
        Shape::Pipe(size) => plant_file(dice, path, size)?
            .into_iter()
            .map(|(name, entry)| (name, entry.bare()))
            .collect(),
        Shape::Tree { entries, bytes } => plant_tree(dice, path, entries, bytes)?,
    })
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// The names in a directory; none where there is none.
fn left_in(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Ok(listed) => {
            listed.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
