//! Where settings stand in `floe.toml`: what is wrong with one is told with its line, also where
//! that shows only once the server begins.

use super::line_at;
use crate::fault::{Failure, Shown};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Spanned, Value};

/// The lines of its names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places {
    file: PathBuf,
    lines: BTreeMap<String, usize>,
}

impl Places {
    /// Of a text that was understood.
    pub(super) fn of(file: &Path, text: &str) -> Self {
        let values: BTreeMap<String, Spanned<Value>> = toml::from_str(text).unwrap_or_default();
        let line = |value: Spanned<Value>| line_at(text.as_bytes(), value.span().start);
        let lines = values.into_iter().map(|(name, value)| (name, line(value))).collect();
        Self { file: file.to_path_buf(), lines }
    }

    /// These settings were made elsewhere.
    #[must_use]
    pub fn but(mut self, overruled: &[(&str, bool)]) -> Self {
        for (name, _) in overruled.iter().filter(|(_, is_overruled)| *is_overruled) {
            self.lines.remove(*name);
        }
        self
    }

    /// The failure, with the line of the first of these settings that stands in the file.
    pub fn blame(&self, failure: Failure, names: &[&str]) -> Failure {
        match names.iter().find_map(|name| self.lines.get(*name)) {
            Some(line) => failure.within(&format!("{} line {line}", Shown(&self.file))),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::Code;

    #[test]
    fn a_setting_is_blamed_where_it_stands_and_was_not_overruled() {
        let text = "dir = \"/a\"\nuser = \"nope\"\n\n[limits]\nsilence = \"31s\"\n";
        let places = Places::of(Path::new("f.toml"), text);
        let said = |places: &Places, names: &[&str]| {
            let failure = places.blame(Failure::new(Code::NotFound, "no such user"), names);
            failure.to_string()
        };
        assert!(said(&places, &["cert", "user"]).contains("\"f.toml\" line 2: no such user"));
        assert!(!said(&places, &["cert"]).contains("line"));
        let overruled = places.but(&[("user", true), ("dir", false)]);
        assert!(!said(&overruled, &["user"]).contains("line"));
        assert!(said(&overruled, &["dir"]).contains("line 1"));
    }
}
