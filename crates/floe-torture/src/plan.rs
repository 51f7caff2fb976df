//! What a round will do: a function of its seed, decided before anything begins.

use crate::dice::Dice;
use crate::proxy::Weather;
use crate::server::{MEMORY_BYTES, Wire};

/// One round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Whether connections are encrypted.
    pub(crate) wire: Wire,
    /// On which disk what is written lies.
    pub(crate) disk: Disk,
    /// The server's `--memory`.
    pub(crate) memory: u64,
    /// Transfers, all at once.
    pub(crate) tasks: Vec<TaskPlan>,
    /// What goes wrong, and how many milliseconds after the beginning.
    pub(crate) troubles: Vec<(u64, Trouble)>,
    /// Whether the server is killed once more when all is done.
    pub(crate) last_kill: bool,
}

/// On which disk what is written lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disk {
    /// That of the directory under test.
    Own,
    /// A small one that can be filled.
    Small,
}

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct TaskPlan {
    /// Which way.
    pub(crate) verb: Verb,
    /// What is moved.
    pub(crate) shape: Shape,
    /// Whether something stands at the final name before.
    pub(crate) older: bool,
    /// Whether it writes the name that the task before it writes.
    pub(crate) rival: bool,
    /// How.
    pub(crate) flags: Flags,
    /// Through what.
    pub(crate) weather: Weather,
    /// Whether the same command runs once more after it succeeded.
    pub(crate) again: bool,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Put,
    Get,
}

/// What is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// A file of so many bytes.
    File(u64),
    /// A tree.
    Tree { entries: u64, bytes: u64 },
    /// So many bytes through standard input or output.
    Pipe(u64),
}

/// How a command is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags {
    /// `--streams`; `None` is auto.
    pub(crate) streams: Option<u64>,
    /// `--chunk`.
    pub(crate) chunk: u64,
    /// `--window`.
    pub(crate) window: u64,
    /// `--limit`.
    pub(crate) limit: Option<u64>,
    /// `--lockstep`.
    pub(crate) lockstep: bool,
    /// `--no-clobber`.
    pub(crate) no_clobber: bool,
    /// `--checksum`.
    pub(crate) checksum: bool,
}

/// What goes wrong, to which task, for how many milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    KillClient(usize),
    StopClient(usize, u64),
    EndClient(usize),
    KillServer(u64),
    StopServer(u64),
    ReplaceServer,
    Cut(usize),
    Freeze(usize, u64),
    FillDisk(u64),
    Change(usize, Change),
    Twin(usize),
}

/// What is done to a source while it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Another file takes its name.
    Replace,
    /// It is cut short in place.
    Truncate,
    /// It grows in place.
    Append,
    /// Some bytes change in place.
    Patch,
}

/// What a plan may count on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// No file is larger.
    pub(crate) size_max: u64,
    /// Whether there can be a small disk.
    pub(crate) small_disk: bool,
}

/// What fits into the small disk, some old and new versions together.
const SMALL_FILE: u64 = 5 << 20;
/// The size of the small disk.
pub(crate) const SMALL_DISK: u64 = 64 << 20;

impl Plan {
    /// The plan of a seed.
    pub(crate) fn roll(dice: &mut Dice, means: Means) -> Self {
        let wire = if dice.percent(25) { Wire::Plain } else { Wire::Tls };
        // Bits are flipped in single files only: nothing protects the names of a tree there.
        let corrupt = wire == Wire::Plain && dice.percent(60);
        let small = dice.percent(25) && means.small_disk && !corrupt;
        let size_max = if small { SMALL_FILE.min(means.size_max) } else { means.size_max };
        let memory = dice.of([MEMORY_BYTES, MEMORY_BYTES, 64 << 20]);
        let count = dice.between(1, 3);
        let mut tasks: Vec<TaskPlan> = Vec::new();
        for _ in 0..count {
            let before = tasks.last();
            let rival = before.is_some_and(TaskPlan::takes_rivals) && dice.percent(25);
            let mut task = TaskPlan::roll(dice, size_max, corrupt);
            if rival && let Some(before) = before {
                task = TaskPlan { rival, older: before.older, ..task };
                (task.verb, task.again) = (before.verb, false);
                if !matches!(task.shape, Shape::File(_)) {
                    task.shape = Shape::File(dice.scaled(size_max));
                    task.flags.limit = None;
                }
            }
            tasks.push(task);
        }
        let troubles = troubles(dice, &tasks, small, corrupt);
        let disk = if small { Disk::Small } else { Disk::Own };
        Self { wire, disk, memory, tasks, troubles, last_kill: dice.percent(30) }
    }
}

impl TaskPlan {
    fn roll(dice: &mut Dice, size_max: u64, corrupt: bool) -> Self {
        let verb = if dice.percent(60) { Verb::Put } else { Verb::Get };
        let chunk = dice.of([256 << 10, 1 << 20, 1 << 20, 4 << 20, 16 << 20]);
        let lockstep = dice.percent(8);
        let size_max = if lockstep { size_max.min(4 << 20) } else { size_max };
        let shape = match dice.below(10) {
            0..=2 if !corrupt => {
                Shape::Tree { entries: dice.scaled(150), bytes: dice.scaled(size_max) }
            }
            3 | 4 => Shape::Pipe(size(dice, chunk, size_max)),
            _ => Shape::File(size(dice, chunk, size_max)),
        };
        let bytes = shape.bytes();
        // Long enough for something to go wrong meanwhile.
        let limit = (bytes > 100_000 && dice.percent(60))
            .then(|| (bytes * 1000 / dice.between(500, 4000)).max(50_000));
        let window = chunk * dice.of([1, 1, 4, 16]);
        let flags = Flags {
            streams: dice.of([None, Some(1), Some(1), Some(2), Some(4), Some(8)]),
            chunk,
            window: window.min(256 << 20),
            limit,
            lockstep,
            no_clobber: matches!(shape, Shape::File(_)) && dice.percent(15),
            checksum: dice.percent(10),
        };
        let weather = Weather::roll(dice, bytes, corrupt);
        // A pipe has no version: what it brought once is not known to be the same.
        let versioned = verb == Verb::Get || !matches!(shape, Shape::Pipe(_));
        let (older, again) = (dice.percent(50), dice.percent(30) && versioned);
        Self { verb, shape, older, rival: false, flags, weather, again }
    }

    /// Whether another task may write the same name.
    fn takes_rivals(&self) -> bool {
        matches!(self.shape, Shape::File(_)) && !self.rival
    }
}

impl Shape {
    /// How many bytes, about.
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::File(bytes) | Self::Pipe(bytes) | Self::Tree { bytes, .. } => bytes,
        }
    }
}

/// A size: nothing, a byte, about a multiple of the chunk, or any.
fn size(dice: &mut Dice, chunk: u64, most: u64) -> u64 {
    let multiple = chunk * dice.between(1, 6);
    let size = match dice.below(8) {
        0 => dice.of([0, 1, 1023, 1024, 1025, 65_536]),
        1 => multiple,
        2 => multiple - 1,
        3 => multiple + 1,
        _ => dice.scaled(most),
    };
    size.min(most)
}

/// Up to so many milliseconds after the beginning something goes wrong.
const SPAN: u64 = 5000;

fn troubles(
    dice: &mut Dice,
    tasks: &[TaskPlan],
    small: bool,
    corrupt: bool,
) -> Vec<(u64, Trouble)> {
    let span = dice.between(300, SPAN);
    let mut troubles = Vec::new();
    for _ in 0..dice.below(7) {
        let task = dice.index(tasks.len());
        let short = dice.between(10, 1500);
        let trouble = match dice.below(14) {
            0..=2 => Trouble::KillClient(task),
            3 => Trouble::StopClient(task, short),
            4 => Trouble::EndClient(task),
            5..=7 => Trouble::KillServer(short / 2),
            8 => Trouble::StopServer(short),
            9 => Trouble::ReplaceServer,
            10 => Trouble::Cut(task),
            11 => Trouble::Freeze(task, short),
            12 => Trouble::Twin(task),
            _ => Trouble::Cut(task),
        };
        troubles.push((dice.below(span), trouble));
    }
    let rivals = tasks.iter().any(|task| task.rival);
    for (nth, task) in tasks.iter().enumerate() {
        let changes = matches!(task.shape, Shape::File(1..)) && !rivals && !corrupt;
        if changes && dice.percent(20) {
            for _ in 0..dice.between(1, 3) {
                let change =
                    dice.of([Change::Replace, Change::Truncate, Change::Append, Change::Patch]);
                troubles.push((dice.below(span), Trouble::Change(nth, change)));
            }
        }
    }
    if small {
        troubles.push((dice.below(span / 2), Trouble::FillDisk(dice.between(50, 1500))));
    }
    troubles.sort_by_key(|(at, _)| *at);
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_function_of_its_seed_and_stays_within_its_means() {
        for seed in 0..500 {
            let means = Means { size_max: 9 << 20, small_disk: seed % 2 == 0 };
            let plan = Plan::roll(&mut Dice::new(seed), means);
            let same = Plan::roll(&mut Dice::new(seed), means);
            assert_eq!(format!("{plan:?}"), format!("{same:?}"));
            assert!(plan.disk == Disk::Own || means.small_disk);
            for task in &plan.tasks {
                assert!(task.shape.bytes() <= means.size_max, "{task:?}");
                assert!(task.flags.window >= task.flags.chunk);
                let plain = plan.wire == Wire::Plain
                    && matches!(task.shape, Shape::File(_) | Shape::Pipe(_));
                assert!(task.weather.corrupt == 0 || plain, "{task:?}");
            }
        }
    }
}
