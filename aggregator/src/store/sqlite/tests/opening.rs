//! The progress reported while a store is being opened.

use std::fs;

use super::trial::Trial;
use crate::store::sqlite::{dedup::index::FaultPoint, open_with};

#[test]
fn progress_of_an_index_rebuild_is_reported() {
    let mut trial = Trial::new();
    trial.fill(0..30);
    trial.store.close();
    fs::remove_dir_all(trial.index()).unwrap();
    let options = trial.store.options.clone();
    assert_eq!(options.opening.step(), "the store is being opened");
    options.faults.hold(FaultPoint::Replay);
    let path = trial.store.path().to_owned();
    let (opening, faults) = (options.opening.clone(), options.faults.clone());
    let opened = std::thread::spawn(move || open_with(&path, 0, options).map(drop));
    faults.wait_until_met(FaultPoint::Replay);
    let stored = trial.model.stored.len();
    let step = format!("the dedup index is being rebuilt: 0 of {stored} events");
    assert_eq!(opening.step(), step);
    faults.clear_all();
    opened.join().unwrap().unwrap();
}
