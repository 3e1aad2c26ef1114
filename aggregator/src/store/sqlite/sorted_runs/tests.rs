//! A tree is compared with a map in memory, through merges, failed transactions and restarts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;

use super::{Entries, SortedRuns, Tree, writer::RunWriter};

const TREE: Tree = Tree("topic_names");

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn file() -> Connection {
    let file = Connection::open_in_memory().unwrap();
    let sql = include_str!("../file/schema.sql");
    file.execute_batch(sql).unwrap();
    file
}

fn entries(map: &Map) -> Entries {
    let mut entries = Entries::default();
    for (key, value) in map {
        entries.push(key, value);
    }
    entries
}

fn check(file: &Connection, expected: &Map, probes: &[Vec<u8>]) {
    let tree = SortedRuns::open(file, TREE).unwrap();
    for key in probes {
        assert_eq!(
            tree.get(key).unwrap().as_ref(),
            expected.get(key),
            "{key:?}"
        );
        let mut found = Vec::new();
        tree.ascending(key, |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(found.len() < 3)
        })
        .unwrap();
        let rest = expected.range(key.clone()..).take(3);
        assert!(
            found.iter().map(|(key, value)| (key, value)).eq(rest),
            "{key:?}"
        );
    }
    let mut found = Vec::new();
    tree.descending(|key, value| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(true)
    })
    .unwrap();
    found.reverse();
    assert!(found.into_iter().eq(expected.clone()));
}

/// The entries of each run, as recorded and as found.
fn sizes(file: &Connection) -> Vec<u64> {
    let runs = TREE.runs(file).unwrap();
    for run in &runs {
        let blocks = TREE.blocks(file, *run, (&[], None), usize::MAX).unwrap();
        let mut found = 0;
        let mut before = None;
        for (first, block) in blocks {
            let mut is_first = true;
            super::block::decode(&block, |key, _| {
                assert!(!std::mem::take(&mut is_first) || key == first);
                assert!(before.as_deref() < Some(key), "{before:?} {key:?}");
                before = Some(key.to_vec());
                found += 1;
                true
            })
            .unwrap();
        }
        assert_eq!(run.entries, found);
    }
    runs.into_iter().map(|run| run.entries).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Append(Map),
    Fail(Map),
    Restart,
}

fn map() -> impl Strategy<Value = Map> {
    // Values that fill a block with one to four entries, so that merges have many slices.
    let value = prop::collection::vec(any::<u8>(), 0..700);
    prop::collection::btree_map(prop::collection::vec(0..4_u8, 0..4), value, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_is_a_map_through_merges_failures_and_restarts(
        steps in prop::collection::vec(
            prop_oneof![8 => map().prop_map(Step::Append), 1 => map().prop_map(Step::Fail), 1 => Just(Step::Restart)],
            1..30,
        ),
        probes in prop::collection::vec(prop::collection::vec(0..5_u8, 0..5), 1..6),
    ) {
        let file = file();
        let mut writer = RunWriter::load(&file, TREE).unwrap();
        let mut expected = Map::new();
        for step in steps {
            match step {
                Step::Append(map) => {
                    writer.append(&file, &entries(&map)).unwrap();
                    expected.extend(map);
                }
                Step::Fail(map) => {
                    let transaction = file.unchecked_transaction().unwrap();
                    writer.append(&transaction, &entries(&map)).unwrap();
                    drop(transaction);
                    writer = RunWriter::load(&file, TREE).unwrap();
                }
                Step::Restart => writer = RunWriter::load(&file, TREE).unwrap(),
            }
            check(&file, &expected, &probes);
            let sizes = sizes(&file);
            prop_assert!(sizes.iter().all(|size| *size > 0) || sizes.len() > 1);
        }
    }
}

#[test]
fn runs_stay_few_however_keys_are_appended() {
    for batch in [1, 7, 50] {
        let file = file();
        let mut writer = RunWriter::load(&file, TREE).unwrap();
        let mut key = 1_u32;
        let mut most = 0;
        for _ in 0..1_000 {
            let mut map = Map::new();
            for _ in 0..batch {
                key = key.wrapping_mul(747_796_405).wrapping_add(1);
                map.insert((key >> 20).to_be_bytes().to_vec(), vec![7; 40]);
            }
            writer.append(&file, &entries(&map)).unwrap();
            most = most.max(sizes(&file).len());
        }
        assert!(most > 1, "nothing was merged");
        // While as many are merged, as many are appended again at most.
        assert!(most < 30, "{most} runs with batches of {batch}");
    }
}
