//! A sweep of a large organization: how much memory it takes, and how many calls.
//!
//! AWS is a source of answers here that are made up when they are asked for, so that the memory of the process is that of
//! the function. `LARGE_SWEEP_IMAGES` sets how many images a repository has (200 make a million; the default is less, as
//! most of the time goes into reading them).
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, StaticTimeSource};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use handler::clients::Clients;
use handler::sweep::Sweep;
use serde_json::{Value, json};

const REPOSITORIES: usize = 5_000;
const REVISIONS: usize = 100_000;
const SERVICES: usize = 20_000;
/// 2 November 2026, 10:00 UTC.
const NOW: i64 = 1_793_613_600;

/// AWS, as far as a sweep asks it.
#[derive(Debug, Clone)]
struct Source {
    images: usize,
    calls: Arc<Mutex<BTreeMap<String, u64>>>,
}

fn image(repository: usize, n: usize) -> String {
    format!("111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/app-{repository}:v{n}")
}

impl Source {
    fn answer(&self, operation: &str, input: &Value) -> Value {
        *self.calls.lock().expect("not poisoned").entry(operation.to_owned()).or_default() += 1;
        let begin: usize = input["NextToken"]
            .as_str()
            .or(input["nextToken"].as_str())
            .map_or(0, |token| token.parse().expect("a token of ours"));
        match operation {
            "DescribeRepositories" => {
                let some = begin..(begin + 1000).min(REPOSITORIES);
                let next = (some.end < REPOSITORIES).then(|| some.end.to_string());
                let repositories: Vec<Value> =
                    some.map(|n| json!({"repositoryName": format!("team/app-{n}")})).collect();
                with_token(json!({"repositories": repositories}), "nextToken", next)
            }
            "ListTagsForResource" => json!({"tags": [{"Key": "ecr-cleanup", "Value": "enabled"}]}),
            "DescribeImages" => {
                let repository: usize =
                    input["repositoryName"].as_str().expect("a name")[9..].parse().expect("a number");
                let details: Vec<Value> = (0..self.images)
                    .map(|n| {
                        json!({
                            "imageDigest": format!("sha256:{:064x}", repository * 1_000_000 + n),
                            "imageTags": [format!("v{n}")],
                            "imagePushedAt": NOW - 90 * 86400,
                            "imageSizeInBytes": 100_000_000,
                            "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                            "imageStatus": "ACTIVE",
                        })
                    })
                    .collect();
                json!({"imageDetails": details})
            }
            "SelectAggregateResourceConfig" => {
                let some = begin..(begin + 100).min(REVISIONS + SERVICES);
                let next = (some.end < REVISIONS + SERVICES).then(|| some.end.to_string());
                let rows: Vec<Value> = some.map(|n| json!(row(n).to_string())).collect();
                with_token(json!({"Results": rows}), "NextToken", next)
            }
            "PutEvents" => {
                let entries = input["Entries"].as_array().expect("entries").len();
                json!({"FailedEntryCount": 0, "Entries": vec![json!({"EventId": "1"}); entries]})
            }
            "CreateSchedule" => json!({"ScheduleArn": "arn:aws:scheduler:eu-west-1:111111111111:schedule/a/b"}),
            other => panic!("a sweep does not call {other}"),
        }
    }
}

fn with_token(mut answer: Value, name: &str, token: Option<String>) -> Value {
    if let Some(token) = token {
        answer[name] = json!(token);
    }
    answer
}

/// The first are revisions, twenty of each repository and every other one ACTIVE; then come services.
fn row(n: usize) -> Value {
    let revision =
        |n: usize| format!("arn:aws:ecs:eu-west-1:222222222222:task-definition/app-{}:{}", n / 20, n % 20 + 1);
    if n < REVISIONS {
        json!({
            "resourceType": "AWS::ECS::TaskDefinition", "resourceId": revision(n), "arn": revision(n),
            "accountId": "222222222222", "awsRegion": "eu-west-1",
            "configuration": {
                "Status": if n.is_multiple_of(2) { "ACTIVE" } else { "INACTIVE" },
                "ContainerDefinitions": [{"Image": image(n / 20, n % 20)}],
            },
            "configurationItemCaptureTime": "2026-08-01T10:00:00.000Z",
        })
    } else {
        let arn = format!("arn:aws:ecs:eu-west-1:222222222222:service/default/app-{}", n - REVISIONS);
        json!({
            "resourceType": "AWS::ECS::Service", "resourceId": arn, "arn": arn,
            "accountId": "222222222222", "awsRegion": "eu-west-1",
            "configuration": {"TaskDefinition": revision((n - REVISIONS) * 5 + 1)},
        })
    }
}

impl HttpConnector for Source {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        let operation = target.unwrap_or("CreateSchedule").to_owned();
        let input = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        let body = self.answer(&operation, &input).to_string();
        let response = HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(body));
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Source {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// The most memory that this process has used, in megabytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") / 1024
}

#[tokio::test]
async fn a_large_organization_fits_into_memory_and_takes_calls_for_pages_only() {
    let images = std::env::var("LARGE_SWEEP_IMAGES").map_or(10, |images| images.parse().unwrap());
    let source = Source { images, calls: Arc::default() };
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(NOW).unwrap());
    let config = SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .http_client(SharedHttpClient::new(source.clone()))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")))
        .region(aws_types::region::Region::new("eu-west-1"))
        .time_source(SharedTimeSource::new(StaticTimeSource::new(time)))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .build();
    let clients = Arc::new(Clients::new(config));
    let sweep = Sweep::new(Arc::clone(&clients), clients.clock());
    let message = json!({
        "cleanup": serde_json::from_str::<Value>(include_str!("../fixtures/cleanup.json")).expect("JSON"),
        "event": {
            "id": "1", "source": "ecr-cleanup", "detail-type": "Sweep Due", "account": "111111111111",
            "region": "eu-west-1", "time": "2026-11-02T10:00:00Z", "detail": {},
        },
    });
    let event = json!({"Records": [{"messageId": "1", "body": message.to_string()}]});
    let response = sweep.handle(serde_json::from_value(event).unwrap()).await;
    assert_eq!(serde_json::to_value(response).unwrap()["batchItemFailures"], json!([]));

    let calls = source.calls.lock().unwrap().clone();
    let peak = peak_memory();
    println!("{} images: {calls:?}, {peak} MB at most", REPOSITORIES * images);
    let expected = BTreeMap::from(
        [
            ("DescribeRepositories", 5),
            ("ListTagsForResource", 5_000),
            ("DescribeImages", 5_000),
            ("SelectAggregateResourceConfig", 1_200),
            ("CreateSchedule", 5_000),
            ("PutEvents", 500),
        ]
        .map(|(operation, count)| (operation.to_owned(), count)),
    );
    assert_eq!(calls, expected);
    assert!(peak < 256, "{peak} MB");
}
