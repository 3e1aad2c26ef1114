//! The result of a verification: its checks, each with a verdict and its first differences.

use serde::Serialize;

/// Differences described per check; further ones are only counted.
const NAMED: usize = 5;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The check passed.
    Ok,
    /// Something differs or could not be read.
    Differs,
    /// The check was not made; the note says why.
    LeftOut,
}

/// A condition that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The name, for people and programs.
    pub name: &'static str,
    /// The outcome.
    pub verdict: Verdict,
    /// The recorded number, if the check compares numbers.
    pub expected: Option<u64>,
    /// The recounted number.
    pub found: Option<u64>,
    /// The number of differences.
    pub differences: u64,
    /// Descriptions of the first differences.
    pub named: Vec<String>,
    /// Additional remarks, none of which is a difference.
    pub notes: Vec<String>,
}

/// All checks, in the order of display.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether no check found a difference.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.all(|check| check.verdict != Verdict::Differs)
    }

    /// Adds a check.
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
    }
}

impl Check {
    /// A check that passes unless a difference is added.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            expected: None,
            found: None,
            differences: 0,
            named: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A check of two numbers that must be equal.
    #[must_use]
    pub fn equal(name: &'static str, expected: u64, found: u64) -> Self {
        let mut check = Self::new(name);
        check.compare(expected, found);
        check
    }

    /// A check that is not made.
    #[must_use]
    pub fn left_out(name: &'static str, why: impl Into<String>) -> Self {
        let mut check = Self::new(name);
        check.leave_out(why);
        check
    }

    /// Sets the two numbers, and adds a difference if they are not equal.
    pub fn compare(&mut self, expected: u64, found: u64) {
        self.show(expected, found);
        if expected != found {
            let name = self.name;
            self.differs(|| format!("{name}: recorded {expected}, found {found}"));
        }
    }

    /// Sets the two numbers without comparing them; their difference is described elsewhere.
    pub fn show(&mut self, expected: u64, found: u64) {
        self.expected = Some(expected);
        self.found = Some(found);
    }

    /// Adds a difference. `what` is called only if the difference is among the first, which are described.
    pub fn differs(&mut self, what: impl FnOnce() -> String) {
        self.verdict = Verdict::Differs;
        self.differences += 1;
        if self.named.len() < NAMED {
            self.named.push(what());
        }
    }

    /// Adds the differences and the notes of another check after those of this one.
    pub fn append(&mut self, other: Self) {
        if other.differences > 0 {
            self.verdict = Verdict::Differs;
        }
        self.differences += other.differences;
        self.named.extend(other.named);
        self.named.truncate(NAMED);
        self.notes.extend(other.notes);
    }

    /// Adds a remark that is not a difference.
    pub fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// Adds a note on why the check is incomplete, and sets the verdict to left out unless a difference was found.
    pub fn leave_out(&mut self, why: impl Into<String>) {
        if self.verdict == Verdict::Ok {
            self.verdict = Verdict::LeftOut;
        }
        self.note(why);
    }
}
