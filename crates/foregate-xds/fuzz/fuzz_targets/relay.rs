//! Any bytes as what platform and relay say to each other: no panic; what is understood is said again the same way.
#![no_main]

use foregate_envoy::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use foregate_xds::relay::{Link, Part, Report};
use prost::Message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(Ok(report)) = DeltaDiscoveryRequest::decode(bytes).map(Report::decode) {
        assert_eq!(Report::decode(report.clone().encode()), Ok(report));
    }
    let mut link = Link::new();
    link.opened();
    let mut local = 0;
    // One message after another, each with its length in front.
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first() {
        let (message, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let Ok(Ok(part)) = DeltaDiscoveryResponse::decode(message).map(Part::decode) else { continue };
        assert_eq!(Part::decode(part.clone().encode()).as_ref(), Ok(&part));
        match link.part(part) {
            Ok(Some((delta, sequence))) => {
                local += 1;
                let set = delta.set.iter().map(|resource| (&resource.id, Some(&resource.version)));
                link.stored(set.chain(delta.remove.iter().map(|id| (id, None))), local, sequence);
            }
            Ok(None) => {}
            Err(_) => link.lost(),
        }
    }
    assert_eq!(link.take(), [], "there is no engine that could have said anything");
});
