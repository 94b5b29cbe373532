//! From a seed to a history.
//!
//! A history is made of teams, who deploy again and again in their own way; of *last users*: images that one user leaves
//! while another one, who is harder to see, comes or stays; and of changes of mind and troubles that fall anywhere.

use fastrand::Rng;

use super::action::{Action, Blindness, By, History, OptIn, Spot, Timed, WireFault};

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;
/// The last deployments begin in so many hours.
const HOURS: u32 = 60;

/// The history of a seed.
pub fn generate(seed: u64) -> History {
    let mut rng = Rng::with_seed(seed);
    let history = History {
        seed,
        workloads: [1, 2, 2, 3][rng.usize(0..4)],
        regions: [1, 1, 1, 2][rng.usize(0..4)],
        behaviours: rng.u32(..),
        movable_tags: (0..rng.usize(1..=3)).map(|_| rng.bool()).collect(),
        actions: Vec::new(),
    };
    let mut story = Story { rng, history, contents: 0, families: 0, tags: 0 };
    for _ in 0..story.rng.usize(0..=2) {
        story.team();
    }
    for _ in 0..story.rng.usize(1..=3) {
        story.last_user();
    }
    for _ in 0..[0, 0, 1, 2][story.rng.usize(0..4)] {
        story.change_of_mind();
    }
    for _ in 0..[0, 0, 1, 2][story.rng.usize(0..4)] {
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
    families: usize,
    tags: usize,
}

impl Story {
    fn add(&mut self, minute: u32, action: Action) {
        self.history.actions.push(Timed { minute, action });
    }

    fn minute(&mut self) -> u32 {
        self.rng.u32(0..HOURS * HOUR)
    }

    fn between(&mut self, first: u32, last: u32) -> u32 {
        self.rng.u32(first..=last)
    }

    fn repository(&mut self) -> usize {
        self.rng.usize(0..self.history.movable_tags.len())
    }

    /// A place for a new service.
    fn spot(&mut self) -> Spot {
        self.families += 1;
        let account = self.rng.usize(0..self.history.workloads);
        Spot { account, region: self.rng.usize(0..self.history.regions), family: self.families }
    }

    /// A tag that was not used yet. The first is `latest`.
    fn tag(&mut self) -> usize {
        self.tags += 1;
        self.tags - 1
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())]
    }

    /// An image is pushed, as an index or not, signed or not.
    fn push(&mut self, minute: u32, repository: usize, tag: usize, index: bool) {
        self.contents += 1;
        let contents = self.contents;
        self.add(
            minute,
            if index {
                Action::PushIndex { repository, tag, contents }
            } else {
                Action::Push { repository, tag, contents }
            },
        );
        if self.chance(20) {
            let cosign = self.rng.bool();
            self.add(minute + 1, Action::Sign { repository, tag, cosign });
        }
    }

    /// With this chance, an image for a second container is pushed, in any repository: its repository and tag.
    fn beside(&mut self, minute: u32, percent: u32) -> Option<(usize, usize)> {
        self.chance(percent).then(|| {
            let (repository, tag) = (self.repository(), self.tag());
            self.push(minute, repository, tag, false);
            (repository, tag)
        })
    }

    /// A team deploys now and then: as CloudFormation does (registers, updates the service, deregisters what it replaced) or
    /// by hand (never deregisters); with a tag that moves or a new one.
    fn team(&mut self) {
        let spot = self.spot();
        let repository = self.repository();
        let (deregisters, runs, index) = (self.chance(75), self.chance(70), self.chance(20));
        let by = self.any(&[By::Tag, By::Tag, By::Tag, By::Digest, By::Digest, By::Both, By::Child]);
        let mut tag = self.tag();
        let mut minute = self.between(0, 6 * HOUR);
        let beside = self.beside(minute, 15);
        for deployment in 0..self.rng.usize(1..=4) {
            // The same tag again moves, if it can.
            if deployment > 0 && !(self.history.movable_tags[repository] && self.chance(50)) {
                tag = self.tag();
            }
            self.push(minute, repository, tag, index);
            self.add(minute + 2, Action::Register { spot, repository, tag, by, beside });
            if runs {
                self.add(minute + 3, Action::Run { spot, back: 0 });
            }
            if deregisters && deployment > 0 {
                self.add(minute + 15, Action::Deregister { spot, back: 1 });
                if self.chance(15) {
                    self.add(minute + 20, Action::Delete { spot, back: 1 });
                }
            }
            if runs && deployment > 0 && self.chance(20) {
                // A rollback, inside or outside the window.
                let later = minute + self.between(4, 30 * HOUR);
                self.add(later, Action::Run { spot, back: 1 });
            }
            if runs && self.chance(15) {
                let later = minute + self.between(4, 30 * HOUR);
                self.add(later, Action::Redeploy { spot });
            }
            if self.chance(10) {
                self.add(minute + 4, Action::RunTask { spot, back: 0 });
            }
            minute += self.between(HOUR, 24 * HOUR);
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
            let later = minute + self.between(HOUR, 40 * HOUR);
            let tasks = self.rng.u32(0..4);
            self.add(later, Action::Scale { spot, tasks });
        }
    }

    /// An image of which one user is plain to see and goes, while another one is there.
    fn last_user(&mut self) {
        let (first, second) = (self.spot(), self.spot());
        let repository = self.repository();
        let movable = self.history.movable_tags[repository];
        let (tag, index) = (self.tag(), self.chance(25));
        let begin = self.between(0, 30 * HOUR);
        self.push(begin, repository, tag, index);
        self.add(begin + 3, Action::Register { spot: first, repository, tag, by: By::Tag, beside: None });
        if self.chance(25) {
            self.add(begin + 4, Action::Run { spot: first, back: 0 });
        }
        let end = begin + self.between(HOUR, 30 * HOUR);
        self.add(end, Action::Stop { spot: first });
        self.add(end + 1, Action::Deregister { spot: first, back: 0 });
        if self.chance(25) {
            self.add(end + 5, Action::Delete { spot: first, back: 0 });
        }

        // The other one comes shortly before.
        let comes = end - self.between(15, HOUR);
        let by = if index { By::Child } else { self.any(&[By::Tag, By::Digest, By::Both]) };
        let mut named = tag;
        if by == By::Tag && self.chance(50) {
            named = self.tag();
            self.add(comes - 5, Action::Retag { repository, from: tag, to: named });
        }
        let beside = self.beside(begin, 20);
        let register = |spot, by| Action::Register { spot, repository, tag: named, by, beside };
        match self.rng.u32(0..17) {
            // A task definition that nothing runs.
            0 | 1 => self.add(comes, register(second, by)),
            // A service whose task definition is ACTIVE, or was.
            2..5 => {
                self.add(comes, register(second, by));
                self.add(comes + 1, Action::Run { spot: second, back: 0 });
                if self.chance(65) {
                    self.add(comes + 5, Action::Deregister { spot: second, back: 0 });
                }
            }
            // A service that has pinned the digest, whose tag moves on without it; or is deleted and pushed again, while
            // the image keeps another one. The service may be deployed again, and pin what the tag means then.
            5 | 6 if movable || named != tag => {
                self.add(comes, register(second, By::Tag));
                self.add(comes + 1, Action::Run { spot: second, back: 0 });
                let mut moves = comes + self.between(6, 20 * HOUR);
                for again in [true, false] {
                    if !movable || self.chance(20) {
                        self.add(moves, Action::DeleteTag { repository, tag: named });
                    }
                    self.push(moves, repository, named, false);
                    if !again || self.rng.bool() {
                        break;
                    }
                    self.add(moves + 10, Action::Redeploy { spot: second });
                    moves += self.between(HOUR, 20 * HOUR);
                }
                self.add(moves + 5, Action::Deregister { spot: second, back: 0 });
            }
            // A deployment that is replaced only slowly.
            5..8 => {
                let minutes = i64::from(self.between(40 * HOUR, 90 * HOUR));
                let (other, other_repository) = (self.tag(), self.repository());
                self.push(begin, other_repository, other, false);
                self.add(comes, register(second, by));
                self.add(comes + 1, Action::Run { spot: second, back: 0 });
                self.add(comes + 6, Action::Rollout { minutes });
                self.add(
                    comes + 7,
                    Action::Register {
                        spot: second,
                        repository: other_repository,
                        tag: other,
                        by: By::Digest,
                        beside: None,
                    },
                );
                self.add(comes + 8, Action::Run { spot: second, back: 0 });
                self.add(comes + 10, Action::Deregister { spot: second, back: 1 });
                self.add(comes + 3 * DAY, Action::Rollout { minutes: 0 });
            }
            // Somebody else than ECS deploys.
            8 => {
                let by = if by == By::Tag { By::Digest } else { by };
                self.add(comes, register(second, by));
                self.add(comes + 1, Action::AddTaskSet { spot: second, back: 0 });
                self.add(comes + 5, Action::Deregister { spot: second, back: 0 });
                if self.rng.bool() {
                    let later = comes + self.between(HOUR, 3 * DAY);
                    self.add(later, Action::DropTaskSets { spot: second });
                }
            }
            // A rule starts it now and then.
            9 => {
                self.add(comes, register(second, by));
                self.add(comes + 1, Action::Rule { spot: second, back: 0 });
                self.add(comes + 5, Action::Deregister { spot: second, back: 0 });
                if self.rng.bool() {
                    let later = comes + self.between(HOUR, 3 * DAY);
                    self.add(later, Action::DropRule { spot: second });
                }
            }
            // Outside, where nobody looks.
            10 => {
                let outside = Spot { account: self.history.workloads, ..second };
                self.add(comes - 1, Action::Admit { repository });
                self.add(comes, register(outside, by));
                self.add(comes + 1, Action::Run { spot: outside, back: 0 });
            }
            // Something else than ECS.
            11 | 12 => {
                self.add(comes, Action::UseOutsideEcs { spot: second, repository, tag: named, by });
                if self.rng.bool() {
                    let later = comes + self.between(HOUR, 3 * DAY);
                    self.add(later, Action::DropOutsideEcs { spot: second });
                }
            }
            // A task that runs by itself, whose task definition stays or not.
            13 => {
                self.add(comes, register(second, by));
                self.add(comes + 1, Action::RunTask { spot: second, back: 0 });
                if self.rng.bool() {
                    self.add(comes + 5, Action::Deregister { spot: second, back: 0 });
                }
            }
            // Nobody.
            _ => {}
        }
        // Meanwhile the place may show nothing of it.
        if self.chance(30) {
            let (spot, by) = (second, self.blindness());
            let until = end + self.between(2 * HOUR, 60 * HOUR);
            self.add(comes - 10, Action::Blind { spot, by, on: true });
            self.add(until, Action::Blind { spot, by, on: false });
        }
    }

    fn blindness(&mut self) -> Blindness {
        self.any(&[
            Blindness::Recorder,
            Blindness::Recorder,
            Blindness::Source,
            Blindness::Authorization,
            Blindness::Instance,
            Blindness::Probe,
            Blindness::Daily,
            Blindness::MissingType,
        ])
    }

    fn change_of_mind(&mut self) {
        let (minute, repository) = (self.minute(), self.repository());
        match self.rng.u32(0..10) {
            0..4 => {
                let says = self.any(&[OptIn::Out, OptIn::Out, OptIn::LongWindow, OptIn::DryRun, OptIn::Unreadable]);
                self.add(minute, Action::OptIn { repository, says });
                if self.rng.bool() {
                    let later = minute + self.between(1, 20 * HOUR);
                    self.add(later, Action::OptIn { repository, says: OptIn::In });
                }
            }
            4 => {
                self.add(minute, Action::Settings { dry_run: true, keep_newest: 0 });
                let later = minute + self.between(2 * HOUR, 30 * HOUR);
                self.add(later, Action::Settings { dry_run: false, keep_newest: 0 });
            }
            5 => {
                self.add(minute, Action::Settings { dry_run: false, keep_newest: 2 });
                if self.rng.bool() {
                    let later = minute + self.between(2 * HOUR, 30 * HOUR);
                    self.add(later, Action::Settings { dry_run: false, keep_newest: 0 });
                }
            }
            6 if self.history.workloads > 1 => {
                self.add(minute, Action::Workloads { count: self.history.workloads - 1 });
                let later = minute + self.between(2 * HOUR, 30 * HOUR);
                self.add(later, Action::Workloads { count: self.history.workloads });
            }
            7 => {
                let tag = self.rng.usize(0..=self.tags);
                self.add(minute, Action::DeleteTag { repository, tag });
                if self.rng.bool() {
                    self.push(minute + 1, repository, tag, false);
                }
            }
            _ => {
                self.contents += 1;
                let (tag, contents) = (self.rng.usize(0..=self.tags), self.contents);
                self.add(minute, Action::Push { repository, tag, contents });
            }
        }
    }

    fn trouble(&mut self) {
        let begin = self.minute();
        let end = begin + self.between(10, 30 * HOUR);
        match self.rng.u32(0..8) {
            0..4 => {
                let fault = self.any(&[
                    WireFault::Throttle,
                    WireFault::ServerError,
                    WireFault::Timeout,
                    WireFault::LostAnswer,
                    WireFault::CrashBefore,
                    WireFault::CrashAfter,
                    WireFault::PartialBatch,
                ]);
                let most = if fault == WireFault::PartialBatch { 600 } else { 150 };
                let per_mille = self.between(1, most);
                self.add(begin, Action::Wire { fault, per_mille });
                self.add(end, Action::Wire { fault, per_mille: 0 });
            }
            4..6 => {
                let mut percent = || if self.rng.bool() { self.rng.u32(0..50) } else { 0 };
                let (lost, doubled, late, failing) = (percent(), percent(), percent(), percent());
                self.add(begin, Action::Delivery { lost, doubled, late, failing });
                self.add(end, Action::Delivery { lost: 0, doubled: 0, late: 0, failing: 0 });
            }
            6 => {
                let minutes = i64::from(self.between(6, 30));
                self.add(begin, Action::ConfigDelay { minutes });
                self.add(end, Action::ConfigDelay { minutes: 0 });
            }
            _ => {
                let by = self.blindness();
                let spot = Spot {
                    account: self.rng.usize(0..self.history.workloads),
                    region: self.rng.usize(0..self.history.regions),
                    family: 0,
                };
                self.add(begin, Action::Blind { spot, by, on: true });
                self.add(end, Action::Blind { spot, by, on: false });
            }
        }
    }
}
