//! `foregate cluster`: the workload clusters of a platform.
//!
//! `add` makes a WorkloadCluster and prints, once, what the cluster's administrator applies there: the credential and a
//! GatewayClass. The rest runs with the platform: [`crate::certificates`] makes certificates, `keeper` gives each cluster its rights,
//! says whether its controller is there, and removes what a cluster that is gone has written.

mod add;
mod keeper;
mod list;
mod manifests;
mod policy;
mod remove;
mod rights;

use clap::{Args, Subcommand};
pub use keeper::keep;
#[cfg(test)]
pub use manifests::credential_name;
pub use policy::write as write_policy;

pub use crate::certificates::mount;

use crate::cli::error::Ended;

/// Flags of `foregate cluster`.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ClusterVerb,
}

/// Verbs of `foregate cluster`.
#[derive(Debug, Subcommand)]
pub enum ClusterVerb {
    /// Add a workload cluster, and print manifests with its credential, to be applied there.
    Add(add::AddArgs),
    /// Print a new credential for a workload cluster that is there.
    Renew(add::RenewArgs),
    /// List the workload clusters, and whether their controllers are there.
    List(list::ListArgs),
    /// Remove a workload cluster and all that it has written: its gateways stop, its credential is refused.
    #[command(alias = "forget")]
    Remove(remove::RemoveArgs),
}

/// Runs a verb.
///
/// # Errors
/// What the verb says.
pub fn run(args: &ClusterArgs) -> Ended {
    match &args.verb {
        ClusterVerb::Add(args) => add::add(args),
        ClusterVerb::Renew(args) => add::renew(args),
        ClusterVerb::List(args) => list::run(args),
        ClusterVerb::Remove(args) => remove::run(args),
    }
}

/// A cluster as it is named on the command line: `TENANT/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName {
    /// The tenant.
    pub tenant: String,
    /// The cluster.
    pub name: String,
}

impl ClusterName {
    /// The tenant's namespace.
    pub fn namespace(&self) -> String {
        foregate_api::cluster::tenant_namespace(&self.tenant)
    }
}

impl std::str::FromStr for ClusterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tenant, name) = text.split_once('/').ok_or("write TENANT/NAME, such as default/edge-1")?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if tenant.is_empty() || tenant.len() > 56 || !tenant.chars().all(fits) {
            return Err("a tenant's name has 1 to 56 lower-case letters, digits and `-`".to_owned());
        }
        foregate_api::cluster::check_name(name).map_err(|why| format!("the cluster's name: {why}"))?;
        Ok(Self { tenant: tenant.to_owned(), name: name.to_owned() })
    }
}

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

#[cfg(test)]
mod tests;
