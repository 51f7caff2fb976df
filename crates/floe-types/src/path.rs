//! Object paths: lists of byte-string components, parsed once, never text.
//!
//! A path that exists has passed every rule: 1 to 255 bytes a component, no NUL, no `/`, not `.` or
//! `..`, not `.floe` or what a file system may take for it (`alias`); at most 4,096 bytes with
//! separators and 255 components. The empty path names the served root.

mod alias; // other spellings of the reserved name

use crate::escape::Escaped;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The directory that holds stages and journals; no path may name it.
pub const RESERVED_NAME: &[u8] = b".floe";

const COMPONENT_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 4096;

/// Why bytes are not a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PathFault {
    /// A component of no bytes.
    Empty,
    /// A component of more than 255 bytes.
    ComponentTooLong,
    /// More than 4,096 bytes in all.
    TooLong,
    /// More than 255 components.
    TooDeep,
    /// A NUL byte.
    Nul,
    /// A `/` inside a component.
    Separator,
    /// The component `.` or `..`.
    Dots,
    /// The component `.floe`, or one that some file system takes for it.
    Reserved,
    /// The path begins with `/` where only a relative one may stand.
    Absolute,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a name in it is empty",
            Self::ComponentTooLong => "a name in it is longer than 255 bytes",
            Self::TooLong => "it is longer than 4096 bytes",
            Self::TooDeep => "it is deeper than 255 directories",
            Self::Nul => "it holds a NUL byte",
            Self::Separator => "a name in it holds a '/'",
            Self::Dots => "'.' and '..' are not names",
            Self::Reserved => "'.floe' is reserved, however it is spelled",
            Self::Absolute => "it is absolute",
        })
    }
}

/// One name in a path. Clones share its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component(Arc<[u8]>);

impl Component {
    /// Parses one name.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn new(bytes: &[u8]) -> Result<Self, PathFault> {
        match bytes {
            [] => Err(PathFault::Empty),
            b"." | b".." => Err(PathFault::Dots),
            _ if alias::means_reserved(bytes) => Err(PathFault::Reserved),
            _ if bytes.len() > COMPONENT_BYTES_MAX => Err(PathFault::ComponentTooLong),
            _ if bytes.contains(&0) => Err(PathFault::Nul),
            _ if bytes.contains(&b'/') => Err(PathFault::Separator),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A path beneath a root; the empty one is the root itself. Clones share its names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectPath(Arc<[Component]>);

impl ObjectPath {
    /// Names of one path.
    pub const COMPONENTS_MAX: u32 = 255;

    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses text with `/` between names. One trailing `/` is allowed; a leading one is not.
    ///
    /// # Errors
    /// A rule that the bytes break.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathFault> {
        if bytes.first() == Some(&b'/') {
            return Err(PathFault::Absolute);
        }
        let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
        if bytes.is_empty() {
            return Ok(Self::root());
        }
        // One more than there may be is enough to say so.
        let names = bytes.split(|byte| *byte == b'/').take(Self::COMPONENTS_MAX as usize + 1);
        Self::from_components(names.map(Component::new).collect::<Result<_, _>>()?)
    }

    /// This path with one more name.
    ///
    /// # Errors
    /// `TooDeep` or `TooLong`.
    pub fn join(&self, name: Component) -> Result<Self, PathFault> {
        Self::from_components(self.0.iter().cloned().chain([name]).collect())
    }

    /// This path with all names of another behind it.
    ///
    /// # Errors
    /// `TooDeep` or `TooLong`.
    pub fn join_path(&self, tail: &Self) -> Result<Self, PathFault> {
        Self::from_components(self.0.iter().chain(&*tail.0).cloned().collect())
    }

    /// A path of these names.
    ///
    /// # Errors
    /// `TooDeep` or `TooLong`.
    pub fn from_components(components: Vec<Component>) -> Result<Self, PathFault> {
        if components.len() > Self::COMPONENTS_MAX as usize {
            return Err(PathFault::TooDeep);
        }
        let bytes: usize = components.iter().map(|name| name.0.len() + 1).sum();
        if bytes > PATH_BYTES_MAX + 1 {
            return Err(PathFault::TooLong);
        }
        Ok(Self(components.into()))
    }

    /// The names, outermost first.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.0
    }

    /// Its names with `/` between; nothing for the root. `parse` reads it back.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(Component::as_bytes).collect::<Vec<_>>().join(&b'/')
    }

    /// About what it takes to remember it: each name is memory of its own. Both ends of a session
    /// count this (PROTOCOL.md 3).
    #[must_use]
    pub fn footprint(&self) -> usize {
        const OWN_BYTES: usize = 96;
        const NAME_BYTES: usize = 48;
        OWN_BYTES + self.0.iter().map(|name| NAME_BYTES + name.0.len()).sum::<usize>()
    }

    /// The path without its last name, and that name; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &Component)> {
        let (last, parent) = self.0.split_last()?;
        Some((Self(parent.into()), last))
    }

    /// The last name; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&Component> {
        self.0.last()
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is this path or beneath it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, name) in self.0.iter().enumerate() {
            if nth > 0 {
                f.write_str("/")?;
            }
            name.fmt(f)?;
        }
        if self.0.is_empty() { f.write_str("/") } else { Ok(()) }
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn refuses_every_name_that_could_escape() {
        for (bytes, fault) in [
            (&b"a//b"[..], PathFault::Empty),
            (b"/a", PathFault::Absolute),
            (b"a/../b", PathFault::Dots),
            (b".", PathFault::Dots),
            (b"a/.floe", PathFault::Reserved),
            (b".floe/x", PathFault::Reserved),
            (b"a\0b", PathFault::Nul),
        ] {
            assert_eq!(ObjectPath::parse(bytes), Err(fault), "{bytes:?}");
        }
        for spelled in [".FLOE", ".Floe. .", "FLOE~1", "fl0a9F~2", ".\u{fb02}oe", ".f\u{200d}loe"] {
            assert_eq!(Component::new(spelled.as_bytes()), Err(PathFault::Reserved), "{spelled}");
        }
        assert_eq!(Component::new(b"a/b"), Err(PathFault::Separator));
        assert_eq!(Component::new(&[b'x'; 256]), Err(PathFault::ComponentTooLong));
    }

    #[test]
    fn bounds_length_and_depth() {
        let long = [b'x'; 255];
        let deep = "a/".repeat(256);
        assert_eq!(ObjectPath::parse(deep.as_bytes()), Err(PathFault::TooDeep));
        let mut path = ObjectPath::root();
        for _ in 0..16 {
            path = path.join(Component::new(&long).unwrap()).unwrap();
        }
        assert_eq!(path.join(Component::new(b"y").unwrap()), Err(PathFault::TooLong));
    }

    #[test]
    fn keeps_bytes_that_are_not_text() {
        let path = ObjectPath::parse(b"caf\xe9/x").unwrap();
        assert_eq!(path.components()[0].as_bytes(), b"caf\xe9");
        assert_eq!(path.to_string(), "caf\\xe9/x");
        assert_eq!(ObjectPath::parse(b"").unwrap(), ObjectPath::root());
        assert_eq!(ObjectPath::parse(b"a/").unwrap().components().len(), 1);
    }
}
