//! Policies that AWS itself manages, and the roles that AWS itself makes.
//!
//! Only what the simulation needs is known; attaching another AWS managed policy is refused by name. Statements about services
//! that the simulation does not have are left out.

use serde_json::json;

use super::policy::{Policy, PolicyKind};

const PREFIX: &str = "arn:aws:iam::aws:policy/";

/// An AWS managed policy, by its ARN (AWS Managed Policy Reference).
pub(super) fn policy(arn: &str) -> Option<Policy> {
    let statement = match arn.strip_prefix(PREFIX)? {
        "AdministratorAccess" => json!({"Effect": "Allow", "Action": "*", "Resource": "*"}),
        "service-role/AWSLambdaBasicExecutionRole" => json!({
            "Effect": "Allow",
            "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": "*",
        }),
        "service-role/AWSConfigRoleForOrganizations" => json!({
            "Effect": "Allow",
            "Action": [
                "organizations:ListAccounts",
                "organizations:DescribeOrganization",
                "organizations:ListAWSServiceAccessForOrganization",
                "organizations:ListDelegatedAdministrators",
            ],
            "Resource": "*",
        }),
        "service-role/AWS_ConfigRole" => json!({
            "Effect": "Allow",
            "Action": ["config:Put*", "ecs:Describe*", "ecs:List*", "events:Describe*", "events:List*", "iam:Get*", "iam:List*"],
            "Resource": "*",
        }),
        "service-role/AmazonECSTaskExecutionRolePolicy" => json!({
            "Effect": "Allow",
            "Action": [
                "ecr:GetAuthorizationToken",
                "ecr:BatchCheckLayerAvailability",
                "ecr:GetDownloadUrlForLayer",
                "ecr:BatchGetImage",
                "logs:CreateLogStream",
                "logs:PutLogEvents",
            ],
            "Resource": "*",
        }),
        _ => return None,
    };
    let document = json!({"Version": "2012-10-17", "Statement": [statement]});
    Some(Policy::from_value(PolicyKind::Identity, &document).expect("the policies above are well-formed"))
}

/// Whether the ARN is that of an AWS managed policy, known here or not.
pub(super) fn is_aws_managed(arn: &str) -> bool {
    arn.starts_with(PREFIX)
}

/// The path and policy of a role that AWS makes when it is needed, by the role's name: service-linked roles, and the
/// roles through which service-managed stack sets deploy into member accounts.
pub(super) fn service_role(name: &str) -> Option<(&'static str, Policy)> {
    let config = || policy(&format!("{PREFIX}service-role/AWS_ConfigRole"));
    let administrator = || policy(&format!("{PREFIX}AdministratorAccess"));
    match name {
        "AWSServiceRoleForConfig" => Some(("/aws-service-role/config.amazonaws.com/", config()?)),
        "AWSServiceRoleForCloudFormationStackSetsOrgMember" => {
            Some(("/aws-service-role/member.org.stacksets.cloudformation.amazonaws.com/", administrator()?))
        }
        "AWSServiceRoleForCloudFormationStackSetsOrgAdmin" => {
            Some(("/aws-service-role/stacksets.cloudformation.amazonaws.com/", administrator()?))
        }
        _ if name.starts_with("stacksets-exec-") => Some(("/", administrator()?)),
        _ => None,
    }
}
