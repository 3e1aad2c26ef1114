//! Addresses with credentials, right and wrong.

use super::*;

fn servers(text: &str) -> Servers {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
}

fn password(user: &str, password: &str) -> Login {
    let (user, password) = (user.to_owned(), password.to_owned());
    Login::Password { user, password }
}

fn token(token: &str) -> Login {
    Login::Token(token.to_owned())
}

/// `assert_eq!` would require `Debug`, which credentials must not implement.
fn assert_credentials(text: &str, wanted: Option<&Login>) {
    assert!(servers(text).login.as_ref() == wanted, "{text}");
}

#[test]
fn credentials_in_an_address_are_percent_decoded() {
    for text in ["nats://host", "nats://@host", "host:4222"] {
        assert_credentials(text, None);
    }
    for (text, wanted) in [
        ("nats://user:p%40ss@host", password("user", "p@ss")),
        ("user:pass@host:4222", password("user", "pass")),
        (
            "tls://us%3Aer:p%2F%3F%23%2C%25@host",
            password("us:er", "p/?#,%"),
        ),
        ("nats://user:p@ss@host", password("user", "p@ss")),
        ("nats://user:100%@host", password("user", "100%")),
        ("nats://user:%E2%82%AC@host", password("user", "€")),
        ("nats://user:a+b@host", password("user", "a+b")),
        ("nats://s3cr%3At@host", token("s3cr:t")),
        ("nats://$2a$11$abc@[::1]:4223", token("$2a$11$abc")),
    ] {
        assert_credentials(text, Some(&wanted));
    }
}

#[test]
fn several_addresses_are_separated_by_commas_or_given_separately() {
    let several = Servers::parse(&["nats://a:1, tls://b:2,", "c", "nats://[::1]:3"]).unwrap();
    assert_eq!(several.to_string(), "a:1, b:2, c:4222, [::1]:3");
}

#[test]
fn credentials_given_once_are_used_for_all_servers_and_different_ones_are_refused() {
    assert_credentials("nats://a,nats://u:p@b,c", Some(&password("u", "p")));
    assert_credentials("nats://u:p@a,nats://u:p@b", Some(&password("u", "p")));
    for text in [
        "nats://u:secret@a,nats://u:other@b",
        "nats://u:secret@a,nats://v:secret@b",
        "nats://secret@a,nats://other@b",
        "nats://secret@a,nats://u:secret@b",
    ] {
        let wrong = text.parse::<Servers>().unwrap_err();
        assert!(wrong.contains("different credentials"), "{wrong}");
        assert!(!wrong.contains("secret"), "{wrong}");
    }
}

#[test]
fn a_comma_in_credentials_is_refused_with_the_correct_spelling() {
    for text in [
        "nats://user:12,secret@host",
        "tls://user:12,secret@host:4222",
        "nats://secret,34@host",
        "nats://user,secret:34@host",
        "nats://a,nats://user:12,secret@host",
        "nats://user:12,34,secret@host",
    ] {
        let wrong = text.parse::<Servers>().unwrap_err();
        assert!(wrong.contains("%2C"), "{text}: {wrong}");
        for part in ["secret", "user:", "12", "34", "host"] {
            assert!(!wrong.contains(part), "{text}: {wrong}");
        }
    }
    for text in [
        "nats://a,nats://u:p@b",
        "a,u:p@b",
        "nats://u:p@a,u:p@b",
        "nats://u:1%2C2@a",
    ] {
        servers(text);
    }
}

#[test]
fn an_invalid_address_is_refused_and_not_repeated() {
    for text in [
        "",
        " , ",
        "a secret",
        "nats://",
        "nats://:4222",
        "nats://user:secret@",
        "nats://user:secret@host:port",
        "nats://user:secret@host:70000",
        "http://user:secret@host",
        "ws://user:secret@host",
        "wss://user:secret@host",
        "nats://:secret@host",
        "nats://user:1/secret@host",
        "nats://user:1#secret@host",
        "nats://user:1?secret@host",
        "nats://user:%FFsecret@host",
        "nats://%FFsecret@host",
        "nats://host/secret",
    ] {
        let wrong = text.parse::<Servers>().unwrap_err();
        assert!(wrong.contains(EXAMPLE), "{text}: {wrong}");
        assert!(!wrong.contains("secret"), "{text}: {wrong}");
    }
}

#[test]
fn a_password_file_belongs_to_the_user_of_the_address() {
    let file = || Some("file".into());
    let of = |url: &str| {
        let files = Files {
            password: file(),
            ..Files::default()
        };
        Servers::with_files(&[url], &files)
    };
    let in_file = |user: Option<&str>| {
        let user = user.map(str::to_owned);
        let file = "file".into();
        Some(Login::InFile { user, file })
    };
    assert!(of("nats://ann@a,nats://b").unwrap().login == in_file(Some("ann")));
    assert!(of("nats://a").unwrap().login == in_file(None));
    let wrong = of("nats://ann:secret@a").unwrap_err();
    assert!(wrong.contains("--nats-password-file"), "{wrong}");
    assert!(!wrong.contains("secret"), "{wrong}");
}

#[test]
fn only_one_way_to_log_in_may_be_given_and_a_certificate_needs_its_key() {
    let file = || Some("file".into());
    let nothing = Files::default;
    let (creds, nkey) = (
        Files {
            creds: file(),
            ..nothing()
        },
        Files {
            nkey: file(),
            ..nothing()
        },
    );
    for files in [&creds, &nkey] {
        Servers::with_files(&["a"], files).unwrap();
        for url in ["ann:secret@a", "secret@a"] {
            let wrong = Servers::with_files(&[url], files).unwrap_err();
            assert!(wrong.contains("exclude each other"), "{wrong}");
            assert!(!wrong.contains("secret"), "{wrong}");
        }
    }
    for (files, named) in [
        (
            Files {
                nkey: file(),
                ..creds
            },
            "--nats-creds and --nats-nkey",
        ),
        (
            Files {
                password: file(),
                ..nkey
            },
            "--nats-password-file and --nats-nkey",
        ),
        (
            Files {
                cert: file(),
                ..nothing()
            },
            "--nats-key",
        ),
        (
            Files {
                key: file(),
                ..nothing()
            },
            "--nats-cert",
        ),
    ] {
        let wrong = Servers::with_files(&["a"], &files).unwrap_err();
        assert!(wrong.contains(named), "{wrong}");
    }
}

#[test]
fn files_that_cannot_be_used_are_found_at_the_start() {
    let nothing = Files::default;
    let file = || Some("/nowhere/secret".into());
    for (files, flag) in [
        (
            Files {
                password: file(),
                ..nothing()
            },
            "--nats-password-file",
        ),
        (
            Files {
                creds: file(),
                ..nothing()
            },
            "--nats-creds",
        ),
        (
            Files {
                nkey: file(),
                ..nothing()
            },
            "--nats-nkey",
        ),
        (
            Files {
                ca: file(),
                ..nothing()
            },
            "--nats-ca",
        ),
        (
            Files {
                cert: file(),
                key: file(),
                ..nothing()
            },
            "--nats-cert",
        ),
    ] {
        let servers = Servers::with_files(&["a"], &files).unwrap();
        let wrong = servers.check_files().unwrap_err();
        assert!(wrong.starts_with(&format!("{flag} /nowhere")), "{wrong}");
    }
}

#[test]
fn credentials_are_never_shown() {
    for text in [
        "nats://alice:secret@host",
        "nats://secret@host",
        "tls://alice:secret@a,b",
    ] {
        let servers = servers(text);
        let addresses = format!("{:?}", servers.addresses());
        for shown in [servers.to_string(), format!("{servers:?}"), addresses] {
            assert!(!shown.contains("secret"), "{shown}");
            assert!(!shown.contains("alice"), "{shown}");
        }
    }
}
