//! Sealed entries are found with all filters in memory, with some and with none, and in trees of earlier versions.

use lsm_tree::UserKey;

use super::*;

const ENTRIES: i64 = 12_000;

/// Enough for all filters, which take 15 KB.
const ALL: u64 = 1 << 20;

/// Room for the filters of some tables and not of others.
const SOME: u64 = 8_000;

fn memory(filters: u64) -> OfIndex {
    OfIndex {
        filters,
        ..OfIndex::FOR_SCANS
    }
}

/// The identities of stored events are odd, and as uniform as fingerprints.
fn identity(number: i64) -> u128 {
    let number = u128::from(number.unsigned_abs());
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834) | 1
}

fn entry(sequence: i64) -> Entry {
    Entry::new(sequence, sequence.unsigned_abs() + 7)
}

fn sorted(sequences: std::ops::RangeInclusive<i64>) -> Vec<(u128, Entry)> {
    let mut entries: Vec<_> = sequences.map(|n| (identity(n), entry(n))).collect();
    entries.sort_unstable_by_key(|(identity, _)| *identity);
    entries
}

/// Seals the events after `from` up to `upto`.
fn seal(sealed: &Sealed, from: i64, upto: i64) {
    let entries = sorted(from + 1..=upto).into_iter();
    let written = sealed.write(entries, Seal::new(upto)).unwrap();
    sealed.register(&written).unwrap();
}

/// Looks every event up to `upto` up, and as many that are not stored.
fn check(sealed: &Sealed, upto: i64) {
    let stored: Vec<u128> = (1..=upto).map(identity).collect();
    let absent: Vec<u128> = stored.iter().map(|identity| identity ^ 1).collect();
    let identities = [stored, absent, vec![0, u128::MAX]].concat();
    let mut found = vec![None; identities.len()];
    sealed.find(&identities, &mut found).unwrap();
    let mut expected: Vec<_> = (1..=upto).map(|sequence| Some(entry(sequence))).collect();
    expected.resize(identities.len(), None);
    assert!(found == expected);
}

/// A tree as earlier versions wrote it: whole filters in memory, and longer entries.
fn write_earlier(folder: &Path) {
    let sequences = SequenceNumberCounter::default();
    let tree = Config::new(folder, sequences.clone(), SequenceNumberCounter::default())
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .open()
        .unwrap();
    for upto in [ENTRIES / 3, ENTRIES * 2 / 3, ENTRIES] {
        let sequence = sequences.next();
        let item = |key: &[u8], value: Vec<u8>| {
            let key = UserKey::from(key);
            InternalValue::from_components(key, value, sequence, ValueType::Value)
        };
        let seal = item(&SEAL_KEY, Seal::new(upto).encode());
        let entries = sorted(upto - ENTRIES / 3 + 1..=upto).into_iter();
        let entries = entries.map(|(identity, entry)| {
            let content = entry.sequence.unsigned_abs() + 7;
            let value = [entry.sequence.to_be_bytes(), content.to_be_bytes()].concat();
            item(&identity.to_be_bytes(), value)
        });
        let items = std::iter::once(seal).chain(entries).map(Ok);
        let (tables, _) = tree.flush_to_tables(items).unwrap().unwrap();
        tree.register_tables(&tables, None, None, &[], UNREAD)
            .unwrap();
    }
}

#[test]
fn every_entry_is_found_whichever_filters_are_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, _) = Sealed::open(folder.path(), memory(ALL)).unwrap();
    for upto in [4_000, 8_000, ENTRIES] {
        seal(&sealed, upto - 4_000, upto);
    }
    check(&sealed, ENTRIES);
    drop(sealed);
    for most in [0, SOME, ALL] {
        let (sealed, seal) = Sealed::open(folder.path(), memory(most)).unwrap();
        assert_eq!(seal.unwrap().reach, ENTRIES);
        let sizes = sealed.filter_sizes();
        assert!(sizes.in_memory <= most);
        assert_eq!(sizes.in_memory > 0, most > 0, "{sizes:?}");
        assert_eq!(sizes.in_memory > SOME, most > SOME, "{sizes:?}");
        check(&sealed, ENTRIES);
    }
}

#[test]
fn filters_are_exchanged_when_tables_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, _) = Sealed::open(folder.path(), memory(ALL)).unwrap();
    for upto in (1_000..=ENTRIES).step_by(1_000) {
        seal(&sealed, upto - 1_000, upto);
        while sealed.merge().unwrap() {}
        check(&sealed, upto);
        let filters = sealed.filters.resident().len();
        assert_eq!(filters, sealed.tree.table_count());
    }
    assert!(sealed.tree.table_count() < 6);
}

#[test]
fn a_tree_of_an_earlier_version_is_searched_and_grows() {
    for most in [0, SOME, ALL] {
        let folder = tempfile::tempdir().unwrap();
        write_earlier(folder.path());
        let (sealed, _) = Sealed::open(folder.path(), memory(most)).unwrap();
        check(&sealed, ENTRIES);
        assert!(sealed.filter_sizes().in_memory <= most);
        seal(&sealed, ENTRIES, ENTRIES + 1_000);
        // Both kinds of tables.
        check(&sealed, ENTRIES + 1_000);
        seal(&sealed, ENTRIES + 1_000, ENTRIES + 2_000);
        while sealed.merge().unwrap() {}
        check(&sealed, ENTRIES + 2_000);
        assert_eq!(sealed.entries().count(), 14_000);
    }
}

#[test]
fn a_damaged_filter_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, _) = Sealed::open(folder.path(), memory(0)).unwrap();
    seal(&sealed, 0, ENTRIES);
    let version = sealed.tree.current_version();
    let table = version.iter_tables().next().unwrap();
    let (path, region) = (table.path.clone(), table.regions.filter.unwrap());
    drop(sealed);
    let mut bytes = std::fs::read(&*path).unwrap();
    let middle = usize::try_from(*region.offset()).unwrap() + region.size() as usize / 2;
    bytes[middle] ^= 1;
    std::fs::write(&*path, bytes).unwrap();
    let err = Sealed::open(folder.path(), memory(ALL)).err().unwrap();
    assert!(err.is_damage(), "{err}");
}
