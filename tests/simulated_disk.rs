//! The simulated disk loses what a disk may lose, and nothing else. A crash test is worth as much
//! as its disk is bad: each loss is seen here once.

use crate::support::files::content;
use crate::support::sim::{Action, Failure, Kind, Policy, SimDisk, Times};
use perennial::file::{Access, AppendFile, Directory, MemoryDirectory};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::sync::Arc;

type File = Arc<dyn AppendFile>;

const SEEDS: u64 = 300;

/// A disk with the file `a` that holds `bytes`, all of it durable.
fn disk_with(bytes: &[u8]) -> (SimDisk, File) {
    let disk = SimDisk::new();
    let file = disk.open("a", Access::CreateNew).unwrap();
    file.append(0, bytes).unwrap();
    file.sync().unwrap();
    disk.sync().unwrap();
    (disk, file)
}

/// What the file `a` may be after a crash now.
fn found(disk: &SimDisk, policy: Policy) -> Vec<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| content(&disk.crash(policy, seed), "a")).collect()
}

/// The same of a file that is there in any case.
fn found_bytes(disk: &SimDisk, policy: Policy) -> Vec<Vec<u8>> {
    found(disk, policy).into_iter().map(|content| content.expect("the name was synced")).collect()
}

#[test]
fn what_was_synced_survives_every_crash() {
    let (disk, _file) = disk_with(&[7; 3000]);

    for policy in Policy::ALL {
        assert!(found_bytes(&disk, policy).iter().all(|bytes| bytes == &[7; 3000]), "{policy:?}");
    }
}

#[test]
fn one_seed_finds_one_disk() {
    let (disk, file) = disk_with(b"durable");
    file.append(7, &[1; 5000]).unwrap();
    disk.rename_new("a", "b").unwrap();

    for (policy, seed) in
        Policy::ALL.into_iter().flat_map(|policy| (0..50).map(move |s| (policy, s)))
    {
        let found = || disk.crash(policy, seed);
        assert_eq!(content(&found(), "a"), content(&found(), "a"));
        assert_eq!(content(&found(), "b"), content(&found(), "b"));
    }
}

#[test]
fn what_was_not_synced_is_lost_or_found_whole() {
    let (disk, file) = disk_with(b"old");

    file.append(3, b" new").unwrap();

    assert_eq!(content(&disk, "a").unwrap(), b"old new");
    assert!(found_bytes(&disk, Policy::Nothing).iter().all(|bytes| bytes == b"old"));
    assert!(found_bytes(&disk, Policy::Everything).iter().all(|bytes| bytes == b"old new"));
}

#[test]
fn sectors_are_lost_one_by_one_and_whole() {
    let (disk, file) = disk_with(&[0; 4096]);

    file.append(100, &[1; 2000]).unwrap();

    let all = found_bytes(&disk, Policy::Sectors);
    let whole = |bytes: &Vec<u8>| {
        bytes.windows(2).enumerate().all(|(at, pair)| {
            pair[0] == pair[1] || (at + 1).is_multiple_of(512) || at == 99 || at == 2099
        })
    };
    assert!(all.iter().all(whole), "torn within a sector");
    assert!(all.iter().any(|bytes| bytes[511] == 0 && bytes[512] == 1 && bytes[1024] == 0));
    assert!(all.iter().any(|bytes| bytes[511] == 1 && bytes[512] == 0 && bytes[1024] == 1));
}

#[test]
fn bytes_are_torn_at_any_place() {
    let (disk, file) = disk_with(&[0; 64]);

    file.append(10, &[1; 20]).unwrap();

    let all = found_bytes(&disk, Policy::Bytes);
    for tear in 11..30 {
        assert!(all.iter().any(|bytes| bytes[tear - 1] == 1 && bytes[tear] == 0), "after {tear}");
        assert!(all.iter().any(|bytes| bytes[tear - 1] == 0 && bytes[tear] == 1), "before {tear}");
    }
}

#[test]
fn a_later_write_arrives_without_an_earlier_one_and_an_earlier_one_last() {
    let (disk, file) = disk_with(&[0; 8192]);

    file.append(0, &[1; 100]).unwrap();
    file.append(4096, &[2; 100]).unwrap();
    file.append(50, &[3; 100]).unwrap();

    for policy in [Policy::Sectors, Policy::Bytes, Policy::Reordered] {
        let all = found_bytes(&disk, policy);
        let later = |bytes: &Vec<u8>| bytes[..100] == [0; 100] && bytes[4096..4196] == [2; 100];
        assert!(all.iter().any(later), "{policy:?}");
    }
    let all = found_bytes(&disk, Policy::Reordered);
    assert!(all.iter().any(|bytes| bytes[..100] == [1; 100] && bytes[100..150] == [3; 50]));
}

#[test]
fn a_file_that_grew_may_hold_zeros_noise_or_old_bytes() {
    let old: Vec<u8> = (0..200).map(|number| number % 7 + 1).collect();
    let (disk, file) = disk_with(&old);

    file.append(200, &[99; 100]).unwrap();

    let all = found_bytes(&disk, Policy::Sectors);
    assert!(all.iter().all(|bytes| bytes.len() <= 300 && bytes[..200] == old));
    let tails: Vec<&[u8]> =
        all.iter().map(|bytes| &bytes[200..]).filter(|tail| tail.len() > 20).collect();
    assert!(tails.iter().any(|tail| tail.iter().all(|&byte| byte == 0)));
    assert!(tails.iter().any(|tail| tail.iter().any(|&byte| byte > 99)));
    assert!(tails.iter().any(|&tail| old.windows(tail.len()).any(|window| window == tail)));
    assert!(all.iter().any(|bytes| bytes.len() == 200), "or it did not grow");
}

#[test]
fn an_unsynced_trim_may_be_lost_and_may_be_kept() {
    let (disk, file) = disk_with(b"abcdef");

    file.trim(2).unwrap();

    assert_eq!(content(&disk, "a").unwrap(), b"ab");
    assert!(found_bytes(&disk, Policy::Nothing).iter().all(|bytes| bytes == b"abcdef"));
    for policy in [Policy::Sectors, Policy::Bytes, Policy::Reordered] {
        let all = found_bytes(&disk, policy);
        assert!(all.iter().any(|bytes| bytes == b"ab"), "{policy:?}");
        assert!(all.iter().any(|bytes| bytes == b"abcdef"), "{policy:?}");
    }
    file.sync().unwrap();
    assert!(found_bytes(&disk, Policy::Nothing).iter().all(|bytes| bytes == b"ab"));
}

#[test]
fn syncing_a_file_does_not_sync_its_name() {
    let disk = SimDisk::new();
    let file = disk.open("a", Access::CreateNew).unwrap();
    file.append(0, b"safe?").unwrap();
    file.sync().unwrap();

    assert!(found(&disk, Policy::Nothing).iter().all(Option::is_none));
    assert!(found(&disk, Policy::Sectors).iter().any(Option::is_none));
    assert!(found(&disk, Policy::Sectors).contains(&Some(b"safe?".into())));
    disk.sync().unwrap();

    for policy in Policy::ALL {
        assert!(found(&disk, policy).iter().all(|bytes| bytes.as_deref() == Some(b"safe?")));
    }
}

#[test]
fn an_unsynced_rename_is_lost_whole_or_kept_whole() {
    let (disk, _file) = disk_with(b"one");

    disk.rename_new("a", "b").unwrap();

    let names = |policy, seed| disk.crash(policy, seed).names().unwrap();
    assert_eq!(names(Policy::Nothing, 0), ["a"]);
    assert_eq!(names(Policy::Everything, 0), ["b"]);
    let all: Vec<_> = (0..SEEDS).map(|seed| names(Policy::Bytes, seed)).collect();
    assert!(all.iter().all(|names| names == &["a"] || names == &["b"]));
    assert!(all.contains(&vec!["a".into()]) && all.contains(&vec!["b".into()]));
}

#[test]
fn an_unsynced_replacement_leaves_the_old_file_or_the_new_one() {
    let (disk, _file) = disk_with(b"old");
    let file = disk.open("a.tmp", Access::CreateNew).unwrap();
    file.append(0, b"new").unwrap();
    file.sync().unwrap();

    disk.replace("a.tmp", "a").unwrap();

    let all = found_bytes(&disk, Policy::Reordered);
    assert!(all.iter().all(|bytes| bytes == b"old" || bytes == b"new"));
    assert!(all.contains(&b"old".into()) && all.contains(&b"new".into()));
    disk.sync().unwrap();
    assert!(found_bytes(&disk, Policy::Nothing).contains(&b"new".into()));
}

#[test]
fn a_file_renamed_before_its_content_was_synced_may_be_empty() {
    let (disk, _file) = disk_with(b"old");
    disk.open("a.tmp", Access::CreateNew).unwrap().append(0, b"new").unwrap();

    disk.replace("a.tmp", "a").unwrap();
    disk.sync().unwrap();

    assert!(found_bytes(&disk, Policy::Nothing).iter().all(|bytes| bytes.is_empty()));
}

#[test]
fn an_unsynced_removal_may_come_back() {
    let (disk, _file) = disk_with(b"back");

    disk.remove("a").unwrap();

    let all = found(&disk, Policy::Sectors);
    assert!(all.contains(&None) && all.contains(&Some(b"back".into())));
    disk.sync().unwrap();
    assert!(Policy::ALL.iter().all(|&policy| found(&disk, policy).iter().all(Option::is_none)));
}

#[test]
fn after_the_power_is_gone_everything_fails_and_nothing_changes() {
    let (disk, file) = disk_with(b"kept");
    let moment = disk.moment();

    disk.stop_after(moment + 1);
    file.append(4, b"!").unwrap();

    file.append(5, b"?").unwrap_err();
    file.sync().unwrap_err();
    file.len().unwrap_err();
    file.read_at(0, &mut [0]).unwrap_err();
    disk.open("a", Access::Read).unwrap_err();
    disk.names().unwrap_err();
    disk.rename_new("a", "b").unwrap_err();
    disk.sync().unwrap_err();
    assert_eq!(disk.moment(), moment + 1);
    assert_eq!(content(&disk.crash(Policy::Everything, 0), "a").unwrap(), b"kept!");
}

#[test]
fn every_earlier_moment_can_still_be_looked_at() {
    let (disk, file) = disk_with(b"");
    let mut moments = Vec::new();
    for round in 0..20u8 {
        moments.push((disk.moment(), vec![7; usize::from(round)], disk.crash(Policy::Bytes, 5)));
        file.append(u64::from(round), &[7]).unwrap();
        file.sync().unwrap();
    }

    for (moment, bytes, then) in &moments {
        let again = disk.crash_at(*moment, Policy::Bytes, 5);
        assert_eq!(content(&again, "a").as_ref(), Some(bytes));
        assert_eq!(content(then, "a").as_ref(), Some(bytes));
    }
    assert!(matches!(disk.actions()[disk.moment() - 1], Action::Sync { .. }));
    assert!(disk.moments().map(|moment| moment.number).eq(0..=disk.moment()));
    for moment in disk.moments().skip(4) {
        let length = content(&moment.crash(Policy::Nothing, 0), "a").unwrap().len();
        assert_eq!(length, (moment.number - 4) / 2, "two actions for each byte");
    }
}

#[test]
fn a_disk_that_was_found_can_lose_power_again() {
    let (disk, file) = disk_with(b"one");
    file.append(3, b" two").unwrap();
    let second = disk.crash(Policy::Everything, 0);

    let file = second.open("a", Access::Write).unwrap();
    file.append(7, b" three").unwrap();

    let third = second.crash(Policy::Nothing, 0);
    assert_eq!(content(&third, "a").unwrap(), b"one two", "what was found is durable");
    assert_eq!(content(&disk, "a").unwrap(), b"one two", "the first disk is another one");
}

#[test]
fn a_power_loss_drops_the_locks() {
    let (disk, file) = disk_with(b"");
    assert!(file.try_lock().unwrap());

    let found = disk.crash(Policy::Everything, 0);

    assert!(found.open("a", Access::Write).unwrap().try_lock().unwrap());
    assert!(!disk.open("a", Access::Write).unwrap().try_lock().unwrap());
}

#[test]
fn the_nth_of_a_kind_fails_once_or_from_then_on() {
    for (times, after) in [(Times::Once, true), (Times::Always, false)] {
        let (disk, file) = disk_with(b"");
        disk.fail(Kind::Write, 2, Failure::Io, times);

        let went = (0..5).map(|at| file.append(at, b"x").is_ok()).collect::<Vec<_>>();

        assert_eq!(went, [true, true, false, after, after], "{times:?}");
        file.sync().unwrap();
    }
}

#[test]
fn each_kind_can_fail_and_then_nothing_has_changed() {
    let (disk, file) = disk_with(b"kept");
    let kinds =
        [Kind::Create, Kind::Rename, Kind::Remove, Kind::SyncNames, Kind::Write, Kind::Trim];
    for kind in kinds.into_iter().chain([Kind::Sync, Kind::Read]) {
        disk.fail(kind, 0, Failure::Io, Times::Once);
    }

    disk.open("b", Access::CreateNew).unwrap_err();
    disk.rename_new("a", "b").unwrap_err();
    disk.remove("a").unwrap_err();
    disk.sync().unwrap_err();
    file.zero(4, 10).unwrap_err();
    file.trim(0).unwrap_err();
    file.sync().unwrap_err();
    file.read_at(0, &mut [0]).unwrap_err();

    assert_eq!(disk.names().unwrap(), ["a"]);
    assert_eq!(content(&disk, "a").unwrap(), b"kept");
}

#[test]
fn a_full_disk_takes_half() {
    let (disk, file) = disk_with(b"");
    disk.fail(Kind::Write, 0, Failure::Full, Times::Once);

    let refusal = file.append(0, b"12345678").unwrap_err();

    assert_eq!(refusal.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, "a").unwrap(), b"1234");
}

#[test]
fn a_sync_that_fails_plainly_leaves_the_bytes_to_the_next_one() {
    let (disk, file) = disk_with(b"old");
    disk.fail(Kind::Sync, 0, Failure::Io, Times::Once);
    file.append(3, b" new").unwrap();

    file.sync().unwrap_err();

    assert_eq!(found_bytes(&disk, Policy::Nothing)[0], b"old");
    file.sync().unwrap();
    assert_eq!(found_bytes(&disk, Policy::Nothing)[0], b"old new");
}

// What Linux does: the failed sync calls the pages clean.
#[test]
fn a_lost_sync_is_seen_only_after_the_power_loss_unless_the_bytes_are_written_again() {
    let (disk, file) = disk_with(b"old");
    disk.fail(Kind::Sync, 0, Failure::Lost, Times::Once);
    file.append(3, b" new").unwrap();
    file.sync().unwrap_err();

    assert_eq!(content(&disk, "a").unwrap(), b"old new", "reads still show it");
    file.append(7, b" later").unwrap();
    file.sync().unwrap();

    for policy in Policy::ALL {
        let all = found_bytes(&disk, policy);
        assert!(all.iter().all(|bytes| bytes == b"old\0\0\0\0 later"), "{policy:?}");
    }
    file.rewrite(3, b" new").unwrap();
    assert_eq!(found_bytes(&disk, Policy::Nothing)[0], b"old\0\0\0\0 later");
    file.sync().unwrap();
    assert_eq!(found_bytes(&disk, Policy::Nothing)[0], b"old new later");
}

// The length is no page: the next sync writes it, and zeros stand where bytes were lost.
#[test]
fn a_sync_after_a_lost_one_makes_the_length_durable_and_not_the_bytes() {
    let (disk, file) = disk_with(b"old");
    disk.fail(Kind::Sync, 0, Failure::Lost, Times::Once);
    file.append(3, b" new").unwrap();
    file.sync().unwrap_err();
    assert_eq!(found_bytes(&disk, Policy::Nothing)[0], b"old");

    file.sync().unwrap();

    assert_eq!(found_bytes(&disk, Policy::Nothing)[0], b"old\0\0\0\0");
}

#[test]
fn a_torn_sync_keeps_some_sectors_and_calls_the_others_clean() {
    let torn: Vec<Vec<u8>> = (0..40)
        .map(|more| {
            let (disk, file) = disk_with(&[0; 8192]);
            // What arrives depends on how much was done before.
            (0..more).for_each(|_| disk.sync().unwrap());
            disk.fail(Kind::Sync, 0, Failure::Torn, Times::Once);
            file.append(0, &[1; 4096]).unwrap();
            file.sync().unwrap_err();
            assert_eq!(content(&disk, "a").unwrap()[..4096], [1; 4096], "reads still show it");
            file.sync().unwrap();
            found_bytes(&disk, Policy::Everything).remove(0)
        })
        .collect();

    let sector = |bytes: &Vec<u8>, number: usize| bytes[512 * number] == 1;
    assert!(torn.iter().all(|bytes| bytes[4096..] == [0; 4096]));
    assert!(torn.iter().any(|bytes| sector(bytes, 0) && !sector(bytes, 1)));
    assert!(torn.iter().any(|bytes| !sector(bytes, 0) && sector(bytes, 1)));
}

#[test]
fn a_full_disk_refuses_names_trims_and_syncs_too() {
    let (disk, file) = disk_with(b"kept");
    for kind in [Kind::Create, Kind::Rename, Kind::SyncNames, Kind::Trim, Kind::Sync] {
        disk.fail(kind, 0, Failure::Full, Times::Once);
    }

    let refusals = [
        disk.open("b", Access::CreateNew).unwrap_err(),
        disk.replace("a", "b").unwrap_err(),
        disk.sync().unwrap_err(),
        file.trim(0).unwrap_err(),
        file.sync().unwrap_err(),
    ];

    assert!(refusals.iter().all(|refusal| refusal.kind() == ErrorKind::StorageFull));
    assert_eq!(
        (disk.names().unwrap(), content(&disk, "a").unwrap()),
        (vec!["a".into()], b"kept".into())
    );
}

#[test]
fn on_a_calm_disk_nothing_fails_and_the_plan_stays() {
    let (disk, file) = disk_with(b"");
    disk.fail(Kind::Write, 0, Failure::Io, Times::Once);

    disk.calmly(|| file.append(0, b"a").unwrap());

    file.append(1, b"b").unwrap_err();
}

#[test]
fn a_killed_process_does_nothing_more_and_what_it_wrote_is_as_unsynced_as_it_was() {
    let (disk, file) = disk_with(b"old");
    assert!(file.try_lock().unwrap());
    file.append(3, b" new").unwrap();
    disk.rename_new("a", "b").unwrap();

    let next = disk.kill();

    file.append(7, b"?").unwrap_err();
    file.sync().unwrap_err();
    disk.names().unwrap_err();
    disk.open("b", Access::Read).unwrap_err();
    assert_eq!(content(&next, "b").unwrap(), b"old new");
    assert!(next.open("b", Access::Write).unwrap().try_lock().unwrap(), "locks die with it");
    assert_eq!(content(&next.crash(Policy::Nothing, 0), "a").unwrap(), b"old");
    assert_eq!(content(&next.crash(Policy::Everything, 0), "b").unwrap(), b"old new");
}

#[test]
fn something_can_be_done_before_an_action_and_only_once() {
    let (disk, file) = disk_with(b"");
    let meanwhile = file.clone();
    disk.interrupt(Kind::Write, 1, move || meanwhile.append(0, b"x").unwrap());

    for at in 1..4 {
        file.append(at, b"y").unwrap();
    }

    let done = disk.actions();
    let offsets = done.iter().filter_map(|action| match action {
        Action::Write { offset, bytes, .. } if bytes.len() == 1 => Some(*offset),
        _ => None,
    });
    assert!(offsets.eq([1, 0, 2, 3]));
    let meanwhile = file.clone();
    disk.interrupt(Kind::Sync, 0, move || meanwhile.append(9, b"x").unwrap());
    disk.leave_alone();
    file.sync().unwrap();
    assert_eq!(file.len().unwrap(), 4);
}

#[test]
fn chosen_moments_are_those_of_all() {
    let (disk, file) = disk_with(b"");
    for at in 0..10 {
        file.append(at, b"x").unwrap();
        file.sync().unwrap();
    }
    let chosen = [0, 3, 4, 9, disk.moment()];

    let mut seen = Vec::new();
    disk.at_moments(&chosen, |moment| {
        seen.push(moment.number);
        for policy in Policy::ALL {
            let again = disk.crash_at(moment.number, policy, 5);
            assert_eq!(content(&moment.crash(policy, 5), "a"), content(&again, "a"));
        }
    });

    assert_eq!(seen, chosen);
}

#[test]
fn what_was_done_to_a_file_is_told_from_what_was_done_to_another() {
    let (disk, file) = disk_with(b"");
    let other = disk.open("other", Access::CreateNew).unwrap();
    let since = disk.moment();

    other.append(0, b"x").unwrap();
    file.append(0, b"x").unwrap();
    disk.rename_new("a", "a.old").unwrap();
    disk.open("a.tmp-index", Access::CreateNew).unwrap().append(0, b"x").unwrap();

    let done = disk.actions_on("a", since);
    assert!(matches!(done[..], [Action::Write { .. }, Action::Rename { .. }]), "{done:?}");
}

/// What is done to a file, at random.
#[derive(Debug, Clone)]
enum Step {
    Append(u64, u8, usize),
    Zero(u64, u64),
    Trim(u64),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..20_000u64, any::<u8>(), 0..10_000usize)
            .prop_map(|(offset, byte, length)| Step::Append(offset, byte, length)),
        (0..20_000u64, 0..10_000u64).prop_map(|(offset, length)| Step::Zero(offset, length)),
        (0..20_000u64).prop_map(Step::Trim),
        Just(Step::Sync),
    ];
    proptest::collection::vec(step, 0..30)
}

fn perform(step: &Step, file: &File) {
    match *step {
        Step::Append(offset, byte, length) => file.append(offset, &vec![byte; length]).unwrap(),
        Step::Zero(offset, length) => file.zero(offset, length).unwrap(),
        Step::Trim(length) => file.trim(length.min(file.len().unwrap())).unwrap(),
        Step::Sync => file.sync().unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Until the power goes the disk is like memory; what its last sync saw is the least it keeps,
    // and what it shows is the most.
    #[test]
    fn a_running_disk_is_like_memory(steps in steps()) {
        let (disk, file) = disk_with(b"");
        let model = MemoryDirectory::new().open("a", Access::CreateNew).unwrap();
        let mut synced = Vec::new();
        for step in &steps {
            perform(step, &file);
            perform(step, &model);
            if let Step::Sync = step {
                synced = content(&disk, "a").unwrap();
            }
        }

        let mut expected = vec![0; model.len().unwrap() as usize];
        model.read_at(0, &mut expected).unwrap();
        prop_assert!(content(&disk, "a").as_ref() == Some(&expected));
        prop_assert!(content(&disk.crash(Policy::Everything, 1), "a") == Some(expected));
        prop_assert!(content(&disk.crash(Policy::Nothing, 1), "a") == Some(synced));
    }
}
