//! What teams do: push images, register task definitions, run services.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use simulated_aws::ecr::{push_image, push_index, push_referrer};
use simulated_aws::ecs::make_service_older_than_revisions;
use simulated_aws::{AccountId, Region};

use crate::Organization;

/// Whether tags of a repository can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// They cannot.
    Immutable,
    /// They can.
    Mutable,
}

/// A pushed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The repository's name.
    pub repository: String,
    /// The digest of the manifest.
    pub digest: String,
}

impl Organization {
    /// Makes a repository in the hub's home region, and opts it in.
    pub fn repository(&self, name: &str, mutability: Mutability) {
        self.call(
            &self.hub,
            self.home(),
            "ecr",
            "CreateRepository",
            json!({
                "repositoryName": name,
                "imageTagMutability": match mutability {
                    Mutability::Immutable => "IMMUTABLE",
                    Mutability::Mutable => "MUTABLE",
                },
            }),
        );
        // Workload accounts may pull, as everywhere where images are shared.
        let principals: Vec<_> = self.workloads.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": principals},
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
        }]});
        self.call(
            &self.hub,
            self.home(),
            "ecr",
            "SetRepositoryPolicy",
            json!({"repositoryName": name, "policyText": policy.to_string()}),
        );
        self.opt_in(name);
    }

    fn repository_arn(&self, name: &str) -> String {
        format!("arn:aws:ecr:{}:{}:repository/{name}", self.home(), self.hub)
    }

    /// Gives a repository the opt-in tag.
    pub fn opt_in(&self, name: &str) {
        self.opt_in_saying(name, "enabled");
    }

    /// Gives a repository the opt-in tag with a value, which may be settings.
    pub fn opt_in_saying(&self, name: &str, value: &str) {
        let input = json!({"resourceArn": self.repository_arn(name), "tags": [{"Key": "ecr-cleanup", "Value": value}]});
        self.call(&self.hub, self.home(), "ecr", "TagResource", input);
    }

    /// Takes the opt-in tag away.
    pub fn opt_out(&self, name: &str) {
        let input = json!({"resourceArn": self.repository_arn(name), "tagKeys": ["ecr-cleanup"]});
        self.call(&self.hub, self.home(), "ecr", "UntagResource", input);
    }

    /// Pushes an image whose contents are its name and tag.
    pub fn push(&self, repository: &str, tag: &str) -> Pushed {
        self.push_again(repository, tag, &format!("{repository}:{tag}"))
    }

    /// Pushes other contents under a tag, which moves if it can.
    pub fn push_again(&self, repository: &str, tag: &str, contents: &str) -> Pushed {
        let (hub, home) = (&self.hub, self.home());
        let pushed = push_image(&mut self.aws.world(), hub, home, repository, Some(tag), contents);
        Pushed { repository: repository.to_owned(), digest: pushed.expect("the repository takes it") }
    }

    /// Pushes an image without a tag.
    pub fn push_untagged(&self, repository: &str, contents: &str) -> Pushed {
        let (hub, home) = (&self.hub, self.home());
        let pushed = push_image(&mut self.aws.world(), hub, home, repository, None, contents);
        Pushed { repository: repository.to_owned(), digest: pushed.expect("the repository takes it") }
    }

    /// Pushes an index over images of the same repository.
    pub fn push_index(&self, tag: &str, children: &[&Pushed]) -> Pushed {
        self.push_index_as(Some(tag), children)
    }

    /// Pushes an index without a tag.
    pub fn push_untagged_index(&self, children: &[&Pushed]) -> Pushed {
        self.push_index_as(None, children)
    }

    fn push_index_as(&self, tag: Option<&str>, children: &[&Pushed]) -> Pushed {
        let (hub, home, repository) = (&self.hub, self.home(), &children[0].repository);
        let digests: Vec<String> = children.iter().map(|child| child.digest.clone()).collect();
        let pushed = push_index(&mut self.aws.world(), hub, home, repository, tag, &digests);
        Pushed { repository: repository.clone(), digest: pushed.expect("the repository takes it") }
    }

    /// Attaches a signature to an image.
    pub fn sign(&self, image: &Pushed) -> Pushed {
        let (hub, home) = (&self.hub, self.home());
        let signature = "application/vnd.cncf.notary.signature";
        let pushed = push_referrer(&mut self.aws.world(), hub, home, &image.repository, &image.digest, signature);
        Pushed { repository: image.repository.clone(), digest: pushed.expect("the repository takes it") }
    }

    /// The digests of all images of a repository, archived or not, with their tags.
    pub fn images(&self, repository: &str) -> BTreeMap<String, BTreeSet<String>> {
        let input = json!({"repositoryName": repository, "maxResults": 1000, "filter": {"imageStatus": "ANY"}});
        let described = self.call(&self.hub, self.home(), "ecr", "DescribeImages", input);
        let tags = |image: &Value| image["imageTags"].as_array().into_iter().flatten().map(text).collect();
        let images = described["imageDetails"].as_array().into_iter().flatten();
        images.map(|image| (text(&image["imageDigest"]), tags(image))).collect()
    }

    /// The reference that task definitions use for a tag.
    pub fn by_tag(&self, repository: &str, tag: &str) -> String {
        format!("{}.dkr.ecr.{}.amazonaws.com/{repository}:{tag}", self.hub, self.home())
    }

    /// The reference that task definitions use for a digest.
    pub fn by_digest(&self, image: &Pushed) -> String {
        format!("{}.dkr.ecr.{}.amazonaws.com/{}@{}", self.hub, self.home(), image.repository, image.digest)
    }

    /// Gives an image another tag, as CI does: by putting the same manifest.
    pub fn tag(&self, image: &Pushed, tag: &str) {
        let ids = json!({"repositoryName": image.repository, "imageIds": [{"imageDigest": image.digest}]});
        let found = self.call(&self.hub, self.home(), "ecr", "BatchGetImage", ids);
        let manifest = &found["images"][0]["imageManifest"];
        let input = json!({"repositoryName": image.repository, "imageManifest": manifest, "imageTag": tag});
        self.call(&self.hub, self.home(), "ecr", "PutImage", input);
    }

    /// Whether the registry still has the image, archived or not.
    pub fn has(&self, image: &Pushed) -> bool {
        let input = json!({
            "repositoryName": image.repository,
            "imageIds": [{"imageDigest": image.digest}],
            "filter": {"imageStatus": "ANY"},
        });
        match self.aws.call(&self.hub, self.home(), "ecr", "DescribeImages", input) {
            Ok(_) => true,
            Err(error) if error.code == "ImageNotFoundException" => false,
            Err(error) => panic!("DescribeImages was refused: {error}"),
        }
    }

    /// Registers a task definition with one container; its ARN.
    pub fn register(&self, account: &AccountId, region: &Region, family: &str, image: &str) -> String {
        let input = json!({
            "family": family,
            "containerDefinitions": [{"name": "main", "image": image, "memory": 128, "essential": true}],
        });
        text(&self.call(account, region, "ecs", "RegisterTaskDefinition", input)["taskDefinition"]["taskDefinitionArn"])
    }

    /// Deregisters a task definition.
    pub fn deregister(&self, account: &AccountId, region: &Region, arn: &str) {
        self.call(account, region, "ecs", "DeregisterTaskDefinition", json!({"taskDefinition": arn}));
    }

    /// Deletes a task definition that was deregistered.
    pub fn delete_task_definition(&self, account: &AccountId, region: &Region, arn: &str) {
        self.call(account, region, "ecs", "DeleteTaskDefinitions", json!({"taskDefinitions": [arn]}));
    }

    /// Has the events of the team's own source `source` start a task definition.
    pub fn start_on_events(
        &self,
        account: &AccountId,
        region: &Region,
        rule: &str,
        source: &str,
        task_definition: &str,
    ) {
        let call = |service, operation, input| self.call(account, region, service, operation, input);
        call("ecs", "CreateCluster", json!({"clusterName": "default"}));
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
        let may = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "ecs:RunTask", "Resource": "*"}]});
        call("iam", "CreateRole", json!({"RoleName": rule, "AssumeRolePolicyDocument": trust.to_string()}));
        let policy = json!({"RoleName": rule, "PolicyName": "run", "PolicyDocument": may.to_string()});
        call("iam", "PutRolePolicy", policy);
        let pattern = json!({"source": [source]}).to_string();
        call("events", "PutRule", json!({"Name": rule, "EventPattern": pattern}));
        let target = json!({
            "Id": "cluster",
            "Arn": format!("arn:aws:ecs:{region}:{account}:cluster/default"),
            "RoleArn": format!("arn:aws:iam::{account}:role/{rule}"),
            "EcsParameters": {"TaskDefinitionArn": task_definition},
        });
        call("events", "PutTargets", json!({"Rule": rule, "Targets": [target]}));
    }

    /// Runs a service in the cluster `default`, which is made if need be.
    pub fn create_service(&self, account: &AccountId, region: &Region, name: &str, task_definition: &str) {
        self.call(account, region, "ecs", "CreateCluster", json!({"clusterName": "default"}));
        let input = json!({
            "cluster": "default", "serviceName": name, "taskDefinition": task_definition, "desiredCount": 1,
        });
        self.call(account, region, "ecs", "CreateService", input);
    }

    /// Makes the revisions of a service older than those that ECS can describe (25 October 2024).
    pub fn forget_service_revisions(&self, account: &AccountId, region: &Region, name: &str) {
        make_service_older_than_revisions(&mut self.aws.world(), account, region, "default", name);
    }

    /// Deploys another task definition.
    pub fn update_service(&self, account: &AccountId, region: &Region, name: &str, task_definition: &str) {
        let input = json!({"cluster": "default", "service": name, "taskDefinition": task_definition});
        self.call(account, region, "ecs", "UpdateService", input);
    }

    /// Ends a service.
    pub fn delete_service(&self, account: &AccountId, region: &Region, name: &str) {
        self.call(
            account,
            region,
            "ecs",
            "DeleteService",
            json!({"cluster": "default", "service": name, "force": true}),
        );
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected text, found {value}")).to_owned()
}
