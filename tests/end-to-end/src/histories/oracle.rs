//! What is true, and what the product made of it.
//!
//! The oracle looks at the world after every action and at short intervals. A removal between two looks is judged by who
//! used the image at the first of them and still exists at the second: what teams do happens only at looks, and in
//! between deployments only end.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::ecr::{self, ImageReference, ImageStatus, Removal, Removed, Repository};
use simulated_aws::ecs::{TaskDefinitionStatus, image_uses, outages, task_definitions};
use simulated_aws::{AccountId, Region, World};

/// An image: repository and digest.
type Image = (String, String);

const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// A message with old settings is acted on for at most so long; a minute more for its schedule.
const OLD_SETTINGS: SignedDuration = SignedDuration::from_mins(17);
/// Events arrive within this time if they are not lost.
const ARRIVAL: SignedDuration = SignedDuration::from_mins(60);

pub(super) struct Oracle {
    hub: AccountId,
    home: Region,
    outside: AccountId,
    admitted: BTreeSet<String>,
    /// Who uses an image, and since when.
    uses: BTreeMap<Image, BTreeMap<String, Timestamp>>,
    last_used: BTreeMap<Image, Timestamp>,
    opted_in_since: BTreeMap<String, Timestamp>,
    tag_moved: BTreeMap<String, Timestamp>,
    /// The last task definition event that names an image, and whether it may have been lost.
    events: BTreeMap<Image, (Timestamp, bool)>,
    removals_seen: usize,
    /// Until when what is true may be invisible in Config, for reasons that end.
    restored_at: Timestamp,
    delay: SignedDuration,
    dry_run_since: Option<Timestamp>,
    /// Since when so many newest images are kept.
    keep_newest: Option<(Timestamp, usize)>,
    /// Settings made some images stay that nobody checks again.
    kept_by_settings: bool,
    /// Something failed: a check may have come to nothing.
    unreliable: bool,
    violations: Vec<String>,
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
            opted_in_since: BTreeMap::new(),
            tag_moved: BTreeMap::new(),
            events: BTreeMap::new(),
            removals_seen: ecr::removals(world).len(),
            restored_at: Timestamp::MIN,
            delay: SignedDuration::from_mins(10),
            dry_run_since: None,
            keep_newest: None,
            kept_by_settings: false,
            unreliable: false,
            violations: Vec::new(),
        };
        oracle.look(world);
        oracle
    }

    pub(super) fn admit(&mut self, repository: &str) {
        self.admitted.insert(repository.to_owned());
    }

    pub(super) fn tag_moved(&mut self, world: &World, repository: &str) {
        self.tag_moved.insert(repository.to_owned(), world.now());
    }

    pub(super) fn restored(&mut self, world: &World) {
        self.restored_at = world.now();
    }

    pub(super) fn slower(&mut self, delay: SignedDuration) {
        self.delay = self.delay.max(delay);
    }

    pub(super) fn unreliable(&mut self) {
        self.unreliable = true;
    }

    pub(super) fn settings(&mut self, now: Timestamp, dry_run: bool, keep_newest: usize) {
        self.kept_by_settings |= dry_run || keep_newest > 0;
        self.dry_run_since = dry_run.then(|| self.dry_run_since.unwrap_or(now));
        self.keep_newest = (keep_newest > 0).then_some((now, keep_newest));
    }

    /// A task definition is registered or about to be deregistered.
    pub(super) fn event(&mut self, world: &World, arn: &str, may_be_lost: bool) {
        let named = task_definitions(world).find(|(_, _, it)| it.arn == arn);
        for reference in named.into_iter().flat_map(|(_, _, it)| it.images()) {
            if let Some(image) = self.resolve(world, reference) {
                self.events.insert(image, (world.now(), may_be_lost));
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
    fn users(&self, world: &World) -> BTreeMap<Image, BTreeSet<String>> {
        let mut users: BTreeMap<Image, BTreeSet<String>> = BTreeMap::new();
        let pulls =
            |account: &AccountId, repository: &str| *account != self.outside || self.admitted.contains(repository);
        let mut add = |image: Image, user: &str| {
            // Every platform's child of an index may be pulled next.
            let repository = self.repository(world, &image.0);
            let index = repository.and_then(|repository| repository.images.get(&image.1));
            for child in index.into_iter().flat_map(|index| &index.children) {
                users.entry((image.0.clone(), child.clone())).or_default().insert(user.to_owned());
            }
            users.entry(image).or_default().insert(user.to_owned());
        };
        for used in image_uses(world) {
            if let Some(pulled) = used.resolved.filter(|pulled| pulls(&used.account, &pulled.repository)) {
                let user = format!("{:?}", used.user);
                add((pulled.repository.clone(), pulled.digest), &user);
                add((pulled.repository, pulled.platform_digest), &user);
            }
        }
        for (account, _, definition) in task_definitions(world) {
            if definition.status == TaskDefinitionStatus::Active {
                for image in definition.images().filter_map(|image| self.resolve(world, image)) {
                    if pulls(account, &image.0) {
                        add(image, &definition.arn);
                    }
                }
            }
        }
        users
    }

    /// Judges what was removed since the last look, and takes a new one.
    pub(super) fn look(&mut self, world: &World) {
        let now = world.now();
        let users = self.users(world);
        let existing: BTreeSet<String> = image_uses(world)
            .iter()
            .map(|used| format!("{:?}", used.user))
            .chain(
                task_definitions(world)
                    .filter(|(_, _, it)| it.status == TaskDefinitionStatus::Active)
                    .map(|(_, _, it)| it.arn.clone()),
            )
            .collect();
        let removals: Vec<Removal> = ecr::removals(world)[self.removals_seen..].to_vec();
        self.removals_seen = ecr::removals(world).len();
        for removal in &removals {
            self.judge(world, removal, &existing);
        }
        let before = std::mem::take(&mut self.uses);
        for (image, users) in users {
            let known = before.get(&image);
            let since = |user: &String| known.and_then(|known| known.get(user)).copied().unwrap_or(now);
            self.uses.insert(image.clone(), users.iter().map(|user| (user.clone(), since(user))).collect());
            self.last_used.insert(image, now);
        }
        for image in before.into_keys() {
            // It was used until now at the latest.
            self.last_used.insert(image, now);
        }
        for (account, region, repository) in ecr::repositories(world) {
            if (account, region) == (&self.hub, &self.home) {
                if repository.tags.contains_key("ecr-cleanup") {
                    self.opted_in_since.entry(repository.name.clone()).or_insert(now);
                } else {
                    self.opted_in_since.remove(&repository.name);
                }
            }
        }
    }

    fn judge(&mut self, world: &World, removal: &Removal, existing: &BTreeSet<String>) {
        let image = (removal.repository.clone(), removal.digest.clone());
        let what = format!("{} of {} in {} at {}", wording(removal), image.1, image.0, removal.at);
        let visible = |since: Timestamp| removal.at.duration_since(since.max(self.restored_at)) >= self.delay;
        for (user, since) in self.uses.get(&image).into_iter().flatten() {
            if existing.contains(user) && visible(*since) {
                self.violations.push(format!("a used image was deleted: {what}, used by {user} since {since}"));
            }
        }
        if (&removal.account, &removal.region) != (&self.hub, &self.home)
            || !self.opted_in_since.contains_key(&removal.repository)
        {
            self.violations.push(format!("a repository without opt-in was touched: {what}"));
        }
        if let Some((event, _)) = self.events.get(&image)
            && removal.at.duration_since(*event) < WINDOW
            && visible(*event)
        {
            self.violations.push(format!("deleted within the rollback window of the event at {event}: {what}"));
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
                let counts = |digest: &str| repository.tags_of(digest).any(|tag| !tag.starts_with("sha256-"));
                repository.images.keys().filter(|digest| counts(digest)).count()
            });
            if left < newest {
                self.violations.push(format!("fewer than KeepNewestImages are left after the {what}"));
            }
        }
    }

    /// The verdict, after everything has settled.
    pub(super) fn end(mut self, world: &mut World) -> Vec<String> {
        let mut dead = false;
        for queue in world.queue_names(&self.hub, &self.home) {
            let messages = world.messages_in(&self.hub, &self.home, &queue);
            if messages.is_empty() {
                continue;
            }
            if !queue.ends_with("-dead-letters") {
                self.violations.push(format!("{queue} still holds {}", messages.join(", ")));
            } else if has_alarm(world, &self.hub, &self.home, &queue) {
                dead = true;
                if !self.unreliable {
                    self.violations.push(format!("{queue} holds {} though nothing failed", messages.join(", ")));
                }
            } else {
                self.violations.push(format!("{queue} holds messages and has no alarm"));
            }
        }
        for outage in outages(world).iter().filter(|outage| outage.removed) {
            // A task definition that was not in use any more may be run again; that its image is gone is then no surprise.
            let user = format!("{:?}", outage.user);
            let image = self.resolve(world, &outage.image);
            let used = image.and_then(|image| self.uses.get(&image)?.get(&user).copied());
            if used.is_some() {
                self.violations.push(format!("a running service cannot pull: {outage:?}"));
            }
        }
        if !dead && !self.kept_by_settings {
            let forgotten: Vec<String> = self.forgotten(world);
            self.violations.extend(forgotten);
        }
        self.violations.extend(world.refusals().iter().map(|refusal| format!("the simulation refused: {refusal}")));
        self.violations
    }

    /// Images that should be gone.
    fn forgotten(&self, world: &World) -> Vec<String> {
        let mut forgotten = Vec::new();
        for (name, since) in &self.opted_in_since {
            let Some(repository) = self.repository(world, name) else { continue };
            if self.admitted.contains(name) {
                continue;
            }
            for stored in repository.images.values().filter(|image| image.status == ImageStatus::Active) {
                let image = (name.clone(), stored.digest.clone());
                let Some((event, may_be_lost)) = self.events.get(&image) else { continue };
                let unused = self
                    .last_used
                    .get(&image)
                    .is_none_or(|used| *used + SignedDuration::from_mins(30) < *event + WINDOW - self.delay);
                let tags_stood =
                    self.tag_moved.get(name).is_none_or(|moved| *moved < *event || *moved > *event + ARRIVAL);
                let is_child = repository.parents_of(&stored.digest).next().is_some();
                let is_attached = stored.subject.is_some();
                // `UntaggedImages` is `Keep`.
                let is_tagged = repository.tags_of(&stored.digest).next().is_some();
                if !may_be_lost
                    && is_tagged
                    && unused
                    && tags_stood
                    && *since <= *event
                    && !self.uses.contains_key(&image)
                    && !is_child
                    && !is_attached
                {
                    forgotten.push(format!(
                        "an unused image was forgotten: {} in {name}, whose last event was at {event}",
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
