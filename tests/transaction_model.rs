//! Random programs over three managers and a database, compared step by step with a model: what is
//! returned, who was called and which hooks ran, in which order, what the action log says, what is
//! seen inside and outside, how the transaction stands.
//!
//! Each program is made of a number. `PERENNIAL_PROGRAMS` says how many there are, and
//! `PERENNIAL_SEED` which is the first: a deep run is
//! `PERENNIAL_PROGRAMS=100000 cargo test --release random_programs -- --nocapture`.

mod model;
mod real;
mod steps;

use model::Model;
use real::Real;
use std::collections::BTreeMap;
use steps::{Answer, Program, Step};

/// How many programs are run where nobody asks for another number.
const PROGRAMS: u64 = 3000;

fn asked(variable: &str, otherwise: u64) -> u64 {
    let asked = std::env::var(variable).ok();
    asked.map_or(otherwise, |number| number.parse().expect("it is a number"))
}

/// What a run has seen, by name.
type Tally = BTreeMap<&'static str, u64>;

fn count(tally: &mut Tally, what: &'static str, more: u64) {
    *tally.entry(what).or_default() += more;
}

/// Runs one program; where model and reality part, says how.
fn run(program: &Program, tally: &mut Tally) -> Result<(), String> {
    let (mut model, mut real) = (Model::new(program.traits), Real::new(program.traits));
    for (number, step) in program.steps.iter().enumerate() {
        // A released savepoint cannot be asked again, and no longer counts.
        if matches!(step, Step::Rollback(point) if real.is_released(*point)) {
            continue;
        }
        let (expected, answer) = (model.step(step), real.step(step));
        let at = format!("step {number}, {step:?}");
        same(&at, "the answer", &expected, &answer)?;
        let calls = std::mem::take(&mut model.calls);
        same(&at, "who was called", &calls, &real.journal.take())?;
        same(&at, "the values inside", &model.inside(), &real.inside())?;
        same(&at, "the values outside", &model.committed, &real.committed())?;
        same(&at, "the status", &model.status(), &real.manager.status())?;
        same(&at, "what can be rolled back", &model.valid_points(), &real.valid_points())?;
        if let Some(log) = real.action_log() {
            same(&at, "the action log", &model.log(), &log)?;
        }
        count(tally, "steps", 1);
        count(tally, "calls and hooks", calls.len() as u64);
        if matches!(step, Step::Commit) {
            count(tally, expected.name(), 1);
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(
    at: &str,
    what: &str,
    model: &T,
    real: &T,
) -> Result<(), String> {
    let text = || format!("{at}: {what}\n  model: {model:?}\n  real:  {real:?}");
    if model == real { Ok(()) } else { Err(text()) }
}

/// The program without all steps that the failure does not need.
fn shrink(mut program: Program) -> Program {
    let mut at = 0;
    while at < program.steps.len() {
        let mut shorter = program.clone();
        shorter.steps.remove(at);
        if run(&shorter, &mut Tally::new()).is_err() {
            (program, at) = (shorter, 0);
        } else {
            at += 1;
        }
    }
    program
}

/// T3–T11, T15, H1–H8, H10, H11, S1–S6, S10, S12
#[test]
fn random_programs_do_what_the_model_says() {
    let (first, programs) = (asked("PERENNIAL_SEED", 0), asked("PERENNIAL_PROGRAMS", PROGRAMS));
    let mut tally = Tally::new();
    for seed in first..first + programs {
        let program = Program::random(seed);
        if run(&program, &mut tally).is_err() {
            let short = shrink(program);
            let failure = run(&short, &mut tally).unwrap_err();
            let steps: String = short.steps.iter().map(|step| format!("\n  {step:?}")).collect();
            let repeat = format!("PERENNIAL_SEED={seed} PERENNIAL_PROGRAMS=1");
            panic!("{repeat}\n{:?}{steps}\n{failure}", short.traits);
        }
    }
    println!("{programs} programs from PERENNIAL_SEED={first}: {tally:?}");
    let all = [Answer::Failed, Answer::Doomed, Answer::Unknown, Answer::Mixed];
    let seen = |answer: &Answer| tally.contains_key(answer.name());
    assert!(programs < PROGRAMS || all.iter().all(seen), "the programs are too tame: {tally:?}");
}
