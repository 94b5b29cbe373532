//! What is true, and what the product made of it.
//!
//! The oracle looks at the world after every action and at short intervals. A removal between two looks is judged by who
//! used the image at the first of them and still exists at the second: what teams do happens only at looks, and in
//! between deployments only end.
//!
//! # What counts as a use (S1)
//! An ACTIVE task definition that names the image; a service or task set that runs it, by what it pinned; a rule that
//! starts a task definition which names it; a user outside ECS that names it. Whoever uses an index needs all its children,
//! whoever names a child uses its indexes, and what is attached to a used image (a signature, say) is needed like the image.
//!
//! # What nobody can see
//! A use or an event need not be shown before Config's delay, in force when it began, has passed; nor while the proof is
//! still remembered that its account and region shows everything, if it began after that had ended; nor shortly after that
//! began again. All of this counts for that account and region alone. What a service uses through one deployment after the
//! other began with the first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::ecr::{self, ImageReference, ImageStatus, Removal, Removed, Repository};
use simulated_aws::ecs::{TaskDefinitionStatus, User, image_uses, outages, task_definitions};
use simulated_aws::{AccountId, Principal, Region, World};

use super::action::Blindness;

/// The value of an opt-in tag that only opts in.
pub(super) const ENABLED: &str = "enabled";
/// One with a longer window.
pub(super) const LONG_WINDOW: &str = "rollback-window-hours=48";

/// An image: repository and digest.
type Image = (String, String);

const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// A recorded pull may be so much later than it says.
const PULL_TIME_LAG: SignedDuration = SignedDuration::from_hours(24);
/// A message with old settings is acted on for at most so long; a minute more for its schedule.
const OLD_SETTINGS: SignedDuration = SignedDuration::from_mins(17);
/// From its look at an image to the deletion a function takes at most so long: its timeout, and a minute more.
const RUN: SignedDuration = SignedDuration::from_mins(6);
/// Coverage that was proven is remembered for so long.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(15);
/// Config takes at most so long for its two steps if nothing is said of it.
const CONFIG_DELAY: SignedDuration = SignedDuration::from_mins(10);
/// A recorder that was started is not trusted for so long.
const DISCOVERY: SignedDuration = SignedDuration::from_mins(20);
/// A sweep comes once a day, and what it finds is gone soon after.
const SWEEP: SignedDuration = SignedDuration::from_hours(25);

/// What every violation of a kind begins with.
pub(super) const USED: &str = "a used image was deleted";
pub(super) const NOT_COVERED: &str = "deleted without coverage";
pub(super) const WITHIN_WINDOW: &str = "deleted within the rollback window";
pub(super) const AGAINST_OPT_IN: &str = "deleted against the opt-in tag";

/// An account and a region.
type Place = (String, String);

/// The place of something, by its ARN.
fn place_of(arn: &str) -> Place {
    let mut parts = arn.split(':').skip(3).map(str::to_owned);
    let region = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), region)
}

/// A time in which a place does not show what it uses.
#[derive(Debug)]
struct Blind {
    /// `None` if its account does not belong to the EcrCleanup.
    by: Option<Blindness>,
    begin: Timestamp,
    end: Option<Timestamp>,
}

pub(super) struct Oracle {
    hub: AccountId,
    home: Region,
    outside: AccountId,
    admitted: BTreeSet<String>,
    /// Who uses an image.
    uses: BTreeMap<Image, BTreeMap<String, Use>>,
    last_used: BTreeMap<Image, Timestamp>,
    /// What the opt-in tag of a repository says, and since when.
    opted_in: BTreeMap<String, (String, Timestamp)>,
    /// The task definitions that rules start, by the rules' names.
    rules: BTreeMap<String, String>,
    /// The image references of users outside ECS, by the users' ARNs.
    outside_ecs: BTreeMap<String, String>,
    /// Repositories with a user of which nobody can say which of their images it has pinned: when that was so first and
    /// last. One that begins just now is asked again in time.
    unaskable: BTreeMap<(String, String), (Timestamp, Timestamp)>,
    /// When images were pushed and pulled, and since when that is known.
    times: BTreeMap<Image, (Times, Timestamp)>,
    /// The task definition events that name an image: when, and of which task definition.
    events: BTreeMap<Image, Vec<(Timestamp, String)>>,
    /// Task definitions that were deleted, so that Config may not tell when they changed.
    deleted_definitions: BTreeSet<String>,
    /// The deployments of services, with the images that each has pinned.
    deployments: BTreeMap<String, Deployments>,
    /// Images that a deployment of a service had pinned which a newer one replaced: not before when, the service's ARN, and
    /// since when the service had used it.
    replaced: BTreeMap<Image, Vec<(Timestamp, String, Timestamp)>>,
    looked_at: Timestamp,
    removals_seen: usize,
    /// Tags and digests that teams removed themselves.
    removed_by_teams: BTreeSet<(String, String)>,
    /// When which place did not show what it uses.
    blind: BTreeMap<Place, Vec<Blind>>,
    /// How long Config takes for both its steps, and since when.
    delays: Vec<(Timestamp, SignedDuration)>,
    /// When calls or deliveries failed.
    troubles: Vec<(Timestamp, Option<Timestamp>)>,
    dry_run_since: Option<Timestamp>,
    /// Since when so many newest images are kept.
    keep_newest: Option<(Timestamp, usize)>,
    /// When settings changed last.
    settings_changed: Option<Timestamp>,
    /// Untagged images are checked like all others.
    checks_untagged: bool,
    /// Images are archived, and indexes stay.
    archives: bool,
    /// The children of indexes.
    children: BTreeMap<Image, Vec<String>>,
    /// Children of indexes that were deleted, and when.
    orphans: BTreeMap<Image, Timestamp>,
    /// Some accounts belong to the EcrCleanup no more, and what they may pull stays.
    accounts_left: bool,
    /// Something failed: a check may have come to nothing.
    unreliable: bool,
    violations: Vec<String>,
}

/// When an image was pushed, and when its last recorded pull was.
type Times = (Timestamp, Option<Timestamp>);

/// A use of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    /// Since when its user uses the image without a break.
    since: Timestamp,
    /// What the user uses it through: a service's deployments, or the user itself.
    through: BTreeSet<String>,
}

/// A user of images: its ARN, and what it uses them through.
#[derive(Debug, Clone, Copy)]
struct By<'a> {
    user: &'a str,
    through: &'a str,
}

/// The deployments of a service by id, with the images that each has pinned.
type Deployments = BTreeMap<String, BTreeSet<Image>>;

/// Who uses images at one moment.
#[derive(Default)]
struct Users {
    deployments: BTreeMap<String, Deployments>,
    of: BTreeMap<Image, BTreeMap<String, BTreeSet<String>>>,
    /// Images that something names although it does not run them: beside a digest, or by a tag that moved.
    named: BTreeSet<Image>,
    /// Repositories with a user of which nobody can say which of their images it has pinned.
    unaskable: BTreeSet<(String, String)>,
    /// Everything through which anybody uses anything.
    all: BTreeSet<String>,
}

impl Users {
    fn add(&mut self, image: Image, by: By<'_>) {
        let users = self.of.entry(image).or_default();
        users.entry(by.user.to_owned()).or_default().insert(by.through.to_owned());
    }
}

impl Oracle {
    pub(super) fn new(world: &World, hub: &AccountId, home: &Region, outside: &AccountId) -> Self {
        let mut oracle = Self {
            hub: hub.clone(),
            home: home.clone(),
            outside: outside.clone(),
            admitted: BTreeSet::new(),
            uses: BTreeMap::new(),
            last_used: BTreeMap::new(),
            opted_in: BTreeMap::new(),
            rules: BTreeMap::new(),
            outside_ecs: BTreeMap::new(),
            unaskable: BTreeMap::new(),
            times: BTreeMap::new(),
            events: BTreeMap::new(),
            deleted_definitions: BTreeSet::new(),
            deployments: BTreeMap::new(),
            replaced: BTreeMap::new(),
            looked_at: world.now(),
            removals_seen: ecr::removals(world).len(),
            removed_by_teams: BTreeSet::new(),
            blind: BTreeMap::new(),
            delays: vec![(Timestamp::MIN, CONFIG_DELAY)],
            troubles: Vec::new(),
            dry_run_since: None,
            keep_newest: None,
            settings_changed: None,
            checks_untagged: false,
            archives: false,
            children: BTreeMap::new(),
            orphans: BTreeMap::new(),
            accounts_left: false,
            unreliable: false,
            violations: Vec::new(),
        };
        oracle.look(world);
        oracle
    }

    pub(super) fn admit(&mut self, repository: &str) {
        self.admitted.insert(repository.to_owned());
    }

    /// From now on a place does not show what it uses, for this reason: `None` if its account does not belong to the
    /// EcrCleanup.
    pub(super) fn blinded(&mut self, now: Timestamp, (account, region): &(AccountId, Region), by: Option<Blindness>) {
        let place = (account.as_str().to_owned(), region.as_str().to_owned());
        self.blind.entry(place).or_default().push(Blind { by, begin: now, end: None });
    }

    /// This reason has ended.
    pub(super) fn restored(&mut self, now: Timestamp, (account, region): &(AccountId, Region), by: Option<Blindness>) {
        let place = (account.as_str().to_owned(), region.as_str().to_owned());
        for blind in self.blind.entry(place).or_default().iter_mut().filter(|it| it.by == by && it.end.is_none()) {
            blind.end = Some(now);
        }
    }

    /// From now on Config takes at most so long for its two steps, or as long as ever.
    pub(super) fn config_takes(&mut self, now: Timestamp, delay: Option<SignedDuration>) {
        self.delays.push((now, delay.unwrap_or(CONFIG_DELAY)));
    }

    /// How long Config takes at most for what happens at `since`: its second step may be as slow as Config is then.
    fn delay(&self, since: Timestamp) -> SignedDuration {
        let until = |number: usize| self.delays.get(number + 1).map_or(Timestamp::MAX, |(next, _)| *next);
        let longest = |last: Timestamp| {
            let in_force =
                self.delays.iter().enumerate().filter(|(number, (from, _))| *from <= last && until(*number) > since);
            in_force.map(|(_, (_, delay))| *delay).max().unwrap_or(CONFIG_DELAY)
        };
        longest(since + longest(since))
    }

    /// Whether the product need not see at `at` what is true in a place since `since`.
    fn is_hidden(&self, place: &Place, since: Timestamp, at: Timestamp) -> bool {
        let shown = since + self.delay(since);
        let blind = self.blind.get(place).into_iter().flatten();
        at < shown + RUN
            || blind.filter(|blind| shown > blind.begin).any(|blind| {
                let remembered = blind.begin <= at && at < blind.begin + REMEMBERED + RUN;
                let appears = |end: Timestamp| match (blind.by, self.delay(end)) {
                    // Nobody relies on it before then.
                    (Some(Blindness::Recorder), delay) if delay <= DISCOVERY => end,
                    (Some(Blindness::Recorder | Blindness::Daily | Blindness::MissingType), delay) => end + delay,
                    // Everything is there at once.
                    (Some(_) | None, _) => end,
                };
                remembered || blind.end.is_some_and(|end| end <= at && at < appears(end) + RUN)
            })
    }

    /// From now on calls or deliveries fail, or do not any more.
    pub(super) fn trouble(&mut self, now: Timestamp, begins: bool) {
        self.unreliable |= begins;
        if begins {
            self.troubles.push((now, None));
        } else {
            self.troubles.iter_mut().for_each(|(_, end)| *end = end.or(Some(now)));
        }
    }

    /// From now on some accounts belong to the EcrCleanup no more, and what they may pull stays; or all do.
    pub(super) fn workloads(&mut self, now: Timestamp, some_left: bool) {
        self.settings_changed = Some(now);
        self.accounts_left = some_left;
    }

    /// Whether untagged images are checked like all others, and whether images are archived.
    pub(super) fn expect(&mut self, checks_untagged: bool, archives: bool) {
        self.checks_untagged = checks_untagged;
        self.archives = archives;
    }

    /// From now on a rule starts this task definition, or none any more.
    pub(super) fn rule(&mut self, name: &str, task_definition: Option<&str>) {
        match task_definition {
            Some(arn) => self.rules.insert(name.to_owned(), arn.to_owned()),
            None => self.rules.remove(name),
        };
    }

    /// From now on a user outside ECS names an image so, or is gone.
    pub(super) fn outside_ecs(&mut self, arn: &str, reference: Option<&str>) {
        match reference {
            Some(reference) => self.outside_ecs.insert(arn.to_owned(), reference.to_owned()),
            None => self.outside_ecs.remove(arn),
        };
    }

    /// Messages may come to nothing, or to nothing yet.
    pub(super) fn unreliable(&mut self) {
        self.unreliable = true;
    }

    /// A task definition is about to be deleted.
    pub(super) fn definition_deleted(&mut self, arn: &str) {
        self.deleted_definitions.insert(arn.to_owned());
    }

    pub(super) fn settings(&mut self, now: Timestamp, dry_run: bool, keep_newest: usize) {
        self.settings_changed = Some(now);
        self.dry_run_since = dry_run.then(|| self.dry_run_since.unwrap_or(now));
        self.keep_newest = (keep_newest > 0).then_some((now, keep_newest));
    }

    /// A task definition is registered, or about to be deregistered or deleted.
    pub(super) fn event(&mut self, world: &World, arn: &str) {
        let named = task_definitions(world).find(|(_, _, it)| it.arn == arn);
        for reference in named.into_iter().flat_map(|(_, _, it)| it.images()) {
            if let Some(image) = self.resolve(world, reference) {
                self.events.entry(image).or_default().push((world.now(), arn.to_owned()));
            }
        }
    }

    fn resolve(&self, world: &World, reference: &str) -> Option<Image> {
        let reference = ImageReference::parse(reference)?;
        let repository = self.repository(world, &reference.repository)?;
        let digest = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest,
            (None, tag) => repository.image_tags.get(tag.as_ref()?)?,
        };
        Some((reference.repository, digest.clone()))
    }

    fn repository<'a>(&self, world: &'a World, name: &str) -> Option<&'a Repository> {
        ecr::repository(world, &self.hub, &self.home, name)
    }

    /// Who uses which image now.
    fn users(&self, world: &World) -> Users {
        let mut users = Users::default();
        let pulls =
            |account: &AccountId, repository: &str| *account != self.outside || self.admitted.contains(repository);
        for used in image_uses(world) {
            let (user, through) = match &used.user {
                User::Deployment(service, deployment) => (service, deployment),
                User::TaskSet(arn) => (arn, arn),
                // What runs by itself is no use: its task definition is, as long as another one can be started.
                User::Task(_) => continue,
            };
            let by = By { user, through };
            users.all.insert(through.clone());
            // ECS tells which digests a deployment has pinned once it has started tasks, of task sets never.
            if let Some(reference) = ImageReference::parse(&used.image)
                && reference.digest.is_none()
                && (!used.pinned || matches!(used.user, User::TaskSet(_)))
            {
                users.unaskable.insert((reference.repository, through.clone()));
            }
            if let User::Deployment(service, deployment) = &used.user {
                let deployments = users.deployments.entry(service.clone()).or_default();
                let pinned =
                    used.resolved.as_ref().filter(|pulled| used.pinned && pulls(&used.account, &pulled.repository));
                let images = deployments.entry(deployment.clone()).or_default();
                images.extend(pinned.map(|pulled| (pulled.repository.clone(), pulled.digest.clone())));
            }
            users.named.extend(self.names(world, &used.image));
            if let Some(pulled) = used.resolved.filter(|pulled| pulls(&used.account, &pulled.repository)) {
                // Through an index that its team deleted nobody pulls its children any more.
                let repository = self.repository(world, &pulled.repository);
                if repository.is_some_and(|it| it.images.contains_key(&pulled.digest)) {
                    users.add((pulled.repository.clone(), pulled.platform_digest), by);
                }
                self.add(world, &mut users, (pulled.repository, pulled.digest), by);
            }
        }
        for (account, _, definition) in task_definitions(world) {
            let mut starters: Vec<&str> =
                self.rules.iter().filter(|(_, arn)| **arn == definition.arn).map(|(name, _)| name.as_str()).collect();
            match definition.status {
                TaskDefinitionStatus::Active => starters.push(&definition.arn),
                TaskDefinitionStatus::Inactive => {}
                // Nothing can start it any more.
                TaskDefinitionStatus::DeleteInProgress => continue,
            }
            users.all.extend(starters.iter().map(|starter| (*starter).to_owned()));
            for reference in definition.images().filter(|_| !starters.is_empty()) {
                if let Some(image) = self.resolve(world, reference).filter(|image| pulls(account, &image.0)) {
                    for starter in &starters {
                        self.add(world, &mut users, image.clone(), By { user: starter, through: starter });
                    }
                }
                users.named.extend(self.names(world, reference));
            }
        }
        for (arn, reference) in &self.outside_ecs {
            users.all.insert(arn.clone());
            if let Some(image) = self.resolve(world, reference) {
                self.add(world, &mut users, image, By { user: arn, through: arn });
            }
            users.named.extend(self.names(world, reference));
        }
        for (name, digest) in users.of.keys().cloned().collect::<Vec<_>>() {
            for attached in self.attached_to(world, &name, &digest) {
                for (user, through) in users.of[&(name.clone(), digest.clone())].clone() {
                    for through in through {
                        users.add((name.clone(), attached.clone()), By { user: &user, through: &through });
                    }
                }
            }
        }
        users
    }

    /// Adds a user of an image, and so of every platform's child of an index, and of the indexes of a child.
    fn add(&self, world: &World, users: &mut Users, image: Image, by: By<'_>) {
        if let Some(repository) = self.repository(world, &image.0) {
            let children = repository.images.get(&image.1).into_iter().flat_map(|index| index.children.clone());
            let parents = repository.parents_of(&image.1).map(str::to_owned);
            for other in children.chain(parents) {
                users.add((image.0.clone(), other), by);
            }
        }
        users.add(image, by);
    }

    /// What a reference names by its tag, whatever its digest is.
    fn names(&self, world: &World, reference: &str) -> Option<Image> {
        let reference = ImageReference::parse(reference)?;
        let repository = self.repository(world, &reference.repository)?;
        let digest = repository.image_tags.get(reference.tag.as_ref()?)?.clone();
        Some((reference.repository, digest))
    }

    fn attached_to(&self, world: &World, repository: &str, digest: &str) -> Vec<String> {
        // What is attached to an image that its team deleted, nobody needs.
        let repository = self.repository(world, repository).filter(|it| it.images.contains_key(digest));
        let Some(repository) = repository else { return Vec::new() };
        let cosign = digest.replace(':', "-");
        let by_tag = repository.image_tags.iter().filter(|(tag, _)| tag.starts_with(&cosign)).map(|(_, it)| it);
        let by_subject = repository.images.values().filter(|image| image.subject.as_deref() == Some(digest));
        by_tag.chain(by_subject.map(|image| &image.digest)).cloned().collect()
    }

    /// Judges what was removed since the last look, and takes a new one.
    pub(super) fn look(&mut self, world: &World) {
        let now = world.now();
        let mut users = self.users(world);
        self.note_replaced(std::mem::take(&mut users.deployments));
        self.looked_at = now;
        let removals: Vec<Removal> = ecr::removals(world)[self.removals_seen..].to_vec();
        self.removals_seen = ecr::removals(world).len();
        for removal in &removals {
            if !matches!(&removal.principal, Principal::Role { role, .. } if role.starts_with("ecr-cleanup")) {
                let (tags, digest) = match &removal.removed {
                    Removed::Tag(tag) => (vec![tag.clone()], None),
                    Removed::Image(tags) => (tags.clone(), Some(removal.digest.clone())),
                    Removed::Archived => (Vec::new(), Some(removal.digest.clone())),
                };
                let removed = tags.into_iter().chain(digest).map(|name| (removal.repository.clone(), name));
                self.removed_by_teams.extend(removed);
                continue;
            }
            self.judge(world, removal, &users.all);
            if let Removed::Image(_) = removal.removed {
                let index = (removal.repository.clone(), removal.digest.clone());
                let children = self.children.get(&index).into_iter().flatten();
                self.orphans.extend(children.map(|child| ((index.0.clone(), child.clone()), removal.at)));
            }
        }
        for unaskable in users.unaskable {
            self.unaskable.entry(unaskable).or_insert((now, now)).1 = now;
        }
        self.last_used.extend(users.named.into_iter().map(|image| (image, now)));
        let before = std::mem::take(&mut self.uses);
        for (image, users) in users.of {
            let known = before.get(&image);
            let since = |user: &String| known.and_then(|known| known.get(user)).map_or(now, |known| known.since);
            let uses = users.into_iter().map(|(user, through)| (user.clone(), Use { since: since(&user), through }));
            self.uses.insert(image.clone(), uses.collect());
            self.last_used.insert(image, now);
        }
        for image in before.into_keys() {
            // It was used until now at the latest.
            self.last_used.insert(image, now);
        }
        for (account, region, repository) in ecr::repositories(world) {
            if (account, region) != (&self.hub, &self.home) {
                continue;
            }
            for image in repository.images.values() {
                let children = (repository.name.clone(), image.digest.clone());
                self.children.entry(children).or_insert_with(|| image.children.clone());
                let times = (image.pushed_at, image.recorded_pull_at);
                let known = self.times.entry((repository.name.clone(), image.digest.clone())).or_insert((times, now));
                if known.0 != times {
                    *known = (times, now);
                }
            }
            match repository.tags.get("ecr-cleanup") {
                Some(says) => {
                    let known = self.opted_in.entry(repository.name.clone()).or_insert_with(|| (says.clone(), now));
                    if known.0 != *says {
                        *known = (says.clone(), now);
                    }
                }
                None => {
                    self.opted_in.remove(&repository.name);
                }
            }
        }
    }

    /// Takes note of deployments that ended since the last look because a newer one of their service replaced them. Of a service
    /// that is gone, AWS does not show when it ended.
    fn note_replaced(&mut self, deployments: BTreeMap<String, Deployments>) {
        for (service, before) in &self.deployments {
            let Some(now) = deployments.get(service) else {
                self.replaced.values_mut().for_each(|ends| ends.retain(|(_, of, _)| of != service));
                continue;
            };
            for image in before.iter().filter(|(id, _)| !now.contains_key(*id)).flat_map(|(_, images)| images) {
                let known = self.uses.get(image).and_then(|uses| uses.get(service));
                let since = known.map_or(self.looked_at, |it| it.since);
                self.replaced.entry(image.clone()).or_default().push((self.looked_at, service.clone(), since));
            }
        }
        self.deployments = deployments;
    }

    fn judge(&mut self, world: &World, removal: &Removal, existing: &BTreeSet<String>) {
        let image = (removal.repository.clone(), removal.digest.clone());
        let what = format!("{} of {} in {} at {}", wording(removal), image.1, image.0, removal.at);
        for (user, Use { since, through }) in self.uses.get(&image).into_iter().flatten() {
            if through.iter().any(|it| existing.contains(it)) && !self.is_hidden(&place_of(user), *since, removal.at) {
                self.violations.push(format!("{USED}: {what}, used by {user} since {since}"));
            }
        }
        for (place, blind) in self.blind.iter().flat_map(|(place, all)| all.iter().map(move |blind| (place, blind))) {
            let known = blind.begin + REMEMBERED + RUN;
            // That its probe is gone is seen where everything else is seen.
            let unseen = blind.by == Some(Blindness::Probe)
                && [removal.at, removal.at - REMEMBERED].iter().any(|at| self.is_hidden(place, blind.begin, *at));
            // Each workload account may pull from each repository.
            if known <= removal.at && blind.end.is_none_or(|end| removal.at < end) && !unseen {
                self.violations
                    .push(format!("{NOT_COVERED}: {what}, although {place:?} does not show its uses: {blind:?}"));
            }
        }
        let mut window = WINDOW;
        match self.opted_in.get(&removal.repository) {
            Some((says, since)) if (&removal.account, &removal.region) == (&self.hub, &self.home) => {
                let settled = removal.at.duration_since(*since) >= RUN;
                if says == LONG_WINDOW && settled {
                    window = WINDOW * 2;
                } else if ![ENABLED, LONG_WINDOW].contains(&says.as_str()) && settled {
                    self.violations.push(format!("{AGAINST_OPT_IN}: {what}, which says {says:?}"));
                }
            }
            _ => self.violations.push(format!("a repository without opt-in was touched: {what}")),
        }
        for (event, arn) in self.events.get(&image).into_iter().flatten() {
            // Of a task definition that is gone nothing but its events tells.
            let lost = self.deleted_definitions.contains(arn)
                && self.troubles.iter().any(|(begin, end)| *begin <= removal.at && end.is_none_or(|end| end >= *event));
            if removal.at.duration_since(*event) < window
                && !lost
                && !self.is_hidden(&place_of(arn), *event, removal.at)
            {
                self.violations.push(format!("{WITHIN_WINDOW}: {what}, of {arn} there was an event at {event}"));
            }
        }
        for (end, service, since) in self.replaced.get(&image).into_iter().flatten() {
            let is_hidden = self.is_hidden(&place_of(service), *since, removal.at);
            if removal.at.duration_since(*end) < window && !is_hidden {
                self.violations.push(format!("{WITHIN_WINDOW}: {what}, run by {service} until after {end}"));
            }
        }
        if let Some(((pushed, pulled), known)) = self.times.get(&image)
            && removal.at.duration_since(*known) >= RUN
        {
            if removal.at.duration_since(*pushed) < window {
                self.violations.push(format!("{WITHIN_WINDOW}: {what}, pushed at {pushed}"));
            }
            if let Some(pulled) = pulled.filter(|pulled| removal.at.duration_since(*pulled) < window + PULL_TIME_LAG) {
                self.violations.push(format!("{WITHIN_WINDOW}: {what}, pulled at {pulled}"));
            }
        }
        if self.dry_run_since.is_some_and(|since| removal.at.duration_since(since) > OLD_SETTINGS) {
            self.violations.push(format!("deleted under DryRun: {what}"));
        }
        if let (Some((since, newest)), Removed::Image(tags)) = (self.keep_newest, &removal.removed)
            && removal.at.duration_since(since) > OLD_SETTINGS
            && !tags.is_empty()
            && tags.iter().all(|tag| !tag.starts_with("sha256-"))
        {
            // It was among the newest if fewer than so many are left that count.
            let repository = self.repository(world, &removal.repository);
            let left = repository.map_or(0, |repository| {
                // Children of indexes and what is attached to others do not count; untagged images do.
                let counts = |digest: &str, attached: bool| {
                    !attached
                        && repository.parents_of(digest).next().is_none()
                        && repository.tags_of(digest).all(|tag| !tag.starts_with("sha256-"))
                };
                let images = repository.images.values();
                images.filter(|image| counts(&image.digest, image.subject.is_some())).count()
            });
            if left < newest {
                self.violations.push(format!("fewer than KeepNewestImages are left: {what}"));
            }
        }
    }

    /// The messages in each queue.
    pub(super) fn messages(&self, world: &mut World) -> BTreeMap<String, Vec<String>> {
        let queues = world.queue_names(&self.hub, &self.home);
        let in_queue = |queue: String| (queue.clone(), world.messages_in(&self.hub, &self.home, &queue));
        queues.into_iter().map(in_queue).collect()
    }

    /// The verdict, after everything has settled.
    ///
    /// `waiting` are the messages that there were so long before that whoever handles them has done so.
    pub(super) fn end(mut self, world: &mut World, waiting: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        for (queue, mut messages) in self.messages(world) {
            messages.retain(|message| waiting.get(&queue).is_some_and(|before| before.contains(message)));
            if messages.is_empty() {
                continue;
            }
            if !queue.ends_with("-dead-letters") {
                self.violations.push(format!("{queue} still holds {}", messages.join(", ")));
            } else if has_alarm(world, &self.hub, &self.home, &queue) {
                if !self.unreliable {
                    self.violations.push(format!("{queue} holds {} though nothing failed", messages.join(", ")));
                }
            } else {
                self.violations.push(format!("{queue} holds messages and has no alarm"));
            }
        }
        for outage in outages(world).iter().filter(|outage| outage.removed) {
            // A task definition that was not in use any more may be run again; that its image is gone is then no surprise.
            let (User::Deployment(user, _) | User::TaskSet(user) | User::Task(user)) = &outage.user;
            let reference = ImageReference::parse(&outage.image);
            let by_team = reference.is_some_and(|it| {
                let named = it.digest.or(it.tag).unwrap_or_default();
                self.removed_by_teams.contains(&(it.repository, named))
            });
            // So may an archived image be run that nobody used when it was archived.
            let was_used = self.resolve(world, &outage.image).is_some_and(|image| {
                let removed =
                    ecr::removals(world).iter().filter(|it| (&it.repository, &it.digest) == (&image.0, &image.1));
                let Some(removed) = removed.map(|it| it.at).max() else { return false };
                let used = self.uses.get(&image).and_then(|uses| uses.get(user));
                used.is_some_and(|it| it.since <= removed && !self.is_hidden(&place_of(user), it.since, removed))
            });
            if !by_team && was_used {
                self.violations.push(format!("a running service cannot pull: {outage:?}"));
            }
        }
        if !self.accounts_left && self.dry_run_since.is_none() && self.keep_newest.is_none() {
            let forgotten: Vec<String> = self.forgotten(world);
            self.violations.extend(forgotten);
        }
        self.violations.extend(world.refusals().iter().map(|refusal| format!("the simulation refused: {refusal}")));
        self.violations
    }

    /// Images that should be gone: unused, and nothing about them changed for a rollback window and a sweep.
    fn forgotten(&self, world: &World) -> Vec<String> {
        let mut forgotten = Vec::new();
        let restored = self.blind.values().flatten().filter_map(|blind| blind.end).max();
        for (name, (says, since)) in &self.opted_in {
            let Some(repository) = self.repository(world, name) else { continue };
            // While a user cannot be asked for what it has pinned, everything stays.
            let unaskable = self.unaskable.iter().filter(|((of, _), _)| of == name).map(|(_, (_, last))| *last).max();
            if self.admitted.contains(name) || says != ENABLED {
                continue;
            }
            for stored in repository.images.values().filter(|image| image.status == ImageStatus::Active) {
                let image = (name.clone(), stored.digest.clone());
                // It goes with what holds it.
                let is_child = repository.parents_of(&stored.digest).next().is_some();
                let subject = stored.subject.clone().or_else(|| {
                    let mut tags = repository.tags_of(&stored.digest);
                    tags.find_map(|tag| Some(format!("sha256:{}", tag.strip_prefix("sha256-")?.split('.').next()?)))
                });
                let is_attached = subject.is_some_and(|subject| repository.images.contains_key(&subject));
                let is_tagged = repository.tags_of(&stored.digest).next().is_some();
                let last_used = self.last_used.get(&image).copied();
                // One that was pushed or used since, or whose repository did not take part then, is like any other.
                let is_orphan = self.orphans.get(&image).is_some_and(|at| {
                    let changes = [last_used, self.settings_changed, Some(stored.pushed_at), Some(*since)];
                    changes.into_iter().flatten().all(|change| change <= *at)
                });
                let stays = is_child || is_attached || !(is_tagged || is_orphan || self.checks_untagged);
                if self.uses.contains_key(&image) || stays || (self.archives && !stored.children.is_empty()) {
                    continue;
                }
                let event = self.events.get(&image).into_iter().flatten().map(|(at, _)| *at).max();
                let pulled = stored.recorded_pull_at.map(|pulled| pulled + PULL_TIME_LAG);
                let changes = [last_used, event, pulled, unaskable, self.settings_changed, restored];
                let changed = changes.into_iter().flatten().chain([stored.pushed_at, *since]).max();
                let changed = changed.unwrap_or(stored.pushed_at);
                if changed + WINDOW + SWEEP < world.now() {
                    forgotten.push(format!(
                        "an unused image was forgotten: {} in {name}, about which nothing changed since {changed}",
                        stored.digest
                    ));
                }
            }
        }
        forgotten
    }
}

fn wording(removal: &Removal) -> String {
    match &removal.removed {
        Removed::Tag(tag) => format!("removal of the tag {tag}"),
        Removed::Image(_) => "deletion".to_owned(),
        Removed::Archived => "archiving".to_owned(),
    }
}

/// Whether an alarm watches the queue.
fn has_alarm(world: &mut World, hub: &AccountId, home: &Region, queue: &str) -> bool {
    let alarms = world.call(hub, home, "monitoring", "DescribeAlarms", json!({})).unwrap_or_default();
    let watches = |alarm: &Value| {
        let dimensions = alarm["Dimensions"].as_array();
        dimensions.into_iter().flatten().any(|dimension| dimension["Value"] == queue)
    };
    alarms["MetricAlarms"].as_array().into_iter().flatten().any(watches)
}
