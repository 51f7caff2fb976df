//! Open, list, stat, remove, rename, make directories, on real directories.

use crate::tree::{Tree, path};
use floe_store::disk::Disk;
use floe_store::source::StreamSource;
use floe_store::{
    Cursor, Depth, Detail, Follow, OpenedEntry, Overwrite, RootWanted, Source, Stat, Store,
};
use floe_types::{ByteCount, Code, EntryKind, Freshness, Mode, Offset, Root, Timestamp};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Mutex;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|nth| u8::try_from((nth * 31 + nth / 251) % 256).unwrap()).collect()
}

#[test]
fn opens_files_directories_and_links_with_what_they_are() {
    let tree = Tree::new();
    tree.file("a/f", &content(10_000));
    tree.link("../f", "a/l");
    let meta = std::fs::metadata(tree.at("a/f")).unwrap();
    let OpenedEntry::File { source, version, freshness, metadata } =
        tree.store().open(&path("a/f"), Follow::No).unwrap()
    else {
        panic!("a/f is a file")
    };
    let version = version.unwrap();
    assert_eq!((version.inode, version.size), (meta.ino(), ByteCount(10_000)));
    assert_eq!(
        version.mtime,
        Timestamp::new(meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap()).unwrap()
    );
    assert_eq!(freshness, Freshness::Fresh);
    assert_eq!(metadata.mode, Mode::from_bits(meta.mode()));
    assert_eq!(source.version().unwrap(), Some(version));

    let mut into = vec![0; 4096];
    assert_eq!(source.read_at(Offset(5000), &mut into).unwrap(), 4096);
    assert_eq!(into, content(10_000)[5000..9096]);
    assert_eq!(source.read_at(Offset(9000), &mut into).unwrap(), 1000);
    assert_eq!(source.read_at(Offset(10_000), &mut into).unwrap(), 0);
    assert_eq!(source.read_at(Offset(1 << 40), &mut into).unwrap(), 0);
    assert_eq!(source.read_at(Offset(u64::MAX), &mut into).unwrap_err().code, Code::LimitExceeded);
    assert!(matches!(source.read_cached(Offset(9000), &mut into).unwrap(), None | Some(1000)));

    let directory = tree.store().open(&path("a"), Follow::No).unwrap();
    assert!(matches!(directory, OpenedEntry::Directory { .. }));
    assert!(matches!(
        tree.store().open(&path(""), Follow::No).unwrap(),
        OpenedEntry::Directory { .. }
    ));
    let OpenedEntry::Link { target, .. } = tree.store().open(&path("a/l"), Follow::No).unwrap()
    else {
        panic!("a/l is a link")
    };
    assert_eq!(target, b"../f");
    for (missing, code) in
        [("b", Code::NotFound), ("a/f/x", Code::NotDirectory), ("a/b/c", Code::NotFound)]
    {
        let fault = tree.store().open(&path(missing), Follow::No).err().unwrap();
        assert_eq!(fault.code, code, "{missing}");
        assert_eq!(fault.detail, format!("open \"{missing}\""));
    }
}

#[test]
fn an_open_source_stays_the_same_file_when_its_name_is_replaced() {
    let tree = Tree::new();
    tree.file("f", b"old bytes");
    let OpenedEntry::File { source, version, .. } =
        tree.store().open(&path("f"), Follow::Yes).unwrap()
    else {
        panic!("f is a file")
    };
    tree.file("g", b"new");
    std::fs::rename(tree.at("g"), tree.at("f")).unwrap();
    let mut into = [0; 32];
    assert_eq!(source.read_at(Offset::ZERO, &mut into).unwrap(), 9);
    assert_eq!(&into[..9], b"old bytes");
    assert_ne!(source.version().unwrap(), version, "its ctime shows that it lost its name");
}

#[test]
fn a_stream_is_read_once_and_in_order() {
    let bytes = content(5000);
    let source = StreamSource::new(std::io::Cursor::new(bytes.clone()), "standard input");
    let mut into = vec![0; 3000];
    assert_eq!(source.version().unwrap(), None);
    assert_eq!(source.read_at(Offset(1), &mut into).unwrap_err().code, Code::SourceGone);
    assert_eq!(source.read_at(Offset(0), &mut into).unwrap(), 3000);
    assert_eq!(into, bytes[..3000]);
    let again = source.read_at(Offset(0), &mut into).unwrap_err();
    assert_eq!(again.to_string(), "read standard input at 0: the source cannot be read again");
    assert_eq!(source.read_cached(Offset(3000), &mut into).unwrap(), None);
    assert_eq!(source.read_at(Offset(3000), &mut into).unwrap(), 2000);
    assert_eq!(source.read_at(Offset(5000), &mut into).unwrap(), 0);
}

#[test]
fn a_stream_that_failed_stays_failed() {
    struct Broken(u32);
    impl std::io::Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(std::io::ErrorKind::Interrupted.into()),
                2 => Ok(into.len().min(3)),
                3 => Err(std::io::Error::from_raw_os_error(5)),
                _ => panic!("read after its failure"),
            }
        }
    }
    let source = StreamSource::new(Broken(0), "pipe");
    let mut into = [0; 8];
    assert_eq!(source.read_at(Offset(0), &mut into).unwrap_err().code, Code::Io);
    assert_eq!(source.read_at(Offset(0), &mut into).unwrap_err().code, Code::SourceGone);
}

#[test]
fn pages_give_every_name_once_and_sorted() {
    let tree = Tree::new();
    let names: BTreeSet<Vec<u8>> =
        (0..3000).map(|nth| format!("name-{:04}", nth * 7919 % 3000).into_bytes()).collect();
    for name in &names {
        tree.file(std::str::from_utf8(name).unwrap(), b"");
    }
    tree.file(".floe/stage", b"hidden");
    for max in [1000, 256, 7] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = tree.store().list(&path(""), cursor.as_ref(), max, Detail::Names).unwrap();
            assert!(page.names.len() <= max);
            assert!(page.names.windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(page.names.iter().all(|listed| listed.stat.is_none()));
            seen.extend(page.names.iter().map(|listed| listed.name.as_bytes().to_vec()));
            pages += 1;
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen.len(), 3000, "each once");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
        assert!(pages <= 3001_usize.div_ceil(max), "{pages} pages of {max}");
    }
}

#[test]
fn a_cursor_that_no_page_gave_is_refused_or_harmless() {
    let tree = Tree::new();
    tree.file("a", b"");
    for bytes in [vec![], vec![1; 7], vec![0xff; 8], vec![0; 9]] {
        let answer = tree.store().list(&path(""), Some(&Cursor(bytes)), 10, Detail::Names);
        assert_eq!(answer.unwrap_err().code, Code::Usage);
    }
    let anywhere = Cursor(0x1234_5678_u64.to_be_bytes().to_vec());
    assert!(
        tree.store().list(&path(""), Some(&anywhere), 10, Detail::Names).unwrap().names.len() <= 1
    );
    assert_eq!(tree.store().list(&path(""), None, 0, Detail::Names).unwrap().names.len(), 1);
}

#[test]
fn lists_what_stands_there_and_names_that_are_not_text() {
    let tree = Tree::new();
    tree.file("file", b"12345");
    tree.link("file", "link");
    std::fs::create_dir(tree.at("sub")).unwrap();
    std::fs::write(tree.bytes(b"caf\xe9"), b"x").unwrap();
    let page = tree.store().list(&path(""), None, 100, Detail::Stats).unwrap();
    let found: Vec<_> = page
        .names
        .iter()
        .map(|listed| (listed.name.as_bytes(), listed.stat.as_ref().unwrap()))
        .map(|(name, stat)| (name, stat.kind, stat.size.0, stat.target.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            (&b"caf\xe9"[..], EntryKind::File, 1, None),
            (b"file", EntryKind::File, 5, None),
            (b"link", EntryKind::Link, 4, Some(&b"file"[..])),
            (b"sub", EntryKind::Directory, 0, None),
        ]
    );
    assert!(tree.store().list(&path("sub"), None, 9, Detail::Stats).unwrap().names.is_empty());
    for (bad, code) in [("file", Code::NotDirectory), ("no", Code::NotFound)] {
        let fault = tree.store().list(&path(bad), None, 9, Detail::Names).unwrap_err();
        assert_eq!(fault.code, code, "{bad}");
    }
    let odd = floe_types::ObjectPath::parse(b"caf\xe9").unwrap();
    assert_eq!(tree.store().stat(&odd, RootWanted::IfKnown, &|_, _| {}).unwrap().size.0, 1);
}

#[test]
fn computes_a_root_and_tells_how_far_it_is() {
    let tree = Tree::new();
    for len in [0, 1, 1 << 20, (3 << 20) + 77] {
        let bytes = content(len);
        tree.file("f", &bytes);
        let told = Mutex::new(Vec::new());
        let progress = |done: ByteCount, of: ByteCount| told.lock().unwrap().push((done.0, of.0));
        let stat = tree.store().stat(&path("f"), RootWanted::Computed, &progress).unwrap();
        assert_eq!(stat.root, Some(Root::of(&bytes)), "{len}");
        let (told, len) = (told.into_inner().unwrap(), len as u64);
        assert_eq!(told.last(), Some(&(len, len)));
        assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }
    let known = tree.store().stat(&path("f"), RootWanted::IfKnown, &|_, _| {}).unwrap();
    assert_eq!(known.root, None);
}

#[test]
fn a_file_that_grows_while_it_is_hashed_has_no_root() {
    let tree = Tree::new();
    tree.file("f", &content(3 << 20));
    let grow = |_, _| {
        let mut file = std::fs::OpenOptions::new().append(true).open(tree.at("f")).unwrap();
        std::io::Write::write_all(&mut file, &[1; 2 << 20]).unwrap();
    };
    let fault = tree.store().stat(&path("f"), RootWanted::Computed, &grow).unwrap_err();
    assert_eq!(fault.to_string(), "stat \"f\": the source changed while it was sent");
}

#[test]
fn behind_the_reader_of_a_big_file_the_cache_goes() {
    const MEMORY: u64 = 0x0102_1994;
    let tree = Tree::new();
    let disk = tree.disk();
    if disk.file_system(&disk.root().unwrap()).unwrap().magic == MEMORY {
        return; // a file in memory has no other place
    }
    // Real bytes at its start, because a hole is read without waiting even where memory has
    // forgotten it.
    tree.file("f", &content(8 << 20));
    let file = std::fs::OpenOptions::new().write(true).open(tree.at("f")).unwrap();
    file.set_len(160 << 20).unwrap();
    file.sync_all().unwrap();
    let OpenedEntry::File { source, .. } = tree.store().open(&path("f"), Follow::Yes).unwrap()
    else {
        panic!("f is a file")
    };
    let mut into = vec![0; 1 << 20];
    for nth in 0..160 {
        assert_eq!(source.read_at(Offset(nth << 20), &mut into).unwrap(), 1 << 20);
    }
    assert_eq!(source.read_cached(Offset(1 << 20), &mut into).unwrap(), None);
    assert_eq!(source.read_at(Offset(1 << 20), &mut into).unwrap(), 1 << 20);
}

#[test]
fn stats_without_following() {
    let tree = Tree::new();
    tree.file("d/f", b"123");
    tree.link("f", "d/l");
    std::fs::set_permissions(tree.at("d/f"), std::fs::Permissions::from_mode(0o4751)).unwrap();
    let stat = |of: &str| tree.store().stat(&path(of), RootWanted::Computed, &|_, _| {});
    let Stat { kind, size, target, metadata, .. } = stat("d/l").unwrap();
    assert_eq!((kind, size, target), (EntryKind::Link, ByteCount(1), Some(b"f".to_vec())));
    assert_eq!(metadata.mode, Mode::from_bits(0o777));
    assert_eq!(stat("d/f").unwrap().metadata.mode, Mode::from_bits(0o751));
    assert_eq!(stat("d").unwrap().kind, EntryKind::Directory);
    assert_eq!(stat("").unwrap().kind, EntryKind::Directory);
    assert_eq!(stat("x").unwrap_err().to_string(), "stat \"x\": not found");
}

#[test]
fn what_stands_under_the_reserved_name_is_not_removed_with_its_tree() {
    let tree = Tree::new();
    // More than a page of them.
    (0..600).for_each(|nth| tree.file(&format!("d/other-root/{nth}"), b"kept"));
    tree.file("d/other-root/.floe/a.stage", b"what somebody sends there");
    let store = tree.store();
    let removed = store.remove(&path("d"), Depth::Recursive, &|| true).map_err(|f| f.code);
    assert_eq!(removed, Err(Code::NotEmpty));
    assert!(tree.at("d/other-root/.floe/a.stage").exists());
    assert_eq!(std::fs::read_dir(tree.at("d/other-root")).unwrap().count(), 601);
}

#[test]
fn removes_one_name_or_a_whole_tree() {
    let tree = Tree::new();
    tree.file("keep/f", b"kept");
    for nth in 0..700 {
        tree.file(&format!("d/{}/{nth}", nth % 3), b"x");
    }
    std::fs::create_dir_all(tree.at("d/0/sub/.floe")).unwrap();
    tree.link("../keep", "d/to-keep");
    std::fs::create_dir(tree.at("d/empty")).unwrap();
    let remove =
        |of: &str, depth| tree.store().remove(&path(of), depth, &|| true).map_err(|f| f.code);
    assert_eq!(remove("d", Depth::Single), Err(Code::IsDirectory));
    assert_eq!(remove("d/empty", Depth::Single), Err(Code::IsDirectory));
    assert_eq!(remove("d/to-keep/f/x", Depth::Recursive), Err(Code::NotDirectory));
    assert_eq!(remove("d/0/0", Depth::Single), Ok(()));
    assert_eq!(remove("d/0/0", Depth::Single), Err(Code::NotFound));
    assert_eq!(remove("no", Depth::Recursive), Err(Code::NotFound));
    assert_eq!(remove("", Depth::Recursive), Err(Code::Usage));
    assert_eq!(remove("d", Depth::Recursive), Ok(()));
    assert!(!tree.at("d").exists());
    assert_eq!(std::fs::read(tree.at("keep/f")).unwrap(), b"kept");
    assert_eq!(remove("keep/f", Depth::Recursive), Ok(()));
}

#[test]
fn what_nobody_wants_removed_any_more_stays() {
    let tree = Tree::new();
    (0..20).for_each(|nth| tree.file(&format!("d/f{nth}"), b"x"));
    let asked = std::cell::Cell::new(0);
    let wanted = || {
        asked.set(asked.get() + 1);
        asked.get() <= 5
    };
    let answer = tree.store().remove(&path("d"), Depth::Recursive, &wanted);
    assert_eq!(answer.unwrap_err().code, Code::Interrupted);
    let left = tree.store().list(&path("d"), None, 100, Detail::Names).unwrap();
    assert_eq!(left.names.len(), 15);
}

#[test]
fn removes_a_tree_deeper_than_the_handles_it_may_hold() {
    let tree = Tree::new();
    let mut deep = tree.at("deep");
    for nth in 0..200 {
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(deep.join("file"), b"x").unwrap();
        if nth % 50 == 0 {
            std::fs::create_dir(deep.join("other")).unwrap();
        }
        deep.push("d");
    }
    tree.store().remove(&path("deep"), Depth::Recursive, &|| true).unwrap();
    assert!(!tree.at("deep").exists());
}

#[test]
fn renames_and_replaces_only_when_allowed() {
    let tree = Tree::new();
    tree.file("a", b"a");
    tree.file("b", b"b");
    tree.file("d/f", b"f");
    std::fs::create_dir(tree.at("empty")).unwrap();
    let rename = |from: &str, to: &str, overwrite| {
        tree.store().rename(&path(from), &path(to), overwrite).map_err(|fault| fault.code)
    };
    assert_eq!(rename("a", "b", Overwrite::Refused), Err(Code::Exists));
    assert_eq!(rename("a", "a", Overwrite::Refused), Err(Code::Exists));
    assert_eq!(rename("a", "d", Overwrite::Allowed), Err(Code::IsDirectory));
    assert_eq!(rename("d", "a", Overwrite::Allowed), Err(Code::NotDirectory));
    assert_eq!(rename("empty", "d", Overwrite::Allowed), Err(Code::NotEmpty));
    assert_eq!(rename("d", "d/x", Overwrite::Allowed), Err(Code::Usage));
    assert_eq!(rename("", "x", Overwrite::Allowed), Err(Code::Usage));
    assert_eq!(rename("a", "", Overwrite::Allowed), Err(Code::Usage));
    assert_eq!(rename("no", "x", Overwrite::Allowed), Err(Code::NotFound));
    assert_eq!(rename("a", "no/x", Overwrite::Allowed), Err(Code::NotFound));
    assert_eq!(std::fs::read(tree.at("b")).unwrap(), b"b");
    assert_eq!(rename("a", "b", Overwrite::Allowed), Ok(()));
    assert_eq!(std::fs::read(tree.at("b")).unwrap(), b"a");
    assert_eq!(rename("b", "d/b", Overwrite::Refused), Ok(()));
    assert_eq!(rename("d", "empty", Overwrite::Allowed), Ok(()));
    assert_eq!(std::fs::read(tree.at("empty/b")).unwrap(), b"a");
}

#[test]
fn a_rename_moves_a_link_and_not_what_it_leads_to() {
    let tree = Tree::new();
    tree.file("f", b"f");
    symlink("f", tree.at("l")).unwrap();
    tree.store().rename(&path("l"), &path("m"), Overwrite::Refused).unwrap();
    assert_eq!(std::fs::read_link(tree.at("m")).unwrap().as_os_str(), "f");
    assert!(tree.at("f").exists());
}

#[test]
fn makes_directories_with_their_parents() {
    let tree = Tree::new();
    tree.file("file", b"");
    let make = |of: &str| tree.store().make_dir(&path(of)).map_err(|fault| fault.code);
    assert_eq!(make("a/b/c"), Ok(()));
    assert!(tree.at("a/b/c").is_dir());
    assert_eq!(make("a/b/c"), Ok(()));
    assert_eq!(make("a/b/d"), Ok(()));
    assert_eq!(make(""), Ok(()));
    assert_eq!(make("file"), Err(Code::NotDirectory));
    assert_eq!(make("file/x"), Err(Code::NotDirectory));
    let deepest = vec!["d"; 255].join("/");
    assert_eq!(make(&deepest), Ok(()));
    assert!(tree.at(&deepest).is_dir());
}
