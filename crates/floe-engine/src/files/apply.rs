//! Requests: LIST, STAT, REMOVE, RENAME, MKDIR, MEASURE as calls of the served store.

use super::moved::check_beneath;
use super::{Done, Files};
use crate::speed;
use floe_proto::codec::pack::names_that_fit;
use floe_proto::frame::{Recursive, Replace, Reply, Request, RootWish, Stat};
use floe_store::{Cursor, Depth, Detail, Overwrite, Progress, RootWanted, Store};
use floe_types::{Code, Component, Fault, ObjectPath};

impl Files {
    /// Does a request; one that changes names has its line in the log, durably, before it is
    /// answered. A client's session has no store to ask.
    pub(super) fn apply(&self, request: Request, working: Progress<'_>) -> Result<Done, Fault> {
        let Some(scribe) = &self.scribe else { return self.do_request(request, working) };
        let line = scribe.before_request(&request)?;
        let done = self.do_request(request, working);
        if let Some(line) = line {
            let result = done.as_ref().map(|_| ()).map_err(Clone::clone);
            scribe.requested(line, &result)?;
        }
        done
    }

    fn do_request(&self, request: Request, working: Progress<'_>) -> Result<Done, Fault> {
        let Some(store) = &self.served else {
            return Err(Fault::new(Code::Unsupported, "a request to a client"));
        };
        let reply = match request {
            Request::List { path, after, max } => {
                let max = max.0.clamp(1, self.page_entries_max);
                page(store.as_ref(), &path, after.map(Cursor), max as usize)?
            }
            Request::Stat { path, root } => {
                let root = match root {
                    RootWish::IfKnown => RootWanted::IfKnown,
                    RootWish::Computed => RootWanted::Computed,
                };
                Reply::Stat(told(store.stat(&path, root, working)?))
            }
            Request::Remove { path, recursive } => {
                let depth = match recursive {
                    Recursive::Yes => Depth::Recursive,
                    Recursive::No => Depth::Single,
                };
                store.remove(&path, depth, &|| !self.is_deserted())?;
                Reply::Done
            }
            Request::Rename { from, to, replace } => {
                let overwrite = match replace {
                    Replace::Allowed => Overwrite::Allowed,
                    Replace::Refused => Overwrite::Refused,
                };
                let wanted = || !self.is_deserted();
                check_beneath(store.as_ref(), (&from, &to), &self.trees, &wanted)?;
                store.rename(&from, &to, overwrite)?;
                Reply::Done
            }
            Request::MakeDirectory { path } => {
                store.make_dir(&path)?;
                Reply::Done
            }
            Request::Measure { path } => Reply::Measured(speed::of(&**store, &path, working)?),
        };
        Ok(Done::Applied(reply))
    }
}

type Names = Vec<(Component, Option<Stat>)>;

/// A page that fits one frame: a cursor is the store's secret, so a page that is too long is asked
/// for again, shorter. One name always fits.
fn page(
    store: &dyn Store,
    path: &ObjectPath,
    after: Option<Cursor>,
    mut max: usize,
) -> Result<Reply, Fault> {
    loop {
        let page = store.list(path, after.as_ref(), max, Detail::Stats)?;
        let names: Names =
            page.names.into_iter().map(|listed| (listed.name, listed.stat.map(told))).collect();
        let fit = names_that_fit(&names);
        if fit >= names.len() {
            return Ok(Reply::Page { names, next: page.next.map(|cursor| cursor.0) });
        }
        max = fit.max(1);
    }
}

fn told(stat: floe_store::Stat) -> Stat {
    let floe_store::Stat { kind, size, metadata, target, root } = stat;
    Stat { kind, size, metadata, target, root }
}
