//! Running the suite.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::foregate::Running;
use super::log::Log;
use super::report::Report;
use super::{ConformanceArgs, Engine};
use crate::process::{TaskError, output};
use crate::{files, testbed, tools};

/// Tests at a time; by default Go runs as many as there are processors, and tests wait more than they work.
const PARALLEL: u32 = 8;
/// Where `foregate cluster add` and `foregate controller install` put things.
const FOREGATE: &str = "namespace/foregate-system";
/// When all of them together are given up.
const TIMEOUT: &str = "45m";

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What the Go test's exit code says.
    pub passed: bool,
    /// Where the suite's report is.
    pub report: PathBuf,
    log: Log,
    summary: PathBuf,
}

/// Removes what a run that was ended or kept has left in the cluster.
///
/// # Errors
/// When kubectl fails.
pub fn remove_leftovers() -> Result<(), TaskError> {
    let kubectl = |arguments: &[&str]| output(testbed::command("kubectl")?.args(arguments));
    let names = kubectl(&["get", "namespaces", "-o", "name"])?;
    let left: Vec<&str> = names.lines().filter(|name| name.contains("/gateway-") || *name == FOREGATE).collect();
    if !left.is_empty() {
        println!("removing what an earlier run has left");
        kubectl(&[["delete", "--timeout=120s"].as_slice(), &left].concat())?;
    }
    // Their controller is gone: nobody else takes its finalizer away.
    for class in kubectl(&["get", "gatewayclasses", "-o", "name"])?.lines() {
        kubectl(&["patch", class, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])?;
        kubectl(&["delete", class, "--ignore-not-found"])?;
    }
    Ok(())
}

/// Runs it, and tells of each test that ends.
///
/// # Errors
/// When it can't be started; tests that fail are in the outcome.
pub fn run(engine: Engine, running: &Running, args: &ConformanceArgs) -> Result<Outcome, TaskError> {
    let program = tools::gateway_api()?.suite;
    let report = testbed::state::dir().join("conformance").join(format!("report-{}.yaml", engine.name()));
    let mut suite = testbed::command(&program.display().to_string())?;
    let parallel = format!("-test.parallel={PARALLEL}");
    suite.args(["-test.v=test2json", &parallel, &format!("-test.timeout={TIMEOUT}"), "-test.run=^TestConformance$"]);
    for (flag, value) in [
        ("gateway-class", running.class.as_str()),
        ("conformance-profiles", &args.profiles().join(",")),
        ("usable-address", testbed::USABLE_ADDRESS),
        ("unusable-address", testbed::UNUSABLE_ADDRESS),
        ("report-output", &report.display().to_string()),
        ("organization", "foregate"),
        ("project", "foregate"),
        ("url", "https://foregate.dev"),
        ("contact", "https://foregate.dev"),
        ("version", concat!("v", env!("CARGO_PKG_VERSION"))),
        ("mode", if engine == Engine::Builtin { "default" } else { engine.name() }),
        ("skip-tests", &args.skip.join(",")),
    ] {
        suite.arg(format!("--{flag}={value}"));
    }
    if let Some(test) = &args.run {
        suite.arg(format!("--run-test={test}"));
    }
    if let Some(seconds) = args.patience {
        suite.arg(format!("--timeout-config-overrides={}", timeouts(seconds)));
    }
    suite.arg(format!("--cleanup-base-resources={}", !args.keep));
    let log_path = testbed::state::log(&format!("conformance-{}", engine.name()));
    println!("suite: {} (log: {})", args.profiles().join(", "), log_path.display());
    let log = Log::new(args.run.as_deref());
    let (passed, log) = follow(suite, &log_path, log, || check_engine(engine, running))?;
    let summary = testbed::state::log(&format!("conformance-{}-failures", engine.name()));
    files::write(&summary, log.failures())?;
    Ok(Outcome { passed, report, log, summary })
}

/// Shorter waits than the suite's, all of them.
fn timeouts(seconds: u32) -> String {
    let short = [
        "MaxTimeToConsistency",
        "GatewayMustHaveAddress",
        "GatewayMustHaveCondition",
        "GatewayStatusMustHaveListeners",
        "GatewayListenersMustHaveConditions",
        "ListenerSetMustHaveCondition",
        "ListenerSetListenersMustHaveConditions",
        "HTTPRouteMustNotHaveParents",
        "HTTPRouteMustHaveCondition",
        "TLSRouteMustHaveCondition",
        "TCPRouteMustHaveCondition",
        "UDPRouteMustHaveCondition",
        "RouteMustHaveParents",
        "LatestObservedGenerationSet",
        "DefaultTestTimeout",
    ];
    let mut all: Vec<String> = short.iter().map(|name| format!("{name}:{seconds}")).collect();
    // Pods start slowly where much starts at once.
    all.push(format!("NamespacesMustBeReady:{}", seconds.max(60)));
    all.join(";")
}

/// Fails when gateways run on anything else: a pass would say nothing.
fn check_engine(engine: Engine, running: &Running) -> Result<(), TaskError> {
    let wanted = match engine {
        Engine::Builtin => Some(engine.name().to_owned()),
        Engine::Envoy => tools::envoy_names().pop(),
    };
    let there = running.engines()?;
    if there.len() == 1 && there.first() == wanted.as_ref() {
        return Ok(());
    }
    Err(TaskError::Other(format!("gateways run on `{}`, not on {}", there.join(", "), engine.name())))
}

/// Runs it with its output in a file; whether it passed, and what it said. `check` is asked when the first test has ended.
fn follow(
    mut suite: Command,
    path: &Path,
    mut log: Log,
    check: impl FnOnce() -> Result<(), TaskError>,
) -> Result<(bool, Log), TaskError> {
    let mut file = File::create(path).map_err(files::at(path))?;
    let shown = suite.get_args().next().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let failed = |source| TaskError::Start { command: shown.clone(), source };
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    suite.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = suite.spawn().map_err(failed)?;
    testbed::adopt("conformance-suite", &child)?;
    // Its ends of the pipe must not outlive the suite's.
    drop(suite);
    let (mut check, mut checked) = (Some(check), Ok(()));
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.map_err(files::at(path))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(file, "{line}").map_err(files::at(path))?;
        if let Some(ended) = log.take(&line) {
            println!("{ended}");
            if let Some(check) = check.take() {
                checked = check();
            }
        }
    }
    let status = child.wait().map_err(failed)?;
    checked?;
    Ok((status.success(), log))
}

impl Outcome {
    /// Prints the table, and what failed; of a whole run, what wasn't run, too, which is as bad.
    pub fn show(&mut self, is_whole: bool) {
        let shortfalls = match Report::read(&self.report) {
            Ok(report) => {
                print!("{}", report.table(is_whole));
                if is_whole { report.shortfalls() } else { Vec::new() }
            }
            Err(error) => vec![format!("no report: {error}")],
        };
        if self.passed && shortfalls.is_empty() {
            println!("passed");
        } else {
            self.passed = false;
            let shortfalls: String = shortfalls.iter().map(|text| format!("{text}\n")).collect();
            println!("FAILED:\n{shortfalls}{}(also in {})", self.log.failures(), self.summary.display());
        }
    }
}
