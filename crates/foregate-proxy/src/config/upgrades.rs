//! `upgrade_configs`: the protocols that a connection may change to.

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use super::parts::boolean;
use super::refusal::{At, Refusal, nothing_left};

/// Protocols by name, and whether connections may change to them.
#[derive(Debug, Default)]
pub(crate) struct Upgrades(Vec<(Box<str>, bool)>);

impl Upgrades {
    /// Whether a protocol may be changed to; `None`: nothing is said about it.
    pub(crate) fn allows(&self, protocol: &[u8]) -> Option<bool> {
        let known = self.0.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(protocol));
        known.map(|(_, enabled)| *enabled)
    }

    fn add(&mut self, protocol: String, enabled: bool) -> Result<(), Refusal> {
        // A tunnel to wherever the client wants isn't an upgrade of this request.
        if protocol.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case("connect")) {
            return Err(Refusal::unsupported("upgrade_type"));
        }
        if protocol.is_empty() || !protocol.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::field("upgrade_type", "must be the name of a protocol"));
        }
        if self.allows(protocol.as_bytes()).is_some() {
            return Err(Refusal::field("upgrade_type", format!("{protocol} is there twice")));
        }
        self.0.push((protocol.into(), enabled));
        Ok(())
    }
}

/// Compiles those of a connection manager, which count for all of its routes.
pub(crate) fn of_manager(configs: Vec<hcm::http_connection_manager::UpgradeConfig>) -> Result<Upgrades, Refusal> {
    compile(configs, |config| (std::mem::take(&mut config.upgrade_type), boolean(&mut config.enabled)))
}

/// Compiles those of a route, which override the manager's.
pub(crate) fn of_route(configs: Vec<route::route_action::UpgradeConfig>) -> Result<Upgrades, Refusal> {
    compile(configs, |config| (std::mem::take(&mut config.upgrade_type), boolean(&mut config.enabled)))
}

/// `take` takes what is understood out of a message: its protocol, and whether it is on.
fn compile<M: Default + PartialEq + std::fmt::Debug>(
    configs: Vec<M>,
    take: impl Fn(&mut M) -> (String, Option<bool>),
) -> Result<Upgrades, Refusal> {
    let mut upgrades = Upgrades::default();
    for (index, mut config) in configs.into_iter().enumerate() {
        let (protocol, enabled) = take(&mut config);
        nothing_left(&config)
            .and_then(|()| upgrades.add(protocol, enabled.unwrap_or(true)))
            .at(format_args!("upgrade_configs[{index}]"))?;
    }
    Ok(upgrades)
}
