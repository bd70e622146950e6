//! Mirrors.

use foregate_envoy::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use foregate_envoy::pb::envoy::config::route::v3::route_action::RequestMirrorPolicy;
use foregate_envoy::pb::envoy::r#type::v3::FractionalPercent;
use foregate_envoy::pb::envoy::r#type::v3::fractional_percent::DenominatorType;

use crate::ir::MirrorTarget;

/// One mirror; without a fraction it gets a copy of every request.
pub(super) fn build(mirror: &MirrorTarget) -> RequestMirrorPolicy {
    let all = mirror.numerator >= mirror.denominator;
    RequestMirrorPolicy {
        cluster: mirror.cluster.to_string(),
        // A copy is the same request: without this, Envoy adds `-shadow` to its host.
        disable_shadow_host_suffix_append: true,
        runtime_fraction: (!all).then(|| RuntimeFractionalPercent {
            default_value: Some(fraction(mirror.numerator.into(), mirror.denominator.into())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Exactly where Envoy has the denominator, else rounded to a millionth.
pub(super) fn fraction(numerator: u64, denominator: u64) -> FractionalPercent {
    let (numerator, denominator) = match denominator {
        100 => (numerator, DenominatorType::Hundred),
        10_000 => (numerator, DenominatorType::TenThousand),
        _ => {
            let denominator = denominator.max(1);
            ((numerator * 1_000_000 + denominator / 2) / denominator, DenominatorType::Million)
        }
    };
    // At most the denominator.
    FractionalPercent { numerator: u32::try_from(numerator).unwrap_or(1_000_000), denominator: denominator as i32 }
}
