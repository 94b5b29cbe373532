"""ECS: clusters, task definitions and their revisions, services and their deployments, tasks."""

REFUSED_LATER = "lists or names what should have been refused"
INSERTION = "lists in the order of registration"
AS_GIVEN = "keeps the task definition as it was given, and does not look for it"
NO_PAGES = "answers everything in one page"
TAKES_FAMILY = "deregisters the latest revision when none is given"
ANY_CLUSTER = "takes a cluster that does not exist"

# Label of the call: how the emulator is wrong there.
DEVIATIONS = {
    "moto": {
        "register without containers": "takes a task definition without containers",
        "register a bad family": "takes any family",
        "describe the latest": REFUSED_LATER,
        "list": INSERTION,
        "list a family": REFUSED_LATER,
        "list downwards": "does not sort",
        "list families": REFUSED_LATER,
        "first page": NO_PAGES,
        "more pages": NO_PAGES,
        "the latest after deregistration": REFUSED_LATER,
        "list the active": REFUSED_LATER,
        "describe a deleted revision": "has nothing left of what is being deleted",
        "create service twice": "makes the same service twice",
        "deploy": AS_GIVEN,
        "the newest deployment": AS_GIVEN,
        "the service after deregistration": AS_GIVEN,
        "list tasks after stop": "lists stopped tasks as if they ran",
        "run too many": "fails with status 500",
    },
    "ministack": {
        "register a bad family": "takes any family",
        "list": INSERTION,
        "list families": REFUSED_LATER,
        "delete an active revision": "deletes what is ACTIVE",
        "deregister without a revision": TAKES_FAMILY,
        "the latest after deregistration": TAKES_FAMILY,
        "list the active": TAKES_FAMILY,
        "list the inactive": TAKES_FAMILY,
        "create service twice": "has another code for it",
        "create service of a missing cluster": ANY_CLUSTER,
        "create service of a missing task definition": AS_GIVEN,
        "list services": REFUSED_LATER,
        "deploy a missing revision": AS_GIVEN,
        "the newest deployment": AS_GIVEN,
        "the service after deregistration": AS_GIVEN,
        "list services after deletion": REFUSED_LATER,
        "run in a missing cluster": ANY_CLUSTER,
        "run too many": "runs more than ten at once",
        "delete a missing cluster": ANY_CLUSTER,
    },
}

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"


def run(record):
    ecs = record.client("ecs")
    call = record.call
    arn = "arn:aws:ecs:eu-west-1:123456789012:"

    # Clusters.
    cluster = "cluster.[clusterName, clusterArn, status]"
    call("create cluster", ecs.create_cluster, cluster, clusterName="main")
    call("create cluster twice", ecs.create_cluster, cluster, clusterName="main")
    call("create the default cluster", ecs.create_cluster, cluster)
    call("list clusters", ecs.list_clusters, "sort(clusterArns)")
    call(
        "describe clusters",
        ecs.describe_clusters,
        "[clusters[].[clusterName, status], failures[].reason]",
        clusters=["main", "none"],
    )

    # Task definitions.
    def register(label, family="web", image=f"{IMAGE}:1", **more):
        container = {"name": "app", "image": image, "memory": 128, "essential": True}
        pick = "taskDefinition.[taskDefinitionArn, family, revision, status, containerDefinitions[].[name, image]]"
        parameters = {"family": family, "containerDefinitions": [container], **more}
        return call(label, ecs.register_task_definition, pick, **parameters)

    register("register")
    register("register the second revision", image=f"{IMAGE}:2")
    register("register the third revision", image=f"{IMAGE}:3")
    register("register another family", family="job", image="public.ecr.aws/nginx/nginx:1", tags=[{"key": "team", "value": "shop"}])
    register("register without containers", containerDefinitions=[])
    register("register a bad family", family="a b")
    described = "taskDefinition.[taskDefinitionArn, revision, status, containerDefinitions[].image]"
    call("describe the latest", ecs.describe_task_definition, described, taskDefinition="web")
    call("describe a revision", ecs.describe_task_definition, described, taskDefinition="web:1")
    call("describe by ARN", ecs.describe_task_definition, described, taskDefinition=f"{arn}task-definition/web:2")
    call("describe a missing revision", ecs.describe_task_definition, described, taskDefinition="web:9")
    call("describe a missing family", ecs.describe_task_definition, described, taskDefinition="none")
    call("describe with tags", ecs.describe_task_definition, "tags", taskDefinition="job", include=["TAGS"])
    call("list", ecs.list_task_definitions, "taskDefinitionArns")
    call("list a family", ecs.list_task_definitions, "taskDefinitionArns", familyPrefix="web")
    call("list downwards", ecs.list_task_definitions, "taskDefinitionArns", familyPrefix="web", sort="DESC")
    call("list families", ecs.list_task_definition_families, "families")
    page = call("first page", ecs.list_task_definitions, "length(taskDefinitionArns)", maxResults=1)
    call("more pages", lambda: {"more": "nextToken" in page}, "more")

    # Deregistration and deletion.
    status = "taskDefinition.[taskDefinitionArn, status]"
    deleted = "[taskDefinitions[].status, failures[].reason]"
    call("delete an active revision", ecs.delete_task_definitions, deleted, taskDefinitions=["web:1"])
    call("deregister", ecs.deregister_task_definition, status, taskDefinition="web:1")
    call("deregister twice", ecs.deregister_task_definition, status, taskDefinition="web:1")
    call("deregister a missing revision", ecs.deregister_task_definition, status, taskDefinition="web:9")
    call("deregister without a revision", ecs.deregister_task_definition, status, taskDefinition="web")
    call("describe an inactive revision", ecs.describe_task_definition, described, taskDefinition="web:1")
    call("the latest after deregistration", ecs.describe_task_definition, described, taskDefinition="web")
    call("list the active", ecs.list_task_definitions, "taskDefinitionArns", familyPrefix="web")
    call("list the inactive", ecs.list_task_definitions, "taskDefinitionArns", familyPrefix="web", status="INACTIVE")
    call("delete", ecs.delete_task_definitions, deleted, taskDefinitions=["web:1"])
    call("describe a deleted revision", ecs.describe_task_definition, "taskDefinition.status", taskDefinition="web:1")

    # Services.
    def create(label, name="web", task_definition="web:2", **more):
        parameters = {
            "cluster": "main",
            "serviceName": name,
            "taskDefinition": task_definition,
            "desiredCount": 1,
            **more,
        }
        return call(label, ecs.create_service, service, **parameters)

    service = "service.[serviceArn, serviceName, clusterArn, status, taskDefinition, desiredCount]"
    create("create service")
    create("create service twice")
    create("create service of a missing cluster", name="lost", cluster="none")
    create("create service of a missing task definition", name="lost", task_definition="none")
    running = "services[].[serviceName, status, taskDefinition, desiredCount, length(deployments)]"
    deployments = "services[].deployments[].[status, taskDefinition]"
    call("describe service", ecs.describe_services, running, cluster="main", services=["web"])
    call("deployments", ecs.describe_services, deployments, cluster="main", services=["web"])
    call("describe a missing service", ecs.describe_services, "failures[].reason", cluster="main", services=["none"])
    call("list services", ecs.list_services, "serviceArns", cluster="main")
    call("scale", ecs.update_service, service, cluster="main", service="web", desiredCount=2)
    call("deploy", ecs.update_service, "service.taskDefinition", cluster="main", service="web", taskDefinition="web:3")
    call("deploy a missing revision", ecs.update_service, service, cluster="main", service="web", taskDefinition="web:9")
    call("update a missing service", ecs.update_service, service, cluster="main", service="none", desiredCount=2)
    call("the newest deployment", ecs.describe_services, "services[].taskDefinition", cluster="main", services=["web"])
    call("deregister what runs", ecs.deregister_task_definition, status, taskDefinition="web:3")
    named = "services[].[serviceName, status, taskDefinition, desiredCount]"
    call("the service after deregistration", ecs.describe_services, named, cluster="main", services=["web"])
    count = "service.desiredCount"
    call("scale an inactive revision", ecs.update_service, count, cluster="main", service="web", desiredCount=3)
    name = "service.serviceName"
    call("delete a scaled service", ecs.delete_service, name, cluster="main", service="web")
    call("delete service by force", ecs.delete_service, name, cluster="main", service="web", force=True)
    call("delete a missing service", ecs.delete_service, name, cluster="main", service="none")
    call("list services after deletion", ecs.list_services, "serviceArns", cluster="main")

    # Tasks.
    task = "[tasks[].[taskDefinitionArn, clusterArn, startedBy], failures]"
    ran = call("run", ecs.run_task, task, cluster="main", taskDefinition="job", startedBy="us", launchType="FARGATE")
    call("run a missing task definition", ecs.run_task, task, cluster="main", taskDefinition="none")
    call("run in a missing cluster", ecs.run_task, task, cluster="none", taskDefinition="job")
    for made in ran.get("tasks", []):
        record.aliases[made["taskArn"]] = "a task"
    tasks = [made["taskArn"] for made in ran.get("tasks", [])]
    call("list tasks", ecs.list_tasks, "taskArns", cluster="main")
    call("describe tasks", ecs.describe_tasks, "tasks[].[taskArn, taskDefinitionArn]", cluster="main", tasks=tasks)
    call("stop", ecs.stop_task, "task.[taskArn, desiredStatus]", cluster="main", task=tasks[0])
    call("list tasks after stop", ecs.list_tasks, "taskArns", cluster="main")
    call("run too many", ecs.run_task, "length(tasks)", cluster="main", taskDefinition="job", count=11)

    # Clusters that are in use, and that are not.
    call("delete cluster", ecs.delete_cluster, "cluster.clusterName", cluster="default")
    call("delete a missing cluster", ecs.delete_cluster, "cluster.clusterName", cluster="none")
