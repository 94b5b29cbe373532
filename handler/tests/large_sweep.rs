//! A sweep of a large organization: how much memory it takes, and how many calls, in one invocation or in several.
//!
//! AWS is a source of answers here that are made up when they are asked for, so that the memory of the process is that of
//! the function; a call takes time only by the clock that the function is given. `LARGE_SWEEP_IMAGES` sets how many images a repository has (200 make a million; the default is less, as
//! most of the time goes into reading them).
#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use handler::clients::Clients;
use handler::metrics::Sink;
use handler::sweep::Sweep;
use jiff::SignedDuration;
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
    /// How long a call takes.
    latency: SignedDuration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: BTreeMap<String, u64>,
    /// The time that calls took.
    passed: SignedDuration,
    /// What the sweep is to go on from, when it has asked for that.
    continuation: Option<Value>,
}

fn image(repository: usize, n: usize) -> String {
    format!("111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/app-{repository}:v{n}")
}

impl Source {
    fn answer(&self, operation: &str, input: &Value) -> Value {
        {
            let mut state = self.state.lock().expect("not poisoned");
            *state.calls.entry(operation.to_owned()).or_default() += 1;
            // Repositories are asked for their tags eight at a time.
            state.passed += if operation == "ListTagsForResource" { self.latency / 8 } else { self.latency };
        }
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
                let found = rows_of(input["Expression"].as_str().expect("an expression"));
                let some = begin..(begin + 100).min(found.len());
                let next = (some.end < found.len()).then(|| some.end.to_string());
                let rows: Vec<Value> = found[some].iter().map(|n| json!(row(*n).to_string())).collect();
                with_token(json!({"Results": rows}), "NextToken", next)
            }
            "PutEvents" => {
                let entries = input["Entries"].as_array().expect("entries").len();
                json!({"FailedEntryCount": 0, "Entries": vec![json!({"EventId": "1"}); entries]})
            }
            "CreateSchedule" => {
                let detail: Value =
                    serde_json::from_str(input["Target"]["Input"].as_str().expect("text")).expect("JSON");
                if detail.get("after").is_some() {
                    self.state.lock().expect("not poisoned").continuation = Some(detail);
                }
                json!({"ScheduleArn": "arn:aws:scheduler:eu-west-1:111111111111:schedule/a/b"})
            }
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

/// Which rows an expression finds: all, those that are no revisions, or the revisions that name some repositories.
fn rows_of(expression: &str) -> Vec<usize> {
    let named = expression.split("/team/app-").skip(1);
    let named =
        named.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().expect("a part").parse().expect("a number"));
    let named: BTreeSet<usize> = named.collect();
    if !named.is_empty() {
        named.into_iter().flat_map(|repository| repository * 20..(repository + 1) * 20).collect()
    } else if expression.contains("'AWS::ECS::TaskDefinition'") {
        (0..REVISIONS + SERVICES).collect()
    } else {
        (REVISIONS..REVISIONS + SERVICES).collect()
    }
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

impl TimeSource for Source {
    fn now(&self) -> std::time::SystemTime {
        let passed = self.state.lock().expect("not poisoned").passed;
        std::time::SystemTime::UNIX_EPOCH + (SignedDuration::from_secs(NOW) + passed).unsigned_abs()
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

/// How many images a repository has.
fn images() -> usize {
    std::env::var("LARGE_SWEEP_IMAGES").map_or(10, |images| images.parse().expect("a number"))
}

/// Sweeps once; the calls, by operation, and the number of invocations.
async fn swept(latency: SignedDuration) -> (BTreeMap<String, u64>, u64) {
    let images = images();
    let source = Source { images, latency, state: Arc::default() };
    let config = SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .http_client(SharedHttpClient::new(source.clone()))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")))
        .region(aws_types::region::Region::new("eu-west-1"))
        .time_source(SharedTimeSource::new(source.clone()))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .build();
    let clients = Arc::new(Clients::new(config));
    let mut due = Some(json!({}));
    let mut invocations = 0;
    while let Some(detail) = due {
        let sweep = Sweep::new(Arc::clone(&clients), clients.clock()).with_metrics(Sink::new(|_| ()));
        let message = json!({
            "cleanup": serde_json::from_str::<Value>(include_str!("../fixtures/cleanup.json")).expect("JSON"),
            "event": {
                "id": "1", "source": "ecr-cleanup", "detail-type": "Sweep Due", "account": "111111111111",
                "region": "eu-west-1", "time": clients.clock().now(), "detail": detail,
            },
        });
        let event = json!({"Records": [{"messageId": "1", "body": message.to_string()}]});
        let begin = clients.clock().now();
        let response = sweep.handle(serde_json::from_value(event).expect("a batch")).await;
        assert_eq!(serde_json::to_value(response).expect("JSON")["batchItemFailures"], json!([]));
        let took = clients.clock().now().duration_since(begin);
        assert!(took < SignedDuration::from_mins(15), "an invocation of {took:#}");
        invocations += 1;
        due = source.state.lock().expect("not poisoned").continuation.take();
    }
    let calls = source.state.lock().expect("not poisoned").calls.clone();
    println!(
        "{} images, {latency:#} a call: {invocations} invocations, {calls:?}, {} MB",
        REPOSITORIES * images,
        peak_memory()
    );
    (calls, invocations)
}

#[tokio::test]
async fn a_large_organization_fits_into_memory_and_takes_calls_for_pages_only() {
    // A hundred together.
    let checks = 5_000 * images().div_ceil(100) as u64;
    let (calls, invocations) = swept(SignedDuration::ZERO).await;
    assert_eq!(invocations, 1);
    let expected = BTreeMap::from(
        [
            ("DescribeRepositories", 5),
            ("ListTagsForResource", 5_000),
            ("DescribeImages", 5_000),
            ("SelectAggregateResourceConfig", 1_200),
            ("CreateSchedule", checks),
            ("PutEvents", 500),
        ]
        .map(|(operation, count)| (operation.to_owned(), count)),
    );
    assert_eq!(calls, expected);

    // Everything that names images takes longer than an invocation asks for it: 750 pages are had in five minutes.
    let (calls, invocations) = swept(SignedDuration::from_millis(400)).await;
    assert!(invocations > 3, "{invocations} invocations");
    let again = invocations - 1;
    let most = BTreeMap::from([
        ("DescribeRepositories", 5 * invocations),
        // By the first invocation, and by the one that looks at the repository; some wait when its time is up.
        ("ListTagsForResource", 2 * 5_000 + 40 * again),
        ("DescribeImages", 5_000),
        // For everything, as far as that goes; then by three repositories, with what runs task definitions (20,000
        // services), and a few pages to see whether everything takes no more.
        ("SelectAggregateResourceConfig", 750 + 5_000 / 3 + 10 * again + 200 * invocations + 12 * again),
        ("CreateSchedule", checks + again),
        ("PutEvents", 500 + 3 * again),
    ]);
    for (operation, count) in &calls {
        assert!(*count <= most[operation.as_str()], "{operation}: {count} calls, not {}", most[operation.as_str()]);
    }
    assert_eq!(calls["DescribeImages"], 5_000, "each repository once");
    let peak = peak_memory();
    assert!(peak < 256, "{peak} MB");
}
