//! The shipped binary as Lambda runs it: a process that takes invocations from the runtime API.

use std::collections::VecDeque;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The part of the Lambda runtime API that a function uses: hands out `invocations`, then keeps the function waiting,
/// and notes what it answers as `(path, body)`. At the same address are the two AWS calls that put a check off.
#[derive(Default)]
struct RuntimeApi {
    invocations: Mutex<VecDeque<Value>>,
    answers: Mutex<Vec<(String, Value)>>,
    answered: tokio::sync::Notify,
}

impl RuntimeApi {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let response = Response::builder();
        let path = head.uri.path();
        let response = if head.method == Method::GET && path == "/2018-06-01/runtime/invocation/next" {
            let next = self.invocations.lock().expect("no panic elsewhere").pop_front();
            let Some(invocation) = next else { return std::future::pending().await };
            response
                .header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                .header("lambda-runtime-deadline-ms", "4102444800000")
                .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:111111111111:function:f")
                .body(Full::from(invocation.to_string()))
        } else if path.starts_with("/schedules/") {
            response.body(Full::from(r#"{"ScheduleArn": "arn"}"#))
        } else if head.headers.get("x-amz-target").is_some_and(|target| target == "AWSEvents.PutEvents") {
            response.body(Full::from(r#"{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}"#))
        } else {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            self.answers.lock().expect("no panic elsewhere").push((path.to_owned(), body));
            self.answered.notify_one();
            response.status(StatusCode::ACCEPTED).body(Full::default())
        };
        Ok(response.expect("a valid response"))
    }
}

fn bootstrap(handler: &str, runtime_api: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
    command.env_clear().envs([
        ("_HANDLER", handler),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api),
        ("AWS_LAMBDA_FUNCTION_NAME", "ecr-cleanup-schedule-checks"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
        ("AWS_ENDPOINT_URL", &format!("http://{runtime_api}")),
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn log_lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A message of the EcrCleanup `prod` with an event.
fn message(event: Value) -> String {
    json!({
        "cleanup": serde_json::from_str::<Value>(include_str!("../fixtures/cleanup.json")).expect("JSON"),
        "event": event,
    })
    .to_string()
}

/// What a function answers to one batch, as `(path, body)`, and what it writes meanwhile.
async fn invoked(handler: &str, batch: Value) -> (Vec<(String, Value)>, Vec<Value>) {
    let api = Arc::new(RuntimeApi::default());
    api.invocations.lock().expect("no panic elsewhere").push_back(batch);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = tokio::spawn({
        let api = api.clone();
        async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let api = api.clone();
                let service = service_fn(move |request| api.clone().handle(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        }
    });
    let mut process = bootstrap(handler, &address).spawn().expect("a process");
    api.answered.notified().await;
    process.kill().expect("it waits for the next invocation");
    let output = process.wait_with_output().expect("its output");
    serving.abort();
    let answers = api.answers.lock().expect("no panic elsewhere").clone();
    (answers, log_lines(&output))
}

const ANSWER_PATH: &str = "/2018-06-01/runtime/invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response";

#[tokio::test]
async fn a_batch_is_taken_from_the_runtime_api_and_answered() {
    let register: Value = serde_json::from_str(include_str!("../fixtures/cloudtrail-failed-call.json")).unwrap();
    let batch = json!({"Records": [
        {"messageId": "good", "body": message(register)},
        {"messageId": "broken", "body": "not JSON"},
    ]});
    let (answers, lines) = invoked("schedule-checks", batch).await;
    let answer = json!({"batchItemFailures": [{"itemIdentifier": "broken"}]});
    assert_eq!(answers, [(ANSWER_PATH.to_owned(), answer)]);
    let line =
        |outcome: &str| lines.iter().find(|line| line["outcome"] == outcome).unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!(line("message failed")["message_id"], "broken");
    assert_eq!(line("ignored")["ecr_cleanup"], "prod (accounts)");
    assert_eq!(line("ignored")["reason"], "the API call failed with \"ClientException\"");
}

#[tokio::test]
async fn decisions_and_metrics_are_lines_of_standard_output() {
    let digest = format!("sha256:{:064x}", 1);
    // So old that its settings may be, too: it is scheduled afresh, and nothing else is asked for.
    let late = json!({
        "id": "1", "source": "ecr-cleanup", "detail-type": "Image Deletion Check Due", "account": "111111111111",
        "region": "eu-west-1", "time": "2020-01-01T00:00:00Z",
        "detail": {
            "repository": {"account": "111111111111", "region": "eu-west-1", "name": "app"},
            "digest": digest, "lastChange": "2020-01-01T00:00:00Z", "postponements": 0,
        },
    });
    let batch = json!({"Records": [{"messageId": "late", "body": message(late)}]});
    let (answers, lines) = invoked("check-images", batch).await;
    assert_eq!(answers, [(ANSWER_PATH.to_owned(), json!({"batchItemFailures": []}))], "{lines:#?}");
    let decisions: Vec<_> = lines.iter().filter(|line| line["digest"] == digest).collect();
    assert_eq!(decisions.len(), 1, "{lines:#?}");
    assert_eq!(decisions[0]["verdict"], "postpone");
    assert_eq!(decisions[0]["reason_code"], "message-late");
    let metrics: Vec<_> = lines.iter().filter(|line| !line["_aws"]["CloudWatchMetrics"].is_null()).collect();
    assert_eq!(metrics.len(), 2, "in all, and by reason: {lines:#?}");
    assert_eq!((&metrics[0]["ChecksRun"], &metrics[0]["ChecksPostponed"]), (&json!(1), &json!(1)));
    assert_eq!((&metrics[1]["Reason"], &metrics[1]["ChecksPostponed"]), (&json!("message-late"), &json!(1)));
}

#[test]
fn an_unknown_function_is_named_and_not_started() {
    for handler in ["sweeper", "it's"] {
        let output = bootstrap(handler, "127.0.0.1:9").spawn().unwrap().wait_with_output().unwrap();
        assert!(!output.status.success(), "{handler}");
        let lines = log_lines(&output);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0]["reason"].as_str().unwrap().contains(&format!("no function {handler:?}")), "{lines:#?}");
    }
}
