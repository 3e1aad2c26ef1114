//! The versions of nats-server that can be used.

/// The oldest version that never deletes confirmed messages. Earlier versions admit a message to a full stream by its
/// length, account for about 39 bytes more, and compensate by deleting the oldest messages, confirmed or not.
pub const OLDEST: (u64, u64, u64) = (2, 10, 6);

/// Checks the version that a server reports.
///
/// # Errors
/// The reason why the server cannot be used, and the remedy.
pub fn check(version: &str) -> Result<(), String> {
    let (major, minor, patch) = OLDEST;
    let wanted = format!("{major}.{minor}.{patch} or later is required");
    let remedy = "upgrade each server of the broker, see https://nats.io/download";
    match parse(version) {
        // A pre-release precedes the release that it is named after.
        Some(found) if (found.numbers, !found.is_prerelease) >= (OLDEST, true) => Ok(()),
        Some(_) => Err(format!(
            "the broker is nats-server {version}, which deletes confirmed messages when the stream is full; {wanted}: {remedy}"
        )),
        None => Err(format!(
            "the broker reports the version {version:?}, which cannot be compared; nats-server {wanted}: {remedy}"
        )),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    numbers: (u64, u64, u64),
    is_prerelease: bool,
}

/// Parses `2.10.6`, `v2.11.0-RC.1` or `2.12.0+build`; a missing patch number is 0.
fn parse(version: &str) -> Option<Version> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let release = version
        .split_once('+')
        .map_or(version, |(before, _)| before);
    let (numbers, prerelease) = match release.split_once('-') {
        Some((numbers, prerelease)) => (numbers, Some(prerelease)),
        None => (release, None),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = numbers.split('.').map(|number| {
        let number = Some(number).filter(|number| is_number(number))?;
        number.parse::<u64>().ok()
    });
    let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
    let numbers = match numbers[..] {
        [major, minor] => (major, minor, 0),
        [major, minor, patch] => (major, minor, patch),
        _ => return None,
    };
    Some(Version {
        numbers,
        is_prerelease: prerelease.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_keep_confirmed_messages_are_accepted() {
        for version in [
            "2.10.6",
            "v2.10.6",
            "2.10.6+build.7",
            "2.10.25",
            "2.10.7-RC.1",
            "2.11",
            "2.11.0-RC.1",
            "2.14.6",
            "2.100.0",
            "3.0.0",
            "10.0.0",
        ] {
            assert_eq!(check(version), Ok(()), "{version}");
        }
    }

    #[test]
    fn versions_that_delete_confirmed_messages_are_refused_with_a_remedy() {
        for version in [
            "2.10.5",
            "v2.10.5",
            "2.10.6-RC.1",
            "2.10",
            "2.9.10",
            "2.9.100",
            "1.99.99",
            "0.10.6",
        ] {
            let reason = check(version).unwrap_err();
            assert!(reason.contains(version), "{reason}");
            assert!(reason.contains("2.10.6 or later"), "{reason}");
            assert!(reason.contains("upgrade"), "{reason}");
        }
    }

    #[test]
    fn a_version_that_cannot_be_compared_is_refused_with_a_remedy() {
        for version in [
            "",
            "v",
            "dev",
            "2",
            "2.x.1",
            "2.10.6.1",
            "2..6",
            "+2.10.6",
            "2.+10.6",
            "-2.10.6",
            "two",
            "99999999999999999999.0.0",
        ] {
            let reason = check(version).unwrap_err();
            assert!(reason.contains("cannot be compared"), "{reason}");
            assert!(reason.contains("2.10.6 or later"), "{reason}");
        }
    }
}
