//! CloudFormation as a user of the hub sees it: stacks that are created, updated and deleted, each waited for.

use serde_json::{Value, json};
use simulated_aws::AccountId;

use crate::Organization;
use crate::team::text;

/// The role by which CloudFormation administers self-managed stack sets, by AWS's name.
const ADMINISTRATION_ROLE: &str = "AWSCloudFormationStackSetAdministrationRole";
/// The role that it assumes in each account, by AWS's name.
const EXECUTION_ROLE: &str = "AWSCloudFormationStackSetExecutionRole";

/// The longest that a stack is waited for, in minutes: longer than CloudFormation waits for a custom resource, twice.
const LONGEST: u32 = 150;

/// A stack as CloudFormation describes it.
#[derive(Debug, Clone)]
pub struct Stack(pub Value);

impl Stack {
    /// Its status.
    pub fn status(&self) -> String {
        text(&self.0["StackStatus"])
    }

    /// Why it has that status.
    pub fn reason(&self) -> &str {
        self.0["StackStatusReason"].as_str().unwrap_or_default()
    }

    /// The value of an output.
    ///
    /// # Panics
    /// If there is no such output.
    pub fn output(&self, key: &str) -> String {
        let outputs = self.0["Outputs"].as_array().into_iter().flatten();
        let found = outputs.into_iter().find(|output| output["OutputKey"] == key);
        text(&found.unwrap_or_else(|| panic!("no output {key}: {:#}", self.0))["OutputValue"])
    }

    /// The stack, which has the status.
    ///
    /// # Panics
    /// If it has another, with what is known of the stack.
    pub fn expect_status(self, status: &str) -> Self {
        assert_eq!(self.status(), status, "{}", self.reason());
        self
    }
}

impl Organization {
    /// Creates a stack in the hub and waits for it.
    pub fn create_stack(&self, name: &str, template: &str, parameters: &[(&str, String)]) -> Stack {
        self.on_stack("CreateStack", name, Some((template, parameters)))
    }

    /// Updates a stack in the hub and waits for it.
    pub fn update_stack(&self, name: &str, template: &str, parameters: &[(&str, String)]) -> Stack {
        self.on_stack("UpdateStack", name, Some((template, parameters)))
    }

    /// Deletes a stack in the hub and waits for it.
    pub fn delete_stack(&self, name: &str) -> Stack {
        self.on_stack("DeleteStack", name, None)
    }

    fn on_stack(&self, operation: &str, name: &str, wanted: Option<(&str, &[(&str, String)])>) -> Stack {
        let call = |operation, input| self.call(&self.hub, self.home(), "cloudformation", operation, input);
        // By its id, a stack can be described after it was deleted.
        let known = |name: &str| call("DescribeStacks", json!({"StackName": name}))["Stacks"][0]["StackId"].clone();
        let mut input = json!({"StackName": name});
        if let Some((template, parameters)) = wanted {
            let parameter = |(key, value): &(&str, String)| json!({"ParameterKey": key, "ParameterValue": value});
            input["TemplateBody"] = json!(template);
            input["Parameters"] = parameters.iter().map(parameter).collect();
            input["Capabilities"] = json!(["CAPABILITY_NAMED_IAM"]);
        }
        let id = if operation == "DeleteStack" {
            let id = known(name);
            call(operation, input);
            id
        } else {
            call(operation, input)["StackId"].clone()
        };
        for _ in 0..LONGEST {
            self.minutes(1);
            let stack = Stack(call("DescribeStacks", json!({"StackName": id}))["Stacks"][0].clone());
            if !stack.status().ends_with("_IN_PROGRESS") {
                return stack;
            }
        }
        panic!("{operation} of {name} has not ended in {LONGEST} minutes");
    }
}

/// The roles of self-managed stack sets, as the StackSets user guide describes them ("Grant self-managed permissions"): one
/// in the hub that CloudFormation administers them with, and one in each account, the hub included, that it may assume.
///
/// # Panics
/// If there are such roles already.
pub fn stack_set_roles(organization: &Organization) {
    let (hub, home) = (&organization.hub, organization.home());
    let role = |account: &AccountId, name: &str, principal: Value| {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
        });
        let input = json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()});
        organization.call(account, home, "iam", "CreateRole", input);
    };
    role(hub, ADMINISTRATION_ROLE, json!({"Service": "cloudformation.amazonaws.com"}));
    let assume = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Resource": format!("arn:aws:iam::*:role/{EXECUTION_ROLE}"),
        }],
    });
    let input = json!({
        "RoleName": ADMINISTRATION_ROLE,
        "PolicyName": "AssumeRole-AWSCloudFormationStackSetExecutionRole",
        "PolicyDocument": assume.to_string(),
    });
    organization.call(hub, home, "iam", "PutRolePolicy", input);
    for account in organization.accounts() {
        role(&account, EXECUTION_ROLE, json!({"AWS": format!("arn:aws:iam::{hub}:role/{ADMINISTRATION_ROLE}")}));
        let everything = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        });
        let input = json!({
            "RoleName": EXECUTION_ROLE,
            "PolicyName": "AdministratorAccess",
            "PolicyDocument": everything.to_string(),
        });
        organization.call(&account, home, "iam", "PutRolePolicy", input);
    }
}
