//! AWS's documented examples as tables. Each row cites the page of the IAM User Guide (or of another guide, which is
//! then named) whose rule or example it is.

use serde_json::{Value, json};

use super::caller::Caller;
use super::*;

const HUB: &str = "111111111111";
const WORKLOAD: &str = "222222222222";

const OPERATORS: &str = "IAM JSON policy elements: Condition operators";
const SETS: &str = "Set operators for multivalued context keys";
const MULTIVALUED: &str = "Multivalued context key examples";
const VARIABLES: &str = "IAM policy elements: Variables and tags";
const EVALUATION: &str = "Policy evaluation logic";
const CROSS_ACCOUNT: &str = "Cross-account policy evaluation logic";
const PRINCIPAL: &str = "AWS JSON policy elements: Principal";
const NOT_PRINCIPAL: &str = "AWS JSON policy elements: NotPrincipal";
const ACTION: &str = "IAM JSON policy elements: Action";
const NOT_ACTION: &str = "IAM JSON policy elements: NotAction";
const RESOURCE: &str = "IAM JSON policy elements: Resource";
const NOT_RESOURCE: &str = "IAM JSON policy elements: NotResource";
const GLOBAL_KEYS: &str = "AWS global condition context keys";
const BOUNDARIES: &str = "Permissions boundaries for IAM entities";
const SESSIONS: &str = "Policies and permissions in IAM: session policies";
const VERSION: &str = "IAM JSON policy elements: Version";
const DENIED: &str = "Troubleshoot access denied error messages";
const EVENT_BUS: &str = "Amazon EventBridge User Guide: Using IAM policy conditions in EventBridge";
const CONFUSED_DEPUTY: &str = "The confused deputy problem";
const EXTERNAL_ID: &str = "Access to AWS accounts owned by third parties";
const PASS_ROLE: &str = "Grant a user permissions to pass a role to an AWS service";
const ECR: &str = "Amazon ECR User Guide: Using Tag-Based Access Control";

fn role_session(account: &str) -> Caller {
    Caller::RoleSession {
        role: format!("arn:aws:iam::{account}:role/examplerole"),
        role_id: "AROAEXAMPLEROLE".to_owned(),
        session: "examplesession".to_owned(),
    }
}

fn user(account: &str) -> Caller {
    Caller::User { arn: format!("arn:aws:iam::{account}:user/exampleuser") }
}

fn root(account: &str) -> Caller {
    Caller::Root { account: account.to_owned() }
}

fn service(name: &str) -> Caller {
    Caller::Service { name: name.to_owned() }
}

/// Conditions alone: does a statement with this condition apply to a request with this context?
#[test]
fn conditions() {
    let none: [(&str, &[&str]); 0] = [];
    let one = |key: &'static str, values: &'static [&'static str]| vec![(key, values)];
    type Keys = Vec<(&'static str, &'static [&'static str])>;
    let rows: Vec<(&str, Value, Keys, bool)> = vec![
        // Strings.
        (
            OPERATORS,
            json!({"StringEquals": {"aws:PrincipalTag/job-category": "iamuser-admin"}}),
            one("aws:PrincipalTag/job-category", &["iamuser-admin"]),
            true,
        ),
        (
            OPERATORS,
            json!({"StringEquals": {"aws:PrincipalTag/job-category": "iamuser-admin"}}),
            one("aws:PrincipalTag/job-category", &["IamUser-Admin"]),
            false,
        ),
        (OPERATORS, json!({"StringEquals": {"aws:PrincipalTag/job-category": "iamuser-admin"}}), none.to_vec(), false),
        (
            OPERATORS,
            json!({"StringEquals": {"AWS:principaltag/Job-Category": "iamuser-admin"}}),
            one("aws:PrincipalTag/job-category", &["iamuser-admin"]),
            true,
        ),
        (OPERATORS, json!({"StringEquals": {"s3:prefix": "home/*"}}), one("s3:prefix", &["home/a"]), false),
        (
            OPERATORS,
            json!({"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}}),
            one("aws:RequestedRegion", &["us-east-1"]),
            true,
        ),
        (
            OPERATORS,
            json!({"StringNotEquals": {"aws:RequestedRegion": ["eu-west-1", "us-east-1"]}}),
            one("aws:RequestedRegion", &["us-east-1"]),
            false,
        ),
        (OPERATORS, json!({"StringNotEquals": {"aws:ResourceTag/team": "a"}}), none.to_vec(), true),
        (
            OPERATORS,
            json!({"StringEqualsIgnoreCase": {"aws:ResourceTag/team": "Blue"}}),
            one("aws:ResourceTag/team", &["BLUE"]),
            true,
        ),
        (
            OPERATORS,
            json!({"StringNotEqualsIgnoreCase": {"aws:ResourceTag/team": "Blue"}}),
            one("aws:ResourceTag/team", &["BLUE"]),
            false,
        ),
        (OPERATORS, json!({"StringLike": {"s3:prefix": ["", "home/", "home/ann/*"]}}), one("s3:prefix", &[""]), true),
        (
            OPERATORS,
            json!({"StringLike": {"s3:prefix": ["", "home/", "home/ann/*"]}}),
            one("s3:prefix", &["home/ann/x"]),
            true,
        ),
        (
            OPERATORS,
            json!({"StringLike": {"s3:prefix": ["", "home/", "home/ann/*"]}}),
            one("s3:prefix", &["home/bob/x"]),
            false,
        ),
        (OPERATORS, json!({"StringLike": {"ec2:InstanceType": ["t1.*", "t2.*"]}}), none.to_vec(), false),
        (
            OPERATORS,
            json!({"StringNotLike": {"ec2:InstanceType": "t?.*"}}),
            one("ec2:InstanceType", &["t2.micro"]),
            false,
        ),
        (OPERATORS, json!({"StringNotLike": {"ec2:InstanceType": "t?.*"}}), none.to_vec(), true),
        // IfExists.
        (OPERATORS, json!({"StringLikeIfExists": {"ec2:InstanceType": ["t1.*", "t2.*"]}}), none.to_vec(), true),
        (
            OPERATORS,
            json!({"StringLikeIfExists": {"ec2:InstanceType": ["t1.*", "t2.*"]}}),
            one("ec2:InstanceType", &["m3.large"]),
            false,
        ),
        (OPERATORS, json!({"StringNotEqualsIfExists": {"aws:ResourceTag/team": "a"}}), none.to_vec(), true),
        (OPERATORS, json!({"ForAnyValue:StringEqualsIfExists": {"aws:TagKeys": "a"}}), none.to_vec(), true),
        // Numbers.
        (OPERATORS, json!({"NumericLessThanEquals": {"s3:max-keys": "10"}}), one("s3:max-keys", &["10"]), true),
        (OPERATORS, json!({"NumericLessThanEquals": {"s3:max-keys": 10}}), one("s3:max-keys", &["11"]), false),
        (OPERATORS, json!({"NumericLessThan": {"s3:max-keys": "10"}}), one("s3:max-keys", &["9.5"]), true),
        (OPERATORS, json!({"NumericEquals": {"s3:max-keys": ["1", "10"]}}), one("s3:max-keys", &["10.0"]), true),
        (OPERATORS, json!({"NumericNotEquals": {"s3:max-keys": "10"}}), one("s3:max-keys", &["10"]), false),
        (OPERATORS, json!({"NumericGreaterThan": {"s3:max-keys": "10"}}), none.to_vec(), false),
        (OPERATORS, json!({"NumericGreaterThanEquals": {"s3:max-keys": "10"}}), one("s3:max-keys", &["10"]), true),
        // Dates.
        (
            OPERATORS,
            json!({"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}}),
            one("aws:TokenIssueTime", &["2020-06-01T00:00:00Z"]),
            true,
        ),
        (OPERATORS, json!({"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}}), none.to_vec(), false),
        (
            OPERATORS,
            json!({"DateLessThan": {"aws:CurrentTime": "2020-01-01"}}),
            one("aws:CurrentTime", &["2019-12-31T23:59:59Z"]),
            true,
        ),
        (
            OPERATORS,
            json!({"DateLessThan": {"aws:CurrentTime": "2020-01-01T01:00:00+02:00"}}),
            one("aws:CurrentTime", &["2019-12-31T23:30:00Z"]),
            false,
        ),
        (
            OPERATORS,
            json!({"DateLessThanEquals": {"aws:EpochTime": "1577836800"}}),
            one("aws:EpochTime", &["1577836800"]),
            true,
        ),
        (
            OPERATORS,
            json!({"DateEquals": {"aws:CurrentTime": "2020"}}),
            one("aws:CurrentTime", &["2020-01-01T00:00:00Z"]),
            true,
        ),
        (
            OPERATORS,
            json!({"DateNotEquals": {"aws:CurrentTime": "2020-01"}}),
            one("aws:CurrentTime", &["2020-01-01T00:00:00Z"]),
            false,
        ),
        (
            OPERATORS,
            json!({"DateGreaterThanEquals": {"aws:CurrentTime": "2020-01-01"}}),
            one("aws:CurrentTime", &["2019-12-31T23:59:59Z"]),
            false,
        ),
        // Booleans.
        (OPERATORS, json!({"Bool": {"aws:SecureTransport": "false"}}), one("aws:SecureTransport", &["false"]), true),
        (OPERATORS, json!({"Bool": {"aws:SecureTransport": false}}), one("aws:SecureTransport", &["true"]), false),
        (OPERATORS, json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}), none.to_vec(), false),
        (OPERATORS, json!({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}), none.to_vec(), true),
        // ARNs.
        (
            OPERATORS,
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:someservice:*:111122223333:finance/*"}}),
            one(
                "aws:SourceArn",
                &["arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"],
            ),
            false,
        ),
        (
            OPERATORS,
            json!({"StringLike": {"aws:SourceArn": "arn:aws:someservice:*:111122223333:finance/*"}}),
            one(
                "aws:SourceArn",
                &["arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"],
            ),
            true,
        ),
        (
            OPERATORS,
            json!({"ArnEquals": {"aws:SourceArn": "arn:aws:sns:*:123456789012:TOPIC-ID"}}),
            one("aws:SourceArn", &["arn:aws:sns:eu-west-1:123456789012:TOPIC-ID"]),
            true,
        ),
        (
            OPERATORS,
            json!({"ArnEquals": {"aws:SourceArn": "arn:aws:sns:*:123456789012:TOPIC-ID"}}),
            none.to_vec(),
            false,
        ),
        (
            OPERATORS,
            json!({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/admin"}}),
            one("aws:PrincipalArn", &["arn:aws:iam::111111111111:role/admin"]),
            false,
        ),
        (
            OPERATORS,
            json!({"ArnNotEquals": {"aws:SourceArn": "arn:aws:sns:*:123456789012:TOPIC-ID"}}),
            none.to_vec(),
            true,
        ),
        // Null.
        (OPERATORS, json!({"Null": {"aws:TokenIssueTime": "true"}}), none.to_vec(), true),
        (
            OPERATORS,
            json!({"Null": {"aws:TokenIssueTime": "true"}}),
            one("aws:TokenIssueTime", &["2020-01-01T00:00:00Z"]),
            false,
        ),
        (
            OPERATORS,
            json!({"Null": {"aws:TokenIssueTime": "false"}}),
            one("aws:TokenIssueTime", &["2020-01-01T00:00:00Z"]),
            true,
        ),
        (OPERATORS, json!({"Null": {"aws:TagKeys": false}}), one("aws:TagKeys", &[""]), false),
        // Sets. The DynamoDB attributes are AWS's own example.
        (
            SETS,
            json!({"ForAllValues:StringLike": {"dynamodb:requestedAttributes": ["PostDateTime", "Message", "Tags"]}}),
            one("dynamodb:requestedAttributes", &["PostDateTime", "Message"]),
            true,
        ),
        (
            SETS,
            json!({"ForAllValues:StringLike": {"dynamodb:requestedAttributes": ["PostDateTime", "Message", "Tags"]}}),
            one("dynamodb:requestedAttributes", &["PostDateTime", "UserName"]),
            false,
        ),
        (
            SETS,
            json!({"ForAllValues:StringLike": {"dynamodb:requestedAttributes": ["PostDateTime", "Message", "Tags"]}}),
            none.to_vec(),
            true,
        ),
        (
            SETS,
            json!({"ForAllValues:StringLike": {"dynamodb:requestedAttributes": ["PostDateTime", "Message", "Tags"]}}),
            one("dynamodb:requestedAttributes", &[""]),
            true,
        ),
        (
            SETS,
            json!({"ForAnyValue:StringLike": {"dynamodb:requestedAttributes": ["ID", "PostDateTime"]}}),
            one("dynamodb:requestedAttributes", &["UserName", "Message", "PostDateTime"]),
            true,
        ),
        (
            SETS,
            json!({"ForAnyValue:StringLike": {"dynamodb:requestedAttributes": ["ID", "PostDateTime"]}}),
            one("dynamodb:requestedAttributes", &["UserName"]),
            false,
        ),
        (
            SETS,
            json!({"ForAnyValue:StringLike": {"dynamodb:requestedAttributes": ["ID", "PostDateTime"]}}),
            none.to_vec(),
            false,
        ),
        (
            SETS,
            json!({"ForAnyValue:StringLike": {"dynamodb:requestedAttributes": "*"}}),
            one("dynamodb:requestedAttributes", &[""]),
            false,
        ),
        (SETS, json!({"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}}), one("aws:TagKeys", &["a", "b"]), true),
        (SETS, json!({"ForAllValues:StringNotEquals": {"aws:TagKeys": "a"}}), one("aws:TagKeys", &["a", "b"]), false),
        (
            MULTIVALUED,
            json!({"ForAllValues:StringLike": {"aws:TagKeys": ["key1*", "key2*"]}}),
            one("aws:TagKeys", &["key1a", "key2b"]),
            true,
        ),
        (
            MULTIVALUED,
            json!({"ForAllValues:StringLike": {"aws:TagKeys": ["key1*"]}}),
            one("aws:TagKeys", &["key1a", "key2b"]),
            false,
        ),
        (
            MULTIVALUED,
            json!({"ForAnyValue:StringLike": {"aws:TagKeys": "key1*"}}),
            one("aws:TagKeys", &["key1a", "key2b"]),
            true,
        ),
        (
            MULTIVALUED,
            json!({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}, "Null": {"aws:TagKeys": "false"}}),
            none.to_vec(),
            false,
        ),
        // The sources of one PutEvents call.
        (
            EVENT_BUS,
            json!({"ForAllValues:StringEquals": {"events:source": ["aws.ecs", "aws.config"]}, "Null": {"events:source": "false"}}),
            one("events:source", &["aws.ecs", "aws.config"]),
            true,
        ),
        (
            EVENT_BUS,
            json!({"ForAllValues:StringEquals": {"events:source": ["aws.ecs", "aws.config"]}, "Null": {"events:source": "false"}}),
            one("events:source", &["aws.ecs", "ecr-cleanup"]),
            false,
        ),
        (
            EVENT_BUS,
            json!({"ForAllValues:StringEquals": {"events:source": ["aws.ecs", "aws.config"]}, "Null": {"events:source": "false"}}),
            none.to_vec(),
            false,
        ),
        (
            EVENT_BUS,
            json!({"StringEquals": {"events:source": "aws.ecs"}}),
            one("events:source", &["aws.ecs", "other"]),
            false,
        ),
        // Organizations.
        (
            GLOBAL_KEYS,
            json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}),
            one("aws:PrincipalOrgID", &["o-a1b2c3d4e5"]),
            true,
        ),
        (GLOBAL_KEYS, json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}), none.to_vec(), false),
        (
            GLOBAL_KEYS,
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-a1b2c3d4e5/*/ou-ab12-22222222/*"]}}),
            one("aws:PrincipalOrgPaths", &["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/"]),
            true,
        ),
        (
            GLOBAL_KEYS,
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-a1b2c3d4e5/*/ou-ab12-22222222/*"]}}),
            one("aws:PrincipalOrgPaths", &["o-a1b2c3d4e5/r-ab12/ou-ab12-22222222/ou-ab12-33333333/"]),
            true,
        ),
        (
            GLOBAL_KEYS,
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-a1b2c3d4e5/*/ou-ab12-22222222/*"]}}),
            one("aws:PrincipalOrgPaths", &["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"]),
            false,
        ),
        (
            GLOBAL_KEYS,
            json!({"ForAnyValue:StringEquals": {"aws:PrincipalOrgPaths": ["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"]}}),
            one("aws:PrincipalOrgPaths", &["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/"]),
            false,
        ),
        (
            GLOBAL_KEYS,
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-a1b2c3d4e5/r-ab12/*"]}}),
            one("aws:PrincipalOrgPaths", &["o-a1b2c3d4e5/r-ab12/"]),
            true,
        ),
        // All keys and operators of a Condition are required together.
        (
            "Conditions with multiple context keys or values",
            json!({"StringEquals": {"aws:ResourceTag/a": "1", "aws:ResourceTag/b": "2"}}),
            vec![("aws:ResourceTag/a", &["1"]), ("aws:ResourceTag/b", &["2"])],
            true,
        ),
        (
            "Conditions with multiple context keys or values",
            json!({"StringEquals": {"aws:ResourceTag/a": "1", "aws:ResourceTag/b": "2"}}),
            vec![("aws:ResourceTag/a", &["1"]), ("aws:ResourceTag/b", &["3"])],
            false,
        ),
        (
            "Conditions with multiple context keys or values",
            json!({"StringEquals": {"aws:ResourceTag/a": "1"}, "StringLike": {"aws:ResourceTag/b": "2*"}}),
            vec![("aws:ResourceTag/a", &["1"]), ("aws:ResourceTag/b", &["3"])],
            false,
        ),
        // Variables in conditions.
        (
            VARIABLES,
            json!({"StringLike": {"s3:prefix": ["${aws:username}/*"]}}),
            vec![("aws:username", &["David"]), ("s3:prefix", &["David/x"])],
            true,
        ),
        (
            VARIABLES,
            json!({"StringLike": {"s3:prefix": ["${aws:username}/*"]}}),
            vec![("aws:username", &["David"]), ("s3:prefix", &["Ann/x"])],
            false,
        ),
        (
            VARIABLES,
            json!({"StringNotEquals": {"s3:prefix": "${aws:PrincipalTag/team}"}}),
            one("s3:prefix", &["x"]),
            false,
        ),
        (
            VARIABLES,
            json!({"StringEquals": {"s3:prefix": "${aws:PrincipalTag/team, 'company-wide'}"}}),
            one("s3:prefix", &["company-wide"]),
            true,
        ),
        (
            VARIABLES,
            json!({"StringEquals": {"aws:ResourceTag/price": "10${$}"}}),
            one("aws:ResourceTag/price", &["10$"]),
            true,
        ),
        (
            VARIABLES,
            json!({"StringLike": {"aws:ResourceTag/note": "${*}*"}}),
            one("aws:ResourceTag/note", &["x*"]),
            false,
        ),
    ];
    for (page, condition, keys, expected) in rows {
        let document = json!({"Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}});
        let policy = Policy::from_value(PolicyKind::Identity, &document).expect("a valid policy");
        let context =
            keys.iter().fold(Context::new(), |context, (key, values)| context.with_all(key, values.iter().copied()));
        let principal = service_free_principal();
        let request = Request { caller: &principal, action: "a:b", resource: "*", resource_account: HUB, context };
        let decision = evaluate(&request, &Policies { identity: &[&policy], ..Policies::default() });
        assert_eq!(decision.is_allowed(), expected, "{page}: {condition} with {keys:?} gives {decision:?}");
    }
}

/// A user, so that none of the keys that follow from the caller gets in the way but `aws:username` and `aws:PrincipalArn`, which
/// the rows override.
fn service_free_principal() -> Caller {
    root(HUB).account().map(user).expect("a root user has an account")
}

struct Case {
    page: &'static str,
    identity: Vec<Value>,
    resource: Option<(PolicyKind, Value)>,
    boundary: Option<Value>,
    session: Option<Value>,
    principal: Caller,
    action: &'static str,
    on: (&'static str, &'static str),
    context: Context,
    expected: Decision,
}

/// A case in which a role of the hub asks for `sqs:SendMessage` on one of the hub's queues, and no policy says anything.
fn case(page: &'static str, expected: Decision) -> Case {
    Case {
        page,
        identity: Vec::new(),
        resource: None,
        boundary: None,
        session: None,
        principal: role_session(HUB),
        action: "sqs:SendMessage",
        on: ("arn:aws:sqs:eu-west-1:111111111111:queue1", HUB),
        context: Context::new(),
        expected,
    }
}

impl Case {
    fn identity(mut self, statement: Value) -> Self {
        self.identity.push(statement);
        self
    }
    fn resource(mut self, statement: Value) -> Self {
        self.resource = Some((PolicyKind::Resource, statement));
        self
    }
    fn trust(mut self, statement: Value) -> Self {
        self.resource = Some((PolicyKind::Trust, statement));
        self.action = "sts:AssumeRole";
        self.on = ("arn:aws:iam::111111111111:role/target", HUB);
        self
    }
    fn boundary(mut self, statement: Value) -> Self {
        self.boundary = Some(statement);
        self
    }
    fn session(mut self, statement: Value) -> Self {
        self.session = Some(statement);
        self
    }
    fn by(mut self, principal: Caller) -> Self {
        self.principal = principal;
        self
    }
    fn action(mut self, action: &'static str) -> Self {
        self.action = action;
        self
    }
    fn on(mut self, resource: &'static str) -> Self {
        self.on.0 = resource;
        self
    }
    fn with(mut self, key: &str, value: &str) -> Self {
        self.context = self.context.with(key, value);
        self
    }
}

fn allow(source: Source) -> Decision {
    Decision::Allow { source, statement: if source == Source::Root { "" } else { "S" }.to_owned() }
}

fn deny(source: Source) -> Decision {
    Decision::ExplicitDeny { source, statement: "S".to_owned() }
}

fn nothing(source: Source) -> Decision {
    Decision::ImplicitDeny { source }
}

fn grant(action: Value, resource: Value) -> Value {
    json!({"Sid": "S", "Effect": "Allow", "Action": action, "Resource": resource})
}

fn forbid(action: Value, resource: Value) -> Value {
    json!({"Sid": "S", "Effect": "Deny", "Action": action, "Resource": resource})
}

fn let_in(principal: Value) -> Value {
    json!({"Sid": "S", "Effect": "Allow", "Principal": principal, "Action": "*"})
}

fn keep_out(principal: Value) -> Value {
    json!({"Sid": "S", "Effect": "Deny", "Principal": principal, "Action": "*"})
}

const ROLE: &str = "arn:aws:iam::111111111111:role/examplerole";
const SESSION: &str = "arn:aws:sts::111111111111:assumed-role/examplerole/examplesession";
const FOREIGN_ROLE: &str = "arn:aws:iam::222222222222:role/examplerole";

/// Whole requests: who is allowed what, by which side.
#[test]
fn requests() {
    use Source::{Boundary, Identity, Resource, Root, Session, Trust};
    let anything = || grant(json!("*"), json!("*"));
    let sqs = || grant(json!("sqs:*"), json!("*"));
    let with = |mut statement: Value, condition: Value| {
        statement["Condition"] = condition;
        statement
    };
    let conditioned = |principal, condition| with(let_in(principal), condition);
    let cases = vec![
        // Within an account.
        case(EVALUATION, nothing(Identity)),
        case(EVALUATION, allow(Root)).by(root(HUB)),
        case(EVALUATION, deny(Identity)).by(root(HUB)).identity(forbid(json!("*"), json!("*"))),
        case(EVALUATION, allow(Identity)).identity(sqs()),
        case(EVALUATION, allow(Resource)).resource(let_in(json!({"AWS": ROLE}))),
        case(EVALUATION, allow(Resource)).by(user(HUB)).resource(let_in(json!({"AWS": "arn:aws:iam::111111111111:user/exampleuser"}))),
        case(EVALUATION, deny(Identity)).identity(anything()).identity(forbid(json!("sqs:SendMessage"), json!("*"))),
        case(EVALUATION, deny(Resource)).identity(anything()).resource(keep_out(json!("*"))),
        case(EVALUATION, deny(Resource)).identity(anything()).resource(keep_out(json!({"AWS": "111111111111"}))),
        case(EVALUATION, deny(Resource)).by(root(HUB)).resource(keep_out(json!({"AWS": "111111111111"}))),
        case(EVALUATION, allow(Identity)).identity(sqs()).resource(keep_out(json!({"AWS": FOREIGN_ROLE}))),
        // The account as principal delegates to the account.
        case(PRINCIPAL, nothing(Identity)).resource(let_in(json!({"AWS": "111111111111"}))),
        case(PRINCIPAL, allow(Identity)).identity(sqs()).resource(let_in(json!({"AWS": "arn:aws:iam::111111111111:root"}))),
        case(PRINCIPAL, allow(Resource)).by(root(HUB)).resource(let_in(json!({"AWS": "111111111111"}))),
        case(PRINCIPAL, allow(Resource)).resource(let_in(json!("*"))),
        case(PRINCIPAL, allow(Resource)).resource(let_in(json!({"AWS": "*"}))),
        case(PRINCIPAL, allow(Resource)).resource(let_in(json!({"AWS": ["222222222222", SESSION]}))),
        case(PRINCIPAL, nothing(Identity)).resource(let_in(json!({"AWS": "arn:aws:sts::111111111111:assumed-role/examplerole/other"}))),
        case(PRINCIPAL, nothing(Identity)).resource(let_in(json!({"Service": "events.amazonaws.com"}))),
        // Boundaries.
        case(BOUNDARIES, allow(Identity)).identity(sqs()).boundary(anything()),
        case(BOUNDARIES, nothing(Boundary)).identity(sqs()).boundary(grant(json!("s3:*"), json!("*"))),
        case(BOUNDARIES, nothing(Identity)).boundary(anything()),
        case(BOUNDARIES, deny(Boundary)).identity(sqs()).boundary(forbid(json!("sqs:*"), json!("*"))),
        case(EVALUATION, nothing(Boundary)).resource(let_in(json!({"AWS": ROLE}))).boundary(grant(json!("s3:*"), json!("*"))),
        case(EVALUATION, allow(Resource)).resource(let_in(json!({"AWS": SESSION}))).boundary(grant(json!("s3:*"), json!("*"))),
        case(PRINCIPAL, allow(Resource)).resource(conditioned(json!("*"), json!({"ArnEquals": {"aws:PrincipalArn": ROLE}}))).boundary(grant(json!("s3:*"), json!("*"))),
        // Session policies.
        case(SESSIONS, allow(Identity)).identity(anything()).session(sqs()),
        case(SESSIONS, nothing(Session)).identity(anything()).session(grant(json!("s3:*"), json!("*"))),
        case(SESSIONS, nothing(Identity)).session(sqs()),
        case(SESSIONS, nothing(Session)).resource(let_in(json!({"AWS": ROLE}))).session(grant(json!("s3:*"), json!("*"))),
        case(SESSIONS, allow(Resource)).resource(let_in(json!({"AWS": SESSION}))).session(grant(json!("s3:*"), json!("*"))),
        // Across accounts.
        case(CROSS_ACCOUNT, nothing(Identity)).by(role_session(WORKLOAD)),
        case(CROSS_ACCOUNT, nothing(Resource)).by(role_session(WORKLOAD)).identity(sqs()),
        case(CROSS_ACCOUNT, nothing(Identity)).by(role_session(WORKLOAD)).resource(let_in(json!({"AWS": FOREIGN_ROLE}))),
        case(CROSS_ACCOUNT, allow(Resource)).by(role_session(WORKLOAD)).identity(sqs()).resource(let_in(json!({"AWS": FOREIGN_ROLE}))),
        case(CROSS_ACCOUNT, allow(Resource)).by(role_session(WORKLOAD)).identity(sqs()).resource(let_in(json!({"AWS": "222222222222"}))),
        case(CROSS_ACCOUNT, nothing(Resource)).by(role_session(WORKLOAD)).identity(sqs()).resource(let_in(json!({"AWS": "111111111111"}))),
        case(CROSS_ACCOUNT, nothing(Session)).by(role_session(WORKLOAD)).identity(sqs()).session(grant(json!("s3:*"), json!("*"))).resource(let_in(json!({"AWS": "222222222222"}))),
        case(CROSS_ACCOUNT, allow(Resource)).by(root(WORKLOAD)).resource(let_in(json!({"AWS": "222222222222"}))),
        case(CROSS_ACCOUNT, nothing(Resource)).by(root(WORKLOAD)),
        case(CROSS_ACCOUNT, deny(Identity)).by(role_session(WORKLOAD)).identity(forbid(json!("*"), json!("*"))).resource(let_in(json!("*"))),
        case(CROSS_ACCOUNT, allow(Resource)).by(role_session(WORKLOAD)).identity(sqs()).resource(conditioned(json!("*"), json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}))).with("aws:PrincipalOrgID", "o-a1b2c3d4e5"),
        case(CROSS_ACCOUNT, nothing(Resource)).by(role_session(WORKLOAD)).identity(sqs()).resource(conditioned(json!("*"), json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}))),
        // Actions.
        case(ACTION, allow(Identity)).identity(grant(json!("SQS:sendmessage"), json!("*"))),
        case(ACTION, allow(Identity)).identity(grant(json!(["sqs:Receive*", "sqs:Send*"]), json!("*"))),
        case(ACTION, nothing(Identity)).identity(grant(json!("sqs:Send"), json!("*"))),
        case(ACTION, allow(Identity)).action("iam:UpdateAccessKey").on("*").identity(grant(json!("iam:*AccessKey*"), json!("*"))),
        case(ACTION, nothing(Identity)).action("sqsx:SendMessage").identity(sqs()),
        case(NOT_ACTION, nothing(Identity)).action("iam:GetRole").identity(json!({"Sid": "S", "Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})),
        case(NOT_ACTION, allow(Identity)).identity(json!({"Sid": "S", "Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})),
        case(NOT_ACTION, deny(Identity)).identity(anything()).identity(json!({"Sid": "S", "Effect": "Deny", "NotAction": ["iam:*", "s3:*"], "Resource": "*"})),
        // Resources.
        case(RESOURCE, allow(Identity)).identity(grant(json!("sqs:*"), json!("arn:aws:sqs:eu-west-1:111111111111:queue1"))),
        case(RESOURCE, allow(Identity)).identity(grant(json!("sqs:*"), json!("arn:aws:sqs:*:*:queue?"))),
        case(RESOURCE, allow(Identity)).identity(grant(json!("sqs:*"), json!("arn:aws:sqs"))),
        case(RESOURCE, nothing(Identity)).identity(grant(json!("sqs:*"), json!("arn:aws:sqs:eu-west-1:*"))).on("arn:aws:sqs:eu-west-2:111111111111:queue1"),
        case(RESOURCE, nothing(Identity)).identity(grant(json!("sqs:*"), json!("arn:aws:sqs:*:queue1"))).on("arn:aws:sqs:eu-west-1:111111111111:queue1"),
        case(RESOURCE, allow(Identity)).action("s3:GetObject").on("arn:aws:s3:::bucket/a/test/b").identity(grant(json!("s3:*"), json!("arn:aws:s3:::*/test/*"))),
        case(RESOURCE, nothing(Identity)).action("sqs:ListQueues").on("*").identity(grant(json!("sqs:*"), json!("arn:aws:sqs:*:*:*"))),
        case(NOT_RESOURCE, nothing(Identity)).identity(json!({"Sid": "S", "Effect": "Allow", "Action": "*", "NotResource": "arn:aws:sqs:*:*:queue1"})),
        case(NOT_RESOURCE, deny(Identity)).identity(anything()).identity(json!({"Sid": "S", "Effect": "Deny", "Action": "sqs:*", "NotResource": ["arn:aws:sqs:*:*:queue2"]})),
        // NotPrincipal exempts only who is listed with all its names.
        case(NOT_PRINCIPAL, allow(Identity)).identity(anything()).resource(json!({"Sid": "S", "Effect": "Deny", "NotPrincipal": {"AWS": [SESSION, ROLE, "arn:aws:iam::111111111111:root"]}, "Action": "*"})),
        case(NOT_PRINCIPAL, deny(Resource)).identity(anything()).resource(json!({"Sid": "S", "Effect": "Deny", "NotPrincipal": {"AWS": [ROLE, "111111111111"]}, "Action": "*"})),
        case(NOT_PRINCIPAL, deny(Resource)).by(user(HUB)).identity(anything()).resource(json!({"Sid": "S", "Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::111111111111:user/exampleuser"}, "Action": "*"})),
        case(NOT_PRINCIPAL, deny(Resource)).by(service("events.amazonaws.com")).resource(json!({"Sid": "S", "Effect": "Deny", "NotPrincipal": {"Service": "sns.amazonaws.com"}, "Action": "*"})),
        // Variables.
        case(VARIABLES, allow(Identity)).by(user(HUB)).action("s3:GetObject").on("arn:aws:s3:::mybucket/exampleuser/x").identity(grant(json!("s3:*"), json!("arn:aws:s3:::mybucket/${aws:username}/*"))),
        case(VARIABLES, nothing(Identity)).by(user(HUB)).action("s3:GetObject").on("arn:aws:s3:::mybucket/David/x").identity(grant(json!("s3:*"), json!("arn:aws:s3:::mybucket/${aws:username}/*"))),
        case(VARIABLES, nothing(Identity)).action("s3:GetObject").on("arn:aws:s3:::mybucket/x/x").identity(grant(json!("s3:*"), json!("arn:aws:s3:::mybucket/${aws:username}/*"))),
        case(VARIABLES, allow(Identity)).by(user(HUB)).on("arn:aws:sqs:us-east-2:111111111111:exampleuser-queue").identity(grant(json!("sqs:*"), json!("arn:aws:sqs:us-east-2:*:${aws:username}-queue"))),
        // Services: only the resource's policy counts, and its conditions guard against confused deputies.
        case(CONFUSED_DEPUTY, nothing(Resource)).by(service("events.amazonaws.com")),
        case(CONFUSED_DEPUTY, allow(Resource)).by(service("events.amazonaws.com")).resource(let_in(json!({"Service": "events.amazonaws.com"}))),
        case(CONFUSED_DEPUTY, nothing(Resource)).by(service("sns.amazonaws.com")).resource(let_in(json!({"Service": "events.amazonaws.com"}))),
        case(CONFUSED_DEPUTY, allow(Resource)).by(service("events.amazonaws.com")).with("aws:SourceArn", "arn:aws:events:eu-west-1:111111111111:rule/bus/r").resource(conditioned(json!({"Service": "events.amazonaws.com"}), json!({"ArnLike": {"aws:SourceArn": "arn:aws:events:*:111111111111:rule/*"}}))),
        case(CONFUSED_DEPUTY, nothing(Resource)).by(service("events.amazonaws.com")).with("aws:SourceArn", "arn:aws:events:eu-west-1:222222222222:rule/bus/r").resource(conditioned(json!({"Service": "events.amazonaws.com"}), json!({"ArnLike": {"aws:SourceArn": "arn:aws:events:*:111111111111:rule/*"}}))),
        case(CONFUSED_DEPUTY, nothing(Resource)).by(service("events.amazonaws.com")).resource(conditioned(json!({"Service": "events.amazonaws.com"}), json!({"StringEquals": {"aws:SourceAccount": "111111111111"}}))),
        case(GLOBAL_KEYS, deny(Resource)).by(role_session(WORKLOAD)).identity(anything()).resource(with(keep_out(json!("*")), json!({"StringNotEquals": {"aws:PrincipalAccount": "111111111111"}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}))),
        case(GLOBAL_KEYS, nothing(Resource)).by(service("events.amazonaws.com")).resource(with(keep_out(json!("*")), json!({"StringNotEquals": {"aws:PrincipalAccount": "111111111111"}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}))),
        case(GLOBAL_KEYS, allow(Identity)).identity(with(sqs(), json!({"ArnEquals": {"aws:PrincipalArn": ROLE}}))),
        case(GLOBAL_KEYS, allow(Identity)).identity(with(sqs(), json!({"StringEquals": {"aws:userid": "AROAEXAMPLEROLE:examplesession", "aws:PrincipalType": "AssumedRole"}}))),
        // Trust policies.
        case(EVALUATION, nothing(Trust)).trust(let_in(json!({"AWS": "222222222222"}))).identity(anything()),
        case(EVALUATION, allow(Trust)).trust(let_in(json!({"AWS": ROLE}))),
        case(EVALUATION, nothing(Identity)).trust(let_in(json!({"AWS": "111111111111"}))),
        case(EVALUATION, allow(Identity)).trust(let_in(json!({"AWS": "111111111111"}))).identity(grant(json!("sts:AssumeRole"), json!("arn:aws:iam::111111111111:role/target"))),
        case(CROSS_ACCOUNT, nothing(Identity)).by(role_session(WORKLOAD)).trust(let_in(json!({"AWS": FOREIGN_ROLE}))),
        case(CROSS_ACCOUNT, allow(Trust)).by(role_session(WORKLOAD)).trust(let_in(json!({"AWS": FOREIGN_ROLE}))).identity(grant(json!("sts:AssumeRole"), json!("*"))),
        case(CROSS_ACCOUNT, nothing(Trust)).by(role_session(WORKLOAD)).trust(let_in(json!({"AWS": "111111111111"}))),
        case(CONFUSED_DEPUTY, allow(Trust)).by(service("lambda.amazonaws.com")).trust(let_in(json!({"Service": "lambda.amazonaws.com"}))),
        case(CONFUSED_DEPUTY, nothing(Trust)).by(service("ecs.amazonaws.com")).trust(let_in(json!({"Service": "lambda.amazonaws.com"}))),
        case(EXTERNAL_ID, allow(Trust)).by(role_session(WORKLOAD)).identity(anything()).trust(conditioned(json!({"AWS": "222222222222"}), json!({"StringEquals": {"sts:ExternalId": "12345"}}))).with("sts:ExternalId", "12345"),
        case(EXTERNAL_ID, nothing(Trust)).by(role_session(WORKLOAD)).identity(anything()).trust(conditioned(json!({"AWS": "222222222222"}), json!({"StringEquals": {"sts:ExternalId": "12345"}}))),
        // Passing a role.
        case(PASS_ROLE, allow(Identity)).action("iam:PassRole").on("arn:aws:iam::111111111111:role/EC2-roles-for-XYZ-1").with("iam:PassedToService", "ec2.amazonaws.com").identity(with(grant(json!("iam:PassRole"), json!("arn:aws:iam::111111111111:role/EC2-roles-for-XYZ-*")), json!({"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}))),
        case(PASS_ROLE, nothing(Identity)).action("iam:PassRole").on("arn:aws:iam::111111111111:role/EC2-roles-for-XYZ-1").with("iam:PassedToService", "lambda.amazonaws.com").identity(with(grant(json!("iam:PassRole"), json!("arn:aws:iam::111111111111:role/EC2-roles-for-XYZ-*")), json!({"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}))),
        // Deleting images only in repositories that carry a tag.
        case(ECR, allow(Identity)).action("ecr:BatchDeleteImage").on("arn:aws:ecr:eu-west-1:111111111111:repository/r").with("aws:ResourceTag/ecr-cleanup", "enabled").identity(with(grant(json!("ecr:BatchDeleteImage"), json!("arn:aws:ecr:*:111111111111:repository/*")), json!({"StringLike": {"aws:ResourceTag/ecr-cleanup": "*"}}))),
        case(ECR, nothing(Identity)).action("ecr:BatchDeleteImage").on("arn:aws:ecr:eu-west-1:111111111111:repository/r").with("aws:ResourceTag/other", "enabled").identity(with(grant(json!("ecr:BatchDeleteImage"), json!("arn:aws:ecr:*:111111111111:repository/*")), json!({"StringLike": {"aws:ResourceTag/ecr-cleanup": "*"}}))),
        case(ECR, nothing(Identity)).action("ecr:BatchDeleteImage").on("arn:aws:ecr:eu-west-1:111111111111:repository/r").identity(with(grant(json!("ecr:BatchDeleteImage"), json!("*")), json!({"Null": {"aws:ResourceTag/ecr-cleanup": "false"}}))),
    ];
    assert!(cases.len() > 60);
    for (index, case) in cases.into_iter().enumerate() {
        let parse = |kind, statement: &Value| {
            Policy::from_value(kind, &json!({"Version": "2012-10-17", "Statement": [statement]}))
                .unwrap_or_else(|error| panic!("row {index}, {}: {error}", case.page))
        };
        let identity: Vec<Policy> = case.identity.iter().map(|one| parse(PolicyKind::Identity, one)).collect();
        let resource = case.resource.as_ref().map(|(kind, statement)| parse(*kind, statement));
        let boundary = case.boundary.as_ref().map(|statement| parse(PolicyKind::Identity, statement));
        let session: Vec<Policy> = case.session.iter().map(|one| parse(PolicyKind::Identity, one)).collect();
        let request = Request {
            caller: &case.principal,
            action: case.action,
            resource: case.on.0,
            resource_account: case.on.1,
            context: case.context,
        };
        let policies = Policies {
            identity: &identity.iter().collect::<Vec<_>>(),
            resource: resource.as_ref(),
            boundary: boundary.as_ref(),
            session: &session.iter().collect::<Vec<_>>(),
        };
        assert_eq!(evaluate(&request, &policies), case.expected, "row {index}: {}", case.page);
    }
}

#[test]
fn messages_say_which_side_denied() {
    for (decision, expected) in [
        (nothing(Source::Identity), "because no identity-based policy allows the ecr:GetX action"),
        (nothing(Source::Resource), "because no resource-based policy allows the ecr:GetX action"),
        (nothing(Source::Boundary), "because no permissions boundary allows the ecr:GetX action"),
        (nothing(Source::Session), "because no session policy allows the ecr:GetX action"),
        (deny(Source::Identity), "with an explicit deny in an identity-based policy"),
        (deny(Source::Resource), "with an explicit deny in a resource-based policy"),
        (deny(Source::Trust), "with an explicit deny in the role trust policy"),
    ] {
        assert_eq!(decision.because("ecr:GetX"), expected, "{DENIED}");
    }
}

#[test]
fn variables_belong_to_version_2012_10_17() {
    for (version, resource, expected) in [
        (json!("2012-10-17"), "arn:aws:s3:::b/exampleuser", true),
        (json!("2008-10-17"), "arn:aws:s3:::b/exampleuser", false),
        (json!("2008-10-17"), "arn:aws:s3:::b/${aws:username}", true),
    ] {
        let statement = grant(json!("s3:GetObject"), json!("arn:aws:s3:::b/${aws:username}"));
        let document = json!({"Version": version, "Statement": statement});
        let policy = Policy::from_value(PolicyKind::Identity, &document).expect("a valid policy");
        let principal = user(HUB);
        let request = Request {
            caller: &principal,
            action: "s3:GetObject",
            resource,
            resource_account: HUB,
            context: Context::new(),
        };
        let decision = evaluate(&request, &Policies { identity: &[&policy], ..Policies::default() });
        assert_eq!(decision.is_allowed(), expected, "{VERSION}: {version} {resource}");
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let identity = |extra: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"});
        for (key, value) in extra.as_object().expect("an object") {
            if value.is_null() {
                statement.as_object_mut().expect("an object").remove(key);
            } else {
                statement[key] = value.clone();
            }
        }
        json!({"Version": "2012-10-17", "Statement": [statement]})
    };
    let resource = |principal: Value| json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "ecr:*"}]});
    use PolicyKind::{Identity, Resource, Trust};
    for (kind, document, expected) in [
        (Identity, json!("x"), "the policy: \"x\" is not an object"),
        (Identity, json!({"Version": "2012-10-17"}), "the policy: Statement is missing"),
        (Identity, json!({"Statement": []}), "the policy: Statement is missing"),
        (Identity, json!({"Version": "2020-01-01", "Statement": []}), "Version: \"2020-01-01\" is not a version"),
        (Identity, json!({"Comment": "x", "Statement": []}), "the policy: the element Comment is not supported"),
        (Identity, identity(json!({"Resources": "*"})), "Statement[0]: the element Resources is not supported"),
        (Identity, identity(json!({"Effect": "allow"})), "Statement[0].Effect: \"allow\" is neither Allow nor Deny"),
        (Identity, identity(json!({"Effect": null})), "Statement[0]: Effect is missing"),
        (Identity, identity(json!({"Action": null})), "Statement[0]: Action is missing"),
        (Identity, identity(json!({"Resource": null})), "Statement[0]: Resource is missing"),
        (Identity, identity(json!({"Sid": "a b"})), "Statement[0].Sid: \"a b\" may hold only letters and digits"),
        (Identity, identity(json!({"NotAction": "a:b"})), "Statement[0]: Action and NotAction exclude each other"),
        (
            Identity,
            identity(json!({"Action": "BatchDeleteImage"})),
            "Statement[0].Action: BatchDeleteImage is not an action",
        ),
        (Identity, identity(json!({"Action": "e*:Get"})), "Statement[0].Action: e*:Get is not an action"),
        (Identity, identity(json!({"Action": []})), "Statement[0].Action: the list is empty"),
        (
            Identity,
            identity(json!({"Resource": "repository/a"})),
            "Statement[0].Resource: repository/a: it is not an ARN",
        ),
        (
            Identity,
            identity(json!({"Resource": "arn:aws:ecr:*:${aws:PrincipalAccount}:x"})),
            "Statement[0].Resource: arn:aws:ecr:*:${aws:PrincipalAccount}:x: the variable aws:PrincipalAccount stands before the fifth colon",
        ),
        (Identity, identity(json!({"Principal": "*"})), "Statement[0]: an identity-based policy has no Principal"),
        (
            Identity,
            identity(json!({"Condition": {"StringEqual": {"aws:userid": "a"}}})),
            "Statement[0].Condition.StringEqual.aws:userid: the condition operator StringEqual is not supported",
        ),
        (
            Identity,
            identity(json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})),
            "Statement[0].Condition.IpAddress.aws:SourceIp: the condition operator IpAddress is not supported",
        ),
        (
            Identity,
            identity(json!({"Condition": {"ForSome:StringEquals": {"aws:userid": "a"}}})),
            "Statement[0].Condition.ForSome:StringEquals.aws:userid: ForSome is no set operator",
        ),
        (
            Identity,
            identity(json!({"Condition": {"NullIfExists": {"aws:userid": "true"}}})),
            "Statement[0].Condition.NullIfExists.aws:userid: Null takes neither a set operator nor IfExists",
        ),
        (
            Identity,
            identity(json!({"Condition": {"Bool": {"aws:userid": "yes"}}})),
            "Statement[0].Condition.Bool.aws:userid: yes is neither true nor false",
        ),
        (
            Identity,
            identity(json!({"Condition": {"NumericEquals": {"a:b": "x"}}})),
            "Statement[0].Condition.NumericEquals.a:b: x is not a number",
        ),
        (
            Identity,
            identity(json!({"Condition": {"DateEquals": {"a:b": "tomorrow"}}})),
            "Statement[0].Condition.DateEquals.a:b: tomorrow is not a date",
        ),
        (
            Identity,
            identity(json!({"Condition": {"ArnLike": {"a:b": "arn:aws:sqs"}}})),
            "Statement[0].Condition.ArnLike.a:b: arn:aws:sqs: the ARN has fewer than six parts",
        ),
        (
            Identity,
            identity(json!({"Condition": {"StringEquals": {"userid": "x"}}})),
            "Statement[0].Condition.StringEquals.userid: userid is not a condition key",
        ),
        (
            Identity,
            identity(json!({"Condition": {"StringEquals": {"a:b": "${aws:userid"}}})),
            "Statement[0].Condition.StringEquals.a:b: a policy variable is not closed",
        ),
        (Resource, identity(json!({})), "Statement[0]: Principal is missing"),
        (Trust, resource(json!({"Federated": "x"})), "Statement[0].Principal: the element Federated is not supported"),
        (
            Resource,
            resource(json!({"AWS": "arn:aws:iam::111111111111:role/*"})),
            "Statement[0].Principal.AWS: arn:aws:iam::111111111111:role/* is not an account, role, role session or user",
        ),
        (
            Resource,
            resource(json!({"AWS": "1111"})),
            "Statement[0].Principal.AWS: 1111 is not an account, role, role session or user",
        ),
        (Resource, resource(json!({"Service": "*"})), "Statement[0].Principal.Service: * is not a service principal"),
        (Resource, resource(json!({})), "Statement[0].Principal: it names nobody"),
        (
            Trust,
            json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Resource": "*"}}),
            "Statement[0]: a trust policy has no Resource",
        ),
        (
            Resource,
            json!({"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": "111111111111"}, "Action": "a:b"}}),
            "Statement[0].NotPrincipal: it is not supported here",
        ),
    ] {
        let error = Policy::from_value(kind, &document).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    let twice = json!({"Statement": [
        {"Sid": "S", "Effect": "Allow", "Action": "a:b", "Resource": "*"},
        {"Sid": "S", "Effect": "Deny", "Action": "a:b", "Resource": "*"},
    ]});
    let error = Policy::from_value(PolicyKind::Identity, &twice).expect_err("a Sid twice");
    assert_eq!(error.to_string(), "Statement: the Sid S is not unique");
    assert!(matches!(Policy::parse(PolicyKind::Identity, "{"), Err(PolicyError::NotJson(_))));
}

#[test]
fn a_policy_names_its_keys_and_accounts() {
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ["111111111111", FOREIGN_ROLE]}, "Action": "ecr:*",
         "Condition": {"StringEquals": {"aws:ResourceTag/Team": "${aws:PrincipalTag/team}"}}},
        {"Effect": "Deny", "Principal": "*", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/${aws:userid}"},
    ]});
    let policy = Policy::from_value(PolicyKind::Resource, &document).expect("a valid policy");
    let keys: Vec<String> = policy.context_keys().into_iter().collect();
    assert_eq!(keys, ["aws:principaltag/team", "aws:resourcetag/team", "aws:userid"]);
    assert_eq!(policy.allowed_accounts(), Some([HUB.to_owned(), WORKLOAD.to_owned()].into()));
    let everyone = Policy::from_value(
        PolicyKind::Resource,
        &json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "ecr:*"}}),
    );
    assert_eq!(everyone.expect("a valid policy").allowed_accounts(), None);
}
