//! Thousands of random days, and an oracle that knows the truth. `cargo xtask histories --count N --seed S` runs more of
//! them through the first test here.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use end_to_end::histories::{Blindfold, History, generate, run, shortest};

/// A number from the environment.
fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[expect(clippy::disallowed_methods, reason = "how fast histories run is told to whoever waits for them")]
fn now() -> Instant {
    Instant::now()
}

/// Whether a history fails; under a blindfold, in the way in which it has to.
fn fails(history: &History, blindfold: Option<Blindfold>) -> bool {
    let expected = blindfold.map_or("", Blindfold::violation);
    run(history, blindfold).is_err_and(|violations| violations.iter().any(|violation| violation.starts_with(expected)))
}

/// The first seed (by number) of a failing history among `count` from `first`, on all cores.
fn first_failure(first: u64, count: u64, blindfold: Option<Blindfold>) -> Option<u64> {
    let (next, done, begin) = (AtomicU64::new(first), AtomicU64::new(0), now());
    let failed = Mutex::new(None);
    let step = (count / 20).clamp(1, 100);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().expect("not poisoned").is_some_and(|known| known < seed) {
                        return;
                    }
                    if fails(&generate(seed), blindfold) {
                        println!("seed {seed} fails");
                        let mut failed = failed.lock().expect("not poisoned");
                        *failed = Some(failed.map_or(seed, |known: u64| known.min(seed)));
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done % step == 0 {
                        let rate = done as f64 / begin.elapsed().as_secs_f64();
                        println!("{done} of {count} histories, {rate:.1} a second");
                    }
                }
            });
        }
    });
    failed.into_inner().expect("not poisoned")
}

/// The shortest history that fails as the seed's does, and what the oracle says against it.
fn explained(seed: u64, blindfold: Option<Blindfold>) -> String {
    let kind = |violations: &[String]| violations.first().and_then(|first| first.split(':').next()).map(str::to_owned);
    let violations = |history: &History| run(history, blindfold).err().unwrap_or_default();
    let first = violations(&generate(seed));
    let shortest = shortest(&generate(seed), |history| kind(&violations(history)) == kind(&first));
    let violations = violations(&shortest);
    let some: Vec<&str> = violations.iter().map(String::as_str).take(10).collect();
    let (count, some) = (violations.len(), some.join("\n"));
    format!("the history of seed {seed} fails ({count} violations):\n{some}\nThe shortest like it: {shortest:#?}")
}

#[test]
fn no_used_image_is_deleted_and_every_unused_one_finally_is() {
    let (first, count) = (number("HISTORIES_SEED", 1), number("HISTORIES_COUNT", 500));
    println!("{count} histories from seed {first}");
    if let Some(seed) = first_failure(first, count, None) {
        panic!("{}", explained(seed, None));
    }
}

/// For each kind of evidence, a seed whose history goes wrong without it.
const CAUGHT: [(Blindfold, u64); Blindfold::ALL.len()] = [
    (Blindfold::Services, 3),
    (Blindfold::ActiveRevisions, 1),
    (Blindfold::DigestReferences, 1),
    (Blindfold::SecondTag, 11),
    (Blindfold::IndexChildren, 3),
    (Blindfold::PinnedDigests, 3),
    (Blindfold::OlderDeployments, 22),
    (Blindfold::TaskSets, 14),
    (Blindfold::Rules, 11),
    (Blindfold::StoppedRecorder, 11),
    (Blindfold::FailedSource, 1),
    (Blindfold::DroppedPage, 3),
    (Blindfold::RepositoryPolicy, 1),
    (Blindfold::WorkloadAccount, 1),
    (Blindfold::Times, 8),
    (Blindfold::OptIn, 4),
    (Blindfold::PendingSchedules, 20),
    (Blindfold::Probe, 7),
    (Blindfold::UsersOutsideEcs, 1),
    (Blindfold::Referrers, 3),
];

#[test]
fn hidden_evidence_is_caught() {
    let mut lost = Vec::new();
    for blindfold in Blindfold::ALL {
        let (_, seed) = CAUGHT.into_iter().find(|(caught, _)| *caught == blindfold).expect("each has a seed");
        let violations = run(&generate(seed), Some(blindfold)).err().unwrap_or_default();
        match violations.iter().find(|violation| violation.starts_with(blindfold.violation())) {
            Some(violation) => println!("{blindfold:?} breaks {}. Seed {seed}: {violation}", blindfold.promise()),
            None => {
                let other = first_failure(1, 500, Some(blindfold));
                println!(
                    "Seed {seed} does not show any more that {blindfold:?} is hidden; of 500, this one does: {other:?}"
                );
                lost.push((blindfold, other));
            }
        }
    }
    assert_eq!(lost, [], "these are the seeds that show it now");
}
