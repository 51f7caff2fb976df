//! Requests that change names on a server, one path after the other.

use crate::args::{ConnectFlags, OutputFlags};
use crate::dial::Dialer;
use crate::event::{Channel, Event};
use crate::fault::Result;
use crate::place::must_be_remote;
use crate::remote::{Remote, Spot};
use crate::report::{Level, Voice};
use crate::signals::Signals;
use crate::transfer::Tally;
use floe_proto::command::{OnFailure, StreamCount};
use floe_proto::frame::Request;
use floe_types::Code;
use std::ffi::OsString;

/// Asks the same of every path. All names are read before the first is asked.
///
/// # Errors
/// `Usage` before anything is done; what servers answer is told path by path.
pub async fn change_each(
    done: &str,
    paths: &[OsString],
    connect: &ConnectFlags,
    output: &OutputFlags,
    request: impl Fn(&Remote) -> Result<Request>,
) -> Result<()> {
    let mut signals = Signals::listen()?;
    let voice = Voice::of(output, Channel::Output);
    let mut dialer = Dialer::new(connect, StreamCount::Fixed(1), voice)?;
    let asked = paths
        .iter()
        .map(|text| {
            let remote = must_be_remote(Spot::parse(text, |name| dialer.knows(name))?, "PATH")?;
            let request = request(&remote)?;
            Ok((remote, request))
        })
        .collect::<Result<Vec<_>>>()?;
    let one = asked.len() == 1;
    let mut tally = Tally::default();
    for (remote, request) in asked {
        let answer = signals.or(dialer.request(&remote, request)).await;
        let answer = answer.map_err(|failure| {
            failure.hinting(Code::IsDirectory, DIRECTORY).hinting(Code::Interrupted, ASKED)
        });
        match answer {
            Ok(_) => {
                tally.succeed();
                tell_done(voice, done, &remote);
            }
            Err(failure) if one => return Err(failure),
            Err(failure) => tally.fail(&failure, voice),
        }
        if tally.must_stop(OnFailure::Continue) {
            break;
        }
    }
    dialer.close().await;
    tally.end()
}

const ASKED: &str = "the server may have done it; floe ls shows what is there";
const DIRECTORY: &str = "a directory goes with -r, and all it holds";

/// Tells that a change is made and durable.
pub fn tell_done(voice: Voice, done: &str, remote: &Remote) {
    voice.send(|| Event::new(done).with_path(&remote.path));
    if voice.level == Level::Verbose {
        voice.say(&format_args!("{done} {remote}"));
    }
}
