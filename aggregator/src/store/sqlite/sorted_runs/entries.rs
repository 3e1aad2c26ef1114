//! Keys and values in one buffer, without an allocation for each.

/// Pairs of key and value, in the order in which they were added.
#[derive(Debug, Default)]
pub(in crate::store) struct Entries {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// Where an entry is in the buffer: its key, directly followed by its value.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    value: usize,
    end: usize,
}

/// A key and its value.
pub(in crate::store) type Entry<'a> = (&'a [u8], &'a [u8]);

impl Entries {
    /// Adds an entry.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.push_with(key, |bytes| bytes.extend_from_slice(value));
    }

    /// Adds an entry whose value `write` appends to the buffer.
    pub fn push_with(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let value = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        self.spans.push(Span { start, value, end });
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Entry<'_>> {
        self.spans.iter().map(|span| self.entry(*span))
    }

    /// Sorts by key. Of entries with the same key, the one that was added last stays.
    pub fn sort(&mut self) {
        let mut spans = std::mem::take(&mut self.spans);
        // Stable, and fast for a few sorted sequences one after the other.
        spans.sort_by(|one, other| self.entry(*one).0.cmp(self.entry(*other).0));
        spans.reverse();
        spans.dedup_by(|one, kept| self.entry(*one).0 == self.entry(*kept).0);
        spans.reverse();
        self.spans = spans;
    }

    fn entry(&self, span: Span) -> Entry<'_> {
        let Span { start, value, end } = span;
        (&self.bytes[start..value], &self.bytes[value..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_entries_with_the_same_key_the_last_one_stays() {
        let mut entries = Entries::default();
        for (key, value) in [("b", "1"), ("a", "2"), ("", "3"), ("b", "4"), ("a", "5")] {
            entries.push(key.as_bytes(), value.as_bytes());
        }
        entries.sort();
        let sorted: Vec<_> = entries.iter().collect();
        let expected: [Entry<'_>; 3] = [(b"", b"3"), (b"a", b"5"), (b"b", b"4")];
        assert_eq!(sorted, expected);
    }
}
