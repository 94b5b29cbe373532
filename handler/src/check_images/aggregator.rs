//! Questions to the EcrCleanup's aggregator: all pages, or an error.

use aws_sdk_config::Client;

use super::evidence::{Because, Gap};
use super::failed_call::failed_call;
use super::rows::Row;

/// The most rows that a page of `SelectAggregateResourceConfig` holds.
const PAGE: i32 = 100;

/// The aggregator of one EcrCleanup.
pub struct Aggregator<'a> {
    /// AWS Config in the hub's region.
    pub config: &'a Client,
    /// Its name.
    pub name: &'a str,
}

impl Aggregator<'_> {
    /// Every row that an expression finds, read by `read`.
    ///
    /// # Errors
    /// A page that cannot be had, or a row that cannot be read.
    pub async fn select<T>(
        &self,
        gap: Gap,
        expression: &str,
        read: impl Fn(&Row) -> Result<T, String>,
    ) -> Result<Vec<T>, Because> {
        Ok(self.select_while(gap, expression, |_| true, read).await?.unwrap_or_default())
    }

    /// The same, as long as `go_on` says so, which is told how many pages there were; `None` if it stopped too early.
    ///
    /// # Errors
    /// The same.
    pub async fn select_while<T>(
        &self,
        gap: Gap,
        expression: &str,
        go_on: impl Fn(usize) -> bool,
        read: impl Fn(&Row) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Because> {
        let mut found = Vec::new();
        let mut token = None;
        let mut pages = 0;
        while go_on(pages) {
            let page = self
                .config
                .select_aggregate_resource_config()
                .configuration_aggregator_name(self.name)
                .expression(expression)
                .limit(PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failed_call(gap, "config:SelectAggregateResourceConfig", self.name, &error))?;
            for text in page.results() {
                found.push(Row::parse(text).and_then(|row| read(&row)).map_err(|text| Because::new(gap, text))?);
            }
            pages += 1;
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
