//! The record of calls, for tests that count or compare them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::identity::{AccountId, Principal, Region};
use crate::operation::ServiceError;

/// One call, served or refused.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub principal: Principal,
    /// The account called.
    pub account: AccountId,
    /// The region called.
    pub region: Region,
    /// The service's signing name.
    pub service: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// The input.
    pub input: Value,
    /// The output, or the error.
    pub outcome: Result<Value, ServiceError>,
}

/// At most so many calls of one operation are written to the file: enough to see every form, and histories make millions.
const WRITTEN_PER_OPERATION: u32 = 400;

/// Writes calls as lines of JSON into the folder that `SIMULATED_AWS_RECORD` names, one file for each process and world.
#[derive(Debug, Default)]
pub(crate) struct RecordFile {
    file: Option<File>,
    written: BTreeMap<(&'static str, &'static str), u32>,
}

impl RecordFile {
    /// Opens the file, if the variable is set.
    pub(crate) fn from_environment() -> Self {
        static WORLDS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let file = std::env::var_os("SIMULATED_AWS_RECORD").map(|folder| {
            let world = WORLDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let path = PathBuf::from(folder).join(format!("{}-{world}.jsonl", std::process::id()));
            File::create(&path).unwrap_or_else(|error| panic!("cannot record calls in {}: {error}", path.display()))
        });
        Self { file, written: BTreeMap::new() }
    }

    /// Writes a call, unless enough of its kind were written.
    pub(crate) fn write(&mut self, model: &'static str, record: &CallRecord) {
        let Some(file) = &mut self.file else { return };
        let written = self.written.entry((record.service, record.operation)).or_default();
        *written += 1;
        if *written > WRITTEN_PER_OPERATION {
            return;
        }
        let (output, error) = match &record.outcome {
            Ok(output) => (output.clone(), Value::Null),
            Err(error) => (Value::Null, json!({"code": error.code, "message": error.message, "fields": error.fields})),
        };
        let line = json!({
            "service": model, "operation": record.operation, "input": record.input, "output": output, "error": error,
            "principal": record.principal.arn(),
        });
        writeln!(file, "{line}").unwrap_or_else(|error| panic!("cannot record a call: {error}"));
    }
}
