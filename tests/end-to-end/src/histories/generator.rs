//! From a seed to a history.

use fastrand::Rng;

use super::action::{Action, By, History, Spot, Timed, WireFault};

const HOUR: u32 = 60;
/// The last action comes in so many hours.
const HOURS: u32 = 72;

/// The history of a seed.
pub fn generate(seed: u64) -> History {
    let mut rng = Rng::with_seed(seed);
    let history = History {
        seed,
        workloads: [1, 1, 2, 3][rng.usize(0..4)],
        regions: [1, 1, 2][rng.usize(0..3)],
        behaviours: rng.u32(..),
        movable_tags: (0..rng.usize(1..=2)).map(|_| rng.bool()).collect(),
        actions: Vec::new(),
    };
    let mut story = Story { rng, history, contents: 0 };
    for family in 0..story.rng.usize(2..=3) {
        story.team(family);
    }
    for _ in 0..story.rng.usize(0..=4) {
        story.change_of_mind();
    }
    for _ in 0..story.rng.usize(0..=2) {
        story.trouble();
    }
    // Stable, so that what was added first happens first within a minute.
    story.history.actions.sort_by_key(|timed| timed.minute);
    story.history
}

struct Story {
    rng: Rng,
    history: History,
    contents: u32,
}

impl Story {
    fn add(&mut self, minute: u32, action: Action) {
        self.history.actions.push(Timed { minute, action });
    }

    fn minute(&mut self) -> u32 {
        self.rng.u32(0..HOURS * HOUR)
    }

    fn repository(&mut self) -> usize {
        self.rng.usize(0..self.history.movable_tags.len())
    }

    fn spot(&mut self, family: usize) -> Spot {
        let account = self.rng.usize(0..self.history.workloads);
        Spot { account, region: self.rng.usize(0..self.history.regions), family }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    /// A team deploys now and then, all in its own way.
    fn team(&mut self, family: usize) {
        let mut spot = self.spot(family);
        let repository = self.repository();
        let (deregisters, runs, index) = (self.chance(75), self.chance(65), self.chance(25));
        let by = match self.rng.u32(0..10) {
            0..6 => By::Tag,
            6..9 => By::Digest,
            _ => By::Child,
        };
        if self.chance(6) {
            spot.account = self.history.workloads;
            self.add(0, Action::Admit { repository });
        }
        let mut minute = self.rng.u32(0..4 * HOUR);
        let mut tag = family * 10;
        for deployment in 0..self.rng.usize(1..=4) {
            // The same tag again moves, if it can.
            if deployment > 0 && !(self.history.movable_tags[repository] && self.chance(50)) {
                tag += 1;
            }
            self.contents += 1;
            let contents = self.contents;
            let push = if index {
                Action::PushIndex { repository, tag, contents }
            } else {
                Action::Push { repository, tag, contents }
            };
            self.add(minute, push);
            if self.chance(20) {
                let cosign = self.rng.bool();
                self.add(minute + 1, Action::Sign { repository, tag, cosign });
            }
            if self.chance(15) {
                self.add(minute + 1, Action::Retag { repository, from: tag, to: 100 + family });
            }
            self.add(minute + 2, Action::Register { spot, repository, tag, by });
            if runs {
                self.add(minute + 3, Action::Run { spot, back: 0 });
            }
            if deregisters && deployment > 0 {
                self.add(minute + 15, Action::Deregister { spot, back: 1 });
            }
            if runs && deployment > 0 && self.chance(15) {
                let later = minute + self.rng.u32(4..30 * HOUR);
                self.add(later, Action::Run { spot, back: 1 });
            }
            minute += self.rng.u32(HOUR..30 * HOUR);
        }
        // The stack is deleted, or its definition only, while the service goes on.
        match self.rng.u32(0..4) {
            0 | 1 => {
                self.add(minute, Action::Stop { spot });
                self.add(minute + 1, Action::Deregister { spot, back: 0 });
            }
            2 => self.add(minute, Action::Deregister { spot, back: 0 }),
            _ => {}
        }
        if runs {
            let later = minute + self.rng.u32(HOUR..60 * HOUR);
            let tasks = self.rng.u32(0..4);
            self.add(later, Action::Scale { spot, tasks });
        }
        // Somebody else runs what this team built: by another tag, by digest, in another account.
        if self.chance(45) {
            let other = self.spot(family + 5);
            let by = [By::Tag, By::Digest, By::Child][self.rng.usize(0..3)];
            let from = family * 10;
            let tag = if self.chance(40) { 100 + family } else { from };
            let begin = self.rng.u32(0..36 * HOUR);
            if tag != from {
                self.add(begin, Action::Retag { repository, from, to: tag });
            }
            self.add(begin + 5, Action::Register { spot: other, repository, tag, by });
            if self.chance(60) {
                self.add(begin + 6, Action::Run { spot: other, back: 0 });
                if self.chance(50) {
                    self.add(begin + 30, Action::Deregister { spot: other, back: 0 });
                }
            }
        }
    }

    fn change_of_mind(&mut self) {
        let (minute, repository) = (self.minute(), self.repository());
        match self.rng.u32(0..8) {
            0..4 => {
                self.add(minute, Action::OptIn { repository, on: false });
                if self.rng.bool() {
                    let later = minute + self.rng.u32(1..20 * HOUR);
                    self.add(later, Action::OptIn { repository, on: true });
                }
            }
            4 => {
                self.add(minute, Action::Settings { dry_run: true, keep_newest: 0 });
                let later = minute + self.rng.u32(2 * HOUR..30 * HOUR);
                self.add(later, Action::Settings { dry_run: false, keep_newest: 0 });
            }
            5 => self.add(minute, Action::Settings { dry_run: false, keep_newest: 2 }),
            _ => {
                self.contents += 1;
                let (tag, contents) = (self.rng.usize(0..30), self.contents);
                self.add(minute, Action::Push { repository, tag, contents });
            }
        }
    }

    fn trouble(&mut self) {
        let begin = self.minute();
        let end = begin + self.rng.u32(10..30 * HOUR);
        let spot = self.spot(0);
        match self.rng.u32(0..10) {
            0..4 => {
                let faults = [
                    WireFault::Throttle,
                    WireFault::ServerError,
                    WireFault::Timeout,
                    WireFault::LostAnswer,
                    WireFault::CrashBefore,
                    WireFault::CrashAfter,
                ];
                let (fault, per_mille) = (faults[self.rng.usize(0..6)], self.rng.u32(1..=150));
                self.add(begin, Action::Wire { fault, per_mille });
                self.add(end, Action::Wire { fault, per_mille: 0 });
            }
            4 | 5 => {
                let mut percent = || if self.rng.bool() { self.rng.u32(0..50) } else { 0 };
                let (lost, doubled, late) = (percent(), percent(), percent());
                self.add(begin, Action::Delivery { lost, doubled, late });
                self.add(end, Action::Delivery { lost: 0, doubled: 0, late: 0 });
            }
            6 => {
                let minutes = self.rng.i64(5..=30);
                self.add(begin, Action::ConfigDelay { minutes });
            }
            7 | 8 => {
                self.add(begin, Action::Record { spot, on: false });
                self.add(end, Action::Record { spot, on: true });
            }
            _ => {
                self.add(begin, Action::Source { spot, on: false });
                self.add(end, Action::Source { spot, on: true });
            }
        }
    }
}
