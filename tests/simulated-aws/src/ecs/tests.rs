//! Each operation and its refusals, through the SDK's client, and the truth behind them.

use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{
    ContainerDefinition, DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentController,
    DeploymentControllerType, DeploymentStrategy, Scale, ScaleUnit, Service, Tag, TaskDefinitionField,
    TaskDefinitionStatus as Status, VersionConsistency,
};
use jiff::SignedDuration;

use super::*;
use crate::{Principal, SimulatedAws, ecr};

const HOST: &str = "111111111111.dkr.ecr.eu-west-1.amazonaws.com";

struct Bench {
    aws: SimulatedAws,
    account: AccountId,
    region: Region,
    ecs: Client,
}

/// A world with one account, the repository `app` and the cluster `main`.
fn bench() -> Bench {
    let aws = SimulatedAws::new(1);
    let account = AccountId::new("111111111111").unwrap();
    let region = Region::new("eu-west-1").unwrap();
    aws.world().add_account(&account);
    aws.call(&account, &region, "ecr", "CreateRepository", json!({"repositoryName": "app"})).unwrap();
    let ecs = Client::new(&aws.sdk_config(Principal::Administrator { account: account.clone() }, &region));
    let bench = Bench { aws, account, region, ecs };
    bench.aws.run(bench.ecs.create_cluster().cluster_name("main").send()).unwrap();
    bench
}

impl Bench {
    fn push(&self, tag: &str, contents: &str) -> String {
        ecr::push_image(&mut self.aws.world(), &self.account, &self.region, "app", Some(tag), contents).unwrap()
    }

    fn delete_image(&self, digest: &str) {
        let input = json!({"repositoryName": "app", "imageIds": [{"imageDigest": digest}]});
        self.aws.call(&self.account, &self.region, "ecr", "BatchDeleteImage", input).unwrap();
    }

    fn try_register(&self, family: &str, image: &str) -> Result<String, String> {
        let container = ContainerDefinition::builder().name("main").image(image).build();
        let call = self.ecs.register_task_definition().family(family).container_definitions(container);
        let answer = self.aws.run(call.send()).map_err(|error| code(&error))?;
        Ok(answer.task_definition.unwrap().task_definition_arn.unwrap())
    }

    fn register(&self, tag: &str) -> String {
        self.try_register("web", &format!("{HOST}/app:{tag}")).unwrap()
    }

    fn deregister(&self, arn: &str) {
        self.aws.run(self.ecs.deregister_task_definition().task_definition(arn).send()).unwrap();
    }

    fn create(&self, name: &str, task_definition: &str, count: i32) {
        let call = self.ecs.create_service().cluster("main").service_name(name).task_definition(task_definition);
        self.aws.run(call.desired_count(count).send()).unwrap();
    }

    fn deploy(&self, name: &str, task_definition: &str) -> Result<(), String> {
        let call = self.ecs.update_service().cluster("main").service(name).task_definition(task_definition);
        self.aws.run(call.send()).map(drop).map_err(|error| code(&error))
    }

    fn scale(&self, name: &str, count: i32) {
        self.aws.run(self.ecs.update_service().cluster("main").service(name).desired_count(count).send()).unwrap();
    }

    fn service(&self, name: &str) -> Service {
        let answer = self.aws.run(self.ecs.describe_services().cluster("main").services(name).send()).unwrap();
        answer.services()[0].clone()
    }

    fn minutes(&self, minutes: i64) {
        self.aws.advance(SignedDuration::from_mins(minutes));
    }

    /// The digests that live deployments and task sets would run, and how many tasks run them.
    fn uses(&self) -> Vec<(Option<String>, u32)> {
        let uses = image_uses(&self.aws.world());
        uses.into_iter().map(|it| (it.resolved.map(|pulled| pulled.digest), it.running)).collect()
    }

    /// Whether each outage so far was of something that had been removed.
    fn outages(&self) -> Vec<bool> {
        outages(&self.aws.world()).iter().map(|outage| outage.removed).collect()
    }
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or("no service error").to_owned()
}

#[test]
fn clusters_are_made_listed_described_and_deleted_when_empty() {
    let bench = bench();
    let (aws, ecs) = (&bench.aws, &bench.ecs);
    let listed = aws.run(ecs.list_clusters().send()).unwrap();
    assert_eq!(listed.cluster_arns(), ["arn:aws:ecs:eu-west-1:111111111111:cluster/main"]);
    let described = aws.run(ecs.describe_clusters().clusters("main").clusters("none").send()).unwrap();
    assert_eq!((described.clusters().len(), described.failures()[0].reason()), (1, Some("MISSING")));
    bench.push("v1", "one");
    bench.create("web", &bench.register("v1"), 1);
    let full = aws.run(ecs.delete_cluster().cluster("main").send()).unwrap_err();
    assert_eq!(code(&full), "ClusterContainsServicesException");
    aws.run(ecs.delete_service().cluster("main").service("web").force(true).send()).unwrap();
    bench.minutes(5);
    aws.run(ecs.delete_cluster().cluster("main").send()).unwrap();
    let gone = aws.run(ecs.list_services().cluster("main").send()).unwrap_err();
    assert_eq!(code(&gone), "ClusterNotFoundException");
}

#[test]
fn revisions_count_up_and_the_family_alone_is_its_latest_active_one() {
    let bench = bench();
    let (aws, ecs) = (&bench.aws, &bench.ecs);
    let (one, two) = (bench.register("v1"), bench.register("v2"));
    assert_eq!(two, "arn:aws:ecs:eu-west-1:111111111111:task-definition/web:2");
    bench.deregister(&two);
    let latest = aws.run(ecs.describe_task_definition().task_definition("web").send()).unwrap();
    assert_eq!(latest.task_definition().unwrap().task_definition_arn(), Some(one.as_str()));
    let inactive = aws.run(ecs.describe_task_definition().task_definition("web:2").send()).unwrap();
    let inactive = inactive.task_definition.unwrap();
    assert_eq!(inactive.status(), Some(&Status::Inactive));
    assert_eq!(inactive.container_definitions()[0].image(), Some(format!("{HOST}/app:v2").as_str()));
    assert!(inactive.deregistered_at().is_some());
    let third = bench.register("v3");
    assert!(third.ends_with("web:3"), "a number is never given out twice");

    let list = |status| aws.run(ecs.list_task_definitions().family_prefix("web").status(status).send()).unwrap();
    assert_eq!(list(Status::Active).task_definition_arns(), [one, third]);
    assert_eq!(list(Status::Inactive).task_definition_arns(), [two]);
    assert_eq!(aws.run(ecs.list_task_definition_families().send()).unwrap().families(), ["web"]);
    for missing in ["web:9", "none", "none:1"] {
        let error = aws.run(ecs.describe_task_definition().task_definition(missing).send()).unwrap_err();
        assert_eq!(code(&error), "ClientException", "{missing}");
    }
    assert_eq!(
        code(&aws.run(ecs.deregister_task_definition().task_definition("web").send()).unwrap_err()),
        "ClientException"
    );
    assert_eq!(bench.try_register("bad family", "x").unwrap_err(), "ClientException");
}

#[test]
fn a_task_definitions_tags_are_shown_when_asked_for() {
    let bench = bench();
    let container = ContainerDefinition::builder().name("main").image("nginx").build();
    let tag = Tag::builder().key("team").value("a").build();
    let call = bench.ecs.register_task_definition().family("web").container_definitions(container).tags(tag.clone());
    assert_eq!(bench.aws.run(call.send()).unwrap().tags(), std::slice::from_ref(&tag));
    let call = bench.ecs.describe_task_definition().task_definition("web");
    assert_eq!(bench.aws.run(call.clone().send()).unwrap().tags(), []);
    assert_eq!(bench.aws.run(call.include(TaskDefinitionField::Tags).send()).unwrap().tags(), [tag]);
}

#[test]
fn deleting_needs_deregistration_and_ends_when_nothing_runs_it() {
    let bench = bench();
    let (aws, ecs) = (&bench.aws, &bench.ecs);
    bench.push("v1", "one");
    let arn = bench.register("v1");
    bench.create("web", &arn, 1);
    bench.minutes(5);
    let delete = || aws.run(ecs.delete_task_definitions().task_definitions(&arn).send()).unwrap();
    assert_eq!((delete().task_definitions().len(), delete().failures().len()), (0, 1));
    bench.deregister(&arn);
    assert_eq!(delete().task_definitions()[0].status(), Some(&Status::DeleteInProgress));
    bench.minutes(300);
    let describe = || {
        let call = ecs.describe_task_definition().task_definition(&arn);
        aws.run(call.send()).map(drop).map_err(|error| code(&error))
    };
    assert_eq!(describe(), Ok(()), "the service still runs it");
    aws.run(ecs.delete_service().cluster("main").service("web").force(true).send()).unwrap();
    bench.minutes(120);
    assert_eq!(describe(), Err("ClientException".to_owned()));
    let many = ecs.delete_task_definitions().set_task_definitions(Some(vec!["web:1".to_owned(); 11]));
    assert_eq!(code(&aws.run(many.send()).unwrap_err()), "InvalidParameterException");
}

#[test]
fn a_deployment_pins_the_digest_and_keeps_it_when_the_tag_moves() {
    let bench = bench();
    let first = bench.push("v1", "one");
    bench.create("web", &bench.register("v1"), 2);
    assert_eq!(bench.service("web").running_count(), 0);
    bench.minutes(10);
    let service = bench.service("web");
    assert_eq!((service.running_count(), service.deployments().len()), (2, 1));
    assert_eq!(service.deployments()[0].rollout_state().unwrap().as_str(), "COMPLETED");

    let second = bench.push("v1", "two");
    bench.scale("web", 3);
    bench.minutes(10);
    assert_eq!(bench.uses(), [(Some(first.clone()), 3)]);
    let revision = service.current_service_revisions()[0].arn().unwrap();
    let described =
        bench.aws.run(bench.ecs.describe_service_revisions().service_revision_arns(revision).send()).unwrap();
    let image = &described.service_revisions()[0].container_images()[0];
    assert_eq!((image.image_digest(), image.container_name()), (Some(first.as_str()), Some("main")));

    let force = bench.ecs.update_service().cluster("main").service("web").force_new_deployment(true);
    bench.aws.run(force.send()).unwrap();
    bench.minutes(1);
    assert_eq!(bench.uses(), [(Some(second.clone()), 3), (Some(first), 3)], "both deployments are live");
    bench.minutes(10);
    assert_eq!(bench.uses(), [(Some(second), 3)]);
    assert_eq!(bench.outages(), [false; 0]);
}

#[test]
fn without_version_consistency_each_task_resolves_the_tag_anew() {
    let bench = bench();
    bench.push("v1", "one");
    let container = ContainerDefinition::builder().name("main").image(format!("{HOST}/app:v1"));
    let container = container.version_consistency(VersionConsistency::Disabled).build();
    bench.aws.run(bench.ecs.register_task_definition().family("web").container_definitions(container).send()).unwrap();
    bench.create("web", "web", 1);
    bench.minutes(10);
    let second = bench.push("v1", "two");
    assert_eq!(bench.uses(), [(Some(second), 1)]);
}

#[test]
fn a_service_on_an_inactive_revision_goes_on_scaling() {
    let bench = bench();
    let digest = bench.push("v1", "one");
    let arn = bench.register("v1");
    bench.create("web", &arn, 1);
    bench.minutes(10);
    bench.deregister(&arn);
    bench.minutes(60);
    bench.scale("web", 5);
    bench.minutes(1);
    assert_eq!(bench.uses(), [(Some(digest.clone()), 5)]);
    assert_eq!(bench.outages(), [false; 0]);
    bench.delete_image(&digest);
    replace_tasks(&mut bench.aws.world(), &bench.account, &bench.region, "main", "web");
    bench.minutes(1);
    assert_eq!(bench.outages(), [true]);
    assert_eq!(bench.service("web").running_count(), 0);
    bench.push("v1", "one");
    bench.minutes(5);
    assert_eq!(bench.service("web").running_count(), 5, "it tries again");
}

#[test]
fn nothing_new_begins_on_an_inactive_revision_after_ten_minutes() {
    for grace in [true, false] {
        let bench = bench();
        bench.aws.world().behaviours.ecs_inactive_can_begin_for_ten_minutes = grace;
        bench.push("v1", "one");
        let (old, new) = (bench.register("v1"), bench.register("v1"));
        bench.create("web", &new, 1);
        bench.minutes(10);
        bench.deregister(&old);
        let refused = Err("ClientException".to_owned());
        assert_eq!(bench.deploy("web", &old), if grace { Ok(()) } else { refused.clone() });
        bench.minutes(10);
        bench.deploy("web", &new).unwrap();
        assert_eq!(bench.deploy("web", &old), refused);
        let run = bench.ecs.run_task().cluster("main").task_definition(&old);
        assert_eq!(code(&bench.aws.run(run.send()).unwrap_err()), "ClientException");
    }
}

#[test]
fn an_inactive_revision_may_be_forced_or_not() {
    for allowed in [true, false] {
        let bench = bench();
        bench.aws.world().behaviours.ecs_inactive_revision_can_be_forced = allowed;
        bench.push("v1", "one");
        let arn = bench.register("v1");
        bench.create("web", &arn, 1);
        bench.minutes(10);
        bench.deregister(&arn);
        bench.minutes(60);
        let force = bench.ecs.update_service().cluster("main").service("web").force_new_deployment(true);
        assert_eq!(bench.aws.run(force.send()).is_ok(), allowed);
    }
}

#[test]
fn a_deployment_whose_image_is_missing_never_becomes_steady() {
    let bench = bench();
    let digest = bench.push("v1", "one");
    bench.create("web", &bench.register("v1"), 1);
    bench.minutes(10);
    bench.deploy("web", &bench.register("never-pushed")).unwrap();
    bench.minutes(60);
    let service = bench.service("web");
    assert_eq!(service.deployments().len(), 2);
    assert_eq!(service.deployments()[0].rollout_state().unwrap().as_str(), "IN_PROGRESS");
    assert!(service.deployments()[0].failed_tasks() > 3);
    assert_eq!(bench.uses(), [(None, 0), (Some(digest), 1)]);
    assert!(bench.outages().iter().all(|removed| !removed), "it was never there");
}

#[test]
fn the_circuit_breaker_rolls_back_to_the_revision_before() {
    let bench = bench();
    let digest = bench.push("v1", "one");
    let first = bench.register("v1");
    let breaker = DeploymentCircuitBreaker::builder().enable(true).rollback(true).build();
    let configuration = DeploymentConfiguration::builder().deployment_circuit_breaker(breaker).build();
    let create = bench.ecs.create_service().cluster("main").service_name("web").task_definition(&first);
    bench.aws.run(create.desired_count(1).deployment_configuration(configuration).send()).unwrap();
    bench.minutes(10);
    bench.deregister(&first);
    bench.deploy("web", &bench.register("never-pushed")).unwrap();
    bench.minutes(30);
    let service = bench.service("web");
    assert_eq!(service.task_definition(), Some(first.as_str()));
    assert_eq!(bench.uses(), [(Some(digest), 1)]);
    let listed = bench.aws.run(bench.ecs.list_service_deployments().cluster("main").service("web").send()).unwrap();
    let statuses: Vec<_> = listed.service_deployments().iter().map(|it| it.status().unwrap().as_str()).collect();
    assert_eq!(statuses, ["ROLLBACK_SUCCESSFUL", "SUCCESSFUL"]);
    let arn = listed.service_deployments()[0].service_deployment_arn().unwrap();
    let described =
        bench.aws.run(bench.ecs.describe_service_deployments().service_deployment_arns(arn).send()).unwrap();
    assert!(described.service_deployments()[0].rollback().is_some());
}

#[test]
fn a_blue_green_deployment_keeps_the_old_tasks_for_its_bake_time() {
    let bench = bench();
    let (one, two) = (bench.push("v1", "one"), bench.push("v2", "two"));
    let configuration = DeploymentConfiguration::builder().strategy(DeploymentStrategy::BlueGreen);
    let configuration = configuration.bake_time_in_minutes(600).build();
    let create = bench.ecs.create_service().cluster("main").service_name("web").task_definition(bench.register("v1"));
    bench.aws.run(create.desired_count(1).deployment_configuration(configuration).send()).unwrap();
    bench.minutes(700);
    bench.deploy("web", &bench.register("v2")).unwrap();
    bench.minutes(590);
    assert_eq!(bench.uses(), [(Some(two.clone()), 1), (Some(one), 1)]);
    bench.minutes(20);
    assert_eq!(bench.uses(), [(Some(two), 1)]);
}

#[test]
fn services_are_listed_in_pages_of_ten_and_described_ten_at_a_time() {
    let bench = bench();
    bench.push("v1", "one");
    let arn = bench.register("v1");
    for number in 0..12 {
        bench.create(&format!("web-{number:02}"), &arn, 0);
    }
    let first = bench.aws.run(bench.ecs.list_services().cluster("main").send()).unwrap();
    assert_eq!(first.service_arns().len(), 10);
    let rest =
        bench.aws.run(bench.ecs.list_services().cluster("main").set_next_token(first.next_token).send()).unwrap();
    assert_eq!((rest.service_arns().len(), rest.next_token()), (2, None));
    let eleven = bench.ecs.describe_services().cluster("main").set_services(Some(vec!["web-00".to_owned(); 11]));
    assert_eq!(code(&bench.aws.run(eleven.send()).unwrap_err()), "InvalidParameterException");
    let missing = bench.aws.run(bench.ecs.describe_services().cluster("main").services("none").send()).unwrap();
    assert_eq!(missing.failures()[0].reason(), Some("MISSING"));
    let missing = bench.ecs.update_service().cluster("main").service("none").desired_count(1);
    assert_eq!(code(&bench.aws.run(missing.send()).unwrap_err()), "ServiceNotFoundException");
}

#[test]
fn a_service_is_deleted_only_when_scaled_down_or_by_force() {
    let bench = bench();
    bench.push("v1", "one");
    bench.create("web", &bench.register("v1"), 1);
    bench.minutes(10);
    let delete = || bench.ecs.delete_service().cluster("main").service("web");
    assert_eq!(code(&bench.aws.run(delete().send()).unwrap_err()), "InvalidParameterException");
    bench.scale("web", 0);
    let deleted = bench.aws.run(delete().send()).unwrap();
    assert_eq!(deleted.service().unwrap().status(), Some("DRAINING"));
    bench.minutes(2);
    assert_eq!(bench.service("web").status(), Some("INACTIVE"));
    assert_eq!(bench.uses(), []);
    assert_eq!(code(&bench.aws.run(delete().send()).unwrap_err()), "ServiceNotFoundException");
    bench.create("web", "web:1", 1);
    assert_eq!(bench.service("web").status(), Some("ACTIVE"));
}

#[test]
fn what_is_older_than_service_revisions_cannot_be_described() {
    let bench = bench();
    bench.push("v1", "one");
    bench.create("web", &bench.register("v1"), 1);
    bench.minutes(10);
    let revision = bench.service("web").current_service_revisions()[0].arn().unwrap().to_owned();
    make_service_older_than_revisions(&mut bench.aws.world(), &bench.account, &bench.region, "main", "web");
    assert_eq!(bench.service("web").current_service_revisions(), []);
    let described =
        bench.aws.run(bench.ecs.describe_service_revisions().service_revision_arns(revision).send()).unwrap();
    assert_eq!((described.service_revisions().len(), described.failures()[0].reason()), (0, Some("MISSING")));
    let listed = bench.aws.run(bench.ecs.list_service_deployments().cluster("main").service("web").send()).unwrap();
    assert_eq!(listed.service_deployments(), []);
}

#[test]
fn task_sets_run_images_beside_each_other() {
    let bench = bench();
    let (one, two) = (bench.push("v1", "one"), bench.push("v2", "two"));
    let (old, new) = (bench.register("v1"), bench.register("v2"));
    let controller = DeploymentController::builder().r#type(DeploymentControllerType::External).build().unwrap();
    let create = bench.ecs.create_service().cluster("main").service_name("web").desired_count(4);
    bench.aws.run(create.deployment_controller(controller).send()).unwrap();
    let add = |arn: &str, percent: f64| {
        let scale = Scale::builder().value(percent).unit(ScaleUnit::Percent).build();
        let call = bench.ecs.create_task_set().cluster("main").service("web").task_definition(arn).scale(scale);
        bench.aws.run(call.send()).unwrap().task_set.unwrap().task_set_arn.unwrap()
    };
    let first = add(&old, 100.0);
    let second = add(&new, 25.0);
    bench.minutes(1);
    assert_eq!(bench.uses(), [(Some(one), 4), (Some(two.clone()), 1)]);
    let primary = bench.ecs.update_service_primary_task_set().cluster("main").service("web").primary_task_set(&second);
    bench.aws.run(primary.send()).unwrap();
    let sets = bench.aws.run(bench.ecs.describe_task_sets().cluster("main").service("web").send()).unwrap();
    let statuses: Vec<_> = sets.task_sets().iter().map(|set| set.status().unwrap()).collect();
    assert_eq!(statuses, ["ACTIVE", "PRIMARY"]);
    let delete = || bench.ecs.delete_task_set().cluster("main").service("web").task_set(&first);
    assert_eq!(code(&bench.aws.run(delete().send()).unwrap_err()), "InvalidParameterException");
    bench.aws.run(delete().force(true).send()).unwrap();
    let scale = Scale::builder().value(100.0).unit(ScaleUnit::Percent).build();
    bench
        .aws
        .run(bench.ecs.update_task_set().cluster("main").service("web").task_set(&second).scale(scale).send())
        .unwrap();
    bench.minutes(1);
    assert_eq!(bench.uses(), [(Some(two), 4)]);
    assert_eq!(bench.deploy("web", &new), Err("InvalidParameterException".to_owned()));
}

#[test]
fn code_deploy_services_begin_with_a_primary_task_set() {
    let bench = bench();
    let digest = bench.push("v1", "one");
    let controller = DeploymentController::builder().r#type(DeploymentControllerType::CodeDeploy).build().unwrap();
    let create = bench.ecs.create_service().cluster("main").service_name("web").task_definition(bench.register("v1"));
    bench.aws.run(create.desired_count(2).deployment_controller(controller).send()).unwrap();
    bench.minutes(1);
    let service = bench.service("web");
    assert_eq!(service.task_sets()[0].status(), Some("PRIMARY"));
    assert_eq!(bench.uses(), [(Some(digest), 2)]);
}

#[test]
fn a_single_task_runs_until_it_is_stopped() {
    let bench = bench();
    let digest = bench.push("v1", "one");
    bench.register("v1");
    let run =
        |family: &str| bench.aws.run(bench.ecs.run_task().cluster("main").task_definition(family).send()).unwrap();
    let task = run("web").tasks()[0].clone();
    assert_eq!(task.containers()[0].image_digest(), Some(digest.as_str()));
    assert_eq!(bench.uses(), [(Some(digest), 1)]);
    let arn = task.task_arn().unwrap();
    assert_eq!(bench.aws.run(bench.ecs.list_tasks().cluster("main").send()).unwrap().task_arns(), [arn]);
    bench.aws.run(bench.ecs.stop_task().cluster("main").task(arn).send()).unwrap();
    let described = bench.aws.run(bench.ecs.describe_tasks().cluster("main").tasks(arn).send()).unwrap();
    assert_eq!(described.tasks()[0].last_status(), Some("STOPPED"));
    assert_eq!(bench.uses(), []);
    bench.register("never-pushed");
    let failed = run("web").tasks()[0].clone();
    assert!(failed.stopped_reason().unwrap().starts_with("CannotPullContainerError"), "{failed:?}");
}

#[test]
fn images_outside_ecr_always_run() {
    let bench = bench();
    let arn = bench.try_register("web", "docker.io/library/nginx:1.27").unwrap();
    bench.create("web", &arn, 1);
    bench.minutes(10);
    assert_eq!(bench.service("web").running_count(), 1);
    assert_eq!(bench.uses(), [(None, 1)]);
}

#[test]
fn unknown_members_of_a_container_are_refused_by_name() {
    let bench = bench();
    let input = json!({"family": "web", "containerDefinitions": [{"name": "a", "image": "b", "colour": "red"}]});
    let refusal = bench.aws.call(&bench.account, &bench.region, "ecs", "RegisterTaskDefinition", input).unwrap_err();
    assert!(refusal.message.contains("colour"), "{refusal}");
}

#[test]
fn config_hears_of_task_definitions_services_and_task_sets() {
    let bench = bench();
    let place = |operation: &str, input: Value| {
        bench.aws.call(&bench.account, &bench.region, "config", operation, input).unwrap();
    };
    let group = json!({"allSupported": true});
    let role = "arn:aws:iam::111111111111:role/aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig";
    let recorder = json!({"name": "default", "roleARN": role, "recordingGroup": group});
    place("PutConfigurationRecorder", json!({"ConfigurationRecorder": recorder}));
    place("PutDeliveryChannel", json!({"DeliveryChannel": {"name": "default", "s3BucketName": "log"}}));
    place("StartConfigurationRecorder", json!({"ConfigurationRecorderName": "default"}));
    bench.push("v1", "one");
    let arn = bench.register("v1");
    bench.create("web", &arn, 1);
    bench.minutes(10);
    bench.deregister(&arn);
    bench.minutes(10);
    bench.aws.run(bench.ecs.delete_service().cluster("main").service("web").force(true).send()).unwrap();
    bench.minutes(10);
    let world = bench.aws.world();
    let changes = crate::config::changes(&world).iter().map(|change| {
        let item = &change.detail["configurationItem"];
        let text = |member: &str| item[member].as_str().unwrap_or_default();
        (text("resourceType").to_owned(), text("configurationItemStatus").to_owned())
    });
    let of = |kind: &str| changes.clone().filter(|(it, _)| it == kind).map(|(_, status)| status).collect::<Vec<_>>();
    assert_eq!(of("AWS::ECS::TaskDefinition"), ["ResourceDiscovered", "OK"]);
    assert_eq!(of("AWS::ECS::Service"), ["ResourceDiscovered", "ResourceDeleted"]);
}

#[test]
fn another_account_pulls_only_as_the_repositorys_policy_admits() {
    let bench = bench();
    let digest = bench.push("v1", "one");
    let other = AccountId::new("222222222222").unwrap();
    bench.aws.world().add_account(&other);
    let call = |service: &str, operation: &str, input: Value| {
        bench.aws.call(&other, &bench.region, service, operation, input).unwrap()
    };
    call("ecs", "CreateCluster", json!({"clusterName": "main"}));
    let containers = json!([{"name": "main", "image": format!("{HOST}/app:v1")}]);
    call("ecs", "RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": containers}));
    let service = json!({"cluster": "main", "serviceName": "web", "taskDefinition": "web", "desiredCount": 1});
    call("ecs", "CreateService", service);
    bench.minutes(1);
    let denied = |outage: &Outage| matches!(outage.error, ecr::PullError::Denied { .. });
    assert!(outages(&bench.aws.world()).iter().all(denied));
    assert_eq!(bench.outages(), [false]);

    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    }]});
    let input = json!({"repositoryName": "app", "policyText": policy.to_string()});
    bench.aws.call(&bench.account, &bench.region, "ecr", "SetRepositoryPolicy", input).unwrap();
    bench.minutes(10);
    assert_eq!(bench.uses(), [(Some(digest), 1)]);
}
