//! The `query` protocol: forms in, XML out.
//!
//! Input members arrive as text; lists as arrays; maps as arrays of `{key, value}`. Output arrays are written with
//! `member` elements, numbers and booleans as text, and `null` members are left out.

use std::collections::BTreeMap;

use quick_xml::escape::escape;
use serde_json::{Map, Value};

use super::{WireRequest, WireResponse, find};
use crate::operation::{Operation, Registry, ServiceError};

/// A node of the tree that dotted names describe.
#[derive(Debug, Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn into_value(self) -> Value {
        if self.children.is_empty() {
            return Value::from(self.value.unwrap_or_default());
        }
        let mut children = self.children;
        if children.len() == 1 {
            for list in ["member", "entry"] {
                if let Some(items) = children.remove(list) {
                    return items.into_list();
                }
            }
        }
        if children.keys().all(|name| name.parse::<u32>().is_ok()) {
            return Node { value: None, children }.into_list();
        }
        Value::Object(children.into_iter().map(|(name, node)| (name, node.into_value())).collect::<Map<_, _>>())
    }

    fn into_list(self) -> Value {
        let mut items: Vec<(u32, Node)> =
            self.children.into_iter().filter_map(|(index, node)| Some((index.parse().ok()?, node))).collect();
        items.sort_by_key(|(index, _)| *index);
        Value::Array(items.into_iter().map(|(_, node)| node.into_value()).collect())
    }
}

pub(super) fn read<'a>(
    registry: &'a Registry,
    service: &str,
    request: &WireRequest,
) -> Result<(&'a Operation, Value), ServiceError> {
    let mut root = Node::default();
    let mut action = None;
    for (name, value) in form_urlencoded::parse(&request.body) {
        match name.as_ref() {
            "Action" => action = Some(value.into_owned()),
            "Version" => {}
            dotted => {
                let node =
                    dotted.split('.').fold(&mut root, |node, part| node.children.entry(part.to_owned()).or_default());
                node.value = Some(value.into_owned());
            }
        }
    }
    let action =
        action.ok_or_else(|| ServiceError::new("MissingAction", "The request must contain the parameter Action"))?;
    let operation = find(registry, service, &action)?;
    // An empty list is sent as `Name=`: it stays an empty text, which handlers read as an empty list.
    let input = root.children.into_iter().map(|(name, node)| (name, node.into_value())).collect();
    Ok((operation, Value::Object(input)))
}

pub(super) fn success(operation: &str, output: &Value, namespace: &str, request_id: &str) -> WireResponse {
    let mut body = format!("<{operation}Response xmlns=\"{namespace}\"><{operation}Result>");
    if let Value::Object(members) = output {
        members.iter().for_each(|(name, value)| element(name, value, &mut body));
    }
    body.push_str(&format!(
        "</{operation}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    ));
    response(200, body, request_id)
}

fn element(name: &str, value: &Value, out: &mut String) {
    let inner = match value {
        Value::Null => return,
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => escape(value.as_str()).into_owned(),
        Value::Array(items) => {
            let mut inner = String::new();
            items.iter().for_each(|item| element("member", item, &mut inner));
            inner
        }
        Value::Object(members) => {
            let mut inner = String::new();
            members.iter().for_each(|(name, value)| element(name, value, &mut inner));
            inner
        }
    };
    out.push_str(&format!("<{name}>{inner}</{name}>"));
}

pub(super) fn error(error: &ServiceError, namespace: &str, request_id: &str) -> WireResponse {
    let kind = if error.status < 500 { "Sender" } else { "Receiver" };
    let body = format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>",
        escape(error.code.as_str()),
        escape(error.message.as_str())
    );
    response(error.status, body, request_id)
}

fn response(status: u16, body: String, request_id: &str) -> WireResponse {
    WireResponse {
        status,
        headers: vec![
            ("content-type".to_owned(), "text/xml".to_owned()),
            ("x-amzn-requestid".to_owned(), request_id.to_owned()),
        ],
        body: body.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_become_structures_and_lists() {
        let mut root = Node::default();
        for (name, value) in [("A.member.1.B", "x"), ("A.member.2.B", "y"), ("A.member.10.B", "z"), ("C.D", "e")] {
            name.split('.').fold(&mut root, |node, part| node.children.entry(part.to_owned()).or_default()).value =
                Some(value.to_owned());
        }
        assert_eq!(root.into_value(), serde_json::json!({"A": [{"B": "x"}, {"B": "y"}, {"B": "z"}], "C": {"D": "e"}}));
    }

    #[test]
    fn output_is_written_as_members_with_escapes() {
        let mut out = String::new();
        element("Outputs", &serde_json::json!([{"Value": "a<b"}, null, true]), &mut out);
        assert_eq!(out, "<Outputs><member><Value>a&lt;b</Value></member><member>true</member></Outputs>");
    }
}
