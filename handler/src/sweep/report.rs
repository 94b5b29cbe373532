//! What a sweep found in a repository, or could not look at, told to everyone: an event on the EcrCleanup's bus, a log line and
//! metrics, so that it can be seen what there is to gain before anything is deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::check_images::evidence::{Because, Participation};
use crate::check_images::policy::Policy;
use crate::check_images::verdict::{KeepReason, Prospect};
use crate::metrics::{Line, Metric};
use crate::names::Names;
use crate::region::Region;
use crate::repository::Repository;
use crate::settings::Settings;

/// `detail-type` of the event.
const REPOSITORY_SWEPT: &str = "Repository Swept";

/// `detail-type` of the event about what is left to the next sweep.
const SWEEP_UNFINISHED: &str = "Sweep Unfinished";

/// Images and their bytes, as ECR counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Amount {
    pub(super) images: u64,
    pub(super) bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        *self = self.and(Self { images: 1, bytes });
    }

    fn and(self, other: Self) -> Self {
        Self { images: self.images + other.images, bytes: self.bytes + other.bytes }
    }
}

/// What the images of a repository amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// All of them.
    pub(super) total: Amount,
    /// Those that something uses.
    pub(super) in_use: Amount,
    /// Those that a rule keeps, by its reason code.
    pub(super) kept: BTreeMap<&'static str, Amount>,
    /// Those that it is too early for.
    pub(super) too_early: Amount,
    /// Those that are checked now.
    pub(super) to_be_checked: Amount,
    /// Those of which nothing can be said.
    pub(super) unknown: Amount,
    /// What could not be found out or done.
    gap: Option<Because>,
}

impl Swept {
    /// A repository that could not be looked at.
    pub(super) fn unknown(because: Because) -> Self {
        Self { gap: Some(because), ..Self::default() }
    }

    /// Something that could not be found out or done; the first is told.
    pub(super) fn add_gap(&mut self, because: Because) {
        self.gap.get_or_insert(because);
    }

    /// Counts an image of so many bytes. Whether it is to be checked.
    pub(super) fn add(&mut self, prospect: Prospect, bytes: u64) -> bool {
        self.total.add(bytes);
        match prospect {
            Prospect::Candidate => {
                self.to_be_checked.add(bytes);
                return true;
            }
            Prospect::TooEarly => self.too_early.add(bytes),
            Prospect::Kept(KeepReason::InUse(_)) => self.in_use.add(bytes),
            Prospect::Kept(reason) => self.kept.entry(reason.code()).or_default().add(bytes),
            Prospect::Unknown(because) => {
                self.unknown.add(bytes);
                self.add_gap(because);
            }
        }
        false
    }

    /// Those that any rule keeps.
    fn all_kept(&self) -> Amount {
        self.kept.values().fold(Amount::default(), |sum, amount| sum.and(*amount))
    }

    /// The event, as detail-type and detail.
    pub(super) fn event(
        &self,
        settings: &Settings,
        repository: &Repository,
        participation: Option<&Participation>,
    ) -> (&'static str, String) {
        let policy = Policy::of(settings);
        let dry_run = match participation {
            Some(Participation::In(own)) => policy.with(own).dry_run(),
            _ => policy.dry_run(),
        };
        let detail = Detail {
            cleanup: &settings.names,
            repository,
            dry_run,
            total: self.total,
            in_use: self.in_use,
            kept: &self.kept,
            too_early: self.too_early,
            to_be_checked: self.to_be_checked,
            unknown: self.unknown,
            reason_code: self.gap.as_ref().map(|because| because.gap.code()),
            reason: self.gap.as_ref().map(|because| because.text.as_str()),
        };
        (REPOSITORY_SWEPT, serde_json::json!(detail).to_string())
    }

    /// The metrics: a line of them all, and one for each reason to keep images.
    pub(super) fn metrics(&self, settings: &Settings, repository: &Repository, now: Timestamp) -> Vec<Line> {
        let about = |line: Line| line.about("Repository", repository.to_string());
        let kept = self.all_kept();
        let total = about(Line::of(&settings.names, now))
            .count(Metric::SweptImages, self.total.images)
            .count(Metric::SweptBytes, self.total.bytes)
            .count(Metric::SweptImagesInUse, self.in_use.images)
            .count(Metric::SweptBytesInUse, self.in_use.bytes)
            .count(Metric::SweptImagesKept, kept.images)
            .count(Metric::SweptBytesKept, kept.bytes)
            .count(Metric::SweptImagesToCheck, self.to_be_checked.images)
            .count(Metric::SweptBytesToCheck, self.to_be_checked.bytes)
            .count(Metric::RepositoriesNotSwept, u64::from(self.gap.is_some()));
        let reasons = self.kept.iter().map(|(reason, amount)| {
            about(Line::because(&settings.names, reason, now)).count(Metric::SweptImagesKept, amount.images)
        });
        std::iter::once(total).chain(reasons).collect()
    }

    /// The log line.
    pub(super) fn log(&self, settings: &Settings, repository: &Repository) {
        let kept = self.all_kept();
        let by_rule = self.kept.iter().map(|(rule, amount)| format!("{rule}: {}", amount.images)).collect::<Vec<_>>();
        tracing::info!(
            ecr_cleanup = %settings.names,
            repository = %repository,
            outcome = REPOSITORY_SWEPT,
            images = self.total.images,
            bytes = self.total.bytes,
            in_use = self.in_use.images,
            bytes_in_use = self.in_use.bytes,
            kept = kept.images,
            bytes_kept = kept.bytes,
            kept_by = (!by_rule.is_empty()).then(|| by_rule.join(", ")),
            too_early = self.too_early.images,
            to_be_checked = self.to_be_checked.images,
            bytes_to_be_checked = self.to_be_checked.bytes,
            unknown = self.unknown.images,
            reason_code = self.gap.as_ref().map(|because| because.gap.code()),
            reason = self.gap.as_ref().map(|because| because.text.as_str()),
        );
    }
}

/// Repositories that a sweep did not look at, and why: those of a region, or all after one.
#[derive(Debug)]
pub(super) struct Unswept<'a> {
    pub(super) region: Option<&'a Region>,
    pub(super) after: Option<&'a Repository>,
    pub(super) reason: &'a str,
}

impl Unswept<'_> {
    /// The event, as detail-type and detail.
    pub(super) fn event(&self, settings: &Settings) -> (&'static str, String) {
        let Self { region, after, reason } = *self;
        let detail = UnfinishedDetail { cleanup: &settings.names, region, after, reason };
        (SWEEP_UNFINISHED, serde_json::json!(detail).to_string())
    }

    /// The metric.
    pub(super) fn metric(&self, settings: &Settings, now: Timestamp) -> Line {
        Line::of(&settings.names, now).count(Metric::SweepsUnfinished, 1)
    }

    /// The log line.
    pub(super) fn log(&self, settings: &Settings) {
        tracing::error!(
            ecr_cleanup = %settings.names,
            outcome = SWEEP_UNFINISHED,
            region = self.region.map(display),
            after = self.after.map(display),
            reason = self.reason,
        );
    }
}

/// `detail` of the event about what is left.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnfinishedDetail<'a> {
    cleanup: &'a Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a Region>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Repository>,
    reason: &'a str,
}

/// `detail` of the event about a repository.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    cleanup: &'a Names,
    repository: &'a Repository,
    dry_run: bool,
    total: Amount,
    in_use: Amount,
    kept: &'a BTreeMap<&'static str, Amount>,
    too_early: Amount,
    to_be_checked: Amount,
    unknown: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}
