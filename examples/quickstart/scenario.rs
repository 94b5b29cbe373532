//! What teams do, and when: a YAML file of repositories and timed actions.
//!
//! # Guarantees
//! A scenario that was read refers only to what it has made before: repositories, images, accounts, regions, revisions,
//! services. Anything else, an unknown key included, is refused with its place. Whether AWS then does what is asked is
//! seen when it is played.

use std::collections::{BTreeMap, BTreeSet};

use crate::moment::Moment;
use crate::source::{Kind, Node, Refusal, Source};

/// The regions of the organization; the hub's is the first.
pub const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
/// The name of the account that the organization is managed from; nobody acts in it.
pub const MANAGEMENT: &str = "management";
/// Days that are played unless the scenario says otherwise.
const DAYS: u32 = 3;
/// The most days that are played.
pub const MOST_DAYS: u32 = 60;

/// What teams do, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// How many days are played.
    pub days: u32,
    /// The names of the workload accounts, in the order of their ids.
    pub accounts: Vec<String>,
    /// The repositories in the hub.
    pub repositories: Vec<Repository>,
    /// In the order of time.
    pub actions: Vec<TimedAction>,
}

/// A repository in the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Its tags; the opt-in tag among them, or not.
    pub tags: BTreeMap<String, String>,
    /// Whether image tags can move.
    pub mutable_tags: bool,
}

/// An action and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedAction {
    /// When.
    pub at: Moment,
    /// What.
    pub action: Action,
}

/// An image by repository and tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// The repository's name.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

/// An account and a region, by the names of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The account's name.
    pub account: String,
    /// The region.
    pub region: String,
}

/// What somebody does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Pushes a new image.
    Push(Image),
    /// Gives an image another tag.
    Tag(Image, String),
    /// Registers a revision of a task definition with one container.
    Register(Place, String, Image),
    /// Deregisters a revision, such as `web:1`.
    Deregister(Place, String),
    /// Makes a service that runs a revision.
    CreateService(Place, String, String),
    /// Has a service run another revision.
    UpdateService(Place, String, String),
    /// Ends a service.
    DeleteService(Place, String),
    /// Sets a tag of a repository, or takes it away.
    TagRepository(String, String, Option<String>),
    /// Turns the account's AWS Config recorder on or off.
    Record(Place, bool),
    /// Changes properties of the EcrCleanup, given as YAML in one line each.
    UpdateStack(BTreeMap<String, String>),
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// What is wrong first, and where.
    pub fn read(file: &str, text: &str) -> Result<Self, Refusal> {
        let source = Source { file, text };
        let root = source.read()?;
        let root = source.fields(&root, "a scenario", &["days", "accounts", "repositories", "actions"])?;
        let days = match root.get("days") {
            None => DAYS,
            Some(node) => node
                .text()
                .and_then(|text| text.parse().ok())
                .filter(|days| (1..=MOST_DAYS).contains(days))
                .ok_or_else(|| source.refuse(node.at, format!("days must be a number from 1 to {MOST_DAYS}")))?,
        };
        let mut reader = Reader { source, accounts: accounts(&source, root.get("accounts"))?, ..Reader::new(source) };
        for node in source.items(source.need(root, "a scenario", "repositories")?, "repositories")? {
            reader.repository(node)?;
        }
        for node in source.items(source.need(root, "a scenario", "actions")?, "actions")? {
            reader.action(node)?;
        }
        Ok(Self { days, accounts: reader.accounts, repositories: reader.repositories, actions: reader.actions })
    }
}

fn accounts(source: &Source<'_>, node: Option<&Node>) -> Result<Vec<String>, Refusal> {
    let Some(node) = node else { return Ok(vec!["team-a".to_owned(), "team-b".to_owned()]) };
    let mut names: Vec<String> = Vec::new();
    for item in source.items(node, "accounts")? {
        let name = source.text(item, "an account's name")?;
        if !is_word(name) || ["hub", MANAGEMENT].contains(&name) || names.iter().any(|known| known == name) {
            return Err(source.refuse(item.at, format!("`{name}` cannot name an account here")));
        }
        names.push(name.to_owned());
    }
    if names.len() == 2 { Ok(names) } else { Err(source.refuse(node.at, "accounts names the two workload accounts")) }
}

/// Letters, digits and hyphens, as in family and service names.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether ECR takes it as a repository's name: words of lower-case letters and digits with a separator between each two.
fn is_repository(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let component = |text: &str| {
        let bytes = text.as_bytes();
        text.bytes().all(|byte| word(byte) || b"-_.".contains(&byte))
            && bytes.first().is_some_and(|byte| word(*byte))
            && bytes.last().is_some_and(|byte| word(*byte))
    };
    (2..=256).contains(&name.len()) && name.split('/').all(component)
}

/// Whether ECR takes it as an image's tag.
fn is_image_tag(tag: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&tag.len()) && tag.bytes().all(valid) && !tag.starts_with(['.', '-'])
}

/// What the scenario has made so far.
struct Reader<'a> {
    source: Source<'a>,
    accounts: Vec<String>,
    repositories: Vec<Repository>,
    actions: Vec<TimedAction>,
    /// With the line that first pushed or tagged it.
    images: BTreeMap<Image, usize>,
    /// Registered revisions, and whether they are still ACTIVE.
    revisions: BTreeMap<(Place, String), bool>,
    services: BTreeSet<(Place, String)>,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            accounts: Vec::new(),
            repositories: Vec::new(),
            actions: Vec::new(),
            images: BTreeMap::new(),
            revisions: BTreeMap::new(),
            services: BTreeSet::new(),
        }
    }

    fn repository(&mut self, node: &Node) -> Result<(), Refusal> {
        let source = self.source;
        let node = source.fields(node, "a repository", &["name", "tags", "mutable-tags"])?;
        let named = source.need(node, "a repository", "name")?;
        let name = source.text(named, "a repository's name")?;
        if !is_repository(name) {
            return Err(source.refuse(named.at, format!("`{name}` cannot name a repository")));
        }
        if self.repositories.iter().any(|known| known.name == name) {
            return Err(source.refuse(named.at, format!("the repository {name} is there already")));
        }
        let mut tags = BTreeMap::new();
        if let Some(given) = node.get("tags") {
            let Kind::Map(entries) = &given.kind else {
                return Err(source.refuse(given.at, "tags must be a mapping of keys to values"));
            };
            for (key, value) in entries {
                tags.insert(key.name.clone(), source.text(value, "a tag's value")?.to_owned());
            }
        }
        let mutable_tags = node.get("mutable-tags").map_or(Ok(false), |node| source.truth(node, "mutable-tags"))?;
        self.repositories.push(Repository { name: name.to_owned(), tags, mutable_tags });
        Ok(())
    }

    fn action(&mut self, node: &Node) -> Result<(), Refusal> {
        const VERBS: [&str; 10] = [
            "push",
            "tag",
            "register",
            "deregister",
            "create-service",
            "update-service",
            "delete-service",
            "tag-repository",
            "record",
            "update-stack",
        ];
        let source = self.source;
        let known: Vec<&str> = ["at", "in"].into_iter().chain(VERBS).collect();
        let node = source.fields(node, "an action", &known)?;
        let at = self.moment(source.need(node, "an action", "at")?)?;
        let mut verbs = node.entries().iter().filter(|(key, _)| VERBS.contains(&key.name.as_str()));
        let (verb, what) = verbs
            .next()
            .ok_or_else(|| source.refuse(node.at, format!("an action needs one of {}", VERBS.join(", "))))?;
        if let Some((second, _)) = verbs.next() {
            return Err(source.refuse(second.at, format!("an action does one thing: {} or {}", verb.name, second.name)));
        }
        let place = || {
            let given = node.get("in").ok_or_else(|| {
                let example = self.accounts.first().map_or("hub", String::as_str);
                source.refuse(verb.at, format!("{} needs a place, such as `in: {example}/eu-west-1`", verb.name))
            })?;
            self.place(given)
        };
        let action = match verb.name.as_str() {
            "push" => {
                let image = self.image_name(what)?;
                self.name_image(what, &image)?;
                Action::Push(image)
            }
            "tag" => {
                let fields = source.fields(what, "tag", &["image", "as"])?;
                let image = self.known_image(source.need(fields, "tag", "image")?)?;
                let named = source.need(fields, "tag", "as")?;
                let tag = source.text(named, "as")?.to_owned();
                self.name_image(named, &Image { tag: tag.clone(), ..image.clone() })?;
                Action::Tag(image, tag)
            }
            "register" => {
                let place = place()?;
                let fields = source.fields(what, "register", &["family", "image"])?;
                let family = self.word(source.need(fields, "register", "family")?, "family")?;
                let image = self.known_image(source.need(fields, "register", "image")?)?;
                let before = self.revisions.keys().filter(|(at, revision)| {
                    *at == place && revision.split_once(':').is_some_and(|(of, _)| of == family)
                });
                let revision = format!("{family}:{}", before.count() + 1);
                self.revisions.insert((place.clone(), revision), true);
                Action::Register(place, family, image)
            }
            "deregister" => {
                let place = place()?;
                let revision = self.revision(&place, what)?;
                if self.revisions.insert((place.clone(), revision.clone()), false) == Some(false) {
                    let reason = format!("{revision} in {}/{} is INACTIVE already", place.account, place.region);
                    return Err(source.refuse(what.at, reason));
                }
                Action::Deregister(place, revision)
            }
            "create-service" | "update-service" => {
                let place = place()?;
                let fields = source.fields(what, &verb.name, &["service", "task-definition"])?;
                let named = source.need(fields, &verb.name, "service")?;
                let service = self.word(named, "service")?;
                let run = source.need(fields, &verb.name, "task-definition")?;
                let revision = self.revision(&place, run)?;
                if self.revisions.get(&(place.clone(), revision.clone())) == Some(&false) {
                    return Err(
                        source.refuse(run.at, format!("{revision} is INACTIVE: services need an ACTIVE revision"))
                    );
                }
                if verb.name == "create-service" {
                    if !self.services.insert((place.clone(), service.clone())) {
                        return Err(source.refuse(named.at, format!("the service {service} is there already")));
                    }
                    Action::CreateService(place, service, revision)
                } else {
                    self.known_service(&place, &service, named)?;
                    Action::UpdateService(place, service, revision)
                }
            }
            "delete-service" => {
                let place = place()?;
                let service = self.word(what, "delete-service")?;
                self.known_service(&place, &service, what)?;
                self.services.remove(&(place.clone(), service.clone()));
                Action::DeleteService(place, service)
            }
            "tag-repository" => {
                let fields = source.fields(what, "tag-repository", &["repository", "key", "value"])?;
                let named = source.need(fields, "tag-repository", "repository")?;
                let repository = source.text(named, "repository")?;
                self.known_repository(repository, named)?;
                let key = source.text(source.need(fields, "tag-repository", "key")?, "key")?.to_owned();
                let value = source.need(fields, "tag-repository", "value")?;
                let value = match value.kind {
                    Kind::Empty => None,
                    _ => Some(source.text(value, "value")?.to_owned()),
                };
                Action::TagRepository(repository.to_owned(), key, value)
            }
            "record" => Action::Record(place()?, source.truth(what, "record")?),
            _ => {
                let Kind::Map(entries) = &what.kind else {
                    return Err(source.refuse(what.at, "update-stack must be a mapping of the properties that change"));
                };
                let value = |node: &Node| one_line(&source, node);
                let properties = entries.iter().map(|(key, node)| Ok((key.name.clone(), value(node)?)));
                Action::UpdateStack(properties.collect::<Result<_, Refusal>>()?)
            }
        };
        let placeless = ["push", "tag", "tag-repository", "update-stack"].contains(&verb.name.as_str());
        if let (true, Some((key, _))) = (placeless, node.entry("in")) {
            return Err(source.refuse(key.at, format!("{} happens in the hub: `in` has no meaning", verb.name)));
        }
        self.actions.push(TimedAction { at, action });
        Ok(())
    }

    fn moment(&self, node: &Node) -> Result<Moment, Refusal> {
        let before = self.actions.last().map(|action| action.at);
        let text = self.source.text(node, "at")?;
        let at = Moment::parse(text, before).map_err(|reason| self.source.refuse(node.at, reason))?;
        if let Some(before) = before.filter(|before| at < *before) {
            return Err(self.source.refuse(node.at, format!("{at} is before the action before, at {before}")));
        }
        if at.day() == 0 && !(Moment::new(0, 9, 30)..Moment::new(0, 12, 0)).contains(&at) {
            let reason = format!("{at}: day 0 is for what was there before the installation, from 09:30 until 12:00");
            return Err(self.source.refuse(node.at, reason));
        }
        Ok(at)
    }

    fn place(&self, node: &Node) -> Result<Place, Refusal> {
        let text = self.source.text(node, "in")?;
        let (account, region) = text
            .split_once('/')
            .ok_or_else(|| self.source.refuse(node.at, format!("`{text}` is no place: write ACCOUNT/REGION")))?;
        if account != "hub" && !self.accounts.iter().any(|known| known == account) {
            let reason = format!("unknown account {account}; known are hub, {}", self.accounts.join(", "));
            return Err(self.source.refuse(node.at, reason));
        }
        if !REGIONS.contains(&region) {
            let reason = format!("unknown region {region}; known are {}", REGIONS.join(", "));
            return Err(self.source.refuse(node.at, reason));
        }
        Ok(Place { account: account.to_owned(), region: region.to_owned() })
    }

    fn word(&self, node: &Node, what: &str) -> Result<String, Refusal> {
        let text = self.source.text(node, what)?;
        if is_word(text) {
            return Ok(text.to_owned());
        }
        Err(self.source.refuse(node.at, format!("{what} must be letters, digits and hyphens, not `{text}`")))
    }

    fn image_name(&self, node: &Node) -> Result<Image, Refusal> {
        let text = self.source.text(node, "an image")?;
        let (repository, tag) = text
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.is_empty() && !tag.contains('/'))
            .ok_or_else(|| self.source.refuse(node.at, format!("`{text}` is no image: write REPOSITORY:TAG")))?;
        self.known_repository(repository, node)?;
        Ok(Image { repository: repository.to_owned(), tag: tag.to_owned() })
    }

    fn known_image(&self, node: &Node) -> Result<Image, Refusal> {
        let image = self.image_name(node)?;
        if self.images.contains_key(&image) {
            return Ok(image);
        }
        let reason = format!("unknown image {}:{}: nothing has pushed it before", image.repository, image.tag);
        Err(self.source.refuse(node.at, reason))
    }

    /// Notes that a tag is given to an image; where tags cannot move, once.
    fn name_image(&mut self, node: &Node, image: &Image) -> Result<(), Refusal> {
        let Image { repository, tag } = image;
        if !is_image_tag(tag) {
            return Err(self.source.refuse(node.at, format!("`{tag}` cannot be an image's tag")));
        }
        let movable = self.repositories.iter().any(|known| known.name == *repository && known.mutable_tags);
        match self.images.get(image) {
            Some(line) if !movable => {
                let reason = format!("tags of {repository} cannot move, and line {line} has given {tag}");
                Err(self.source.refuse(node.at, reason))
            }
            _ => {
                self.images.entry(image.clone()).or_insert(node.at.line);
                Ok(())
            }
        }
    }

    fn known_repository(&self, name: &str, node: &Node) -> Result<(), Refusal> {
        if self.repositories.iter().any(|known| known.name == name) {
            return Ok(());
        }
        let known: Vec<&str> = self.repositories.iter().map(|known| known.name.as_str()).collect();
        Err(self.source.refuse(node.at, format!("unknown repository {name}; known are {}", known.join(", "))))
    }

    fn known_service(&self, place: &Place, service: &str, node: &Node) -> Result<(), Refusal> {
        if self.services.contains(&(place.clone(), service.to_owned())) {
            return Ok(());
        }
        let reason = format!("unknown service {service} in {}/{}", place.account, place.region);
        Err(self.source.refuse(node.at, reason))
    }

    fn revision(&self, place: &Place, node: &Node) -> Result<String, Refusal> {
        let revision = self.source.text(node, "a task definition")?.to_owned();
        if self.revisions.contains_key(&(place.clone(), revision.clone())) {
            return Ok(revision);
        }
        let reason = format!(
            "unknown task definition {revision} in {}/{}: write FAMILY:REVISION of one that was registered before",
            place.account, place.region
        );
        Err(self.source.refuse(node.at, reason))
    }
}

/// A value as YAML in one line.
fn one_line(source: &Source<'_>, node: &Node) -> Result<String, Refusal> {
    Ok(match &node.kind {
        Kind::Empty => return Err(source.refuse(node.at, "a property needs a value")),
        Kind::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Kind::List(items) => {
            let items: Vec<String> = items.iter().map(|item| one_line(source, item)).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Kind::Map(entries) => {
            let entry = |(key, value): &(crate::source::Key, Node)| {
                Ok(format!("{}: {}", serde_json::Value::from(key.name.as_str()), one_line(source, value)?))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Result<Vec<_>, Refusal>>()?.join(", "))
        }
    })
}

#[cfg(test)]
mod tests;
