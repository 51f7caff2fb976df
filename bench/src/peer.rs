//! Peers as a table: `bench/peers/*.toml`, one small file a kind. Each says what programs it needs,
//! what serves it, and the command that a skilled user would give for each task.
//!
//! Commands are scripts for `sh -c` with `{word}` to be filled in; `bench/peers/README.md` lists
//! the words. floe and the raw limit are peers like all others, so nothing is measured differently.

use crate::Result;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a client is asked to do.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// One file to the server.
    Put,
    /// One file from it.
    Get,
    /// A directory to the server.
    PutTree,
    /// A directory from it.
    GetTree,
    /// A directory to the server that has it already.
    AgainTree,
    /// A file to the server, so that it can be continued after a kill.
    BeginPut,
    /// A file from the server, so that it can be continued after a kill.
    BeginGet,
    /// The rest of a file to the server.
    ResumePut,
    /// The rest of a file from the server.
    ResumeGet,
    /// One file from the server, to nowhere.
    Discard,
}

/// What an eavesdropper sees.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// Nothing travels.
    None,
    /// Everything.
    Plain,
    /// Nothing of the content.
    Encrypted,
}

/// When what arrived is synced.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// Before success is said, always.
    Always,
    /// These commands ask for it: measured on a disk.
    Asked,
    /// Not by these commands: measured in memory.
    Never,
}

/// Over which paths it is measured.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Over loopback.
    #[default]
    Near,
    /// Over long paths.
    Far,
    /// Over either.
    Both,
}

/// What is there after a transfer.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Leaves {
    /// What was moved.
    #[default]
    Copy,
    /// Nothing that could be compared.
    Nothing,
}

/// One line of a table.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Peer {
    /// As tables name it.
    pub name: String,
    /// The programs it cannot do without.
    pub needs: Vec<String>,
    /// A command that prints which version it is.
    pub version: Option<String>,
    /// What an eavesdropper sees.
    pub wire: Wire,
    /// When it syncs.
    pub sync: Sync,
    /// Over which paths it is measured.
    #[serde(default)]
    pub reach: Reach,
    /// What is there after a transfer.
    #[serde(default)]
    pub leaves: Leaves,
    /// The service its clients talk to.
    pub service: Option<String>,
    /// The other end of one transfer, started before each and ending with it.
    #[serde(default)]
    pub once: BTreeMap<Task, String>,
    /// What is timed.
    pub client: BTreeMap<Task, String>,
}

/// A server that some peers share, started once a job.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Service {
    /// As peers name it.
    pub name: String,
    /// The programs it cannot do without.
    pub needs: Vec<String>,
    /// Files to write into its state directory.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Run before it, once.
    pub setup: Option<String>,
    /// The server; it has to stay in the foreground.
    pub serve: String,
}

/// All that the files say.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// In the order of tables.
    #[serde(default)]
    pub peer: Vec<Peer>,
    /// By name.
    #[serde(default)]
    pub service: Vec<Service>,
}

const FILES: &[(&str, &str)] = &[
    ("plain", include_str!("../peers/plain.toml")),
    ("article", include_str!("../peers/article.toml")),
    ("floe", include_str!("../peers/floe.toml")),
    ("copy", include_str!("../peers/copy.toml")),
    ("netcat", include_str!("../peers/netcat.toml")),
    ("rsync", include_str!("../peers/rsync.toml")),
    ("ssh", include_str!("../peers/ssh.toml")),
    ("http", include_str!("../peers/http.toml")),
    ("rclone", include_str!("../peers/rclone.toml")),
    ("iperf", include_str!("../peers/iperf.toml")),
    ("overssh", include_str!("../peers/overssh.toml")),
];

impl Peers {
    /// Reads the table.
    pub fn load() -> Result<Self> {
        let mut all = Self::default();
        for (name, text) in FILES {
            let some: Self = toml::from_str(text).map_err(|e| format!("peers/{name}.toml: {e}"))?;
            all.peer.extend(some.peer);
            all.service.extend(some.service);
        }
        Ok(all)
    }

    /// The service of a peer, if it has one.
    pub fn service_of(&self, peer: &Peer) -> Result<Option<&Service>> {
        let Some(name) = &peer.service else { return Ok(None) };
        let found = self.service.iter().find(|service| service.name == *name);
        found.map(Some).ok_or_else(|| format!("{}: no service {name:?} in the table", peer.name))
    }

    /// The programs that a peer needs and `paths` do not have.
    pub fn missing(&self, peer: &Peer, paths: &[PathBuf]) -> Result<Vec<String>> {
        let service = self.service_of(peer)?;
        let needs = peer.needs.iter().chain(service.into_iter().flat_map(|s| &s.needs));
        Ok(needs.filter(|name| !found(name, paths)).cloned().collect())
    }
}

fn found(name: &str, paths: &[PathBuf]) -> bool {
    paths.iter().any(|dir| dir.join(name).is_file())
}

/// Words that commands use, and what they stand for.
#[derive(Clone, Debug, Default)]
pub struct Words(BTreeMap<&'static str, String>);

impl Words {
    /// With one more.
    #[must_use]
    pub fn with(mut self, word: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(word, value.into());
        self
    }

    /// With one more, a path.
    #[must_use]
    pub fn with_path(self, word: &'static str, path: &Path) -> Self {
        self.with(word, path.display().to_string())
    }

    /// The text with all words filled in; one that is not known is an error.
    pub fn fill(&self, text: &str) -> Result<String> {
        let mut filled = text.to_owned();
        for (word, value) in &self.0 {
            filled = filled.replace(&format!("{{{word}}}"), value);
        }
        for (at, _) in filled.match_indices('{') {
            let inside = filled[at + 1..].split('}').next().unwrap_or_default();
            let shell = filled[..at].ends_with('$');
            if !shell && !inside.is_empty() && inside.chars().all(|c| c.is_ascii_lowercase()) {
                return Err(format!("nothing stands for {{{inside}}} in {text:?}"));
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_every_service_is_in_it() {
        let peers = Peers::load().unwrap();
        assert!(peers.peer.len() > 20);
        for peer in &peers.peer {
            peers.service_of(peer).unwrap();
            assert!(peer.once.keys().all(|task| peer.client.contains_key(task)), "{}", peer.name);
        }
    }

    #[test]
    fn names_are_told_apart() {
        let peers = Peers::load().unwrap();
        let mut names: Vec<&str> = peers.peer.iter().map(|peer| peer.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), peers.peer.len());
    }

    #[test]
    fn words_are_filled_in_and_unknown_ones_refused() {
        let words = Words::default().with("port", "7");
        assert_eq!(words.fill("a {port} ${x} { b; }").unwrap(), "a 7 ${x} { b; }");
        assert!(words.fill("{host}").is_err());
    }
}
