//! `foregate cluster list`.

use clap::Args;
use foregate_api::cluster::{CONNECTED, TENANT_NAMESPACE_PREFIX};
use foregate_api::{WorkloadCluster, condition};
use kube::ResourceExt;
use serde::Serialize;

use crate::cli::api::{ApiArgs, block_on};
use crate::cli::error::Ended;
use crate::cli::output::{OutputArgs, age};
use crate::cli::table::{BAD, Cell, DIM, GOOD, Table, WARN, width};
use crate::cluster::keeper::has_new_credential;

/// Flags of `foregate cluster list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// The clusters of this tenant only.
    #[arg(value_name = "TENANT")]
    pub tenant: Option<String>,
    /// In which form.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Which platform.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// A cluster as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    tenant: String,
    name: String,
    /// `True`, `False` or `Unknown`.
    connected: String,
    /// Why it isn't, or that it is being removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_expires: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<jiff::Timestamp>,
}

/// Runs `foregate cluster list`.
///
/// # Errors
/// When the platform doesn't answer.
pub fn run(args: &ListArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let mut rows: Vec<Row> = api.list::<WorkloadCluster>().await?.into_iter().map(row).collect();
        rows.retain(|row| args.tenant.as_ref().is_none_or(|tenant| *tenant == row.tenant));
        rows.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
        args.output.output.print(&rows, || table(&rows))?;
        Ok(std::process::ExitCode::SUCCESS)
    })
}

fn row(object: WorkloadCluster) -> Row {
    let namespace = object.namespace().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let connected = condition::find(&status.conditions, CONNECTED);
    let removed = object.metadata.deletion_timestamp.is_some().then(|| "being removed".to_owned());
    let why = connected.filter(|it| it.status != "True").map(|it| it.message.clone());
    // What was there before the credentials were revoked isn't any more, though it isn't missed yet.
    let unused = object.spec.credential_generation > 0 && has_new_credential(&status);
    let unused = unused.then(|| "its controller hasn't used its new credential yet".to_owned());
    Row {
        tenant: namespace.strip_prefix(TENANT_NAMESPACE_PREFIX).unwrap_or(&namespace).to_owned(),
        name: object.name_any(),
        connected: connected.map_or_else(|| "Unknown".to_owned(), |it| it.status.clone()),
        message: removed.or(why).or(unused),
        last_seen: status.last_seen.map(|time| time.0),
        controller_version: status.controller_version,
        credential_expires: status.credential_expires.map(|time| time.0),
        created: object.metadata.creation_timestamp.map(|time| time.0),
    }
}

/// Days until the credential expires, the last one counted whole; few are pointed out.
fn credential(expires: Option<jiff::Timestamp>, now: jiff::Timestamp) -> Cell {
    let Some(expires) = expires else { return "-".into() };
    let seconds = expires.as_second() - now.as_second();
    let days = (seconds + 86_399).div_euclid(86_400);
    match days {
        ..=0 => Cell::new("expired", BAD),
        1..=30 => Cell::new(format!("{days}d left"), WARN),
        _ => format!("{days}d left").into(),
    }
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no workload clusters; `foregate cluster add TENANT/NAME` adds one\n".to_owned();
    }
    let mut table = Table::new(["tenant", "name", "connected", "last seen", "controller", "credential", "age", ""]);
    for row in rows {
        let style = match row.connected.as_str() {
            "True" => GOOD,
            "False" => BAD,
            _ => DIM,
        };
        let ago = |time: Option<jiff::Timestamp>| Cell::from(time.map_or_else(|| "-".to_owned(), age));
        table.row([
            row.tenant.as_str().into(),
            row.name.as_str().into(),
            Cell::new(&row.connected, style),
            ago(row.last_seen),
            row.controller_version.as_deref().unwrap_or("-").into(),
            credential(row.credential_expires, jiff::Timestamp::now()),
            ago(row.created),
            row.message.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.render(width())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_that_has_begun_counts() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (365 * 86_400, "365d left"),
            (365 * 86_400 - 5, "365d left"),
            (364 * 86_400, "364d left"),
            (1, "1d left"),
            (0, "expired"),
            (-86_400, "expired"),
        ] {
            let mut table = Table::new(["", "credential"]);
            table.row(["x".into(), credential(Some(now + jiff::SignedDuration::from_secs(seconds)), now)]);
            assert!(table.render(None).contains(text), "{seconds}: {}", table.render(None));
        }
    }
}
