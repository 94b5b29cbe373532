//! Templates are read, ordered and evaluated as CloudFormation documents it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::evaluation::{Evaluation, Surroundings};
use super::parameter::resolve_all;
use super::{Template, TemplateError};

struct World;

impl Surroundings for World {
    fn pseudo_parameter(&self, name: &str) -> Option<Value> {
        match name {
            "AWS::Region" => Some(json!("eu-west-1")),
            "AWS::Partition" => Some(json!("aws")),
            _ => None,
        }
    }

    fn physical_id(&self, resource: &str) -> Option<String> {
        (resource != "Absent").then(|| format!("id-of-{resource}"))
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, String> {
        Ok(json!(format!("{attribute}-of-{resource}")))
    }

    fn import(&self, export: &str) -> Result<String, String> {
        if export == "known" { Ok("imported".to_owned()) } else { Err(format!("No export named {export} found.")) }
    }

    fn ssm(&self, name: &str, version: Option<&str>) -> Result<String, String> {
        Ok(format!("{name}@{}", version.unwrap_or("latest")))
    }
}

/// The properties of the resource `R` of a template.
fn evaluate(text: &str, given: &[(&str, &str)]) -> Result<Value, TemplateError> {
    let template = Template::read(text)?;
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let parameters = resolve_all(&template.parameters, &given, &|name| Ok(format!("value of {name}")))?;
    let evaluation = Evaluation::new(&template, &parameters, &World);
    let properties = template.resources["R"].properties.as_ref().expect("R has properties");
    Ok(evaluation.value(properties)?.expect("an object"))
}

fn property(value: &str) -> Result<Value, TemplateError> {
    let text = format!(
        "Parameters:\n  P: {{Type: String, Default: p}}\n  L: {{Type: CommaDelimitedList, Default: 'a, b'}}\n\
         Mappings:\n  M: {{x: {{y: z}}}}\nConditions:\n  Yes: !Equals [!Ref P, p]\n  No: !Not [!Condition Yes]\n\
         Resources:\n  A: {{Type: T}}\n  R:\n    Type: T\n    Properties:\n      V: {value}\n"
    );
    Ok(evaluate(&text, &[])?["V"].clone())
}

#[test]
fn intrinsic_functions_have_their_documented_values() {
    for (text, expected) in [
        ("!Ref P", json!("p")),
        ("!Ref A", json!("id-of-A")),
        ("!Ref AWS::Region", json!("eu-west-1")),
        ("!Ref AWS::NoValue", Value::Null),
        ("{Ref: L}", json!(["a", "b"])),
        ("!GetAtt A.Arn", json!("Arn-of-A")),
        ("!GetAtt A.Outputs.X", json!("Outputs.X-of-A")),
        ("{'Fn::GetAtt': [A, Arn]}", json!("Arn-of-A")),
        ("!Sub '${A}/${A.Arn}/${AWS::Partition}/${!Literal}/${P}'", json!("id-of-A/Arn-of-A/aws/${Literal}/p")),
        ("!Sub ['${X}-${P}', {X: !Ref A}]", json!("id-of-A-p")),
        ("!Join ['-', [a, !Ref P, 1]]", json!("a-p-1")),
        ("!Join [',', !Ref L]", json!("a,b")),
        ("!Select [1, !Ref L]", json!("b")),
        ("!Split ['/', 'a/b/c']", json!(["a", "b", "c"])),
        ("!If [Yes, 1, 2]", json!(1)),
        ("!If [No, 1, 2]", json!(2)),
        ("!If [No, 1, !Ref AWS::NoValue]", Value::Null),
        ("!FindInMap [M, x, y]", json!("z")),
        ("!ImportValue known", json!("imported")),
        ("!Base64 hello", json!("aGVsbG8=")),
        ("'{{resolve:ssm:/a/b:3}}-x'", json!("/a/b@3-x")),
        ("!Sub '{{resolve:ssm:${P}}}'", json!("p@latest")),
        ("012345678901", json!("012345678901")),
        ("'12'", json!("12")),
        ("12", json!(12)),
        ("true", json!(true)),
        (
            "{Effect: Allow, Condition: {StringEquals: {a: !Ref P}}}",
            json!({"Effect": "Allow", "Condition": {"StringEquals": {"a": "p"}}}),
        ),
        ("{Condition: {Bool: {x: 'true'}}}", json!({"Condition": {"Bool": {"x": "true"}}})),
        ("[a, !If [No, b, !Ref AWS::NoValue], c]", json!(["a", "c"])),
    ] {
        assert_eq!(property(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name_and_line() {
    for (text, reason) in [
        ("!Cidr ['10.0.0.0/8', 1]", "the intrinsic function Fn::Cidr"),
        ("!GetAZs ''", "the intrinsic function Fn::GetAZs"),
        ("!Transform {Name: x}", "the intrinsic function Fn::Transform"),
        ("{'Fn::ForEach::X': [a]}", "the intrinsic function Fn::ForEach::X"),
        ("'{{resolve:secretsmanager:x}}'", "the dynamic reference {{resolve:secretsmanager:x}}"),
    ] {
        let error = property(text).unwrap_err();
        assert!(error.not_simulated, "{text}");
        assert_eq!(error.to_string(), format!("line 14: {reason}"));
    }
}

#[test]
fn templates_that_do_not_hold_together_are_refused() {
    let resource = "Resources:\n  R:\n    Type: T\n";
    for (text, reason) in [
        ("a: [", "line"),
        ("Resources: {}", "At least one Resources member must be defined."),
        ("Resources:\n  R: {Properties: {}}", "every resource must have a Type"),
        (&format!("{resource}Transform: AWS::Serverless-2016-10-31"), "line 4: macros (Transform)"),
        (&format!("{resource}Rules: {{}}"), "line 4: the section Rules"),
        (&format!("{resource}Colour: red"), "Invalid template property or properties [Colour]"),
        (&format!("{resource}    UpdatePolicy: {{}}"), "line 4: the resource attribute UpdatePolicy"),
        (&format!("{resource}    Colour: red"), "line 4: Invalid template resource property 'Colour'"),
        (
            &format!("{resource}    Properties: {{A: !Ref X}}"),
            "line 4: Template format error: Unresolved resource dependencies [X]",
        ),
        (&format!("{resource}    Properties: {{A: !Sub '${{X.Arn}}'}}"), "Unresolved resource dependencies [X]"),
        (&format!("{resource}    DependsOn: X"), "Unresolved resource dependencies [X]"),
        (&format!("{resource}    Condition: C"), "Unresolved condition C"),
        (&format!("{resource}    DeletionPolicy: Snapshot"), "the deletion policy Snapshot"),
        (&format!("{resource}Outputs: {{O: {{Value: !GetAtt X.Arn}}}}"), "in the Outputs block"),
        (
            &format!("{resource}Parameters: {{P: {{Type: 'AWS::EC2::VPC::Id'}}}}"),
            "the parameter type AWS::EC2::VPC::Id",
        ),
        (
            "Resources:\n  A: {Type: T, Properties: {X: !Ref B}}\n  B: {Type: T, DependsOn: A}",
            "Circular dependency between resources: [A, B]",
        ),
    ] {
        let error = Template::read(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}\n{error}");
    }
}

#[test]
fn resources_are_ordered_after_what_they_need() {
    let template = Template::read(
        "Resources:\n  A: {Type: T, Properties: {X: !GetAtt C.Arn}}\n  B: {Type: T}\n  C: {Type: T, DependsOn: [D]}\n  D: {Type: T, Properties: {X: !Sub '${B}'}}",
    )
    .unwrap();
    assert_eq!(template.order, ["B", "D", "C", "A"]);
}

#[test]
fn parameters_are_checked_as_declared() {
    let read = |declaration: &str, given: Option<&str>| {
        let text = format!("Parameters:\n  P: {declaration}\nResources:\n  R: {{Type: T, Properties: {{V: !Ref P}}}}");
        let given: BTreeMap<_, _> = given.map(|value| ("P", value)).into_iter().collect();
        evaluate(&text, &given.into_iter().collect::<Vec<_>>()).map(|value| value["V"].clone())
    };
    for (declaration, given, expected) in [
        ("{Type: String}", Some("x"), Ok(json!("x"))),
        ("{Type: String}", None, Err("Parameters: [P] must have values")),
        ("{Type: String, Default: ''}", None, Ok(json!(""))),
        ("{Type: String, AllowedValues: [a, b]}", Some("c"), Err("must be one of AllowedValues")),
        ("{Type: String, AllowedValues: ['true']}", Some("true"), Ok(json!("true"))),
        ("{Type: String, AllowedPattern: '[a-z]+'}", Some("abc1"), Err("does not match AllowedPattern")),
        (
            "{Type: String, AllowedPattern: '[a-z]+', ConstraintDescription: letters}",
            Some("1"),
            Err("constraint: letters"),
        ),
        ("{Type: String, MinLength: 2, MaxLength: 3}", Some("abcd"), Err("the length is out of range")),
        ("{Type: Number, MinValue: 1}", Some("0"), Err("the value is out of range")),
        ("{Type: Number}", Some("x"), Err("must be a number")),
        ("{Type: CommaDelimitedList, AllowedPattern: '[0-9]+'}", Some("1, 2"), Ok(json!(["1", "2"]))),
        ("{Type: CommaDelimitedList, AllowedPattern: '[0-9]+'}", Some("1,x"), Err("does not match AllowedPattern")),
        ("{Type: List<Number>}", Some("1,2"), Ok(json!(["1", "2"]))),
        ("{Type: 'AWS::SSM::Parameter::Value<String>', Default: /v}", None, Ok(json!("value of /v"))),
    ] {
        match (read(declaration, given), expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{declaration}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{declaration}: {error}"),
            (got, expected) => panic!("{declaration}: {got:?} instead of {expected:?}"),
        }
    }
    let unknown = evaluate("Resources:\n  R: {Type: T, Properties: {}}", &[("Q", "1")]).unwrap_err();
    assert_eq!(unknown.to_string(), "Parameters: [Q] do not exist in the template");
}

#[test]
fn the_shipped_templates_are_read() {
    for text in [
        include_str!("../../../../../infra-templates/provider.yaml"),
        include_str!("../../../../../infra-templates/workload.yaml"),
        include_str!("../../../../../examples/accounts.yaml"),
        include_str!("../../../../../examples/organization.yaml"),
    ] {
        assert!(text.len() <= 51_200);
        Template::read(text).unwrap();
    }
}
