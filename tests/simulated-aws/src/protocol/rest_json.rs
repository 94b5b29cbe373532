//! `restJson1`.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{WireRequest, WireResponse};
use crate::operation::{Http, Operation, QueryKind, Registry, ServiceError};

pub(super) fn read<'a>(
    registry: &'a Registry,
    service: &str,
    request: &WireRequest,
) -> Result<(&'a Operation, Value), ServiceError> {
    let (operation, http, labels) = registry
        .of_service(service)
        .filter_map(|operation| Some((operation, operation.http?)))
        .filter(|(_, http)| http.method == request.method)
        .find_map(|(operation, http)| Some((operation, http, labels(http.path, &request.path)?)))
        .ok_or_else(|| ServiceError::not_simulated(format_args!("{service}: {} {}", request.method, request.path)))?;
    let mut input = match http.payload {
        None if request.body.is_empty() => Map::new(),
        None => match serde_json::from_slice(&request.body) {
            Ok(Value::Object(body)) => body,
            Ok(_) => return Err(ServiceError::new("SerializationException", "the body is not a structure")),
            Err(error) => return Err(ServiceError::new("SerializationException", error.to_string())),
        },
        Some(member) => {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            Map::from_iter((!text.is_empty()).then(|| (member.to_owned(), Value::from(text))))
        }
    };
    input.extend(labels.into_iter().map(|(name, value)| (name, Value::from(value))));
    bind_query(&http, &request.query, &mut input)?;
    for (header, member) in http.headers {
        if let Some(value) = request.header(&header.to_ascii_lowercase()) {
            input.insert((*member).to_owned(), Value::from(value));
        }
    }
    Ok((operation, Value::Object(input)))
}

/// The values of the labels, if the path fits the template.
fn labels(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    let template: Vec<&str> = template.trim_matches('/').split('/').collect();
    let path: Vec<&str> = path.trim_matches('/').split('/').collect();
    for (index, part) in template.iter().enumerate() {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(greedy) if greedy.ends_with('+') => {
                let rest = path.get(index..).filter(|rest| !rest.is_empty())?;
                labels.push((greedy.trim_end_matches('+').to_owned(), decode(&rest.join("/"))?));
                return Some(labels);
            }
            Some(label) => labels.push((label.to_owned(), decode(path.get(index).filter(|part| !part.is_empty())?)?)),
            None if path.get(index) == Some(part) => {}
            None => return None,
        }
    }
    (path.len() == template.len()).then_some(labels)
}

fn bind_query(http: &Http, query: &str, input: &mut Map<String, Value>) -> Result<(), ServiceError> {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some((_, member, kind)) = http.query.iter().find(|(wire, _, _)| *wire == name) else {
            return Err(ServiceError::not_simulated(format_args!("the query parameter {name} of {}", http.path)));
        };
        match kind {
            QueryKind::Text => {
                input.insert((*member).to_owned(), Value::from(value.into_owned()));
            }
            QueryKind::Integer => {
                let number: i64 = value.parse().map_err(|_| {
                    ServiceError::new("ValidationException", format!("{name} is not a number: {value}"))
                })?;
                input.insert((*member).to_owned(), Value::from(number));
            }
            QueryKind::List => {
                let list = input.entry(*member).or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    list.push(Value::from(value.into_owned()));
                }
            }
        }
    }
    Ok(())
}

pub(super) fn success(operation: &Operation, output: &Value, request_id: &str) -> WireResponse {
    let http = operation.http.unwrap_or(Http::new("POST", "/"));
    let body = match http.output_payload {
        Some(member) => output.get(member).and_then(Value::as_str).unwrap_or_default().as_bytes().to_vec(),
        None if http.status == 204 => Vec::new(),
        None => output.to_string().into_bytes(),
    };
    WireResponse {
        status: http.status,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-amzn-requestid".to_owned(), request_id.to_owned()),
        ],
        body,
    }
}

pub(super) fn error(error: &ServiceError, request_id: &str) -> WireResponse {
    let mut body = error.fields.clone();
    body.insert("Message".to_owned(), json!(error.message));
    body.insert("message".to_owned(), json!(error.message));
    WireResponse {
        status: error.status,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-amzn-requestid".to_owned(), request_id.to_owned()),
            ("x-amzn-errortype".to_owned(), error.code.clone()),
        ],
        body: Value::Object(body).to_string().into_bytes(),
    }
}
