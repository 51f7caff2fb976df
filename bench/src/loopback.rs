//! Everything over the loopback interface: the programs' own cost, without distance.

use crate::Result;
use crate::bar;
use crate::content::Content;
use crate::job::{Act, Job, Place};
use crate::peer::{Reach, Task};
use crate::session::Choices;
use crate::site::Site;
use floe_types::{ByteCount, parse_size};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct LoopbackArgs {
    #[command(flatten)]
    choices: Choices,
    /// Bytes of the one file
    #[arg(long, default_value = "4Gi", value_parser = size)]
    size: ByteCount,
    /// Congestion control of the run's own network
    #[arg(long, default_value = "cubic")]
    congestion: String,
}

/// Measures and prints.
pub fn run(args: &LoopbackArgs) -> Result<()> {
    let jobs = jobs(args.size, u64::from(args.choices.shrink));
    if args.choices.lists(&jobs)? {
        return Ok(());
    }
    let program = args.choices.program()?;
    let ground = args.choices.ground(Site::loopback(&args.congestion), program)?;
    let outcomes = args.choices.perform(&ground, &args.choices.plan(1), &jobs);
    args.choices.conclude(
        "loopback",
        &ground.site.remarks,
        &ground.floe,
        &bar::loopback(),
        outcomes,
    )
}

fn jobs(size: ByteCount, shrink: u64) -> Vec<Job> {
    let part = |size: u64| ByteCount((size / shrink).max(1));
    let file = Content::File(part(size.0));
    let small = Content::Files((20_000 / shrink).max(1), ByteCount(4096));
    let mix = Content::Mix(part(1 << 30));
    let crowd = Content::File(part(50 << 20));
    let clients = |count: u32| {
        let shrunk = u64::from(count) / shrink;
        u32::try_from(shrunk).unwrap_or(count).max(2)
    };
    let (few, many) = (clients(200), clients(1000));
    let put = Act::Resume { begin: Task::BeginPut, resume: Task::ResumePut };
    let get = Act::Resume { begin: Task::BeginGet, resume: Task::ResumeGet };
    let (memory, disk) = (Place::Memory, Place::Disk);
    let size = part(size.0).0 >> 20;
    let files = 20_000 / shrink;
    let job = |name: &str, title: String, place, content, act| Job {
        name: name.to_owned(),
        title,
        place,
        content,
        act,
        reach: Reach::Near,
    };
    let moves = |name: &str, what: String, place, content, task| {
        job(name, what, place, content, Act::Move(task))
    };
    vec![
        moves("file-put", format!("put a file of {size} MiB, tmpfs"), memory, file, Task::Put),
        moves("file-get", format!("get a file of {size} MiB, tmpfs"), memory, file, Task::Get),
        moves("file-put-disk", format!("put a file of {size} MiB, disk"), disk, file, Task::Put),
        moves("file-get-disk", format!("get a file of {size} MiB, disk"), disk, file, Task::Get),
        moves("small-put", format!("put {files} x 4 KiB, tmpfs"), memory, small, Task::PutTree),
        moves("small-get", format!("get {files} x 4 KiB, tmpfs"), memory, small, Task::GetTree),
        moves("small-put-disk", format!("put {files} x 4 KiB, disk"), disk, small, Task::PutTree),
        moves("small-get-disk", format!("get {files} x 4 KiB, disk"), disk, small, Task::GetTree),
        moves("mix-put", "put a mix like a source tree".to_owned(), memory, mix, Task::PutTree),
        moves("mix-get", "get a mix like a source tree".to_owned(), memory, mix, Task::GetTree),
        job("again", format!("put {files} x 4 KiB again"), memory, small, Act::Again),
        job("resume-put", format!("put {size} MiB, killed half way"), memory, file, put),
        job("resume-get", format!("get {size} MiB, killed half way"), memory, file, get),
        job("crowd-200", format!("{few} clients at once"), memory, crowd, Act::Crowd(few)),
        job("crowd-1000", format!("{many} clients at once"), memory, crowd, Act::Crowd(many)),
    ]
}

fn size(text: &str) -> std::result::Result<ByteCount, String> {
    parse_size(text).map_err(|fault| fault.to_string())
}
