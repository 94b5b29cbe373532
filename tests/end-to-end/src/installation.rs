//! EcrCleanup in an organization: the hub's stack and an example as they are shipped, and what the provider makes of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use handler::check_images::CheckImages;
use handler::clients::Clients;
use handler::names::{Kind, Names};
use handler::opt_in::OptInTag;
use handler::provider::{Invocation, Provider};
use handler::schedule_checks::ScheduleChecks;
use handler::settings::{Choices, Hub, Settings};
use handler::sweep::Sweep;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::{AccountId, Function, FunctionContext, Region};

use crate::Organization;
use crate::stacks::stack_set_roles;

/// The hub's template as shipped.
const PROVIDER_TEMPLATE: &str = include_str!("../../../infra-templates/provider.yaml");
/// The example for accounts as shipped.
const ACCOUNTS_EXAMPLE: &str = include_str!("../../../examples/accounts.yaml");

/// The name of the hub's stack.
pub const HUB_STACK: &str = "ecr-cleanup-hub";
/// The name of the stack with the EcrCleanup.
pub const CLEANUP_STACK: &str = "ecr-cleanup";

/// Deploys the hub's template, with what it needs before: the roles of self-managed stack sets.
///
/// # Panics
/// If the stack is not created.
pub fn install_hub(organization: &Organization) {
    prepare_hub(organization);
    deploy_hub(organization);
}

/// What is there before the hub's template is deployed: the functions' code, and the roles of self-managed stack sets.
///
/// # Panics
/// If there are such roles already.
pub fn prepare_hub(organization: &Organization) {
    register_functions(organization);
    stack_set_roles(organization);
}

/// Deploys the hub's template.
///
/// # Panics
/// If the stack is not created.
pub fn deploy_hub(organization: &Organization) {
    deploy_hub_with(organization, &[]);
}

/// Deploys the hub's template with other parameters than its defaults.
///
/// # Panics
/// If the stack is not created.
pub fn deploy_hub_with(organization: &Organization, parameters: &[(&str, String)]) {
    organization.create_stack(HUB_STACK, &packaged(PROVIDER_TEMPLATE), parameters).expect_status("CREATE_COMPLETE");
}

/// An installed EcrCleanup.
#[derive(Debug)]
pub struct Installation {
    /// What it was told.
    pub settings: Settings,
}

impl Installation {
    /// Deploys the hub's template and then the example for accounts, as a user does: all else is the provider's work. The
    /// name is `prod`, the window 24 hours.
    ///
    /// # Panics
    /// If a stack is not created.
    pub fn through_cloudformation(organization: &Organization) -> Self {
        Self::of_template(organization, ACCOUNTS_EXAMPLE)
    }

    /// The same with the example changed.
    ///
    /// # Panics
    /// If a stack is not created.
    pub fn of_template(organization: &Organization, template: &str) -> Self {
        install_hub(organization);
        let accounts: Vec<_> = organization.workloads.iter().map(AccountId::as_str).collect();
        let regions: Vec<_> = organization.regions.iter().map(Region::as_str).collect();
        let parameters = [("WorkloadAccountIds", accounts.join(",")), ("Regions", regions.join(","))];
        organization.create_stack(CLEANUP_STACK, template, &parameters).expect_status("CREATE_COMPLETE");
        // The probes are recorded and aggregated, and sources are synchronized.
        organization.hours(6);
        Self { settings: settings(organization) }
    }

    /// Deletes the EcrCleanup's stack, and then the hub's.
    ///
    /// # Panics
    /// If a stack is not deleted.
    pub fn remove(self, organization: &Organization) {
        for stack in [CLEANUP_STACK, HUB_STACK] {
            organization.delete_stack(stack).expect_status("DELETE_COMPLETE");
        }
        // A schedule group is still there while it is being deleted.
        organization.minutes(5);
    }

    /// Fails if the simulation or IAM refused anything to the product, or a message is dead.
    ///
    /// # Panics
    /// With what was refused, or what is dead.
    pub fn assert_healthy(&self, organization: &Organization) {
        Self::assert_nothing_refused(organization);
    }

    /// The same, for an EcrCleanup with whatever properties.
    ///
    /// # Panics
    /// With what was refused, or what is dead.
    pub fn assert_nothing_refused(organization: &Organization) {
        let world = organization.aws.world();
        assert_eq!(world.refusals(), &[] as &[String], "the simulation refused");
        let denied: Vec<String> = world
            .calls()
            .iter()
            .filter_map(|call| {
                let error = call.outcome.as_ref().err()?;
                error.code.starts_with("AccessDenied").then(|| error.message.clone())
            })
            .collect();
        assert_eq!(denied, [] as [String; 0], "IAM refused");
        drop(world);
        for queue in [
            "ecr-cleanup-schedule-checks-dead-letters",
            "ecr-cleanup-check-images-dead-letters",
            "ecr-cleanup-sweep-dead-letters",
        ] {
            let (hub, home) = (&organization.hub, organization.home());
            let url = organization.call(hub, home, "sqs", "GetQueueUrl", json!({"QueueName": queue}));
            let input = json!({"QueueUrl": url["QueueUrl"], "AttributeNames": ["ApproximateNumberOfMessages"]});
            let attributes = organization.call(hub, home, "sqs", "GetQueueAttributes", input);
            assert_eq!(attributes["Attributes"]["ApproximateNumberOfMessages"], "0", "{queue} holds messages");
        }
    }
}

/// Registers the real functions under the handlers of the template. Each invocation is a cold start.
fn register_functions(organization: &Organization) {
    let mut world = organization.aws.world();
    let sink = organization.metrics_sink();
    let (for_provider, for_schedule_checks, for_check_images, for_sweep) =
        (sink.clone(), sink.clone(), sink.clone(), sink);
    world.register_function(
        "provider",
        Function::new(move |context: FunctionContext, payload: Value| {
            let sink = for_provider.clone();
            async move {
                let variable = |name: &str| context.variable(name).map(str::to_owned);
                let provider = Provider::new(&context.sdk, context.connector.clone(), variable)
                    .map_err(|error| error.to_string())?
                    .with_metrics(sink);
                let invocation = Invocation { function_arn: &context.arn, deadline: context.deadline };
                provider.handle(payload, invocation).await.map_err(|error| error.to_string())?;
                Ok(Value::Null)
            }
        }),
    );
    world.register_function(
        "schedule-checks",
        Function::new(move |context: FunctionContext, payload: Value| {
            let sink = for_schedule_checks.clone();
            async move {
                let clients = Arc::new(Clients::new(context.sdk));
                let function = ScheduleChecks::new(Arc::clone(&clients), clients.clock()).with_metrics(sink);
                let event = serde_json::from_value(payload).map_err(|error| error.to_string())?;
                serde_json::to_value(function.handle(event).await).map_err(|error| error.to_string())
            }
        }),
    );
    world.register_function(
        "check-images",
        Function::new(move |context: FunctionContext, payload: Value| {
            let sink = for_check_images.clone();
            async move {
                let clients = Arc::new(Clients::new(context.sdk));
                let function = CheckImages::new(Arc::clone(&clients), clients.clock()).with_metrics(sink);
                let event = serde_json::from_value(payload).map_err(|error| error.to_string())?;
                serde_json::to_value(function.handle(event).await).map_err(|error| error.to_string())
            }
        }),
    );
    world.register_function(
        "sweep",
        Function::new(move |context: FunctionContext, payload: Value| {
            let sink = for_sweep.clone();
            async move {
                let clients = Arc::new(Clients::new(context.sdk));
                let function = Sweep::new(Arc::clone(&clients), clients.clock()).with_metrics(sink);
                let event = serde_json::from_value(payload).map_err(|error| error.to_string())?;
                serde_json::to_value(function.handle(event).await).map_err(|error| error.to_string())
            }
        }),
    );
}

/// Registers the functions that work off queues once more, in processes that are kept warm: what they remember counts.
pub fn keep_functions_warm(organization: &Organization) {
    let mut world = organization.aws.world();
    let sink = organization.metrics_sink();
    let (for_schedule_checks, for_check_images) = (sink.clone(), sink.clone());
    let schedule_checks = move |clients: Arc<Clients>| {
        ScheduleChecks::new(Arc::clone(&clients), clients.clock()).with_metrics(for_schedule_checks.clone())
    };
    world.register_function("schedule-checks", kept_warm(schedule_checks, |it, event| Box::pin(it.handle(event))));
    let check_images = move |clients: Arc<Clients>| {
        CheckImages::new(Arc::clone(&clients), clients.clock()).with_metrics(for_check_images.clone())
    };
    world.register_function("check-images", kept_warm(check_images, |it, event| Box::pin(it.handle(event))));
    let sweep =
        move |clients: Arc<Clients>| Sweep::new(Arc::clone(&clients), clients.clock()).with_metrics(sink.clone());
    world.register_function("sweep", kept_warm(sweep, |it, event| Box::pin(it.handle(event))));
}

/// What a function that works off a queue answers.
type Answer<'a> = Pin<Box<dyn Future<Output = SqsBatchResponse> + Send + 'a>>;

/// Lambda keeps a process, with all that it remembers, for invocations that come later, and ends it some day.
const KEPT_WARM: SignedDuration = SignedDuration::from_hours(1);

/// A function that works off a queue, in processes that are kept warm. One that dies in an invocation is gone: a crash of
/// a process that was warm shows when the function times out.
fn kept_warm<T: Send + Sync + 'static>(
    start: impl Fn(Arc<Clients>) -> T + Send + Sync + 'static,
    handle: for<'a> fn(&'a T, SqsEvent) -> Answer<'a>,
) -> Function {
    let (idle, start) = (Arc::<Mutex<Vec<(Timestamp, T)>>>::default(), Arc::new(start));
    Function::new(move |context: FunctionContext, payload: Value| {
        let (idle, start) = (Arc::clone(&idle), Arc::clone(&start));
        async move {
            let event = serde_json::from_value(payload).map_err(|error| error.to_string())?;
            let clients = Arc::new(Clients::new(context.sdk));
            let now = clients.clock().now();
            let locked = || idle.lock().unwrap_or_else(PoisonError::into_inner);
            locked().retain(|(started, _)| now.duration_since(*started) < KEPT_WARM);
            let warm = locked().pop();
            let (started, process) = warm.unwrap_or_else(|| (now, start(clients)));
            let response = handle(&process, event).await;
            locked().push((started, process));
            serde_json::to_value(response).map_err(|error| error.to_string())
        }
    })
}

fn settings(organization: &Organization) -> Settings {
    let names = Names { name: "prod".parse().expect("a constant"), kind: Kind::Accounts };
    let (account, region) = (organization.hub.as_str(), organization.home().as_str());
    let hub = Hub { account: account.parse().expect("valid"), region: region.parse().expect("valid") };
    let role = format!("arn:aws:iam::{account}:role/ecr-cleanup-scheduler-{region}");
    let choices = Choices {
        regions: organization.regions.iter().map(|region| region.as_str().parse().expect("valid")).collect(),
        opt_in_tag: OptInTag { key: "ecr-cleanup".parse().expect("a constant"), value: None },
        rollback_window_hours: 24,
        dry_run: false,
        keep_newest_images: 0,
        keep_tag_patterns: Vec::new(),
        keep_pulled_within_hours: None,
        uncovered_accounts: std::collections::BTreeSet::new(),
        outside_pullers: handler::settings::OutsidePullers::Keep,
        action: handler::settings::Action::Delete,
        never_deployed_images: handler::settings::Handling::Check,
        never_deployed_after_hours: 336,
        untagged_images: handler::settings::Handling::Keep,
        active_revisions_per_family: 0,
        service_only_families: Vec::new(),
        organization: None,
    };
    Settings::new(names, hub, role.parse().expect("valid"), choices).expect("valid")
}

/// What `aws cloudformation package` does: paths of code become objects in a bucket.
fn packaged(template: &str) -> String {
    let line = |line: &str| match line.split_once("Code: ") {
        Some((indent, path)) if path.ends_with(".zip") => {
            format!("{indent}Code: {{S3Bucket: artifacts, S3Key: ecr-cleanup.zip}}")
        }
        _ => line.to_owned(),
    };
    template.lines().map(line).collect::<Vec<_>>().join("\n")
}
