//! The way of an image, from a task definition event to its deletion, in the simulated AWS: nothing is called but what
//! teams call, and every call of the product is authorized by its role.

use end_to_end::{Installation, Mutability, Organization, Pushed};
use simulated_aws::{AccountId, Region};

/// An organization with EcrCleanup installed, a repository `app` that is opted in, and a team in a workload account.
struct Scene {
    organization: Organization,
    installation: Installation,
    team: AccountId,
    region: Region,
}

impl Scene {
    fn new(mutability: Mutability) -> Self {
        let organization = Organization::new(1);
        let installation = Installation::through_cloudformation(&organization);
        organization.repository("app", mutability);
        Self {
            team: organization.workloads[0].clone(),
            region: organization.regions[1].clone(),
            organization,
            installation,
        }
    }

    /// Pushes `v1`, registers a task definition that names it by tag, and lets two days pass.
    fn old_image(&self) -> (Pushed, String) {
        let image = self.organization.push("app", "v1");
        let web = self.register("web", &self.organization.by_tag("app", "v1"));
        self.organization.hours(48);
        (image, web)
    }

    fn register(&self, family: &str, image: &str) -> String {
        self.organization.register(&self.team, &self.region, family, image)
    }

    fn deregister(&self, task_definition: &str) {
        self.organization.deregister(&self.team, &self.region, task_definition);
    }

    /// Nothing was refused by the simulation or by IAM, and nothing is stuck.
    fn end(&self) {
        self.organization.minutes(30);
        self.installation.assert_healthy(&self.organization);
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
    assert!(!scene.organization.has(&image), "unused, and the rollback window has passed");
    scene.end();
}

#[test]
fn an_image_that_another_accounts_task_definition_names_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    let (other, region) = (&scene.organization.workloads[1], &scene.organization.regions[0]);
    scene.organization.register(other, region, "api", &scene.organization.by_tag("app", "v1"));
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    scene.end();
}

#[test]
fn an_image_of_a_service_on_the_inactive_revision_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.organization.create_service(&scene.team, &scene.region, "web", &web);
    scene.organization.hours(1);
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    scene.end();
}

#[test]
fn an_image_whose_other_tag_is_in_use_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.organization.tag(&image, "stable");
    scene.register("api", &scene.organization.by_tag("app", "stable"));
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    scene.end();
}

#[test]
fn an_image_whose_digest_is_in_use_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.register("api", &scene.organization.by_digest(&image));
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    scene.end();
}

#[test]
fn an_image_of_a_repository_without_the_opt_in_tag_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    scene.organization.opt_out("app");
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    scene.end();
}

#[test]
fn an_image_of_a_repository_that_loses_the_opt_in_tag_in_between_is_kept() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(12);
    scene.organization.opt_out("app");
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    scene.end();
}

#[test]
fn a_registration_in_between_postpones_the_check() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(12);
    let again = scene.register("web", &scene.organization.by_tag("app", "v1"));
    scene.organization.hours(1);
    scene.deregister(&again);
    scene.organization.hours(23);
    assert!(scene.organization.has(&image), "24 hours after the first deregistration, 23 after the last");
    scene.organization.hours(2);
    assert!(!scene.organization.has(&image));
    scene.end();
}

#[test]
fn every_tag_of_an_unused_image_goes_where_tags_cannot_move() {
    let scene = Scene::new(Mutability::Immutable);
    let image = scene.organization.push("app", "v1");
    scene.organization.tag(&image, "v1.0");
    let web = scene.register("web", &scene.organization.by_tag("app", "v1"));
    scene.organization.hours(48);
    scene.deregister(&web);
    scene.organization.hours(26);
    assert!(!scene.organization.has(&image));
    scene.end();
}

#[test]
fn the_digest_that_a_service_has_pinned_is_kept_after_its_tag_moved() {
    let scene = Scene::new(Mutability::Mutable);
    let (pinned, web) = scene.old_image();
    scene.organization.create_service(&scene.team, &scene.region, "web", &web);
    scene.organization.hours(1);
    let moved = scene.organization.push_again("app", "v1", "other contents");
    assert_ne!(pinned, moved);
    let other = scene.register("other", &scene.organization.by_digest(&pinned));
    scene.deregister(&other);
    scene.organization.hours(120);
    assert!(scene.organization.has(&pinned), "untagged and named by nothing, but running");
    scene.end();
}

#[test]
fn nothing_is_deleted_where_tags_can_move_while_a_service_that_cannot_be_asked_names_the_repository() {
    let scene = Scene::new(Mutability::Mutable);
    let (old, web) = scene.old_image();
    let new = scene.organization.push("app", "v2");
    let next = scene.register("web", &scene.organization.by_tag("app", "v2"));
    scene.organization.create_service(&scene.team, &scene.region, "web", &next);
    scene.organization.forget_service_revisions(&scene.team, &scene.region, "web");
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&old), "the service may have pinned any digest of the repository");
    assert!(scene.organization.has(&new));
    scene.end();
}

#[test]
fn an_unused_image_is_deleted_where_tags_can_move_and_no_service_names_the_repository() {
    let scene = Scene::new(Mutability::Mutable);
    let (image, web) = scene.old_image();
    scene.deregister(&web);
    scene.organization.hours(26);
    assert!(!scene.organization.has(&image));
    scene.end();
}

#[test]
fn an_account_that_does_not_record_keeps_every_image_that_it_may_pull() {
    let scene = Scene::new(Mutability::Immutable);
    let (image, web) = scene.old_image();
    scene.organization.stop_recording(&scene.organization.workloads[1], &scene.organization.regions[0]);
    scene.deregister(&web);
    scene.organization.hours(72);
    assert!(scene.organization.has(&image));
    scene.end();
}
