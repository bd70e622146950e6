//! `foregate cluster remove`, also called `forget`.

use std::time::Duration;

use clap::Args;
use foregate_api::WorkloadCluster;
use kube::ResourceExt;
use kube::api::DeleteParams;
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;

use super::ClusterName;
use super::add::{clusters, missing};
use crate::cli::api::{ApiArgs, block_on};
use crate::cli::error::{CliError, Ended};

/// Flags of `foregate cluster remove`.
#[derive(Args, Clone, Debug)]
pub struct RemoveArgs {
    /// The tenant, and the cluster's name.
    #[arg(value_name = "TENANT/NAME")]
    pub cluster: ClusterName,
    /// How long to wait until all that the cluster has written is gone, in seconds; 0: don't wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
    /// Which platform.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// Runs `foregate cluster remove`.
///
/// # Errors
/// When the cluster isn't there, or isn't gone in time.
pub fn run(args: &RemoveArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let all = clusters(&api, &args.cluster);
        let name = &args.cluster.name;
        let found = all.get_opt(name).await.map_err(|error| api.explain(error, "the workload cluster"))?;
        let found: WorkloadCluster = found.ok_or_else(|| missing(&args.cluster))?;
        let uid = found.uid().unwrap_or_default();
        match all.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(api.explain(error, &format!("workload cluster {}", args.cluster))),
        }
        if args.timeout > 0 {
            let gone = await_condition(all, name, is_deleted(&uid));
            match tokio::time::timeout(Duration::from_secs(args.timeout), gone).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    return Err(CliError::failed(
                        "the end of the removal can't be watched",
                        "see `foregate cluster list`",
                    )
                    .because(error));
                }
                Err(_) => {
                    let message = format!("{} isn't gone after {} s", args.cluster, args.timeout);
                    let next = "its credential is refused already, the rest goes on; `foregate cluster list` shows it";
                    return Err(CliError::failed(message, next));
                }
            }
        }
        anstream::println!("removed the workload cluster {} and all that it had written", args.cluster);
        Ok(std::process::ExitCode::SUCCESS)
    })
}
