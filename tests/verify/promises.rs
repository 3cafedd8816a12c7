//! What is wrong with promises and decisions, and is found although every sum is right.

use super::{Files, Forge};
use perennial::format::{Coordinator, Fields, FrameBuilder, FrameKind, Participant, RecordHead};
use perennial::storage::file::{FindingKind, Verification};
use perennial::{DatabaseId, GlobalId, Oid, Tid};

fn gtid(number: u8) -> GlobalId {
    GlobalId::new([number; 16])
}

fn of(number: u8) -> Fields {
    Fields { gtid: Some(gtid(number)), ..Fields::default() }
}

fn deciding(number: u8) -> Fields {
    let participant = Participant { name: "somebody".into(), database: None };
    Fields { participants: vec![participant], ..of(number) }
}

/// A log in which object 1 has a record and object 2 has another; where they stand.
fn forge() -> (Forge, [u64; 2]) {
    let mut forge = Forge::new();
    let places = forge.commit(true, &[(1, 0, 0, &[]), (2, 0, 0, &[])]);
    (forge, places.try_into().unwrap())
}

/// Adds a frame of records (oid, previous); where it stands, and where they do.
fn add(
    forge: &mut Forge,
    kind: FrameKind,
    fields: &Fields,
    records: &[(u64, u64)],
) -> (u64, Vec<u64>) {
    let mut bytes = Vec::new();
    fields.encode(&mut bytes);
    let mut builder = FrameBuilder::new(kind, &bytes).unwrap();
    for &(oid, previous) in records {
        let head = RecordHead { oid: Oid::new(oid), pinned: false, previous, far: None };
        builder.push(&head, Some((0, &[], b"data")));
    }
    // Only a commit counts the transactions on.
    forge.tid -= u64::from(kind != FrameKind::Commit);
    let at = forge.log.len() as u64;
    let starts = forge.add(builder);
    (at, starts)
}

fn verified(forge: Forge) -> Verification {
    Files { log: forge.log, index: None }.verify()
}

/// Checks that the frame at `at` is found, for this reason, and nothing else.
fn check(forge: Forge, at: u64, what: &str) {
    let findings = verified(forge).findings;
    let [finding] = &findings[..] else { panic!("{what}: {findings:?}") };
    assert_eq!((finding.kind, finding.offset), (FindingKind::Promise, at), "{finding}");
    assert!(finding.what.contains(what), "{finding}");
}

// T16
#[test]
fn promises_and_decisions_that_follow_the_rules_are_counted() {
    let (mut forge, [one, two]) = forge();
    add(&mut forge, FrameKind::Prepare, &of(1), &[(1, one)]);
    let (_, kept) = add(&mut forge, FrameKind::Commit, &of(1), &[(1, one)]);
    add(&mut forge, FrameKind::Prepare, &of(2), &[(2, two)]);
    add(&mut forge, FrameKind::Abort, &of(2), &[]);
    add(&mut forge, FrameKind::Commit, &deciding(3), &[]);
    add(&mut forge, FrameKind::End, &of(3), &[]);
    add(&mut forge, FrameKind::Commit, &deciding(4), &[(2, two)]);
    let reads = vec![(Oid::new(2), Tid::new(forge.tid))];
    add(&mut forge, FrameKind::Prepare, &Fields { reads, ..of(5) }, &[(1, kept[0])]);
    // Of transactions that nobody has promised or decided anything of.
    add(&mut forge, FrameKind::Abort, &of(9), &[]);
    add(&mut forge, FrameKind::End, &of(9), &[]);

    let verification = verified(forge);

    assert!(verification.findings.is_empty(), "{:?}", verification.findings);
    assert_eq!(verification.in_doubt, [gtid(5)]);
    assert_eq!(verification.open_decisions, 1);
    assert_eq!((verification.frames.prepares, verification.records), (3, 4));
}

#[test]
fn a_frame_that_names_no_transaction_where_it_must_is_found() {
    for kind in [FrameKind::Prepare, FrameKind::Abort, FrameKind::End] {
        let (mut forge, _) = forge();
        let (at, _) = add(&mut forge, kind, &Fields::default(), &[]);
        check(forge, at, "names no global transaction");
    }
}

#[test]
fn what_a_frame_of_its_kind_cannot_say_is_found() {
    let coordinator = Coordinator {
        database: DatabaseId::new([7; 16]),
        last_tid: Tid::ZERO,
        path: String::new(),
    };
    let coordinated = Fields { coordinator: Some(coordinator), ..of(1) };
    let reading = Fields { reads: vec![(Oid::new(1), Tid::new(11))], ..of(1) };
    let nobody = Fields { gtid: None, ..deciding(1) };
    let (commit, abort, seal) = (FrameKind::Commit, FrameKind::Abort, FrameKind::Seal);
    type Records = &'static [(u64, u64)];
    let wrong: [(FrameKind, &Fields, Records, &str); 7] = [
        (seal, &of(1), &[], "a Seal names"),
        (abort, &deciding(1), &[], "binds others to nothing"),
        (commit, &nobody, &[(3, 0)], "binds others to nothing"),
        (commit, &coordinated, &[(3, 0)], "promises nothing"),
        (abort, &reading, &[], "is no promise"),
        (commit, &Fields::default(), &[], "a commit of nothing"),
        (abort, &of(1), &[(3, 0)], "has no records"),
    ];
    for (kind, fields, records, what) in wrong {
        let (mut forge, _) = forge();
        let (at, _) = add(&mut forge, kind, fields, records);
        check(forge, at, what);
    }
}

#[test]
fn promises_that_exclude_each_other_are_found() {
    let (mut twice, [one, two]) = forge();
    add(&mut twice, FrameKind::Prepare, &of(1), &[(1, one)]);
    let (at, _) = add(&mut twice, FrameKind::Prepare, &of(1), &[(2, two)]);
    check(twice, at, "already");

    let (mut rivals, _) = forge();
    add(&mut rivals, FrameKind::Prepare, &of(1), &[(1, one)]);
    let (at, _) = add(&mut rivals, FrameKind::Prepare, &of(2), &[(1, one)]);
    check(rivals, at, "object 1, which is promised");

    let (mut changed, _) = forge();
    add(&mut changed, FrameKind::Prepare, &of(1), &[(1, one)]);
    let (at, _) = add(&mut changed, FrameKind::Commit, &Fields::default(), &[(1, one)]);
    check(changed, at, "object 1, which is promised");

    let reads = vec![(Oid::new(2), Tid::new(11))];
    let (mut relied, _) = forge();
    add(&mut relied, FrameKind::Prepare, &Fields { reads, ..of(1) }, &[(1, one)]);
    let (at, _) = add(&mut relied, FrameKind::Commit, &Fields::default(), &[(2, two)]);
    check(relied, at, "object 2, which is promised");

    let (mut decided, _) = forge();
    add(&mut decided, FrameKind::Commit, &deciding(1), &[]);
    let (at, _) = add(&mut decided, FrameKind::Commit, &deciding(1), &[]);
    check(decided, at, "a second time");
}

#[test]
fn a_promise_that_is_kept_otherwise_is_found() {
    let (mut forge, [one, two]) = forge();
    add(&mut forge, FrameKind::Prepare, &of(1), &[(1, one)]);
    let (at, _) = add(&mut forge, FrameKind::Commit, &of(1), &[(2, two)]);

    check(forge, at, "something else than was promised");
}

#[test]
fn a_promise_on_what_is_not_the_newest_is_found() {
    let (mut forge, [one, _]) = forge();
    let reads = vec![(Oid::new(2), Tid::new(1))];
    let (at, _) = add(&mut forge, FrameKind::Prepare, &Fields { reads, ..of(1) }, &[(1, one)]);
    check(forge, at, "relies on tid 1 where tid 11");

    let (mut forge, [_, two]) = self::forge();
    let (_, places) = add(&mut forge, FrameKind::Prepare, &of(1), &[(1, two)]);
    let findings = verified(forge).findings;
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.kind, finding.offset), (FindingKind::Record, places[0]));
}

// Where what settled a promise is lost, what comes after it is no fault of its own.
#[test]
fn behind_damage_only_the_damage_is_found() {
    let (mut forge, [one, _]) = forge();
    add(&mut forge, FrameKind::Prepare, &of(1), &[(1, one)]);
    let (kept, places) = add(&mut forge, FrameKind::Commit, &of(1), &[(1, one)]);
    let (_, newer) = add(&mut forge, FrameKind::Commit, &Fields::default(), &[(1, places[0])]);
    add(&mut forge, FrameKind::Commit, &Fields::default(), &[(1, newer[0])]);
    forge.log[kept as usize + 70] ^= 1;

    let verification = verified(forge);

    assert!(verification.in_doubt.is_empty());
    let places: Vec<_> = verification.findings.iter().map(|it| it.offset).collect();
    assert_eq!(places, [kept], "{:?}", verification.findings);
}
