//! The way of an image, from a task definition event to its deletion, in the simulated AWS: nothing is called but what
//! teams call, and every call of the product is authorized by its role.
//!
//! Each scene asks what became of the image and what the outcome event said of it, so that a check that is merely put off
//! cannot pass for a reason to keep. Where nobody knows how AWS behaves, all scenes are played both ways.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;

use end_to_end::{Installation, Mutability, Organization, Outcome, Outcomes, Pushed};
use jiff::Timestamp;
use serde_json::{Value, json};
use simulated_aws::config::{Item, items, record};
use simulated_aws::{AccountId, Behaviours, Fault, Principal, Region, ServiceError};

/// An organization with EcrCleanup installed.
struct Stage {
    organization: Organization,
    installation: Installation,
    outcomes: Outcomes,
    told: RefCell<Vec<Outcome>>,
    scenes: Cell<u32>,
}

impl Stage {
    /// With two workload accounts and so many regions.
    fn new(regions: usize, behaviours: Behaviours) -> Self {
        let organization = Organization::behaving(1, 2, regions, behaviours);
        let installation = Installation::through_cloudformation(&organization);
        let outcomes = Outcomes::listen(&organization, "ecr-cleanup-prod-accounts");
        Self { organization, installation, outcomes, told: RefCell::default(), scenes: Cell::new(0) }
    }

    /// The sweep looks at all repositories each day, and many scenes take many days.
    fn stop_sweeping(&self) {
        let (hub, home) = (&self.organization.hub, self.organization.home());
        let sweep = json!({"GroupName": "ecr-cleanup-prod-accounts", "Name": "sweep"});
        self.organization.call(hub, home, "scheduler", "DeleteSchedule", sweep);
    }
}

thread_local! {
    /// Where the scenes of this thread are played one after another. Without one, each has a stage of its own.
    static STAGE: RefCell<Option<Rc<Stage>>> = const { RefCell::new(None) };
}

/// A repository that is opted in, and a team in a workload account.
struct Scene {
    stage: Rc<Stage>,
    organization: Organization,
    number: u32,
    repository: String,
    team: AccountId,
    region: Region,
    /// The last event after which an outcome counts.
    since: Cell<Timestamp>,
}

impl Scene {
    fn new(mutability: Mutability) -> Self {
        let shared = STAGE.with_borrow(Clone::clone);
        Self::on(shared.unwrap_or_else(|| Rc::new(Stage::new(2, Behaviours::default()))), mutability)
    }

    /// The next scene on a stage.
    fn on(stage: Rc<Stage>, mutability: Mutability) -> Self {
        let organization = stage.organization.clone();
        let number = stage.scenes.get() + 1;
        stage.scenes.set(number);
        let repository = format!("app-{number}");
        organization.repository(&repository, mutability);
        Self {
            team: organization.workloads[0].clone(),
            region: organization.regions.last().expect("there is one").clone(),
            since: Cell::new(organization.aws.now()),
            stage,
            organization,
            number,
            repository,
        }
    }

    /// A name that no other scene uses.
    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.number)
    }

    fn push(&self, tag: &str) -> Pushed {
        self.organization.push(&self.repository, tag)
    }

    /// The reference for a tag of the repository.
    fn tagged(&self, tag: &str) -> String {
        self.organization.by_tag(&self.repository, tag)
    }

    /// Pushes `v1`, registers a task definition that names it by tag, and lets two days pass.
    fn old_image(&self) -> (Pushed, String) {
        let image = self.push("v1");
        let web = self.register("web", &self.tagged("v1"));
        self.organization.hours(48);
        (image, web)
    }

    fn register(&self, family: &str, image: &str) -> String {
        self.organization.register(&self.team, &self.region, &self.name(family), image)
    }

    fn deregister(&self, task_definition: &str) {
        self.organization.deregister(&self.team, &self.region, task_definition);
        self.since.set(self.organization.aws.now());
    }

    /// What was told of an image since the last deregistration, in order: what, the reason's code, and its text.
    fn outcomes(&self, image: &Pushed) -> Vec<(String, String, String)> {
        let mut told = self.stage.told.borrow_mut();
        told.extend(self.stage.outcomes.take(&self.organization));
        let of_image = |outcome: &&Outcome| {
            outcome.repository == image.repository && outcome.digest == image.digest && outcome.time >= self.since.get()
        };
        let told = told.iter().filter(of_image).cloned();
        told.map(|Outcome { what, code, reason, .. }| (what, code, reason)).collect()
    }

    /// The image is there, and the last check kept it for a reason with this code, whose text says `why`.
    fn assert_kept(&self, image: &Pushed, code: &str, why: &str) {
        self.assert_stays(image, "Image Kept", code, why);
    }

    /// The image is there, and the last check was put off for a reason with this code, whose text says `why`.
    fn assert_postponed(&self, image: &Pushed, code: &str, why: &str) {
        self.assert_stays(image, "Image Check Postponed", code, why);
    }

    fn assert_stays(&self, image: &Pushed, what: &str, code: &str, why: &str) {
        let outcome = self.outcomes(image).pop().expect("there was a check");
        assert_eq!((&*outcome.0, &*outcome.1), (what, code), "{}", outcome.2);
        assert!(outcome.2.contains(why), "{:?} does not say {why:?}", outcome.2);
        assert!(self.organization.has(image), "it was told as {what}");
    }

    fn assert_deleted(&self, image: &Pushed) {
        let outcomes = self.outcomes(image);
        assert!(!self.organization.has(image), "{outcomes:#?}");
        // A second check may have found it gone.
        let deletions = outcomes.iter().filter(|(what, code, _)| (&**what, &**code) == ("Image Deleted", "unused"));
        assert_eq!(deletions.count(), 1, "{outcomes:#?}");
    }

    /// Nothing was refused by the simulation or by IAM, and nothing is stuck.
    fn end(&self) {
        self.organization.minutes(30);
        self.stage.installation.assert_healthy(&self.organization);
        self.organization.aws.world().clear_calls();
    }
}

#[test]
fn an_unused_image_is_deleted_24_hours_after_its_only_task_definition_became_inactive_and_not_a_minute_before() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.minutes(24 * 60);
    assert!(scene.organization.has(&image), "not before the rollback window has passed");
    scene.organization.minutes(60);
    scene.assert_deleted(&image);
    scene.end();
}

#[test]
fn an_image_that_another_accounts_task_definition_names_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    let (other, region) = (&scene.organization.workloads[1], &scene.organization.regions[0]);
    let api = scene.organization.register(other, region, &scene.name("api"), &scene.tagged("v1"));
    scene.deregister(&web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &format!("{api} in account {other} and region {region}"));
    scene.end();
}

#[test]
fn an_image_of_a_service_on_the_inactive_revision_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.organization.create_service(&scene.team, &scene.region, &scene.name("web"), &web);
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &format!("this AWS::ECS::Service runs {web}"));
    scene.end();
}

#[test]
fn an_image_of_a_service_on_a_revision_that_is_being_deleted_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.organization.create_service(&scene.team, &scene.region, &scene.name("web"), &web);
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.delete_task_definition(&scene.team, &scene.region, &web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &format!("this AWS::ECS::Service runs {web}"));
    scene.end();
}

#[test]
fn an_image_of_a_task_set_on_the_inactive_revision_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, next) = (scene.push("v1"), scene.push("v2"));
    // By their digests: what a task set has pinned for a tag cannot be asked.
    let [web, next] = [&image, &next].map(|image| scene.register("web", &scene.organization.by_digest(image)));
    scene.organization.hours(48);
    let name = scene.name("web");
    let call = |operation, input| scene.organization.call(&scene.team, &scene.region, "ecs", operation, input);
    call("CreateCluster", json!({"clusterName": "default"}));
    let controller = json!({"type": "EXTERNAL"});
    call("CreateService", json!({"serviceName": name, "desiredCount": 1, "deploymentController": controller}));
    for task_definition in [&web, &next] {
        call("CreateTaskSet", json!({"cluster": "default", "service": name, "taskDefinition": task_definition}));
    }
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &format!("runs {web}"));
    scene.end();
}

#[test]
fn an_image_of_an_inactive_revision_that_only_a_rule_starts_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.organization.start_on_events(&scene.team, &scene.region, &scene.name("nightly"), "team.clock", &web);
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &format!("this AWS::Events::Rule runs {web}"));
    scene.end();
}

#[test]
fn an_image_of_a_revision_that_only_a_rule_starts_and_config_has_lost_is_kept_as_long_as_ecs_has_the_revision() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    let name = scene.name("nightly");
    let call =
        |service, operation, input| scene.organization.call(&scene.team, &scene.region, service, operation, input);
    scene.organization.start_on_events(&scene.team, &scene.region, &name, "team.clock", &web);
    let task = call("ecs", "RunTask", json!({"taskDefinition": web}))["tasks"][0]["taskArn"].clone();
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.delete_task_definition(&scene.team, &scene.region, &web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &format!("this AWS::Events::Rule runs {web}"));

    call("ecs", "StopTask", json!({"task": task}));
    call("events", "RemoveTargets", json!({"Rule": name, "Ids": ["cluster"]}));
    let again = scene.register("web", &scene.tagged("v1"));
    scene.organization.hours(2);
    scene.deregister(&again);
    scene.organization.hours(26);
    scene.assert_deleted(&image);
    scene.end();
}

#[test]
fn a_rule_whose_revision_ecs_does_not_have_holds_nothing_up() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    let gone = format!("arn:aws:ecs:{}:{}:task-definition/long-gone:7", scene.region, scene.team);
    scene.organization.start_on_events(&scene.team, &scene.region, &scene.name("nightly"), "team.clock", &gone);
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.hours(26);
    scene.assert_deleted(&image);
    scene.end();
}

#[test]
fn the_check_is_postponed_while_a_revision_that_a_rule_starts_cannot_be_read() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    let gone = format!("arn:aws:ecs:{}:{}:task-definition/unreadable:7", scene.region, scene.team);
    scene.organization.start_on_events(&scene.team, &scene.region, &scene.name("nightly"), "team.clock", &gone);
    let asked = gone.clone();
    scene.organization.aws.world().add_fault_plan(move |call| {
        let unreadable = call.operation == "DescribeTaskDefinition" && call.input["taskDefinition"] == asked.as_str();
        unreadable.then(|| Fault::Refuse(ServiceError::new("ClientException", "Something else.")))
    });
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.hours(26);
    scene.assert_postponed(&image, "deployments-unknown", &gone);
    scene.organization.aws.world().clear_fault_plans();
    scene.organization.hours(26);
    scene.assert_deleted(&image);
    scene.end();
}

/// Everything that uses images outside ECS, as AWS Config shows it: the reference by tag, and the digest's hexadecimal digits.
fn users_outside_ecs(name: &str, by_tag: &str, hex: &str) -> [(&'static str, Item); 6] {
    let repository = json!({"ImageIdentifier": by_tag, "ImageRepositoryType": "ECR"});
    let base64 = {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        aws_smithy_types::base64::encode(bytes)
    };
    let function = |hash: &str| {
        let arn = format!("arn:aws:lambda:us-east-1:222222222222:function:{name}");
        items::lambda_function(&json!({
            "FunctionName": name, "FunctionArn": arn, "PackageType": "Image", "CodeSha256": hash,
        }))
    };
    [
        (
            "AWS::AppRunner::Service",
            items::app_runner_service(&json!({
                "ServiceArn": format!("arn:aws:apprunner:us-east-1:222222222222:service/{name}"), "ServiceName": name,
                "SourceConfiguration": {"ImageRepository": repository},
            })),
        ),
        (
            "AWS::SageMaker::Model",
            items::sage_maker_model(&json!({
                "ModelArn": format!("arn:aws:sagemaker:us-east-1:222222222222:model/{name}"), "ModelName": name,
                "PrimaryContainer": {"Image": by_tag},
            })),
        ),
        (
            "AWS::SageMaker::Model",
            items::sage_maker_model(&json!({
                "ModelArn": format!("arn:aws:sagemaker:us-east-1:222222222222:model/{name}"), "ModelName": name,
                "Containers": [{"Image": "somewhere.example/else:1"}, {"Image": by_tag}],
            })),
        ),
        (
            "AWS::CodeBuild::Project",
            items::code_build_project(&json!({
                "arn": format!("arn:aws:codebuild:us-east-1:222222222222:project/{name}"), "name": name,
                "environment": {"type": "LINUX_CONTAINER", "image": by_tag, "computeType": "BUILD_GENERAL1_SMALL"},
            })),
        ),
        ("AWS::Lambda::Function", function(hex)),
        ("AWS::Lambda::Function", function(&base64)),
    ]
}

#[test]
fn an_image_that_something_outside_ecs_uses_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let tags: Vec<String> = (0..6).map(|number| format!("v{number}")).collect();
    let images: Vec<Pushed> = tags.iter().map(|tag| scene.push(tag)).collect();
    let unused = scene.push("unused");
    let all: Vec<&String> = tags.iter().collect();
    let revisions: Vec<String> = all
        .iter()
        .map(|tag| scene.register(tag, &scene.tagged(tag)))
        .chain([scene.register("unused", &scene.tagged("unused"))])
        .collect();
    let mut expected = Vec::new();
    for (number, (image, tag)) in images.iter().zip(&tags).enumerate() {
        let name = scene.name(tag);
        let users = users_outside_ecs(&name, &scene.tagged(tag), image.digest.trim_start_matches("sha256:"));
        let (resource_type, item) = users[number].clone();
        expected.push(format!("this {resource_type} names"));
        record(&mut scene.organization.aws.world(), &scene.team, &scene.region, item);
    }
    scene.organization.hours(48);
    revisions.iter().for_each(|revision| scene.deregister(revision));
    scene.organization.hours(72);
    for (image, why) in images.iter().zip(expected) {
        scene.assert_kept(image, "in-use", &why);
    }
    // What a SageMaker model's tag meant when its endpoint was deployed may be any image of the repository.
    scene.assert_stays(&unused, "Image Check Postponed", "pinned-digests-unknown", "nothing tells which digest");
    scene.end();
}

#[test]
fn a_function_whose_image_is_not_known_postpones_what_lambda_may_pull_and_nothing_else() {
    let open = Scene::new(Mutability::Immutable);
    let closed = Scene::on(Rc::clone(&open.stage), Mutability::Immutable);
    let policy: Value = {
        let input = json!({"repositoryName": open.repository});
        let found = open.organization.call(
            &open.organization.hub,
            open.organization.home(),
            "ecr",
            "GetRepositoryPolicy",
            input,
        );
        let mut policy: Value = serde_json::from_str(found["policyText"].as_str().expect("text")).expect("JSON");
        policy["Statement"].as_array_mut().expect("statements").push(json!({
            "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "ecr:BatchGetImage",
        }));
        json!({"repositoryName": open.repository, "policyText": policy.to_string()})
    };
    let ecs_only = json!({
        "resourceArn": format!("arn:aws:ecr:{}:{}:repository/{}", open.organization.home(), open.organization.hub, open.repository),
        "tags": [{"Key": "ecr-cleanup", "Value": "ecs-only=true"}],
    });
    for (operation, input) in [("SetRepositoryPolicy", policy), ("TagResource", ecs_only)] {
        open.organization.call(&open.organization.hub, open.organization.home(), "ecr", operation, input);
    }
    let function = items::lambda_function(&json!({
        "FunctionName": open.name("f"), "FunctionArn": "arn:aws:lambda:us-east-1:222222222222:function:f",
        "PackageType": "Image", "CodeSha256": "not a hash",
    }));
    record(&mut open.organization.aws.world(), &open.team, &open.region, function.clone());
    let images = [&open, &closed].map(|scene| {
        let image = scene.push("v1");
        (image, scene.register("web", &scene.tagged("v1")))
    });
    open.organization.hours(48);
    let [(pullable, web), (other, api)] = images;
    open.deregister(&web);
    closed.deregister(&api);
    open.organization.hours(26);
    open.assert_postponed(&pullable, "usage-unknown", "codeSha256");
    closed.assert_deleted(&other);
    record(&mut open.organization.aws.world(), &open.team, &open.region, function.deleted());
    open.organization.hours(26);
    open.assert_deleted(&pullable);
    open.end();
}

#[test]
fn an_image_whose_other_tag_is_in_use_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.organization.tag(&image, "stable");
    let api = scene.register("api", &scene.tagged("stable"));
    scene.deregister(&web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &api);
    scene.end();
}

#[test]
fn an_image_whose_digest_is_in_use_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    let api = scene.register("api", &scene.organization.by_digest(&image));
    scene.deregister(&web);
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &api);
    scene.end();
}

#[test]
fn an_image_that_is_named_by_digest_beside_a_tag_that_it_lost_is_kept() {
    let scene = Scene::new(Mutability::Mutable);
    let image = scene.organization.push(&scene.repository, "v1");
    let web = scene.register("web", &format!("{}@{}", scene.tagged("v1"), image.digest));
    scene.organization.push_again(&scene.repository, "v1", "other contents");
    scene.organization.hours(72);
    scene.assert_kept(&image, "in-use", &web);
    scene.end();
}

#[test]
fn an_index_goes_with_its_children_and_signature_unless_a_child_is_in_use() {
    for mutability in [Mutability::Immutable, Mutability::Mutable] {
        let scene = Scene::new(mutability);
        let child = |contents: &str| scene.organization.push_untagged(&scene.repository, contents);
        let (unused_child, used_child, other_child) = (child("amd64"), child("arm64"), child("other"));
        let unused = scene.organization.push_index("v1", &[&unused_child, &other_child]);
        let used = scene.organization.push_index("v2", &[&used_child, &other_child]);
        let signatures = [&unused, &used, &unused_child].map(|image| scene.organization.sign(image));
        let (one, two) = (scene.register("one", &scene.tagged("v1")), scene.register("two", &scene.tagged("v2")));
        let api = scene.register("api", &scene.organization.by_digest(&used_child));
        scene.organization.hours(48);
        scene.deregister(&one);
        scene.deregister(&two);
        scene.organization.hours(26);
        scene.assert_deleted(&unused);
        scene.assert_kept(&used, "in-use", &api);
        let left = scene.organization.images(&scene.repository);
        let expected = [&used, &used_child, &other_child, &signatures[1]].map(|image| image.digest.clone());
        assert_eq!(left.into_keys().collect::<Vec<_>>(), sorted(expected));
        scene.end();
    }
}

#[test]
fn children_that_indexes_share_and_indexes_in_an_index_go_once_nothing_lists_them() {
    let scene = Scene::new(Mutability::Immutable);
    let child = |contents: &str| scene.organization.push_untagged(&scene.repository, contents);
    let (shared, own, innermost) = (child("amd64"), child("arm64"), child("riscv64"));
    scene.organization.push_index("v1", &[&shared]);
    scene.organization.push_index("v2", &[&shared, &own]);
    let inner = scene.organization.push_untagged_index(&[&innermost]);
    scene.organization.push_index("v3", &[&inner]);
    let revisions = ["v1", "v2", "v3"].map(|tag| scene.register(tag, &scene.tagged(tag)));
    scene.organization.hours(48);
    revisions.iter().for_each(|revision| scene.deregister(revision));
    // Untagged images are kept by default, so that no sweep would find these.
    scene.organization.hours(30);
    assert_eq!(scene.organization.images(&scene.repository), BTreeMap::new());
    scene.end();
}

fn sorted<const N: usize>(mut digests: [String; N]) -> [String; N] {
    digests.sort();
    digests
}

#[test]
fn an_image_of_a_repository_without_the_opt_in_tag_is_never_checked() {
    let scene = Scene::new(Mutability::Immutable);
    scene.organization.opt_out(&scene.repository);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    assert_eq!(scene.outcomes(&image), []);
    scene.end();
}

#[test]
fn an_image_of_a_repository_that_loses_the_opt_in_tag_in_between_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(12);
    scene.organization.opt_out(&scene.repository);
    scene.organization.hours(72);
    scene.assert_kept(&image, "not-opted-in", "does not carry the opt-in tag");
    scene.end();
}

#[test]
fn a_registration_in_between_postpones_the_check() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(12);
    let again = scene.register("web", &scene.tagged("v1"));
    scene.organization.hours(1);
    scene.deregister(&again);
    scene.organization.hours(23);
    assert!(scene.organization.has(&image), "24 hours after the first deregistration, 23 after the last");
    scene.organization.hours(2);
    scene.assert_deleted(&image);
    scene.end();
}

#[test]
fn every_tag_of_an_unused_image_goes_where_tags_cannot_move() {
    let scene = Scene::new(Mutability::Immutable);
    let image = scene.push("v1");
    scene.organization.tag(&image, "v1.0");
    let web = scene.register("web", &scene.tagged("v1"));
    scene.organization.hours(48);
    scene.deregister(&web);
    scene.organization.hours(26);
    scene.assert_deleted(&image);
    scene.end();
}

#[test]
fn the_digest_that_a_service_has_pinned_is_kept_after_its_tag_moved() {
    let scene = Scene::new(Mutability::Mutable);
    let (pinned, web) = scene.old_image();
    scene.organization.create_service(&scene.team, &scene.region, &scene.name("web"), &web);
    scene.organization.hours(1);
    let moved = scene.organization.push_again(&scene.repository, "v1", "other contents");
    assert_ne!(pinned, moved);
    let other = scene.register("other", &scene.organization.by_digest(&pinned));
    scene.deregister(&other);
    scene.organization.hours(120);
    // Untagged and named by nothing, but running.
    scene.assert_kept(&pinned, "in-use", &format!("this service has pinned the digest {}", pinned.digest));
    scene.end();
}

/// An image whose check is due in an hour, and whose tag a service moves away from with a deployment that no task definition
/// event tells of.
fn replaced_by_a_deployment(scene: &Scene) -> Pushed {
    let (old, web) = scene.old_image();
    let service = scene.name("web");
    scene.organization.tag(&old, "build-41");
    scene.organization.create_service(&scene.team, &scene.region, &service, &web);
    let other = scene.register("other", &scene.organization.by_digest(&old));
    // A pull may be recorded a day late.
    scene.organization.hours(72);
    scene.deregister(&other);
    scene.organization.hours(23);
    // The same task definition names what the tag means now.
    scene.organization.push_again(&scene.repository, "v1", "other contents");
    let input = json!({"cluster": "default", "service": service, "forceNewDeployment": true});
    scene.organization.call(&scene.team, &scene.region, "ecs", "UpdateService", input);
    old
}

#[test]
fn the_digest_that_a_service_ran_stays_for_a_window_after_another_deployment_took_its_place() {
    let scene = Scene::new(Mutability::Mutable);
    let old = replaced_by_a_deployment(&scene);
    scene.organization.hours(2);
    scene.assert_postponed(&old, "too-early", "the end of a deployment that ran it");
    scene.organization.hours(21);
    assert!(scene.organization.has(&old), "23 hours after it ran last");
    scene.organization.hours(3);
    scene.assert_deleted(&old);
    scene.end();
}

#[test]
fn the_check_is_postponed_while_a_deployment_of_a_service_is_not_told() {
    let scene = Scene::new(Mutability::Mutable);
    let old = replaced_by_a_deployment(&scene);
    scene.organization.aws.world().add_fault_plan(|call| {
        let is_check = matches!(&call.principal, Principal::Role { role, .. } if role.starts_with("ecr-cleanup"));
        let hide = |answer: &mut Value| answer["serviceDeployments"] = json!([]);
        (is_check && call.operation == "ListServiceDeployments").then(|| Fault::Alter(Box::new(hide)))
    });
    scene.organization.hours(2);
    scene.assert_postponed(&old, "deployments-unknown", &scene.name("web"));
    scene.organization.aws.world().clear_fault_plans();
    scene.organization.hours(26);
    scene.assert_deleted(&old);
    scene.end();
}

#[test]
fn nothing_is_deleted_where_tags_can_move_while_a_service_that_cannot_be_asked_names_the_repository() {
    let scene = Scene::new(Mutability::Mutable);
    let (old, web) = scene.old_image();
    let new = scene.push("v2");
    let next = scene.register("web", &scene.tagged("v2"));
    let service = scene.name("web");
    scene.organization.create_service(&scene.team, &scene.region, &service, &next);
    scene.organization.forget_service_revisions(&scene.team, &scene.region, &service);
    scene.deregister(&web);
    scene.organization.hours(72);
    // The service may have pinned any digest of the repository.
    scene.assert_postponed(&old, "pinned-digests-unknown", &service);
    assert!(scene.organization.has(&new));
    scene.organization.delete_service(&scene.team, &scene.region, &service);
    scene.organization.hours(26);
    scene.assert_deleted(&old);
    scene.end();
}

#[test]
fn an_unused_image_is_deleted_where_tags_can_move_and_no_service_names_the_repository() {
    let scene = Scene::new(Mutability::Mutable);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(26);
    scene.assert_deleted(&image);
    scene.end();
}

#[test]
fn an_account_that_does_not_record_postpones_every_image_that_it_may_pull() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    let (silent, region) = (&scene.organization.workloads[1], &scene.organization.regions[0]);
    scene.organization.stop_recording(silent, region);
    scene.deregister(&web);
    scene.organization.hours(72);
    scene.assert_postponed(&image, "not-covered", &format!("account {silent} in {region} is not covered"));
    scene.organization.start_recording(silent, region);
    scene.organization.hours(26);
    scene.assert_deleted(&image);
    scene.end();
}

/// Every scene of this file.
fn scenes() -> Vec<(&'static str, fn())> {
    macro_rules! named {
        ($($scene:ident,)*) => { vec![$((stringify!($scene), $scene as fn()),)*] };
    }
    named![
        an_unused_image_is_deleted_24_hours_after_its_only_task_definition_became_inactive_and_not_a_minute_before,
        an_image_that_another_accounts_task_definition_names_is_kept,
        an_image_of_a_service_on_the_inactive_revision_is_kept,
        an_image_of_a_service_on_a_revision_that_is_being_deleted_is_kept,
        an_image_of_a_task_set_on_the_inactive_revision_is_kept,
        an_image_of_an_inactive_revision_that_only_a_rule_starts_is_kept,
        an_image_of_a_revision_that_only_a_rule_starts_and_config_has_lost_is_kept_as_long_as_ecs_has_the_revision,
        a_rule_whose_revision_ecs_does_not_have_holds_nothing_up,
        the_check_is_postponed_while_a_revision_that_a_rule_starts_cannot_be_read,
        an_image_that_something_outside_ecs_uses_is_kept,
        a_function_whose_image_is_not_known_postpones_what_lambda_may_pull_and_nothing_else,
        an_image_whose_other_tag_is_in_use_is_kept,
        an_image_whose_digest_is_in_use_is_kept,
        an_index_goes_with_its_children_and_signature_unless_a_child_is_in_use,
        children_that_indexes_share_and_indexes_in_an_index_go_once_nothing_lists_them,
        an_image_that_is_named_by_digest_beside_a_tag_that_it_lost_is_kept,
        an_image_of_a_repository_without_the_opt_in_tag_is_never_checked,
        an_image_of_a_repository_that_loses_the_opt_in_tag_in_between_is_kept,
        a_registration_in_between_postpones_the_check,
        every_tag_of_an_unused_image_goes_where_tags_cannot_move,
        the_digest_that_a_service_has_pinned_is_kept_after_its_tag_moved,
        the_digest_that_a_service_ran_stays_for_a_window_after_another_deployment_took_its_place,
        the_check_is_postponed_while_a_deployment_of_a_service_is_not_told,
        nothing_is_deleted_where_tags_can_move_while_a_service_that_cannot_be_asked_names_the_repository,
        an_unused_image_is_deleted_where_tags_can_move_and_no_service_names_the_repository,
        an_account_that_does_not_record_postpones_every_image_that_it_may_pull,
    ]
}

/// Each behaviour of AWS that nobody knows is turned alone, and all scenes are played in one organization of one region, one
/// after another.
#[test]
fn every_scene_ends_the_same_however_aws_behaves_where_nobody_knows() {
    let waiting = Mutex::new(Behaviours::turned_one_by_one());
    let failed = Mutex::new(Vec::new());
    let play = || {
        while let Some((behaviour, behaviours)) = { waiting.lock().expect("not poisoned").pop() } {
            let stage = Stage::new(1, behaviours);
            stage.stop_sweeping();
            STAGE.set(Some(Rc::new(stage)));
            for (name, scene) in scenes() {
                if std::panic::catch_unwind(scene).is_err() {
                    failed.lock().expect("not poisoned").push((behaviour, name));
                    break;
                }
            }
            STAGE.set(None);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(play);
        }
    });
    assert_eq!(failed.into_inner().expect("not poisoned"), [], "these scenes end otherwise");
}
