//! Many leaves under one root, and the way from one of them up.
//!
//! ```text
//!        root            neighbours join in pairs, level by level;
//!       /    \           one that has no neighbour goes up as it is
//!     ab      c
//!    /  \     |
//!   a    b    c
//! ```

/// A hash: of a leaf, or of all leaves beneath it.
pub type Hash = [u8; 32];

/// All levels of a tree, the leaves first. There is at least one leaf.
pub struct Tree(Vec<Vec<Hash>>);

impl Tree {
    /// Of these leaves; nothing without any.
    pub fn of(leaves: Vec<Hash>) -> Option<Self> {
        if leaves.is_empty() {
            return None;
        }
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            levels.push(below.chunks(2).map(join).collect());
        }
        Some(Self(levels))
    }

    /// The hash of all.
    pub fn root(&self) -> Hash {
        self.0.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Hash] {
        &self.0[0]
    }

    /// The neighbours on the way from a leaf to the root, from below.
    pub fn siblings(&self, place: usize) -> Vec<Hash> {
        let levels = self.0.iter().enumerate();
        levels.filter_map(|(up, level)| level.get((place >> up) ^ 1).copied()).collect()
    }
}

/// The root of a tree of so many leaves where `leaf` has this place and these neighbours; nothing
/// where they are not as many as there must be.
pub fn climb(leaf: Hash, place: u32, of: u32, siblings: &[Hash]) -> Option<Hash> {
    if place >= of {
        return None;
    }
    let (mut hash, mut place, mut width) = (leaf, place, of);
    let mut siblings = siblings.iter();
    while width > 1 {
        if place ^ 1 < width {
            let sibling = siblings.next()?;
            let pair = if place & 1 == 0 { [hash, *sibling] } else { [*sibling, hash] };
            hash = join(&pair);
        }
        (place, width) = (place >> 1, width.div_ceil(2));
    }
    siblings.next().is_none().then_some(hash)
}

fn join(pair: &[Hash]) -> Hash {
    match pair {
        [one] => *one,
        pair => blake3::derive_key(NODE, &pair.concat()),
    }
}

const NODE: &str = "floe/1 receipt node";

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|nth| blake3::hash(&nth.to_be_bytes()).into()).collect()
    }

    #[test]
    fn every_leaf_of_every_width_leads_to_the_root_and_no_other_does() {
        assert!(Tree::of(Vec::new()).is_none());
        for of in (1..40).chain([1024]) {
            let tree = Tree::of(leaves(of)).unwrap();
            for place in 0..of {
                let (leaf, siblings) =
                    (tree.leaves()[place as usize], tree.siblings(place as usize));
                assert_eq!(climb(leaf, place, of, &siblings), Some(tree.root()), "{place} of {of}");
                assert_ne!(climb([7; 32], place, of, &siblings), Some(tree.root()));
                if of > 1 {
                    let other = (place + 1) % of;
                    assert_ne!(climb(leaf, other, of, &siblings), Some(tree.root()));
                    let fewer = &siblings[1..];
                    assert_ne!(climb(leaf, place, of, fewer), Some(tree.root()));
                }
                let more = [&siblings[..], &[[1; 32]]].concat();
                assert_eq!(climb(leaf, place, of, &more), None);
            }
            assert_eq!(climb(leaves(1)[0], of, of, &[]), None);
        }
    }

    #[test]
    fn the_root_of_three_is_that_of_the_specification() {
        let tree = Tree::of(vec![[1; 32], [2; 32], [3; 32]]).unwrap();
        let hex = data_encoding::HEXLOWER.encode(&tree.root());
        assert_eq!(hex, "e33b398cd4bff90fe2d46d5494395e3915dac4f009138e323269b9dc2ba55b2e");
    }
}
