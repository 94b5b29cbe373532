use proptest::prelude::*;

use super::*;

fn repository(name: &str) -> Repository {
    serde_json::from_value(serde_json::json!({"account": "111111111111", "region": "eu-west-1", "name": name})).unwrap()
}

fn digest(n: u64) -> Digest {
    format!("sha256:{n:064x}").parse().unwrap()
}

fn names(tags: &[&str], digests: &[u64]) -> Names {
    Names {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        digests: digests.iter().map(|n| digest(*n)).collect(),
    }
}

#[test]
fn every_spelling_of_an_image_is_asked_for() {
    let queries = revisions(&repository("shop"), [&names(&["latest", "v1"], &[7])]).unwrap();
    let all = queries.exact.join("\n");
    let digest = digest(7);
    for host in [
        "111111111111.dkr.ecr.eu-west-1.amazonaws.com",
        "111111111111.dkr.ecr-fips.eu-west-1.amazonaws.com",
        "111111111111.dkr-ecr.eu-west-1.on.aws",
        "111111111111.dkr-ecr-fips.eu-west-1.on.aws",
    ] {
        for reference in [
            format!("'{host}/shop'"),
            format!("'{host}/shop:latest'"),
            format!("'{host}/shop:v1'"),
            format!("'{host}/shop@{digest}'"),
            format!("'{host}/shop:v1@{digest}'"),
        ] {
            assert!(all.contains(&reference), "{reference} is not in {all}");
        }
    }
    let unnamed = revisions(&repository("shop"), [&names(&["v1"], &[])]).unwrap().exact.join("\n");
    assert!(!unnamed.contains("/shop'"), "a bare name means latest: {unnamed}");
}

#[test]
fn a_repository_is_asked_for_by_whole_names_only() {
    let queries = revisions(&repository("shop"), []).unwrap();
    assert!(queries.exact.is_empty());
    let [query] = &queries.by_repository[..] else { panic!("{queries:?}") };
    assert!(query.contains("Image LIKE '111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop:%'"), "{query}");
    assert!(query.contains("Image LIKE '111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop@%'"), "{query}");
    assert!(query.contains("Image = '111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop'"), "{query}");
}

#[test]
fn a_repository_with_a_wildcard_in_its_name_is_asked_for_by_exact_names() {
    let queries = revisions(&repository("my_shop"), [&names(&["v1"], &[7])]).unwrap();
    assert!(queries.by_repository.is_empty() && !queries.exact.is_empty(), "{queries:?}");
}

#[test]
fn whatever_names_a_repository_is_found_by_patterns_that_end_before_a_wildcard() {
    let [query] = &naming(&repository("my/old_shop")).unwrap()[..] else { panic!("one query") };
    assert!(query.contains("Image LIKE '111111111111.dkr.ecr.eu-west-1.amazonaws.com/my/old%'"), "{query}");
    assert!(!query.contains('_'), "{query}");
    let [query] = &naming(&repository("shop")).unwrap()[..] else { panic!("one query") };
    assert_eq!([query.clone()].to_vec(), revisions(&repository("shop"), []).unwrap().by_repository);
}

#[test]
fn everything_is_what_the_single_queries_ask_for() {
    let hub = "111111111111".parse().unwrap();
    let (everything, users) = (everything(&hub), users(&hub));
    for query in [&everything, &users] {
        assert!(query.len() <= MAX_EXPRESSION, "{} characters", query.len());
        for condition in [runners(), other_users(&hub)].map(|query| query.split_once(" WHERE ").unwrap().1.to_owned()) {
            assert!(query.contains(&condition), "{condition} is not in {query}");
        }
    }
    let named = "(resourceType = 'AWS::ECS::TaskDefinition' AND configuration.ContainerDefinitions.Image LIKE '111111111111.dkr%')";
    assert!(everything.contains(named), "{everything}");
}

#[test]
fn the_shared_queries_read_as_intended() {
    assert_eq!(
        runners(),
        "SELECT resourceType, resourceId, arn, accountId, awsRegion, configuration.Cluster, \
         configuration.Targets.EcsParameters.TaskDefinitionArn, configuration.TaskDefinition WHERE \
         resourceType = 'AWS::ECS::Service' OR resourceType = 'AWS::ECS::TaskSet' OR (resourceType = 'AWS::Events::Rule' AND \
         configuration.Targets.EcsParameters.TaskDefinitionArn LIKE 'arn:%')"
    );
    let others = other_users(&"111111111111".parse().unwrap());
    assert!(others.contains(
        "(resourceType = 'AWS::CodeBuild::Project' AND configuration.environment.image LIKE '111111111111.dkr%')"
    ));
    assert!(others.contains("(resourceType = 'AWS::Lambda::Function' AND configuration.packageType = 'Image')"));
    assert!(others.len() <= MAX_EXPRESSION);
}

#[test]
fn text_that_needs_escaping_is_refused() {
    for text in ["", "it's", "a b", "a\"b", "100%", "a\\b", "a\nb", "ä"] {
        assert!(literal(text).is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_expression_is_too_long_and_none_loses_a_name(
        name in "[a-z][a-z0-9]{1,30}(/[a-z0-9]{1,100}){0,2}",
        tags in proptest::collection::btree_set("[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", 0..12),
        digests in proptest::collection::btree_set(0u64..1000, 0..12),
    ) {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let digests: Vec<u64> = digests.into_iter().collect();
        let queries = revisions(&repository(&name), [&names(&tags, &digests)]).unwrap();
        for query in queries.exact.iter().chain(&queries.by_repository) {
            prop_assert!(query.len() <= MAX_EXPRESSION, "{}", query.len());
        }
        let all = queries.exact.join("\n");
        for spelling in repository(&name).spellings() {
            for tag in &tags {
                let reference = format!("'{spelling}:{tag}'");
                prop_assert!(all.contains(&reference), "{} is not asked for", reference);
            }
            for digest in digests.iter().map(|n| digest(*n)) {
                let reference = format!("'{spelling}@{digest}'");
                prop_assert!(all.contains(&reference), "{} is not asked for", reference);
            }
        }
    }
}
