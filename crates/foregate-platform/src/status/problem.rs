//! Statuses by exception: GatewayRoute and GatewayBackend say something only when they were refused.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::conditions::{Finding, settle};

/// Fields that may be absent.
pub(crate) const OPTIONAL: &[&str] = &["conditions"];

/// What is wrong with an object: `Accepted` False, with the message. The Gateway API's reason for a value that can't
/// be served is the same whether translation or an engine found it.
pub(crate) fn accepted(
    previous: &[Condition],
    problem: Option<&str>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    settle(previous, problem.map(|message| Finding::no("Accepted", "UnsupportedValue", message)), generation, now)
}
