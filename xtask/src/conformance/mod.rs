//! `cargo xtask conformance`: the Gateway API's own suite against Foregate, on the test bed.
//!
//! The gateway side (`foregate up`) and the workload side (`foregate controller`) are processes of their own in the test
//! bed's network, and know each other by what `foregate cluster add` prints. The Go test's exit code decides; the report
//! is only read for the table.

mod foregate;
mod log;
mod report;
mod suite;
mod workload;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::process::TaskError;
use crate::{files, testbed};

/// Flags of `conformance`.
#[derive(Args, Clone, Debug, Default)]
pub struct ConformanceArgs {
    /// What the gateways run on; both, one after the other, when it isn't given.
    #[arg(long, value_enum)]
    pub engine: Option<Engine>,
    /// Only these profiles; may be given several times.
    #[arg(long, value_enum)]
    pub profile: Vec<Profile>,
    /// Only the test of this name.
    #[arg(long, value_name = "TEST")]
    pub run: Option<String>,
    /// Leave these out; only for development.
    #[arg(long, value_name = "TEST", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Seconds that a test waits for traffic to be as it should; the suite's own are 30.
    #[arg(long, value_name = "SECONDS")]
    pub patience: Option<u32>,
    /// Run the controller in the cluster, from its image and with the rights that its manifests give it, instead of
    /// beside the cluster as its administrator.
    #[arg(long)]
    pub in_cluster: bool,
    /// Leave everything running, with the suite's base objects.
    #[arg(long)]
    pub keep: bool,
}

/// What gateways run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The built-in engine.
    Builtin,
    /// The newest Envoy that is tested.
    Envoy,
}

impl Engine {
    /// As flags and reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Envoy => "envoy",
        }
    }
}

/// The suite's profiles for gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
    /// TLSRoute.
    Tls,
    /// TCPRoute.
    Tcp,
    /// UDPRoute.
    Udp,
}

impl Profile {
    /// As the suite names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "GATEWAY-HTTP",
            Self::Grpc => "GATEWAY-GRPC",
            Self::Tls => "GATEWAY-TLS",
            Self::Tcp => "GATEWAY-TCP",
            Self::Udp => "GATEWAY-UDP",
        }
    }
}

impl ConformanceArgs {
    /// The profiles that are asked for.
    pub fn profiles(&self) -> Vec<&'static str> {
        let all = if self.profile.is_empty() { Profile::value_variants() } else { self.profile.as_slice() };
        all.iter().map(|profile| profile.name()).collect()
    }

    /// Whether it is the whole suite, by its own rules.
    fn is_whole(&self) -> bool {
        self.profile.is_empty() && self.run.is_none() && self.skip.is_empty() && self.patience.is_none()
    }
}

/// Brings the test bed up and runs the suite.
///
/// # Errors
/// When a part can't be had or started, or a test fails.
pub fn run(args: &ConformanceArgs) -> Result<(), TaskError> {
    testbed::require_root()?;
    run_binary(&foregate::binary()?, args)
}

/// The same with a binary that is there.
///
/// # Errors
/// As [`run`].
pub fn run_binary(binary: &Path, args: &ConformanceArgs) -> Result<(), TaskError> {
    testbed::require_root()?;
    let engines = args.engine.map_or_else(|| Engine::value_variants().to_vec(), |engine| vec![engine]);
    // There is one test bed: who comes second waits.
    let _turn = testbed::state::turn()?;
    testbed::up()?;
    let mut failed = Vec::new();
    for engine in engines {
        crate::process::step(&format!("conformance, {}", engine.name()), || {
            if !one(engine, binary, args)? {
                failed.push(engine.name());
            }
            Ok(())
        })?;
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(TaskError::Other(format!("not conformant on {}", failed.join(" and "))))
    }
}

/// The suite on one engine; whether it passed.
fn one(engine: Engine, binary: &Path, args: &ConformanceArgs) -> Result<bool, TaskError> {
    testbed::stop_guests()?;
    suite::remove_leftovers()?;
    let running = foregate::Running::start(engine, binary, args.in_cluster)?;
    let outcome = suite::run(engine, &running, args);
    let died = running.end(args.keep);
    let mut outcome = outcome?;
    outcome.show(args.is_whole());
    died?;
    if args.is_whole() && outcome.passed {
        let to = reports().join(format!("gateway-api-{}-{}.yaml", crate::tools::GATEWAY_API, engine.name()));
        files::write(&to, files::read(&outcome.report)?)?;
        println!("report: {}", to.display());
    }
    Ok(outcome.passed)
}

/// Where reports are kept that are worth showing.
fn reports() -> PathBuf {
    crate::process::root().join("conformance/reports")
}
