//! Promises in doubt: who is asked, who is not, and what holds meanwhile.

use super::kit::{NAMES, Side, begin, decider, open, options, quiet, set, sides};
use crate::support::databases::Tally;
use crate::support::files::content;
use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial::error::InDoubt;
use perennial::file::{Access, Directory};
use perennial::format::{Decision, Participant};
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, FileStorage, Storage, TwoPhase};
use perennial::{Database, Error, Fate, GlobalId, OnDoubt, Persistent, Result, Tid};
use std::sync::Arc;

/// Two files of which one is in doubt about setting its number to 1.
pub struct InTwo {
    pub disk: SimDisk,
    /// The name of the file that decides, and of the one that is in doubt.
    pub decides: &'static str,
    pub doubts: &'static str,
}

/// A process died in the middle of a transaction, before or after it was decided.
pub fn in_two(decided: bool) -> InTwo {
    let disk = SimDisk::new();
    let sides = sides(&disk, 2);
    let start = disk.moment();
    let first = decider(&sides).0.db.id() == sides[0].db.id();
    let (decides, doubts) = if first { (NAMES[0], NAMES[1]) } else { (NAMES[1], NAMES[0]) };
    set(&sides, 1).unwrap();
    let moments = disk.moments().filter(|moment| moment.number > start);
    for moment in moments {
        let left = moment.crash(Policy::Everything, 0);
        let in_doubt = !quiet(&left, doubts).unwrap().in_doubt().unwrap().is_empty();
        if in_doubt && (number(&left, decides) == 1) == decided {
            return InTwo { disk: moment.crash(Policy::Everything, 0), decides, doubts };
        }
    }
    panic!("there is such a moment");
}

fn number(disk: &SimDisk, name: &str) -> i64 {
    Side::of(quiet(disk, name).unwrap()).unwrap().value()
}

fn refused(result: Result<Database>) -> Box<InDoubt> {
    match result {
        Err(Error::InDoubt(refusal)) => refusal.into_inner(),
        other => panic!("{other:?}"),
    }
}

fn gtid(db: &Database) -> GlobalId {
    db.in_doubt().unwrap()[0].gtid
}

/// A disk with what the files `names` of `disk` hold, under other names.
fn moved(disk: &SimDisk, names: &[(&str, &str)]) -> SimDisk {
    let other = SimDisk::new();
    for (from, to) in names {
        let bytes = content(disk, from).unwrap();
        other.open(to, Access::CreateNew).unwrap().append(0, &bytes).unwrap();
    }
    other
}

// T16
#[test]
fn a_file_in_doubt_does_what_the_other_file_has_decided() {
    for decided in [true, false] {
        let InTwo { disk, doubts, .. } = in_two(decided);
        let side = Side::of(open(&disk, doubts).unwrap()).unwrap();
        assert_eq!(side.value(), i64::from(decided));
        assert!(side.db.in_doubt().unwrap().is_empty());
    }
}

// T16
#[test]
fn a_file_in_doubt_asks_the_database_that_is_open_already() {
    for decided in [true, false] {
        let InTwo { disk, decides, doubts } = in_two(decided);
        let _decider = open(&disk, decides).unwrap();
        let side = Side::of(open(&disk, doubts).unwrap()).unwrap();
        assert_eq!(side.value(), i64::from(decided));
    }
}

// T16
#[test]
fn where_the_decider_is_missing_nothing_is_guessed() {
    let InTwo { disk, decides, doubts } = in_two(true);
    let away = moved(&disk, &[(doubts, doubts)]);

    let refusal = refused(open(&away, doubts));

    let (text, id) = (refusal.to_string(), quiet(&disk, decides).unwrap().id());
    assert!(text.contains(&id.to_string()) && text.contains(decides), "{text}");
    // It can be read, as of before.
    let reader = options(&away).read_only().open(doubts).unwrap();
    assert_eq!(reader.in_doubt().unwrap()[0].gtid, refusal.gtid);
    let value = reader.view(|view| Ok(view.get(view.root::<Tally>("number")?.unwrap())?.0));
    assert_eq!(value.unwrap(), 0);
}

// T16
#[test]
fn what_is_held_in_doubt_is_changed_by_nobody_and_settled_when_the_decider_is_back() {
    let InTwo { disk, decides, doubts } = in_two(true);
    let away = moved(&disk, &[(doubts, doubts)]);
    for _ in 0..2 {
        // Also after another opening.
        let db = options(&away).in_doubt(OnDoubt::Hold).open(doubts).unwrap();
        let side = Side { number: db.view(|v| v.root("number")).unwrap().unwrap(), db };
        side.db.transact(|conn| conn.root_or_init("other", |_| Ok(Tally(0)))).unwrap();
        // Nobody settles it meanwhile, so the tries do not wait for that.
        let policy = perennial::RetryPolicy::new(3);
        let change = |conn: &perennial::Connection| conn.modify(side.number, |it| it.0 = 9);
        let error = side.db.transact_with(&policy, change).unwrap_err();
        let Error::Conflict(conflict) = error else { panic!("{error}") };
        assert_eq!(conflict.promised, Some(gtid(&side.db)));
        assert!(conflict.to_string().contains(Tally::NAME), "{conflict}");
        assert_eq!(side.db.resolve_in_doubt().unwrap().len(), 1);
        side.db.close().unwrap();
    }
    let back = moved(&disk, &[(decides, decides)]);
    let decider = open(&back, decides).unwrap();
    let db = options(&away).in_doubt(OnDoubt::Hold).open(doubts).unwrap();
    assert!(db.in_doubt().unwrap().is_empty());
    assert_eq!(Side::of(db).unwrap().value(), 1);
    drop(decider);
}

// T16
#[test]
fn files_that_were_moved_find_each_other_by_name_or_where_they_are_told_to_look() {
    let InTwo { disk, decides, doubts } = in_two(true);
    let together = moved(&disk, &[(decides, decides), (doubts, doubts)]);
    assert_eq!(Side::of(open(&together, doubts).unwrap()).unwrap().value(), 1);

    let renamed = moved(&disk, &[(decides, "other.db"), (doubts, doubts)]);
    refused(open(&renamed, doubts));
    let db = options(&renamed).coordinator("other.db").open(doubts).unwrap();
    assert_eq!(Side::of(db).unwrap().value(), 1);
}

// T16
#[test]
fn neither_another_database_nor_an_older_copy_is_asked() {
    let InTwo { disk, decides, doubts } = in_two(true);
    let stranger = SimDisk::new();
    drop(open(&stranger, "x.db").unwrap());
    let mixed = moved(&disk, &[(doubts, doubts)]);
    let copy = moved(&stranger, &[("x.db", "x.db")]);
    let bytes = copy.open("x.db", Access::Read).unwrap();
    let mut content = vec![0; bytes.len().unwrap() as usize];
    bytes.read_at(0, &mut content).unwrap();
    mixed.open(decides, Access::CreateNew).unwrap().append(0, &content).unwrap();
    let refusal = refused(open(&mixed, doubts));
    assert!(refusal.why.contains("is database"), "{}", refusal.why);

    // What the decider was before its last transactions before the promise.
    let older = moved(&disk, &[(doubts, doubts)]);
    let empty = quiet(&disk, decides).unwrap().id();
    let mut header = vec![0; 4096];
    disk.open(decides, Access::Read).unwrap().read_at(0, &mut header).unwrap();
    older.open(decides, Access::CreateNew).unwrap().append(0, &header).unwrap();
    let refusal = refused(open(&older, doubts));
    assert!(refusal.why.contains("older copy"), "{}", refusal.why);
    assert_eq!(quiet(&older, decides).unwrap().id(), empty);
}

// T16
#[test]
fn a_participant_from_an_old_copy_learns_of_a_decision_that_was_ended() {
    let InTwo { disk, decides, doubts } = in_two(true);
    let copy = moved(&disk, &[(doubts, doubts)]);
    let [decider, participant] = [decides, doubts].map(|name| open(&disk, name).unwrap());
    let id = decider.open_decisions().unwrap()[0].gtid;
    decider.end_decision(id).unwrap();
    assert!(decider.open_decisions().unwrap().is_empty());
    let late = open(&copy, doubts).unwrap();
    assert_eq!(Side::of(late).unwrap().value(), 1);
    drop(participant);
}

// T16
#[test]
fn a_decider_that_another_writes_is_asked_only_for_what_it_has_made_durable() {
    for decided in [true, false] {
        let InTwo { disk, decides, doubts } = in_two(decided);
        // A storage without a database around it: nobody in this process answers for it.
        let options = FileOptions { housekeeping: false, ..FileOptions::default() };
        let storage = FileStorage::open(Arc::new(disk.clone()), decides, options).unwrap();
        let opened = open(&disk, doubts);
        match decided {
            true => assert_eq!(Side::of(opened.unwrap()).unwrap().value(), 1),
            false => assert!(refused(opened).why.contains("in use"), "it may yet decide"),
        }
        storage.close().unwrap();
    }
}

// T16
#[test]
fn a_word_settles_what_nobody_else_can() {
    for word in [true, false] {
        let InTwo { disk, doubts, .. } = in_two(true);
        let away = moved(&disk, &[(doubts, doubts)]);
        let db = options(&away).in_doubt(OnDoubt::Hold).open(doubts).unwrap();
        db.settle(gtid(&db), word).unwrap();
        db.close().unwrap();
        assert_eq!(Side::of(open(&away, doubts).unwrap()).unwrap().value(), i64::from(word));
    }
}

// T6, T16: the decider's own sync fails
#[test]
fn where_nobody_knows_the_decision_the_promise_is_parked_until_the_decider_is_opened_again() {
    let disk = SimDisk::new();
    let sides = sides(&disk, 2);
    let (first, others) = decider(&sides);
    let first_name = if first.db.id() == sides[0].db.id() { NAMES[0] } else { NAMES[1] };
    let (_manager, connections, mut transaction) = begin(&sides, 1);
    // The participant's promise is the first sync, the decision the second.
    disk.fail(Kind::Sync, 1, Failure::Io, Times::Once);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Unknown(_)), "{error}");
    assert!(!error.is_retryable());
    let participant = others[0].clone();
    assert_eq!(participant.db.in_doubt().unwrap().len(), 1);
    assert_eq!(participant.db.resolve_in_doubt().unwrap().len(), 1, "a halted one cannot tell");
    drop((transaction, connections, _manager, others));
    let halted = first.db.clone();
    drop(sides);
    let _ = halted.close();
    drop(halted);
    let reopened = Side::of(open(&disk, first_name).unwrap()).unwrap();
    assert!(participant.db.resolve_in_doubt().unwrap().is_empty());
    assert_eq!(participant.value(), reopened.value());
}

// T16
#[test]
fn who_was_told_that_a_transaction_is_given_up_is_right_for_ever() {
    let disk = SimDisk::new();
    let sides = sides(&disk, 2);
    let (_manager, _connections, mut transaction) = begin(&sides, 1);
    let gtid = transaction.id();
    let decides = decider(&sides).0.db.clone();
    assert_eq!(decides.decision(gtid).unwrap(), Fate::Aborted);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Refused(ref refused) if **refused == gtid), "{error}");
    drop(transaction);
    assert_eq!(sides.iter().map(Side::value).collect::<Vec<_>>(), [0, 0]);
    set(&sides, 2).unwrap();
}

// T16
#[test]
fn a_decision_is_told_while_it_is_open_and_after_it_was_ended() {
    let disk = SimDisk::new();
    let sides = sides(&disk, 2);
    let (_manager, _connections, mut transaction) = begin(&sides, 1);
    let gtid = transaction.id();
    let report = transaction.commit().unwrap();
    let (first, others) = decider(&sides);
    let open = first.db.open_decisions().unwrap();
    assert_eq!((open.len(), open[0].gtid, Some(open[0].tid)), (1, gtid, report.tid));
    assert_eq!(open[0].participants[0].database, Some(others[0].db.id()));
    let fate = Fate::Committed(open[0].tid);
    assert_eq!(first.db.decision(gtid).unwrap(), fate);

    // Its participant is durable by now, and the next decision ends this one.
    others[0].db.sync().unwrap();
    set(&sides, 2).unwrap();

    let open = first.db.open_decisions().unwrap();
    assert!(open.iter().all(|decision| decision.gtid != gtid), "{open:?}");
    assert_eq!(first.db.decision(gtid).unwrap(), fate);
}

// T16
#[test]
fn closing_leaves_no_decision_open() {
    let disk = SimDisk::new();
    let sides = sides(&disk, 2);
    set(&sides, 1).unwrap();
    let first = decider(&sides).0.db.id();
    drop(sides);
    for name in &NAMES[..2] {
        let db = quiet(&disk, name).unwrap();
        assert!(db.open_decisions().unwrap().is_empty(), "decided by {first}, in {}", db.id());
    }
}

// T16, R10
#[test]
fn room_for_what_was_promised_is_kept_free() {
    let InTwo { disk, doubts, .. } = in_two(true);
    let away = moved(&disk, &[(doubts, doubts)]);
    let options =
        FileOptions { housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
    let storage = Arc::new(FileStorage::open(Arc::new(away.clone()), doubts, options).unwrap());
    let length = || away.open(doubts, Access::Read).unwrap().len().unwrap();
    let db = Database::with_storage(storage.clone(), &perennial::Settings::default());
    for number in 0..40_i64 {
        db.transact(|conn| conn.add(Filler(vec![number as u8; 40_000]))).unwrap();
        assert!(length() >= storage.facts().log_end + 100, "after commit {number}");
    }
    assert_eq!(storage.in_doubt().unwrap().len(), 1);
    db.close().unwrap();
    assert!(length() >= storage.facts().log_end + 100, "after it was closed");
}

// T16, R10
#[test]
fn the_end_of_a_decision_takes_no_room_that_is_kept_free_for_a_promise() {
    let InTwo { disk, doubts, .. } = in_two(true);
    let away = moved(&disk, &[(doubts, doubts)]);
    let options =
        FileOptions { housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
    let storage = FileStorage::open(Arc::new(away.clone()), doubts, options).unwrap();
    let length = || away.open(doubts, Access::Read).unwrap().len().unwrap();
    let participants = vec![Participant { name: "somebody".into(), database: None }];
    // Together, their Ends are longer than what is zeroed at once.
    let gtids = (0..2800_u64).map(|number| GlobalId::new((u128::from(number) << 8).to_le_bytes()));
    for gtid in gtids.clone() {
        let mut batch = Batch::default();
        batch.decision = Some(Decision { gtid, participants: participants.clone() });
        storage.commit(&Arc::new(batch)).unwrap();
    }
    for gtid in gtids {
        storage.end_decision(gtid).unwrap();
        let free = length().saturating_sub(storage.facts().log_end);
        assert!(free >= 100, "{free} bytes are free");
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Filler(Vec<u8>);

impl Persistent for Filler {
    const NAME: &'static str = "laws.Filler";
}

// T16: the search for an ended decision reads the log, and may take long.
#[test]
fn who_searches_for_a_decision_keeps_nobody_waiting() {
    let disk = SimDisk::new();
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    let storage = Arc::new(FileStorage::open(Arc::new(disk.clone()), "a.db", options).unwrap());
    let batch = |gtid| {
        let participants = vec![Participant { name: "other".into(), database: None }];
        let mut batch = Batch::default();
        batch.decision = Some(Decision { gtid: GlobalId::new([gtid; 16]), participants });
        Arc::new(batch)
    };
    storage.commit(&batch(1)).unwrap();
    let (told, decided) = std::sync::mpsc::channel();
    let other = storage.clone();
    disk.interrupt(Kind::Read, 0, move || {
        let work = std::thread::spawn(move || told.send(other.commit(&batch(2)).is_ok()));
        for _ in 0..500 {
            if work.is_finished() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(work.is_finished(), "a commit waits for the search");
    });

    let fate = storage.decision(GlobalId::new([3; 16]), Tid::ZERO).unwrap();

    assert_eq!(fate, Fate::Aborted);
    assert!(decided.try_recv().unwrap());
}
