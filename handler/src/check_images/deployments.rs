//! What runs in the accounts themselves: live deployments, and the digests that service revisions have pinned.
//!
//! AWS Config's item of a service names one task definition; an older deployment that is still live, and the digest that
//! was resolved when a deployment began, show only here. The services are those that Config lists for the place, all of
//! them, whatever their family: a service may have moved to another. What cannot be asked is a gap of the whole place.
//!
//! # Assumptions
//! `updatedAt` of a deployment moves when its rollout ends (ECS API reference, Deployment: "when the service deployment was
//! last updated"). If it does not, what ran before a rollout that began before the rollback window is not known. ECS tells of
//! past deployments for 90 days.
//!
//! # Why this many calls
//! `DescribeServices` takes ten services of one cluster, `DescribeServiceRevisions` twenty revisions. What a service ran
//! before is asked of those that were deployed within the rollback window, whatever they run now, two calls each and one for
//! twenty service revisions; and remembered until they are deployed again. Revisions of task
//! definitions never change, so their images are looked up once in the life of a function: first those that the queries
//! at hand found anyway, then by ARN in the aggregator (some fifty a query), and in their account only if Config lost them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::error::ProvideErrorMetadata as _;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{CreatedAt, DeploymentControllerType, Service, ServiceDeployment, ServiceRevision};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use super::aggregator::Aggregator;
use super::evidence::{Because, Found, Gap};
use super::failed_call::failed_call;
use super::queries;
use super::rows::hub_images;
use super::usage::{LiveService, PinnedRevision, Place, Revision, RevisionImages, Runner};
use crate::account::AccountId;
use crate::clients::{Clients, WorkloadClients};
use crate::image::ImageReference;
use crate::names::Names;
use crate::repository::Repository;
use crate::task_definition::TaskDefinitionArn;

/// What services ran before that were asked before. Lives as long as the function stays warm.
#[derive(Debug, Default)]
pub struct KnownReplacements(BTreeMap<ServiceKey, Replacements>);

/// The cluster and the ARN of a service: ARNs of the old form do not name the cluster.
type ServiceKey = (String, String);

/// What a service ran before, when that was asked.
#[derive(Debug, Clone)]
pub struct Replacements {
    /// When its deployments had changed last.
    deployed_at: Timestamp,
    /// Deployments that ended since then were asked for.
    since: Timestamp,
    replaced: Vec<(PinnedRevision, Timestamp)>,
}

/// So many services of an account and region are asked at a time for what they ran before.
const PARALLEL: usize = 8;

/// More services than this are not kept.
const KEPT_SERVICES: usize = 10_000;

impl KnownReplacements {
    /// What `service` ran before, if it was not deployed since that was asked.
    fn of(&self, service: &LiveService, since: Timestamp) -> Option<&Replacements> {
        let known = self.0.get(&service_key(service))?;
        (Some(known.deployed_at) == service.deployed_at && known.since <= since).then_some(known)
    }

    /// Adds what was asked of services.
    pub fn learn(&mut self, asked: impl IntoIterator<Item = (ServiceKey, Replacements)>) {
        if self.0.len() >= KEPT_SERVICES {
            self.0.clear();
        }
        self.0.extend(asked);
    }
}

fn service_key(service: &LiveService) -> ServiceKey {
    (service.cluster.clone(), service.service.clone())
}

/// The images of revisions that were looked up before. Lives as long as the function stays warm.
#[derive(Debug, Default)]
pub struct KnownRevisions(BTreeMap<TaskDefinitionArn, Vec<ImageReference>>);

/// More revisions than this are not kept: memory is limited, and a look-up costs a fiftieth of a query.
const KEPT_REVISIONS: usize = 50_000;

impl KnownRevisions {
    /// Adds what a revision names.
    pub fn insert(&mut self, arn: TaskDefinitionArn, images: Vec<ImageReference>) {
        if self.0.len() >= KEPT_REVISIONS {
            self.0.pop_first();
        }
        self.0.insert(arn, images);
    }
}

/// Every live service of `place`, among the runners that Config lists there. Pinned digests, and what was replaced, are not
/// asked for yet.
///
/// # Errors
/// A service that cannot be described.
pub async fn live_services(
    clients: &Clients,
    names: &Names,
    place: &Place,
    runners: &[Runner],
) -> Result<Vec<LiveService>, Because> {
    let (account, region) = place;
    let mut clusters: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for service in
        runners.iter().filter(|runner| runner.is_service && (&runner.account, &runner.region) == (account, region))
    {
        let cluster = cluster_of(service).ok_or_else(|| {
            Because::new(Gap::Deployments, format!("nothing tells the cluster of {}", service.resource))
        })?;
        clusters.entry(cluster).or_default().push(&service.resource);
    }
    let mut live = Vec::new();
    if clusters.is_empty() {
        return Ok(live);
    }
    let WorkloadClients { ecs, .. } = clients.workload(account, &names.evidence_role(region), region).await;
    for (cluster, services) in clusters {
        for ten in services.chunks(10) {
            let subject = format!("cluster {cluster} of account {account} in {region}");
            let answer = ecs
                .describe_services()
                .cluster(&cluster)
                .set_services(Some(ten.iter().map(|service| (*service).to_owned()).collect()))
                .send()
                .await
                .map_err(|error| failed_call(Gap::Deployments, "ecs:DescribeServices", &subject, &error))?;
            for failure in answer.failures() {
                // Config still shows a service that is gone: it runs nothing any more.
                if failure.reason() != Some("MISSING") {
                    return Err(Because::new(
                        Gap::Deployments,
                        format!(
                            "ecs:DescribeServices for {subject} could not describe {}: {}",
                            failure.arn().unwrap_or("a service"),
                            failure.reason().unwrap_or("no reason"),
                        ),
                    ));
                }
            }
            if answer.services().len() + answer.failures().len() < ten.len() {
                return Err(Because::new(
                    Gap::Deployments,
                    format!("ecs:DescribeServices for {subject} did not answer for every service"),
                ));
            }
            for service in answer.services() {
                live.extend(live_service(service, &cluster).map_err(|text| Because::new(Gap::Deployments, text))?);
            }
        }
    }
    Ok(live)
}

/// The cluster of a service: from its ARN, or from its item for ARNs of the old form without one. A guess would not do: a
/// service that is looked for in the wrong cluster is told to be missing.
fn cluster_of(service: &Runner) -> Option<String> {
    match service.resource.split(':').next_back()?.split('/').collect::<Vec<_>>()[..] {
        ["service", cluster, _] => Some(cluster.to_owned()),
        _ => service.cluster.clone(),
    }
}

/// The live deployments and task sets of a service in `cluster`; nothing for one that was deleted.
fn live_service(service: &Service, cluster: &str) -> Result<Option<LiveService>, String> {
    let arn = service.service_arn().ok_or("ecs:DescribeServices answered a service without its ARN")?;
    // A draining service still runs tasks, and one of an unknown status may.
    if service.status() == Some("INACTIVE") {
        return Ok(None);
    }
    let deployments = service
        .deployments()
        .iter()
        .filter(|deployment| deployment.status() != Some("INACTIVE"))
        .map(|deployment| deployment.task_definition());
    let task_sets = service.task_sets().iter().map(|task_set| task_set.task_definition());
    let task_definition = |text: Option<&str>| {
        text.and_then(|text| text.parse::<TaskDefinitionArn>().ok())
            .ok_or_else(|| format!("{arn} has a deployment whose task definition cannot be read: {text:?}"))
    };
    let mut task_definitions = BTreeMap::new();
    for text in deployments.chain(task_sets) {
        *task_definitions.entry(task_definition(text)?).or_insert(0) += 1;
    }
    if let Some(text) = service.task_definition() {
        task_definitions.entry(task_definition(Some(text))?).or_insert(1);
    }
    Ok(Some(LiveService {
        service: arn.to_owned(),
        cluster: cluster.to_owned(),
        task_definitions,
        revisions: service
            .current_service_revisions()
            .iter()
            .filter_map(|revision| revision.arn())
            .map(str::to_owned)
            .collect(),
        pinned: Found::Missing(Because::new(Gap::PinnedDigests, format!("{arn} was not asked what it has pinned"))),
        tells_past_deployments: service.deployment_controller().is_none_or(|controller| {
            !matches!(controller.r#type(), DeploymentControllerType::CodeDeploy | DeploymentControllerType::External)
        }),
        began_at: service.deployments().iter().filter_map(|deployment| timestamp(deployment.created_at()?)).max(),
        deployed_at: service
            .deployments()
            .iter()
            .flat_map(|deployment| [deployment.created_at(), deployment.updated_at()])
            .filter_map(|at| timestamp(at?))
            .max(),
        replaced: Found::Missing(Because::new(Gap::Deployments, format!("{arn} was not asked what it ran before"))),
    }))
}

/// The revisions that name each of `repositories`, or why they are not known. If not all can be had together, each
/// repository is asked for by itself: what cannot be read holds up only those that it names.
pub async fn naming<'a>(
    aggregator: &Aggregator<'_>,
    hub: &AccountId,
    repositories: &BTreeSet<&'a Repository>,
) -> BTreeMap<&'a Repository, Result<Vec<Revision>, Because>> {
    let mut naming: BTreeMap<_, _> = repositories.iter().map(|repository| (*repository, Ok(Vec::new()))).collect();
    match select_naming(aggregator, hub, repositories.iter().copied()).await {
        Ok(revisions) => {
            for revision in revisions {
                let named: BTreeSet<&Repository> = revision.images.iter().map(|image| image.repository()).collect();
                for repository in named {
                    if let Some(Ok(known)) = naming.get_mut(repository) {
                        known.push(revision.clone());
                    }
                }
            }
        }
        Err(because) if repositories.len() == 1 => {
            naming.values_mut().for_each(|known| *known = Err(because.clone()));
        }
        Err(_) => {
            for (repository, known) in &mut naming {
                *known = select_naming(aggregator, hub, [*repository]).await;
            }
        }
    }
    naming
}

async fn select_naming<'a>(
    aggregator: &Aggregator<'_>,
    hub: &AccountId,
    repositories: impl IntoIterator<Item = &'a Repository>,
) -> Result<Vec<Revision>, Because> {
    let expressions = queries::naming(repositories).map_err(|error| Because::new(Gap::Usage, error.to_string()))?;
    let mut found = Vec::new();
    for expression in expressions {
        found.extend(aggregator.select(Gap::Usage, &expression, |row| row.revision(hub)).await?);
    }
    Ok(found)
}

/// The hub's images that each of these revisions names; `known` is asked first and learns.
pub async fn images_of(
    clients: &Clients,
    names: &Names,
    aggregator: &Aggregator<'_>,
    hub: &AccountId,
    arns: BTreeSet<&TaskDefinitionArn>,
    known: &mut KnownRevisions,
) -> BTreeMap<TaskDefinitionArn, Result<RevisionImages, Because>> {
    let mut images: BTreeMap<TaskDefinitionArn, Result<RevisionImages, Because>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for arn in arns {
        match known.0.get(arn) {
            Some(named) => {
                images.insert(arn.clone(), Ok(RevisionImages::Named(named.clone())));
            }
            None => unknown.push(arn),
        }
    }
    if unknown.is_empty() {
        return images;
    }
    match by_arn(aggregator, hub, &unknown).await {
        Ok(found) => images.extend(found.into_iter().map(|(arn, named)| (arn, Ok(RevisionImages::Named(named))))),
        Err(because) => images.extend(unknown.iter().map(|arn| ((*arn).clone(), Err(because.clone())))),
    }
    for arn in unknown {
        if !images.contains_key(arn) {
            images.insert(arn.clone(), described(clients, names, hub, arn).await);
        }
        if let Some(Ok(RevisionImages::Named(named))) = images.get(arn) {
            known.insert(arn.clone(), named.clone());
        }
    }
    images
}

async fn by_arn(
    aggregator: &Aggregator<'_>,
    hub: &AccountId,
    arns: &[&TaskDefinitionArn],
) -> Result<Vec<(TaskDefinitionArn, Vec<ImageReference>)>, Because> {
    let mut found = Vec::new();
    let expressions = queries::revisions_by_arn(arns.iter().copied())
        .map_err(|error| Because::new(Gap::Deployments, error.to_string()))?;
    for expression in expressions {
        let revisions = aggregator.select(Gap::Deployments, &expression, |row| row.revision(hub)).await?;
        found.extend(revisions.into_iter().map(|revision| (revision.arn, revision.images)));
    }
    Ok(found)
}

/// What ECS says of a revision that it does not have (any more). Anything else that it says is a gap.
const NO_SUCH_REVISION: &str = "Unable to describe task definition.";

async fn described(
    clients: &Clients,
    names: &Names,
    hub: &AccountId,
    arn: &TaskDefinitionArn,
) -> Result<RevisionImages, Because> {
    let WorkloadClients { ecs, .. } =
        clients.workload(&arn.account, &names.evidence_role(&arn.region), &arn.region).await;
    let answer = match ecs.describe_task_definition().task_definition(arn.to_string()).send().await {
        Ok(answer) => answer,
        Err(error)
            if error.as_service_error().is_some_and(|service| {
                service.is_client_exception() && service.message() == Some(NO_SUCH_REVISION)
            }) =>
        {
            return Ok(RevisionImages::NoSuchRevision);
        }
        Err(error) => {
            return Err(failed_call(Gap::Deployments, "ecs:DescribeTaskDefinition", &arn.to_string(), &error));
        }
    };
    let unreadable = |what: &str| Because::new(Gap::Deployments, format!("{arn}: {what}"));
    let containers = answer.task_definition().map(|task_definition| task_definition.container_definitions());
    let containers =
        containers.filter(|containers| !containers.is_empty()).ok_or_else(|| unreadable("it has no containers"))?;
    let images = containers
        .iter()
        .map(|container| container.image().ok_or_else(|| unreadable("a container has no image")))
        .collect::<Result<Vec<_>, _>>()?;
    hub_images(images, hub).map(RevisionImages::Named).map_err(|text| unreadable(&text))
}

/// What is to be found out of service revisions.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The images that each task definition names which services run.
    pub images: &'a BTreeMap<TaskDefinitionArn, Result<RevisionImages, Because>>,
    /// Of services that name one of these by a tag, what they have pinned.
    pub repositories: &'a BTreeSet<&'a Repository>,
    /// What was replaced since then.
    pub since: Timestamp,
    /// It is so late.
    pub now: Timestamp,
    /// What was asked before.
    pub known: &'a KnownReplacements,
}

/// Asks for what is wanted of the service revisions of `services`; what is worth remembering of what they ran before.
pub async fn ask_for_service_revisions(
    clients: &Clients,
    names: &Names,
    (account, region): &Place,
    services: &mut [LiveService],
    Wanted { images, repositories, since, now, known }: Wanted<'_>,
) -> Vec<(ServiceKey, Replacements)> {
    let by_tag = |service: &LiveService| {
        let named = |image: &ImageReference| image.digest().is_none() && repositories.contains(image.repository());
        service.task_definitions.keys().any(|arn| match images.get(arn) {
            Some(Ok(RevisionImages::Named(images))) => images.iter().any(named),
            _ => false,
        })
    };
    // Nothing was replaced by deployments that are older. Should ECS not say how old they are, it is asked.
    let recently =
        |service: &LiveService| service.tells_past_deployments && service.deployed_at.is_none_or(|at| at >= since);
    let (mut services, others): (Vec<&mut LiveService>, Vec<&mut LiveService>) =
        services.iter_mut().partition(|service| by_tag(service) || recently(service));
    for service in others {
        service.pinned = Found::Known(Vec::new());
        service.replaced = Found::Known(Vec::new());
    }
    if services.is_empty() {
        return Vec::new();
    }
    let WorkloadClients { ecs, .. } = clients.workload(account, &names.evidence_role(region), region).await;
    let subject = format!("account {account} in {region}");
    let mut arns = BTreeSet::new();
    let mut open = Vec::new();
    for service in &services {
        if by_tag(service) {
            arns.extend(service.revisions.iter().cloned());
        }
        let asks = recently(service) && known.of(service, since).is_none();
        open.push(asks.then(|| (service_key(service), service.began_at)));
    }
    let ecs = &ecs;
    let asked = open.into_iter().map(async |service| {
        let (service, began_at) = service?;
        Some(replaced_since(ecs, &service, began_at, since, now).await)
    });
    let asked: Vec<Option<Result<Ended, Because>>> = futures::stream::iter(asked).buffered(PARALLEL).collect().await;
    arns.extend(asked.iter().flatten().flatten().flat_map(|ended| ended.revisions.keys()).cloned());
    let described = describe_revisions(ecs, &subject, account, &arns).await;
    let describe = |service: &LiveService, arn: &String| match &described {
        Ok(described) => described.get(arn).cloned().ok_or_else(|| {
            let text = format!("{}: its revision {arn} cannot be described", service.service);
            Because::new(Gap::PinnedDigests, text)
        }),
        Err(because) => Err(because.clone()),
    };
    let mut learned = Vec::new();
    for (service, ended) in services.iter_mut().zip(asked) {
        let pinned: Result<Vec<_>, _> = if by_tag(service) {
            service.revisions.iter().map(|arn| describe(service, arn)).collect()
        } else {
            Ok(Vec::new())
        };
        service.pinned = pinned.into();
        let Some(ended) = ended else {
            let replaced = known.of(service, since).map(|known| known.replaced.clone());
            service.replaced = Found::Known(replaced.unwrap_or_default());
            continue;
        };
        let all_ended = ended.as_ref().is_ok_and(|ended| ended.all_ended);
        let replaced: Result<Vec<_>, _> = ended.and_then(|ended| {
            ended.revisions.into_iter().map(|(arn, until)| Ok((describe(service, &arn)?, until))).collect()
        });
        if let (true, Ok(replaced), Some(deployed_at)) = (all_ended, &replaced, service.deployed_at) {
            let replaced = replaced.clone();
            learned.push((service_key(service), Replacements { deployed_at, since, replaced }));
        }
        service.replaced = replaced.into();
    }
    learned
}

/// What was part of a service's deployments.
struct Ended {
    /// The service revisions, and when each was last a part of one.
    revisions: BTreeMap<String, Timestamp>,
    /// No deployment goes on.
    all_ended: bool,
}

/// A deployment can wait for its hooks for so long (ECS developer guide, "Lifecycle hooks for Amazon ECS service
/// deployments").
const LONGEST_ROLLOUT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The service revisions that deployments of `service` which ended since `since`, or did not end yet, were from or to. The
/// latest of them began at `began_at`.
async fn replaced_since(
    ecs: &aws_sdk_ecs::Client,
    (cluster, service): &ServiceKey,
    began_at: Option<Timestamp>,
    since: Timestamp,
    now: Timestamp,
) -> Result<Ended, Because> {
    let begun_after = CreatedAt::builder().after(DateTime::from_secs((since - LONGEST_ROLLOUT).as_second())).build();
    let mut ended = Vec::new();
    let mut token = None;
    loop {
        let page = ecs
            .list_service_deployments()
            .service(service)
            .cluster(cluster)
            .created_at(begun_after.clone())
            .max_results(100)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| failed_call(Gap::Deployments, "ecs:ListServiceDeployments", service, &error))?;
        for deployment in page.service_deployments() {
            if deployment.finished_at().and_then(timestamp).is_none_or(|at| at >= since) {
                let arn = deployment.service_deployment_arn().ok_or_else(|| {
                    Because::new(Gap::Deployments, format!("a deployment of {service} cannot be read"))
                })?;
                ended.push(arn.to_owned());
            }
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    // One that began since then cannot have ended before, so that it is among them.
    if ended.is_empty() && began_at.is_some_and(|at| at >= since) {
        let text = format!("ecs:ListServiceDeployments does not tell the latest deployment of {service}");
        return Err(Because::new(Gap::Deployments, text));
    }
    let (mut revisions, mut all_ended) = (BTreeMap::new(), true);
    for twenty in ended.chunks(20) {
        let answer = ecs
            .describe_service_deployments()
            .set_service_deployment_arns(Some(twenty.to_vec()))
            .send()
            .await
            .map_err(|error| failed_call(Gap::Deployments, "ecs:DescribeServiceDeployments", service, &error))?;
        if answer.service_deployments().len() < twenty.len() {
            let text = format!("ecs:DescribeServiceDeployments did not answer for every deployment of {service}");
            return Err(Because::new(Gap::Deployments, text));
        }
        for deployment in answer.service_deployments() {
            let ended_at = deployment.finished_at().or(deployment.stopped_at()).and_then(timestamp);
            all_ended &= ended_at.is_some();
            let until = ended_at.unwrap_or(now);
            for arn in parts(deployment).ok_or_else(|| {
                Because::new(
                    Gap::Deployments,
                    format!("a service revision in a deployment of {service} cannot be read"),
                )
            })? {
                let latest = revisions.entry(arn.to_owned()).or_insert(until);
                *latest = until.max(*latest);
            }
        }
    }
    Ok(Ended { revisions, all_ended })
}

/// The service revisions that a deployment was from and to, if all of them can be read.
fn parts(deployment: &ServiceDeployment) -> Option<Vec<&str>> {
    let target = deployment.target_service_revision()?;
    deployment.source_service_revisions().iter().chain([target]).map(|revision| revision.arn()).collect()
}

fn timestamp(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
}

async fn describe_revisions(
    ecs: &aws_sdk_ecs::Client,
    subject: &str,
    account: &AccountId,
    arns: &BTreeSet<String>,
) -> Result<BTreeMap<String, PinnedRevision>, Because> {
    let mut pinned = BTreeMap::new();
    for twenty in arns.iter().cloned().collect::<Vec<_>>().chunks(20) {
        let answer = ecs
            .describe_service_revisions()
            .set_service_revision_arns(Some(twenty.to_vec()))
            .send()
            .await
            .map_err(|error| failed_call(Gap::PinnedDigests, "ecs:DescribeServiceRevisions", subject, &error))?;
        for revision in answer.service_revisions() {
            let revision = pinned_revision(revision).ok_or_else(|| {
                Because::new(Gap::PinnedDigests, format!("a service revision of account {account} cannot be read"))
            })?;
            pinned.insert(revision.arn.clone(), revision);
        }
    }
    Ok(pinned)
}

/// What a service revision has pinned. Images outside ECR cannot be read as references, and need not be.
fn pinned_revision(revision: &ServiceRevision) -> Option<PinnedRevision> {
    let mut images = Vec::new();
    for container in revision.container_images() {
        let text = container.image()?;
        match text.parse() {
            Ok(image) => images.push((image, container.image_digest().and_then(|digest| digest.parse().ok()))),
            Err(_) if text.to_ascii_lowercase().contains(".dkr") => return None,
            Err(_) => {}
        }
    }
    Some(PinnedRevision {
        arn: revision.service_revision_arn()?.to_owned(),
        task_definition: revision.task_definition()?.parse().ok()?,
        images,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::types::ServiceRevisionSummary;

    use super::*;

    fn revision(arn: Option<&str>) -> ServiceRevisionSummary {
        ServiceRevisionSummary::builder().set_arn(arn.map(str::to_owned)).build()
    }

    #[test]
    fn a_deployment_that_lacks_a_revision_cannot_be_read() {
        let target = ServiceDeployment::builder().target_service_revision(revision(Some("new")));
        assert_eq!(parts(&target.clone().build()), Some(vec!["new"]), "the first of a service has no source");
        let with_source = |arn| target.clone().source_service_revisions(revision(arn)).build();
        assert_eq!(parts(&with_source(Some("old"))), Some(vec!["old", "new"]));
        assert_eq!(parts(&with_source(None)), None);
        assert_eq!(parts(&ServiceDeployment::builder().build()), None);
    }
}
