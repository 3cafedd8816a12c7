//! `check`: is everything there, whole, and nothing else?

use crate::model::ModelLane;
use crate::script::content;
use crate::world::{Count, Item, Lane, World};
use crate::{Failure, open_existing};
use perennial::{Database, Job, Ref, Result, View};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What a database holds.
#[derive(Default)]
pub struct Found {
    /// The highest commit, or where the last run began.
    pub highest: u64,
    pub commits: BTreeSet<u64>,
}

/// The highest commit found.
pub fn check(directory: &Path) -> Result<u64, Failure> {
    look(directory).map(|found| found.highest)
}

/// Everything found, if it is whole.
pub fn look(directory: &Path) -> Result<Found, Failure> {
    let db = open_existing(directory)?;
    let found = examine(&db)?;
    db.close()?;
    Ok(found)
}

fn examine(db: &Database) -> Result<Found, Failure> {
    let pending = pending_jobs(db)?;
    db.try_view(|view| {
        let Some(root) = view.root::<World>("torture")? else {
            return match view.roots()?.is_empty() && pending.is_empty() {
                true => Ok(Found::default()),
                false => wrong("there are roots or jobs, but no torture"),
            };
        };
        let world = view.get(root)?;
        let highest = world.runs.last().map_or(0, |run| run.start);
        let mut found = Found { highest, ..Found::default() };
        let mut jobs = BTreeSet::new();
        for (thread, &lane) in world.lanes.iter().enumerate() {
            let lane = view.get(lane)?;
            let commits = commits_of(&world, thread as u64, &lane)?;
            found.highest = commits.last().copied().unwrap_or(0).max(found.highest);
            found.commits.extend(&commits);
            let model = ModelLane::after(commits.into_iter());
            examine_lane(view, &lane, &model)
                .map_err(|failure| failure.within(&format!("lane {thread}")))?;
            jobs.extend(model.jobs);
        }
        examine_jobs(view, &world, &jobs, &pending)?;
        Ok(found)
    })
}

/// The commits that a lane says it holds, in order; each run's are without a gap by construction,
/// since every commit tells only which one was the last.
fn commits_of(world: &World, thread: u64, lane: &Lane) -> Result<Vec<u64>, Failure> {
    let mut commits = Vec::new();
    for &(number, last) in &lane.last {
        let Some(&run) = world.runs.get(number as usize) else {
            return wrong(&format!("a commit of run {number}, which never began"));
        };
        let next = world.runs.get(number as usize + 1).map_or(u64::MAX, |next| next.start);
        if last > next || last <= run.start || last % run.threads != thread {
            return wrong(&format!(
                "commit {last} does not belong to run {number}, thread {thread}"
            ));
        }
        commits.extend(run.commits(thread, last));
    }
    Ok(commits)
}

fn examine_lane(view: &View, lane: &Lane, model: &ModelLane) -> Result<(), Failure> {
    for (slot, (&item, &serial)) in lane.slots.iter().zip(&model.slots).enumerate() {
        match (item, serial) {
            (None, None) => {}
            (Some(item), Some(serial)) => examine_item(view, item, serial, model)
                .map_err(|failure| failure.within(&format!("slot {slot}")))?,
            (item, serial) => {
                return wrong(&format!("slot {slot} holds {item:?} where {serial:?} belongs"));
            }
        }
    }
    let stored: BTreeMap<u64, u64> = lane.tree.iter(view).collect::<Result<_>>()?;
    if stored != model.tree {
        return wrong(&format!("the tree holds {stored:?} where {:?} belongs", model.tree));
    }
    lane.tree.check(view)?;
    Ok(())
}

/// Looks at an item and at those it refers to, as far as they were not seen.
fn examine_item(
    view: &View,
    item: Ref<Item>,
    serial: u64,
    model: &ModelLane,
) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let mut next = Some((item, serial));
    while let Some((item, serial)) = next.filter(|&(_, serial)| seen.insert(serial)) {
        let item: Arc<Item> = view.get(item)?;
        let Some(expected) = model.items.get(&serial) else {
            return wrong(&format!("item {serial} was never made"));
        };
        let data = content(serial, expected.commit, expected.len);
        if (item.serial, item.commit) != (serial, expected.commit) || item.data != data {
            return wrong(&format!(
                "item {} of commit {} with {} bytes where item {serial} of commit {} with {} bytes \
                 belongs",
                item.serial,
                item.commit,
                item.data.len(),
                expected.commit,
                expected.len
            ));
        }
        next = match (item.link, expected.link) {
            (None, None) => None,
            (Some(item), Some(serial)) => Some((item, serial)),
            (link, expected) => {
                return wrong(&format!("item {serial} refers to {link:?}, not to {expected:?}"));
            }
        };
    }
    Ok(())
}

/// Each job is pending, or its effect is there; never both, never twice, never of no commit.
fn examine_jobs(
    view: &View,
    world: &World,
    expected: &BTreeSet<u64>,
    pending: &BTreeSet<u64>,
) -> Result<(), Failure> {
    let mut done = BTreeSet::new();
    for effect in world.effects.iter(view) {
        let (commit, count) = effect?;
        if count != 1 || pending.contains(&commit) {
            return wrong(&format!(
                "the job of commit {commit} took effect {count} times, or is still there"
            ));
        }
        done.insert(commit);
    }
    let there: BTreeSet<u64> = done.union(pending).copied().collect();
    match there == *expected {
        true => Ok(()),
        false => wrong(&format!(
            "jobs of commits {:?} are missing, those of {:?} should not be",
            expected.difference(&there).collect::<Vec<_>>(),
            there.difference(expected).collect::<Vec<_>>()
        )),
    }
}

fn pending_jobs(db: &Database) -> Result<BTreeSet<u64>, Failure> {
    let mut pending = BTreeSet::new();
    for job in db.jobs().list()? {
        if job.kind != Count::KIND {
            return wrong(&format!("a job of kind {}", job.kind));
        }
        let Some(count) = db.jobs().read::<Count>(job.id)? else {
            return wrong(&format!("job {} is listed and not there", job.id));
        };
        if !pending.insert(count.commit) {
            return wrong(&format!("two jobs of commit {}", count.commit));
        }
    }
    Ok(pending)
}

fn wrong<T>(what: &str) -> Result<T, Failure> {
    Err(Failure::Damage(what.to_owned()))
}
