//! The tokens file: what is read, what is refused, and what a change keeps.

use std::fs::{Permissions, read_to_string, set_permissions, write};

use super::{
    write::{New, add, remove},
    *,
};
use crate::access::{Access, pattern::Patterns};

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn entry(rest: &str) -> String {
    format!("[[token]]\nname = \"a\"\nsha256 = \"{DIGEST}\"\n{rest}\n")
}

#[test]
fn an_entry_has_all_that_a_token_may() {
    let text = entry(
        "publish = [\"orders.*\"]\nread = [\"*\"]\nadmin = true\n\
         expires = 2027-01-31T01:00:00+01:00\nrate = \"5000/s\"",
    );
    let tokens = Tokens::parse(&text).unwrap();
    let grant = &tokens.entries()[0];
    assert_eq!(grant.name.as_deref(), Some("a"));
    assert!(grant.publish.includes("orders.eu") && !grant.publish.includes("orders"));
    assert!(grant.reads_everything() && grant.admin);
    assert_eq!(grant.expires, Some(1_801_353_600_000_000));
    assert_eq!(grant.rate.as_ref().unwrap().per_second().get(), 5_000);
    let least = Tokens::parse(&entry("")).unwrap();
    let grant = &least.entries()[0];
    assert!(grant.publish.is_empty() && grant.read.is_empty() && !grant.admin);
    assert!(Tokens::parse("").unwrap().entries().is_empty());
}

#[test]
fn what_is_wrong_is_named_without_the_text_of_the_file() {
    let secret = "agg_secret";
    for (text, expected) in [
        (entry("publish = [\"a..b\"]"), "token 1 (\"a\"): publish: "),
        (entry("read = [\"a*\"]"), "read: \"a*\" is not a pattern"),
        (entry("rate = \"5000\""), "such as 5000/s"),
        (entry("rate = \"0/s\""), "such as 5000/s"),
        (entry("expires = 2027-01-31"), "an offset"),
        (entry("expires = 2027-01-31T00:00:00"), "an offset"),
        (entry("expires = \"soon\""), "line 4"),
        (entry("pubish = []"), "pubish"),
        (entry(&format!("admin = {secret}")), "line 4"),
        (entry("").replace("\"a\"", "\"a b\""), "letters, digits"),
        (
            entry("").replace("\"a\"", &format!("\"{secret}\"")),
            "token 1: a name does not begin",
        ),
        (entry(&format!("expires = \"{secret}\"")), "line 4: it is"),
        (entry(&format!("admin = \"{secret}\"")), "line 4: it is"),
        (entry(&format!("{secret} = 1")), "line 4: it is"),
        (entry("").replace(DIGEST, secret), "64 hexadecimal digits"),
        (
            entry("").replace(DIGEST, &"ä".repeat(32)),
            "64 hexadecimal digits",
        ),
        (format!("{}{}", entry(""), entry("")), "more than once"),
        (
            format!("{}{}", entry(""), entry("").replace("\"a\"", "\"b\"")),
            "sha256 of another",
        ),
        ("[[tokens]]\n".to_owned(), "tokens"),
        ("[[token]]\nname = \"a\"\n".to_owned(), "sha256"),
    ] {
        let wrong = Tokens::parse(&text).unwrap_err();
        assert!(wrong.contains(expected), "{expected}: {wrong}");
        assert!(!wrong.contains(secret) && !wrong.contains('\n'), "{wrong}");
    }
}

#[test]
fn an_entry_has_a_hash_or_the_subject_of_a_certificate() {
    let subject = "subject = \"CN=shipper,O=Example\"\n";
    let of = |rest: &str| Tokens::parse(&format!("[[token]]\nname = \"a\"\n{rest}"));
    let tokens = of(subject).unwrap();
    let shown = Subject::parse("CN=shipper,O=Example").unwrap();
    let grant = tokens.find_subject(&shown).unwrap();
    assert_eq!((grant.sha256, grant.subject.as_ref()), (None, Some(&shown)));
    assert!(
        tokens
            .find_subject(&Subject::parse("CN=shipper").unwrap())
            .is_none()
    );
    assert!(
        Tokens::parse(&entry(subject))
            .unwrap_err()
            .contains("either sha256 or subject")
    );
    let twice = format!("{subject}[[token]]\nname = \"b\"\n{subject}");
    assert!(of(&twice).unwrap_err().contains("subject of another"));
    assert!(
        of("subject = \"shipper\"\n")
            .unwrap_err()
            .contains("RFC 4514")
    );
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    write(&path, entry("")).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let refused = Tokens::read(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
    for mode in [0o600, 0o400] {
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(Tokens::read(&path).unwrap().entries().len(), 1, "{mode:o}");
    }
    assert!(Tokens::read_own(&path).is_ok());
    let refused = Tokens::read(directory.path()).unwrap_err();
    assert!(matches!(refused, FileError::NotRegular { .. }));
    let of_another = check(&path, &path.metadata().unwrap(), |_| false);
    assert!(matches!(of_another, Err(FileError::OfAnother { .. })));
    assert!(Tokens::read(&directory.path().join("none")).is_err());
}

#[test]
fn a_token_is_created_and_revoked_and_the_rest_of_the_file_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    let publish: Patterns = ["orders.*", "\"a b\""]
        .map(|text| crate::access::Pattern::parse(text).unwrap())
        .into_iter()
        .collect();
    let new = |name| New {
        name,
        publish: &publish,
        read: &publish,
        admin: false,
        expires: Some(1_801_353_600_000_000),
        rate: std::num::NonZeroU32::new(7),
    };
    let first = add(&path, &new("first")).unwrap();
    let kept = format!(
        "# Keep this.\n{}# And this.\n",
        read_to_string(&path).unwrap()
    );
    write(&path, &kept).unwrap();
    let second = add(&path, &new("second")).unwrap();
    assert!(matches!(
        add(&path, &new("second")),
        Err(FileError::Exists { .. })
    ));
    let access = Access::with(Tokens::read(&path).unwrap());
    for (secret, name) in [(&first, "first"), (&second, "second")] {
        let grant = access.grant(secret.reveal(), 0).unwrap();
        assert_eq!(grant.name.as_deref(), Some(name));
        assert!(grant.publish.includes("a b") && grant.read.includes("orders.eu"));
        assert_eq!(grant.expires, Some(1_801_353_600_000_000));
    }
    let text = read_to_string(&path).unwrap();
    assert!(!text.contains(first.reveal()), "{text}");
    assert!(
        text.starts_with("# Keep this.\n") && text.contains("# And this.\n"),
        "{text}"
    );
    remove(&path, "first").unwrap();
    assert!(matches!(
        remove(&path, "first"),
        Err(FileError::Unknown { .. })
    ));
    let access = Access::with(Tokens::read(&path).unwrap());
    assert!(access.grant(first.reveal(), 0).is_err());
    assert!(access.grant(second.reveal(), 0).is_ok());
}

#[test]
fn changes_at_the_same_time_are_all_kept_and_a_link_stays_one() {
    let directory = tempfile::tempdir().unwrap();
    let [path, link] = ["tokens.toml", "link.toml"].map(|name| directory.path().join(name));
    let none = Patterns::default();
    let create = |path: &Path, name: &str| {
        let new = New {
            name,
            publish: &none,
            read: &none,
            admin: false,
            expires: None,
            rate: None,
        };
        add(path, &new).unwrap();
    };
    create(&path, "first");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::thread::scope(|threads| {
        for (number, path) in (0..16).zip([&path, &link].into_iter().cycle()) {
            threads.spawn(move || create(path, &number.to_string()));
        }
    });
    assert_eq!(Tokens::read(&path).unwrap().entries().len(), 17);
    assert!(link.symlink_metadata().unwrap().is_symlink());
}
