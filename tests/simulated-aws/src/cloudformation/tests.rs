//! Stacks and stack sets reach what their templates say, or say why not.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{AccountId, Function, FunctionContext, Region, ServiceError, SimulatedAws};

const WORKLOAD: &str = include_str!("../../../../infra-templates/workload.yaml");
const PROVIDER: &str = include_str!("../../../../infra-templates/provider.yaml");

struct Hub {
    aws: SimulatedAws,
    account: AccountId,
    region: Region,
}

impl Hub {
    fn new() -> Self {
        let aws = SimulatedAws::new(7);
        let account = AccountId::new("111111111111").unwrap();
        aws.world().add_account(&account);
        Self { aws, account, region: Region::new("eu-west-1").unwrap() }
    }

    fn call(&self, operation: &str, input: Value) -> Result<Value, ServiceError> {
        self.aws.call(&self.account, &self.region, "cloudformation", operation, input)
    }

    fn deploy(&self, operation: &str, template: &str, parameters: &[(&str, &str)]) -> Result<String, ServiceError> {
        let parameters: Vec<_> =
            parameters.iter().map(|(key, value)| json!({"ParameterKey": key, "ParameterValue": value})).collect();
        self.call(
            operation,
            json!({
                "StackName": "s",
                "TemplateBody": template,
                "Parameters": parameters,
                "Capabilities": ["CAPABILITY_NAMED_IAM"],
            }),
        )?;
        self.aws.advance(SignedDuration::from_hours(2));
        Ok(self.status())
    }

    fn status(&self) -> String {
        self.stack()["StackStatus"].as_str().unwrap().to_owned()
    }

    fn stack(&self) -> Value {
        self.call("DescribeStacks", json!({"StackName": "s"})).unwrap()["Stacks"][0].clone()
    }

    fn reasons(&self) -> String {
        let id = self.stack()["StackId"].clone();
        self.call("DescribeStackEvents", json!({"StackName": id})).unwrap()["StackEvents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["ResourceStatus"].as_str().unwrap().ends_with("FAILED"))
            .map(|event| format!("{}: {}\n", event["LogicalResourceId"], event["ResourceStatusReason"]))
            .collect()
    }

    fn queues(&self) -> Vec<String> {
        let output = self.aws.call(&self.account, &self.region, "sqs", "ListQueues", json!({})).unwrap();
        let urls = output["QueueUrls"].as_array().cloned().unwrap_or_default();
        urls.iter().map(|url| url.as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    }
}

fn workload_parameters() -> Vec<(&'static str, &'static str)> {
    vec![
        ("Name", "prod"),
        ("Kind", "accounts"),
        ("HubAccountId", "111111111111"),
        ("HubRegion", "eu-west-1"),
        ("EventBusArn", "arn:aws:events:eu-west-1:111111111111:event-bus/ecr-cleanup-prod-accounts"),
        ("EvidenceRoleNamePrefix", "ecr-cleanup-prod-accounts-evidence"),
        ("ForwardingNamePrefix", "ecr-cleanup-prod-accounts-forward"),
        ("CheckingRoleArns", "arn:aws:iam::111111111111:role/ecr-cleanup-check-images-eu-west-1"),
        ("CreateAggregationAuthorization", "true"),
    ]
}

#[test]
fn the_workload_template_deploys_and_leaves_only_the_authorization() {
    let hub = Hub::new();
    let status = hub.deploy("CreateStack", WORKLOAD, &workload_parameters()).unwrap();
    assert_eq!((status.as_str(), hub.reasons().as_str()), ("CREATE_COMPLETE", ""));
    let id = hub.stack()["StackId"].clone();
    hub.call("DeleteStack", json!({"StackName": "s"})).unwrap();
    hub.aws.advance(SignedDuration::from_mins(10));
    let stack = hub.call("DescribeStacks", json!({"StackName": id})).unwrap()["Stacks"][0].clone();
    assert_eq!(stack["StackStatus"], "DELETE_COMPLETE", "{}", stack["StackStatusReason"]);
    assert!(hub.queues().is_empty());
    let left =
        hub.aws.call(&hub.account, &hub.region, "config", "DescribeAggregationAuthorizations", json!({})).unwrap();
    assert_eq!(left["AggregationAuthorizations"].as_array().unwrap().len(), 1);
}

#[test]
fn the_hub_template_deploys_and_leaves_nothing() {
    let hub = Hub::new();
    let packaged = super::package(PROVIDER, "artifacts");
    let status = hub.deploy("CreateStack", &packaged, &[("OptInTagKeys", "ecr-cleanup,other")]).unwrap();
    assert_eq!((status.as_str(), hub.reasons().as_str()), ("CREATE_COMPLETE", ""));
    let outputs = hub.stack()["Outputs"].clone();
    let token = outputs.as_array().unwrap().iter().find(|output| output["OutputKey"] == "ServiceToken").unwrap();
    assert_eq!(token["ExportName"], "ecr-cleanup-service-token");
    assert_eq!(token["OutputValue"], "arn:aws:lambda:eu-west-1:111111111111:function:ecr-cleanup-provider");
    let id = hub.stack()["StackId"].clone();
    hub.call("DeleteStack", json!({"StackName": "s"})).unwrap();
    hub.aws.advance(SignedDuration::from_mins(30));
    let stack = hub.call("DescribeStacks", json!({"StackName": id})).unwrap()["Stacks"][0].clone();
    assert_eq!(stack["StackStatus"], "DELETE_COMPLETE", "{}", stack["StackStatusReason"]);
    assert!(hub.queues().is_empty());
}

#[test]
fn what_cannot_be_deployed_is_refused_by_name() {
    let hub = Hub::new();
    for (template, reason) in [
        ("Resources: {A: {Type: AWS::EC2::VPC}}", "the resource type AWS::EC2::VPC"),
        ("Resources: {A: {Type: AWS::SQS::Queue, Properties: {Q: !Cidr [a]}}}", "the intrinsic function Fn::Cidr"),
        ("Transform: X\nResources: {A: {Type: AWS::SQS::Queue}}", "macros (Transform)"),
    ] {
        let refusal = hub.deploy("CreateStack", template, &[]).unwrap_err();
        assert!(refusal.message.contains(reason), "{refusal}");
    }
    let role = "Resources: {A: {Type: AWS::IAM::Role, Properties: {RoleName: r}}}";
    let refusal = hub.call("CreateStack", json!({"StackName": "s", "TemplateBody": role})).unwrap_err();
    assert_eq!(refusal.code, "InsufficientCapabilitiesException");
    let long = format!("Description: x\nResources: {{}}\n#{}", "x".repeat(51_200));
    assert!(hub.deploy("CreateStack", &long, &[]).unwrap_err().message.contains("51200"));
}

#[test]
fn a_failed_creation_is_taken_back_and_says_which_property_was_unknown() {
    let hub = Hub::new();
    let template = "Resources:\n  A: {Type: AWS::SQS::Queue, Properties: {QueueName: a}}\n  B: {Type: AWS::SQS::Queue, \
                    DependsOn: A, Properties: {QueueName: b, Colour: red}}";
    assert_eq!(hub.deploy("CreateStack", template, &[]).unwrap(), "ROLLBACK_COMPLETE");
    assert!(hub.reasons().contains("the property AWS::SQS::Queue/Colour"), "{}", hub.reasons());
    assert!(hub.queues().is_empty());
}

#[test]
fn an_update_changes_replaces_adds_and_removes() {
    let hub = Hub::new();
    let queue = |logical: &str, name: &str, timeout: u32| {
        format!(
            "  {logical}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: {name}, VisibilityTimeout: {timeout}}}}}\n"
        )
    };
    let before = format!("Resources:\n{}{}", queue("A", "a", 30), queue("B", "b", 30));
    let after = format!("Resources:\n{}{}", queue("A", "a2", 30), queue("C", "c", 30));
    assert_eq!(hub.deploy("CreateStack", &before, &[]).unwrap(), "CREATE_COMPLETE");
    let refusal = hub.deploy("UpdateStack", &before, &[]).unwrap_err();
    assert_eq!(refusal.message, "No updates are to be performed.");
    assert_eq!(hub.deploy("UpdateStack", &after, &[]).unwrap(), "UPDATE_COMPLETE");
    assert_eq!(hub.queues(), ["a2", "c"]);
    // The second queue fails, and the first is brought back.
    let bad = format!("Resources:\n{}{}", queue("A", "a3", 30), queue("D", "d d", 30));
    assert_eq!(hub.deploy("UpdateStack", &bad, &[]).unwrap(), "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(hub.queues(), ["a2", "c"]);
}

#[test]
fn a_custom_resource_that_never_answers_fails_after_its_timeout() {
    let hub = Hub::new();
    hub.aws.world().register_function(
        "silent",
        Function::new(|_: FunctionContext, event: Value| async move {
            assert_eq!(event["ResourceProperties"]["Flag"], "true");
            assert_eq!(event["ResourceProperties"]["ServiceTimeout"], "60");
            Ok(json!(null))
        }),
    );
    let template = r#"
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
  Code:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: f
      Runtime: provided.al2023
      Handler: silent
      Role: !GetAtt Role.Arn
      Code: {S3Bucket: b, S3Key: k}
  It:
    Type: Custom::It
    Properties: {ServiceToken: !GetAtt Code.Arn, ServiceTimeout: 60, Flag: true}
"#;
    let input = json!({"StackName": "s", "TemplateBody": template, "Capabilities": ["CAPABILITY_NAMED_IAM"]});
    hub.call("CreateStack", input).unwrap();
    hub.aws.advance(SignedDuration::from_secs(30));
    let input = json!({"StackName": "s", "LogicalResourceId": "It"});
    let listed = hub.call("DescribeStackResources", input).unwrap();
    assert_eq!(listed["StackResources"][0]["ResourceStatus"], "CREATE_IN_PROGRESS", "it is listed before it answers");
    hub.aws.advance(SignedDuration::from_hours(2));
    assert_eq!(hub.status(), "ROLLBACK_FAILED");
    assert!(hub.reasons().contains("did not receive a response from your Custom Resource"), "{}", hub.reasons());
}

#[test]
fn a_self_managed_stack_set_deploys_where_its_roles_are() {
    let hub = Hub::new();
    let (here, there) = (hub.account.clone(), AccountId::new("222222222222").unwrap());
    hub.aws.world().add_account(&there);
    let trust = |principal: Value| {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]})
            .to_string()
    };
    let all = |action: &str| {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})
            .to_string()
    };
    for (account, role, principal, action) in [
        (
            &here,
            "AWSCloudFormationStackSetAdministrationRole",
            json!({"Service": "cloudformation.amazonaws.com"}),
            "sts:AssumeRole",
        ),
        (&there, "AWSCloudFormationStackSetExecutionRole", json!({"AWS": "arn:aws:iam::111111111111:root"}), "*"),
    ] {
        let iam = |operation, input| hub.aws.call(account, &hub.region, "iam", operation, input).unwrap();
        iam("CreateRole", json!({"RoleName": role, "AssumeRolePolicyDocument": trust(principal)}));
        iam("PutRolePolicy", json!({"RoleName": role, "PolicyName": "p", "PolicyDocument": all(action)}));
    }
    let template = "Resources: {A: {Type: AWS::SQS::Queue, Properties: {QueueName: a}}}";
    hub.call("CreateStackSet", json!({"StackSetName": "set", "TemplateBody": template})).unwrap();
    let instances = json!({
        "StackSetName": "set",
        "Accounts": ["222222222222", "333333333333"],
        "Regions": ["eu-west-1"],
        "OperationId": "op",
        "OperationPreferences": {"FailureTolerancePercentage": "100", "MaxConcurrentPercentage": "100"},
    });
    hub.call("CreateStackInstances", instances.clone()).unwrap();
    assert_eq!(hub.call("CreateStackInstances", instances).unwrap()["OperationId"], "op");
    let other = json!({"StackSetName": "set", "TemplateBody": template});
    assert_eq!(hub.call("UpdateStackSet", other).unwrap_err().code, "OperationInProgressException");
    hub.aws.advance(SignedDuration::from_mins(10));
    let operation = hub.call("DescribeStackSetOperation", json!({"StackSetName": "set", "OperationId": "op"})).unwrap();
    assert_eq!(operation["StackSetOperation"]["Status"], "SUCCEEDED");
    let results =
        hub.call("ListStackSetOperationResults", json!({"StackSetName": "set", "OperationId": "op"})).unwrap();
    let statuses: Vec<_> =
        results["Summaries"].as_array().unwrap().iter().map(|result| result["Status"].clone()).collect();
    assert_eq!(statuses, ["SUCCEEDED", "FAILED"]);
    assert_eq!(
        hub.call("DeleteStackSet", json!({"StackSetName": "set"})).unwrap_err().code,
        "StackSetNotEmptyException"
    );
    hub.call(
        "DeleteStackInstances",
        json!({"StackSetName": "set", "Accounts": ["222222222222"], "Regions": ["eu-west-1"], "RetainStacks": "false"}),
    )
    .unwrap();
    hub.aws.advance(SignedDuration::from_mins(10));
    let left = hub.call("ListStackInstances", json!({"StackSetName": "set"})).unwrap();
    assert_eq!(left["Summaries"].as_array().unwrap().len(), 1);
    assert_eq!(left["Summaries"][0]["Account"], "333333333333");
}
