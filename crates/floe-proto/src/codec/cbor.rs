//! CBOR as floe/1 uses it: maps with small unsigned keys, definite lengths, bounded depth.
//!
//! Read: unknown keys are skipped; a known key twice, an indefinite length, a key that is not an
//! unsigned integer and bytes behind the map are violations. Lengths are checked against what is
//! left of the frame before anything is allocated. Written: keys ascending, shortest integers.

use super::bounds::{DEPTH_MAX, bad};
use crate::command::Violation;
use alloc::vec::Vec;
use minicbor::data::Type;

/// Reads values of one frame.
pub(super) struct Reader<'a>(minicbor::Decoder<'a>);

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self(minicbor::Decoder::new(body))
    }

    /// Ends the frame: nothing may be left.
    pub(super) fn end(self) -> Result<(), Violation> {
        if self.left() == 0 { Ok(()) } else { bad("bytes behind the map") }
    }

    pub(super) fn uint(&mut self) -> Result<u64, Violation> {
        self.0.u64().or(bad("not an unsigned integer"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Violation> {
        u32::try_from(self.uint()?).or(bad("a number above 32 bits"))
    }

    /// A number that may not be above `max`.
    pub(super) fn at_most(&mut self, max: u64) -> Result<u64, Violation> {
        let number = self.uint()?;
        if number <= max { Ok(number) } else { bad("a number above its bound") }
    }

    pub(super) fn int(&mut self) -> Result<i64, Violation> {
        self.0.i64().or(bad("not an integer of 64 bits"))
    }

    pub(super) fn bytes(&mut self, max: usize) -> Result<&'a [u8], Violation> {
        match self.0.bytes() {
            Ok(bytes) if bytes.len() <= max => Ok(bytes),
            Ok(_) => bad("a byte string above its bound"),
            Err(_) => bad("not a byte string"),
        }
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        self.bytes(N)?.try_into().or(bad("a byte string of the wrong length"))
    }

    pub(super) fn text(&mut self, max: usize) -> Result<&'a str, Violation> {
        match self.0.str() {
            Ok(text) if text.len() <= max => Ok(text),
            Ok(_) => bad("a text above its bound"),
            Err(_) => bad("not a text"),
        }
    }

    /// The length of an array: never more than there are bytes left.
    pub(super) fn array(&mut self) -> Result<u64, Violation> {
        let count = self.0.array();
        self.definite(count, 1)
    }

    /// An array of at most `max` elements.
    pub(super) fn list<T>(
        &mut self,
        max: u32,
        mut each: impl FnMut(&mut Self) -> Result<T, Violation>,
    ) -> Result<Vec<T>, Violation> {
        let count = self.array()?;
        if count > u64::from(max) {
            return bad("a list above its bound");
        }
        (0..count).map(|_| each(self)).collect()
    }

    /// A map: `each` takes the value of a key and says whether it knew it.
    pub(super) fn map(
        &mut self,
        mut each: impl FnMut(&mut Self, u64) -> Result<Key, Violation>,
    ) -> Result<Keys, Violation> {
        let mut taken = Keys(0);
        let count = self.0.map();
        for _ in 0..self.definite(count, 2)? {
            let key = self.0.u64().or(bad("a key is not an unsigned integer"))?;
            match each(self, key)? {
                Key::Taken => taken.0 |= 1 << key.min(15),
                Key::Unknown => self.skip(DEPTH_MAX)?,
            }
        }
        Ok(taken)
    }

    fn definite(
        &self,
        count: Result<Option<u64>, minicbor::decode::Error>,
        bytes_each: u64,
    ) -> Result<u64, Violation> {
        match count {
            Ok(Some(count)) if count <= self.left() / bytes_each => Ok(count),
            Ok(Some(_)) => bad("a list longer than its frame"),
            Ok(None) => bad("an indefinite length"),
            Err(_) => bad("not the array or map that must stand here"),
        }
    }

    fn left(&self) -> u64 {
        (self.0.input().len() - self.0.position()) as u64
    }

    fn skip(&mut self, depth: u8) -> Result<(), Violation> {
        let Some(deeper) = depth.checked_sub(1) else { return bad("nested too deep") };
        let values = match self.0.datatype().or(bad("a value is missing"))? {
            Type::Array => self.array()?,
            Type::Map => {
                let count = self.0.map();
                2 * self.definite(count, 2)?
            }
            Type::Tag => self.0.tag().map(|_| 1).or(bad("a broken tag"))?,
            Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef => {
                return bad("an indefinite length");
            }
            Type::Break | Type::Unknown(_) => return bad("not a value"),
            _ => return self.0.skip().or(bad("a broken value")),
        };
        (0..values).try_for_each(|_| self.skip(deeper))
    }
}

/// Whether a key is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Its value has been taken.
    Taken,
    /// Its value is to be skipped.
    Unknown,
}

/// The known keys that a map had.
pub(super) struct Keys(u16);

impl Keys {
    /// No key may be there but these.
    pub(super) fn only(self, keys: &[u8]) -> Result<(), Violation> {
        let foreign = keys.iter().fold(self.0, |left, key| left & !(1 << key));
        if foreign == 0 { Ok(()) } else { bad("a key that does not belong here") }
    }
}

/// A field of a map, until the map has ended.
pub(super) struct Field<T>(Option<T>);

impl<T> Field<T> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Takes the value of a known key.
    pub(super) fn set(&mut self, value: Result<T, Violation>) -> Result<Key, Violation> {
        if self.0.replace(value?).is_some() {
            return bad("a key stands twice");
        }
        Ok(Key::Taken)
    }

    /// The value, which must be there.
    pub(super) fn need(self) -> Result<T, Violation> {
        self.0.ok_or(Violation { what: "a key is missing" })
    }

    /// The value, if it is there.
    pub(super) fn maybe(self) -> Option<T> {
        self.0
    }
}

/// Writes values of one frame. Memory is the only thing that could fail, and it aborts.
pub(super) struct Writer<'a>(minicbor::Encoder<&'a mut Vec<u8>>);

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(minicbor::Encoder::new(out))
    }

    pub(super) fn uint(&mut self, number: u64) -> &mut Self {
        let written = self.0.u64(number).is_ok();
        self.checked(written)
    }

    pub(super) fn int(&mut self, number: i64) -> &mut Self {
        let written = self.0.i64(number).is_ok();
        self.checked(written)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let written = self.0.bytes(bytes).is_ok();
        self.checked(written)
    }

    /// A text, cut to at most `max` bytes where a character ends.
    pub(super) fn text(&mut self, text: &str, max: usize) -> &mut Self {
        let written = self.0.str(cut(text, max)).is_ok();
        self.checked(written)
    }

    pub(super) fn array(&mut self, count: usize) -> &mut Self {
        let written = self.0.array(count as u64).is_ok();
        self.checked(written)
    }

    /// A map of `always` keys, and one more for each of `sometimes`.
    pub(super) fn map(&mut self, always: u64, sometimes: &[bool]) -> &mut Self {
        let more = sometimes.iter().filter(|there| **there).count() as u64;
        let written = self.0.map(always + more).is_ok();
        self.checked(written)
    }

    fn checked(&mut self, written: bool) -> &mut Self {
        debug_assert!(written, "writing to memory does not fail");
        self
    }
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
