//! What the operator asks, answered: see `crate::control`.
//!
//! Few at once, each within a deadline: whoever asks and does not read holds nothing up.

use super::Hall;
use super::tally::Card;
use crate::control::{ASK_BYTES_MAX, Answer, Ask};
use floe_proto::command::Command;
use floe_types::{Code, Fault, Rate, TransferId};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// Questions at once.
const ASKING_MAX: usize = 4;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long it is looked how fast transfers are.
const MEASURE: Duration = Duration::from_millis(500);
/// After a failure of accept: a rest, so that it does not spin.
const REST: Duration = Duration::from_millis(100);

/// Answers, for ever.
pub(super) async fn attend(hall: Arc<Hall>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(ASKING_MAX));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(REST).await;
            continue;
        };
        // It is 0600; root could have opened it all the same, and may.
        let own = rustix::process::geteuid().as_raw();
        if !socket.peer_cred().is_ok_and(|who| who.uid() == own || who.uid() == 0) {
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let hall = Arc::clone(&hall);
        tokio::spawn(async move {
            // Who is too slow is hung up on.
            let _ = timeout(PATIENCE, talk(&hall, socket)).await;
            drop(place);
        });
    }
}

async fn talk(hall: &Hall, mut socket: UnixStream) -> std::io::Result<()> {
    let mut line = String::new();
    let (from, mut to) = socket.split();
    BufReader::new(from.take(ASK_BYTES_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(ask) => answer(hall, ask).await,
        Err(_) => Err(Fault::new(Code::Usage, "understand the question")),
    };
    let answer = answer
        .unwrap_or_else(|fault| Answer::Failed { code: fault.code.wire(), detail: fault.detail });
    let text = serde_json::to_string(&answer).unwrap_or_default() + "\n";
    to.write_all(text.as_bytes()).await?;
    to.shutdown().await
}

async fn answer(hall: &Hall, ask: Ask) -> Result<Answer, Fault> {
    let tally = &hall.tally;
    match ask {
        Ask::Show => return Ok(Answer::Shown(show(hall).await)),
        Ask::End { id } => {
            let close = Command::Close(Some(ended()));
            tally.act(&id, Some(&close), |card, transfer| {
                let _ = card.running.command(Command::Cancel(transfer, ended()));
            })?;
            tracing::info!(id, "the operator ends it");
        }
        Ask::Limit { id, rate } => {
            let limit = match rate {
                Some(rate) => Some(
                    Rate::new(rate)
                        .ok_or_else(|| Fault::new(Code::Usage, "limit to nothing: pause it"))?,
                ),
                None => None,
            };
            tally.act(&id, None, |card, transfer| card.limit(transfer, limit))?;
            tracing::info!(id, rate, "the operator limits it");
        }
        Ask::Pause { id } => {
            tally.act(&id, None, Card::pause)?;
            tracing::info!(id, "the operator pauses it");
        }
        Ask::Resume { id } => {
            tally.act(&id, None, |card: &Card, transfer: TransferId| card.resume(transfer))?;
            tracing::info!(id, "the operator resumes it");
        }
    }
    Ok(Answer::Done)
}

/// Why a client's work ended.
fn ended() -> Fault {
    Fault::new(Code::Ended, "")
}

async fn show(hall: &Hall) -> crate::control::Shown {
    let (before, began) = (hall.tally.moved(), Instant::now());
    sleep(MEASURE).await;
    let mut shown = hall.tally.show(&before, began.elapsed());
    shown.dir.clone_from(&hall.dir);
    shown.since = hall.since;
    shown.draining = hall.is_draining();
    shown
}
