use proptest::prelude::*;

use super::*;

fn repository(name: &str) -> Repository {
    serde_json::from_value(serde_json::json!({"account": "111111111111", "region": "eu-west-1", "name": name})).unwrap()
}

#[test]
fn every_spelling_of_a_repository_is_asked_for_by_whole_names_only() {
    let [query] = &naming([&repository("shop")]).unwrap()[..] else { panic!("one expression is enough") };
    for host in [
        "111111111111.dkr.ecr.eu-west-1.amazonaws.com",
        "111111111111.dkr.ecr-fips.eu-west-1.amazonaws.com",
        "111111111111.dkr-ecr.eu-west-1.on.aws",
        "111111111111.dkr-ecr-fips.eu-west-1.on.aws",
    ] {
        for condition in [
            format!("{IMAGE} = '{host}/shop'"),
            format!("{IMAGE} LIKE '{host}/shop:%'"),
            format!("{IMAGE} LIKE '{host}/shop@%'"),
        ] {
            assert!(query.contains(&condition), "{condition} is not in {query}");
        }
    }
}

#[test]
fn a_repository_with_a_wildcard_in_its_name_is_asked_for_by_what_is_before_it() {
    let [query] = &naming([&repository("team/my_shop")]).unwrap()[..] else { panic!("one expression is enough") };
    assert!(query.contains("LIKE '111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/my%'"), "{query}");
    assert!(!query.contains('_'), "{query}");
}

#[test]
fn three_repositories_share_an_expression() {
    let all: Vec<Repository> = (1..=6).map(|n| repository(&format!("team-{n}/api"))).collect();
    assert_eq!(naming(&all).unwrap().len(), 2);
}

#[test]
fn everything_is_what_users_and_revisions_are_asked_by() {
    let hub = "111111111111".parse().unwrap();
    let (everything, users) = (everything(&hub), users(&hub));
    for query in [&everything, &users] {
        assert!(query.len() <= MAX_EXPRESSION, "{} characters", query.len());
        for condition in [runner_conditions(), user_conditions(&hub)] {
            assert!(query.contains(&condition), "{condition} is not in {query}");
        }
    }
    let named = "(resourceType = 'AWS::ECS::TaskDefinition' AND configuration.ContainerDefinitions.Image LIKE '111111111111.dkr%')";
    assert!(everything.contains(named), "{everything}");
}

#[test]
fn the_shared_queries_read_as_intended() {
    assert_eq!(
        runner_conditions(),
        "resourceType = 'AWS::ECS::Service' OR resourceType = 'AWS::ECS::TaskSet' OR (resourceType = 'AWS::Events::Rule' AND \
         configuration.Targets.EcsParameters.TaskDefinitionArn LIKE 'arn:%')"
    );
    let users = users(&"111111111111".parse().unwrap());
    let begin = "SELECT resourceType, resourceId, arn, accountId, awsRegion, configuration.Cluster, ";
    assert!(users.starts_with(begin), "{users}");
    for column in ["configuration.TaskDefinition", "configuration.Targets.EcsParameters.TaskDefinitionArn"] {
        assert!(users.split(" WHERE ").next().unwrap().split(", ").any(|selected| selected == column), "{column}");
    }
    assert!(users.contains(
        "(resourceType = 'AWS::CodeBuild::Project' AND configuration.environment.image LIKE '111111111111.dkr%')"
    ));
    assert!(users.contains("(resourceType = 'AWS::Lambda::Function' AND configuration.packageType = 'Image')"));
}

#[test]
fn text_that_needs_escaping_is_refused() {
    for text in ["", "it's", "a b", "a\"b", "100%", "a\\b", "a\nb", "ä"] {
        assert!(literal(text).is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_expression_is_too_long_none_loses_a_spelling_and_none_holds_an_unparsed_character(
        names in proptest::collection::btree_set("[a-z][a-z0-9]{1,30}([/._-][a-z0-9]{1,60}){0,3}", 1..12),
        arns in proptest::collection::btree_set(("[a-zA-Z0-9_-]{1,255}", 1u32..9999), 0..30),
    ) {
        let repositories: Vec<Repository> = names.iter().map(|name| repository(name)).collect();
        let arns: Vec<TaskDefinitionArn> = arns
            .iter()
            .map(|(family, n)| format!("arn:aws:ecs:eu-west-1:222222222222:task-definition/{family}:{n}").parse().unwrap())
            .collect();
        let by_repository = naming(&repositories).unwrap();
        for query in by_repository.iter().chain(&revisions_by_arn(&arns).unwrap()) {
            prop_assert!(query.len() <= MAX_EXPRESSION, "{}", query.len());
            prop_assert!(is_plain(query), "{}", query);
        }
        let all = by_repository.join("\n");
        for spelling in repositories.iter().flat_map(Repository::spellings) {
            let known = spelling.split('_').next().unwrap();
            prop_assert!(all.contains(&format!("'{known}")), "{} is not asked for", spelling);
        }
    }

    #[test]
    fn no_text_gets_into_a_query_but_such_as_needs_no_escaping(text: String) {
        for query in [users_and_probes(&"111111111111".parse().unwrap(), &text), literal(&text), prefix_literal(&text)].into_iter().flatten() {
            prop_assert!(is_plain(&query), "{}", query);
            prop_assert!(query.contains(&text));
        }
    }
}

/// Whether every literal of a query is closed and made of letters that need no escaping, but for a wildcard at its end.
fn is_plain(query: &str) -> bool {
    let parts: Vec<&str> = query.split('\'').collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+=".contains(c);
    parts.len() % 2 == 1
        && parts.iter().skip(1).step_by(2).all(|text| text.strip_suffix('%').unwrap_or(text).chars().all(plain))
}
