//! `foregate top`: live traffic per route.

mod rows;
mod screen;
mod text;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use foregate_api::GatewayInstance;
use kube::ResourceExt as _;

use super::api::{ApiArgs, ApiServer, METRICS, block_on};
use super::error::{CliError, Ended};
use super::gateway::{self, GatewayName};
use super::output::{self, Form, OutputArgs};
use rows::{Names, Row};
use text::Sample;

/// Flags of `foregate top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Only this gateway: NAMESPACE/NAME of a Gateway or of a GatewayProxy.
    #[arg(value_name = "GATEWAY")]
    gateway: Option<String>,
    /// Seconds between two samples, 0.1 to 3600.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECONDS")]
    interval: Duration,
    /// End after so many samples [default: on a terminal never; else after one].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    samples: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim_end_matches('s').parse().map_err(|_| "write it like 1 or 0.5".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("from 0.1 to 3600".into())
    }
}

/// Runs it.
///
/// # Errors
/// When there is no such gateway, or the API can't be read.
pub fn run(args: &TopArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let names = names(&api, args.gateway.as_deref()).await?;
        let live = args.output.output == Form::Table && std::io::stdout().is_terminal() && args.samples.is_none();
        if live { watch(&api, args, &names).await } else { print(&api, args, &names).await }
    })
}

/// The gateways to show, by the names that metrics have of them.
async fn names(api: &ApiServer, only: Option<&str>) -> Result<Names, CliError> {
    let all: Vec<GatewayName> = match only {
        Some(asked) => vec![gateway::find(api, asked).await?],
        None => gateway::all(api).await?,
    };
    let instances: Vec<GatewayInstance> = api.list().await?;
    let mut names = Names { known: Vec::new(), only: only.is_some() };
    for name in all {
        let ours = instances.iter().filter(|instance| instance.spec.proxy == name.proxy);
        names.known.extend(ours.map(|instance| (instance.name_any(), name.display())));
        names.known.push((name.proxy_name(), name.display()));
    }
    Ok(names)
}

async fn sample(api: &ApiServer) -> Result<(Instant, Sample), CliError> {
    let text = api.get(METRICS, "text/plain").await?;
    Ok((Instant::now(), Sample::parse(&text)))
}

/// Samples one after the other.
async fn print(api: &ApiServer, args: &TopArgs, names: &Names) -> Ended {
    let mut before = sample(api).await?;
    for at in 0..args.samples.unwrap_or(1) {
        tokio::time::sleep(args.interval).await;
        let now = sample(api).await?;
        let rows = Row::between(&before.1, &now.1, now.0 - before.0, names);
        match args.output.output {
            Form::Table => {
                let gap = if at > 0 { "\n" } else { "" };
                anstream::print!("{gap}{}", rows::table(&rows, None));
            }
            // One sample per line.
            Form::Json => anstream::println!("{}", serde_json::json!(rows)),
            Form::Yaml => anstream::print!("---\n{}", output::yaml(&rows)?),
        }
        before = now;
    }
    Ok(ExitCode::SUCCESS)
}

/// Redrawn in place until `q` or Ctrl-C.
async fn watch(api: &ApiServer, args: &TopArgs, names: &Names) -> Ended {
    let mut before = sample(api).await?;
    let mut screen = screen::Screen::open()?;
    screen.draw("", &[])?;
    loop {
        if screen.quit_within(args.interval).await? {
            return Ok(ExitCode::SUCCESS);
        }
        let now = sample(api).await?;
        let rows = Row::between(&before.1, &now.1, now.0 - before.0, names);
        screen.draw(&rows::heading(&rows), &rows)?;
        before = now;
    }
}
