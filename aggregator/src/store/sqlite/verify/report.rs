//! What a verification found: its checks, each with a verdict, and the first differences by name.

use serde::Serialize;

/// Differences of one check that are named; the others are counted.
const NAMED: usize = 5;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All is as it must be.
    Ok,
    /// Something is not as it must be, or could not be read.
    Differs,
    /// It was not looked at; the note says why.
    LeftOut,
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about, for people and programs.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// As it was recorded, where that is a number.
    pub expected: Option<u64>,
    /// As it was counted anew.
    pub found: Option<u64>,
    /// How many differences there are.
    pub differences: u64,
    /// The first of them, in sentences.
    pub named: Vec<String>,
    /// What is to be known beside, in sentences: nothing of it is a difference.
    pub notes: Vec<String>,
}

/// All checks, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether nothing differs.
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
    /// In order, until something is found.
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

    /// A check of two numbers that must be the same.
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

    /// Shows two numbers, which must be the same.
    pub fn compare(&mut self, expected: u64, found: u64) {
        self.show(expected, found);
        if expected != found {
            let name = self.name;
            self.differs(|| format!("{name}: recorded {expected}, found {found}"));
        }
    }

    /// Shows two numbers, whose difference is named elsewhere.
    pub fn show(&mut self, expected: u64, found: u64) {
        self.expected = Some(expected);
        self.found = Some(found);
    }

    /// Notes a difference; the sentence is made only where it is among the first.
    pub fn differs(&mut self, what: impl FnOnce() -> String) {
        self.verdict = Verdict::Differs;
        self.differences += 1;
        if self.named.len() < NAMED {
            self.named.push(what());
        }
    }

    /// Says something that is no difference.
    pub fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// Says that it is not looked at, unless something was found already.
    pub fn leave_out(&mut self, why: impl Into<String>) {
        if self.verdict == Verdict::Ok {
            self.verdict = Verdict::LeftOut;
        }
        self.note(why);
    }
}
