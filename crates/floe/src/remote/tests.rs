use super::*;

fn parse(text: &str) -> Result<Spot> {
    Spot::parse(OsStr::new(text), |name| name == "nas")
}

fn remote(text: &str) -> Remote {
    match parse(text) {
        Ok(Spot::Remote(remote)) => remote,
        other => panic!("{text}: {other:?}"),
    }
}

fn names(remote: &Remote) -> Vec<&[u8]> {
    remote.path.components().iter().map(Component::as_bytes).collect()
}

#[test]
fn reads_urls_with_host_port_and_decoded_path() {
    let got = remote("floe://example.org/a%20b/%C3%A9");
    let address = Address { host: "example.org".into(), port: 3563 };
    assert_eq!(got.server, ServerName::Url(address));
    assert_eq!(names(&got), [&b"a b"[..], "é".as_bytes()]);
    assert_eq!(got.to_string(), "floe://example.org/a%20b/%C3%A9");
    let got = remote("floe://[::1]:99/x");
    assert_eq!(got.server, ServerName::Url(Address { host: "::1".into(), port: 99 }));
    assert_eq!(got.to_string(), "floe://[::1]:99/x");
    assert_eq!(remote("floe://h").path, ObjectPath::root());
    assert_eq!(names(&remote("floe://h/%ff")), [b"\xff"]);
    assert_eq!(names(&remote("floe://h/a?b#c")), [b"a?b#c"]);
}

#[test]
fn reads_known_names_as_they_are() {
    let got = remote("nas:/a%20b/c");
    assert_eq!(got.server, ServerName::Known("nas".into()));
    assert_eq!(names(&got), [&b"a%20b"[..], b"c"]);
    assert_eq!(got.to_string(), "nas:/a%20b/c");
    assert_eq!(remote("nas:").path, ObjectPath::root());
    assert_eq!(remote("nas:x").path, remote("nas:/x").path);
}

#[test]
fn knows_how_a_name_ended() {
    for (text, ending) in [
        ("nas:/a", Ending::Name),
        ("nas:/a/", Ending::Directory),
        ("nas:/a/.", Ending::Directory),
        ("nas:/", Ending::Directory),
        ("nas:/.", Ending::Directory),
        ("nas:", Ending::Name),
        ("floe://h", Ending::Name),
        ("floe://h/", Ending::Directory),
        ("floe://h/a..", Ending::Name),
    ] {
        assert_eq!(remote(text).ending, ending, "{text}");
    }
    for (text, path, ending) in [
        ("a", "a", Ending::Name),
        ("a/", "a", Ending::Directory),
        ("a//", "a", Ending::Directory),
        (".", ".", Ending::Directory),
        ("a/.", "a/.", Ending::Directory),
        ("..", "..", Ending::Name),
        ("/", "/", Ending::Directory),
        ("./a:b", "./a:b", Ending::Name),
        ("dir/nas:x", "dir/nas:x", Ending::Name),
    ] {
        let local = LocalName { path: PathBuf::from(path), ending };
        assert_eq!(parse(text), Ok(Spot::Local(local)), "{text}");
    }
    assert_eq!(parse("-"), Ok(Spot::Standard));
}

#[test]
fn an_unknown_name_is_an_error_that_says_both_readings() {
    let line = parse("other:/x").unwrap_err().to_string();
    assert!(line.contains("./other:/x") && line.contains("floe login other"), "{line}");
    assert_eq!(parse(":x").unwrap_err().code(), Code::Usage);
    assert_eq!(parse("").unwrap_err().code(), Code::Usage);
    let odd = Spot::parse(OsStr::from_bytes(b"\xff\x1b:x"), |_| true).unwrap_err();
    assert!(odd.to_string().contains("\\xff\\u{1b}"), "{odd}");
}

#[test]
fn refuses_paths_that_could_escape() {
    for bad in [
        "nas:/a/../b",
        "nas:/..",
        "nas:/./a",
        "nas://etc",
        "nas:/a//b",
        "nas:/.floe/x",
        "nas:/a/.floe",
        "floe://h/a%2Fb",
        "floe://h/%2e%2e/x",
        "floe://h/%2Efloe",
        "floe://h/%00",
        "floe://h/%2",
        "floe://h/%zz",
        "floe://h/..",
    ] {
        assert_eq!(parse(bad).unwrap_err().code(), Code::BadPath, "{bad}");
    }
    let long = format!("nas:/{}", "x".repeat(256));
    assert_eq!(parse(&long).unwrap_err().code(), Code::BadPath);
}

#[test]
fn refuses_what_is_not_a_server() {
    for bad in [
        "floe://",
        "floe:///x",
        "floe://h:0/x",
        "floe://h:65536/x",
        "floe://h:/x",
        "floe://h:x/y",
        "floe://[::1/x",
        "floe://[x]/y",
        "floe://user@h/x",
        "floe://a b/x",
    ] {
        assert_eq!(parse(bad).unwrap_err().code(), Code::Usage, "{bad}");
    }
    assert_eq!(parse_server("floe://h:12").unwrap().port, 12);
    assert_eq!(parse_server("floe://h/").unwrap().host, "h");
    for bad in ["h", "floe://h/x", "http://h", "floe://"] {
        assert_eq!(parse_server(bad).unwrap_err().code(), Code::Usage, "{bad}");
    }
}
