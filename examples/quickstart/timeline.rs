//! What happened, for people: one line each, at most 100 columns wide.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::happening::{Happening, What};
use crate::legend::Legend;
use crate::moment::Moment;

/// How wide lines are at most.
const WIDTH: usize = 100;
/// Where the text of a line begins.
const INDENT: usize = 39;

/// Writes what happens, for people or as lines of JSON.
pub struct Timeline<'a> {
    out: &'a mut dyn Write,
    json: bool,
    day: Option<i64>,
    /// Task definitions and statuses that were told, each once.
    told: std::collections::BTreeSet<(String, String, String, String)>,
    /// What sweeps found last, by repository: told when it changes.
    swept: std::collections::BTreeMap<String, What>,
}

impl std::fmt::Debug for Timeline<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline").field("json", &self.json).field("day", &self.day).finish_non_exhaustive()
    }
}

impl<'a> Timeline<'a> {
    /// Writes to `out`.
    pub fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, json, day: None, told: Default::default(), swept: Default::default() }
    }

    /// Writes a paragraph for people.
    ///
    /// # Errors
    /// Those of the output.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.out, "{}", wrapped(text, 0)) }
    }

    /// Writes what happened.
    ///
    /// # Errors
    /// Those of the output.
    pub fn tell(&mut self, happening: &Happening, legend: &Legend) -> io::Result<()> {
        if self.json {
            writeln!(self.out, "{}", serde_json::json!(happening))?;
            return self.out.flush();
        }
        if let What::TaskDefinition { task_definition, status, .. } = &happening.what {
            // Both CloudTrail and Config tell of it; the first is enough to read.
            let place = (happening.account.clone(), happening.region.clone());
            if !self.told.insert((place.0, place.1, task_definition.clone(), status.clone())) {
                return Ok(());
            }
        }
        if let What::Swept { repository, .. } = &happening.what
            && self.swept.insert(repository.clone(), happening.what.clone()).as_ref() == Some(&happening.what)
        {
            return Ok(());
        }
        let Some((word, text)) = words(&happening.what, legend) else { return Ok(()) };
        let moment = Moment::of(happening.time);
        if self.day != Some(moment.day()) {
            self.day = Some(moment.day());
            writeln!(self.out, "\nDay {}, {}", moment.day(), happening.time.strftime("%A %-d %B"))?;
        }
        let place = format!("{} {}", happening.account_name, happening.region);
        let line = format!("{}  {place:<19}  {word:<11}{text}", moment.time());
        writeln!(self.out, "{}", wrapped(&line, INDENT))?;
        self.out.flush()
    }

    /// Writes the table of what became of the repositories.
    ///
    /// # Errors
    /// Those of the output.
    pub fn table(&mut self, repositories: &[Happening]) -> io::Result<()> {
        if self.json {
            return repositories.iter().try_for_each(|row| writeln!(self.out, "{}", serde_json::json!(row)));
        }
        writeln!(self.out, "{}", table(repositories))
    }
}

fn table(repositories: &[Happening]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH).unwrap_or(u16::MAX));
    table.set_header(["Repository", "Images", "Size", "Deleted", "Freed", "Kept", "Why"]);
    for column in 1..=5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in repositories {
        let What::Repository { repository, images, bytes, deleted, deleted_bytes, kept } = &row.what else { continue };
        let short = |image: &str| image.strip_prefix(repository).unwrap_or(image).trim_start_matches(':').to_owned();
        let why: Vec<String> = kept.iter().map(|(image, why)| format!("{}: {why}", short(image))).collect();
        table.add_row(vec![
            Cell::new(repository),
            Cell::new(images),
            Cell::new(megabytes(*bytes)),
            Cell::new(deleted),
            Cell::new(megabytes(*deleted_bytes)),
            Cell::new(kept.len()),
            Cell::new(why.join("\n")),
        ]);
    }
    table.trim_fmt()
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", (bytes + 500_000) / 1_000_000)
}

/// The word for it, and the rest. `None` for what only `--json` tells.
fn words(what: &What, legend: &Legend) -> Option<(&'static str, String)> {
    Some(match what {
        What::RepositoryCreated { repository, tags, mutable_tags } => {
            let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            let tags = if tags.is_empty() { "no tags".to_owned() } else { tags.join(", ") };
            let movable = if *mutable_tags { "; image tags can move" } else { "" };
            ("repository", format!("{repository} ({tags}{movable})"))
        }
        What::Pushed { image, bytes, .. } => ("push", format!("{image}, {}", megabytes(*bytes))),
        What::Tagged { image, tag } => ("tag", format!("{image} is also {tag}")),
        What::Registered { task_definition, image } => ("register", format!("{task_definition} with {image}")),
        What::Deregistered { task_definition } => ("deregister", task_definition.clone()),
        What::ServiceCreated { service, task_definition } => ("service", format!("{service} runs {task_definition}")),
        What::ServiceUpdated { service, task_definition } => {
            ("service", format!("{service} goes to {task_definition}"))
        }
        What::ServiceDeleted { service } => ("service", format!("{service} ends")),
        What::RepositoryTagged { repository, key, value: Some(value) } => {
            ("opt-in", format!("{repository} is tagged {key} = {value}"))
        }
        What::RepositoryTagged { repository, key, value: None } => {
            ("opt-in", format!("{repository} loses the tag {key}"))
        }
        What::Recorder { records: true } => ("recorder", "AWS Config records again".to_owned()),
        What::Recorder { records: false } => ("recorder", "AWS Config stops recording".to_owned()),
        What::StackUpdated { properties } => {
            let properties: Vec<String> =
                properties.iter().map(|(name, value)| format!("{name} = {}", value.trim_matches('"'))).collect();
            ("update", format!("the EcrCleanup: {}", properties.join(", ")))
        }
        What::Refused { operation, reason } => ("refused", format!("{operation}: {}", legend.plain(reason))),
        What::Stack { stack, status, reason, resources } => {
            if status.ends_with("_IN_PROGRESS") {
                return None;
            }
            let status = status.to_lowercase().replace('_', " ");
            let held = match resources {
                0 => String::new(),
                1 => ", 1 resource".to_owned(),
                many => format!(", {many} resources"),
            };
            let reason = reason.as_ref().map(|reason| format!(": {}", legend.plain(reason))).unwrap_or_default();
            ("stack", format!("{stack}: {status}{held}{reason}"))
        }
        What::TaskDefinition { task_definition, status, told_by, changed } => {
            if status == "ACTIVE" {
                return None;
            }
            let at = Moment::of(*changed).time();
            (status_word(status), format!("task definition {task_definition}, since {at} ({told_by} event)"))
        }
        What::Swept { repository, images, in_use, kept, too_early, to_be_checked, unknown, reason } => {
            let counts = [
                (in_use, "in use"),
                (kept, "kept by a rule"),
                (too_early, "too early for"),
                (unknown, "unknown"),
                (to_be_checked, "to be checked"),
            ];
            let counts = counts.into_iter().filter(|(count, _)| **count > 0);
            let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
            let images = if *images == 1 { "1 image".to_owned() } else { format!("{images} images") };
            let reason = reason.as_ref().map(|reason| format!(" ({})", legend.plain(reason))).unwrap_or_default();
            let found = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
            ("swept", format!("{repository}, {images}{found}{reason}"))
        }
        What::CheckScheduled { image, due, moved, .. } => {
            let how = if *moved { "moved to" } else { "at" };
            ("scheduled", format!("check of {image} {how} {}", Moment::of(*due)))
        }
        What::CheckDue { image, .. } => ("check due", image.clone()),
        What::Evidence { config_queries, rows, places_asked, calls, failed } => {
            let failed = if *failed == 0 { String::new() } else { format!(", {failed} failed") };
            let text = format!(
                "{config_queries} Config queries, {rows} rows; {places_asked} account regions asked; {calls} calls{failed}"
            );
            ("evidence", text)
        }
        What::Deleted { check, bytes, deleted_with } => {
            let with =
                if deleted_with.is_empty() { String::new() } else { format!(" and {} more", deleted_with.len()) };
            ("DELETED", format!("{}{with}, {} freed: {}", check.image, megabytes(*bytes), legend.plain(&check.reason)))
        }
        What::Kept { check } => ("KEPT", format!("{}: {}", check.image, legend.plain(&check.reason))),
        What::Postponed { check, until } => {
            let until = until.map_or_else(String::new, |until| format!(" to {}", Moment::of(until)));
            ("POSTPONED", format!("{}{until}: {}", check.image, legend.plain(&check.reason)))
        }
        What::Failed { check } => ("FAILED", format!("{}: {}", check.image, legend.plain(&check.reason))),
        // What follows from it is told.
        What::Other { detail_type } if detail_type == "Sweep Due" => return None,
        What::Other { detail_type } => ("event", detail_type.clone()),
        What::Undelivered { source, target, reason } => {
            ("lost", format!("{} to {}: {reason}", legend.plain(source), legend.plain(target)))
        }
        What::Left { kind, name, retained: true } => {
            let mut hub = name.rsplit('/');
            let (region, account) = (hub.next().unwrap_or_default(), hub.next().unwrap_or_default());
            ("retained", format!("{kind} for {} {region}", legend.account(account)))
        }
        What::Left { kind, name, retained: false } => ("LEFT", format!("{kind}: {name}")),
        What::Repository { .. } | What::Listing { .. } => return None,
    })
}

fn status_word(status: &str) -> &'static str {
    if status == "INACTIVE" { "inactive" } else { "removed" }
}

/// Breaks a text at spaces so that no line is wider than [`WIDTH`]; later lines are indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        let wide = line.chars().count() + 1 + word.chars().count();
        if wide > WIDTH && line.chars().count() > indent {
            lines.push(format!("{}{word}", " ".repeat(indent)));
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
