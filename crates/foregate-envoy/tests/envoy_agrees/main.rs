//! What the checker says about every field with rules, and what a real Envoy says.
//!
//! For each message type that is found in a listener, a cluster or an extension's configuration, and each of its fields
//! that has rules, messages are made that keep and that break them. A running Envoy gets each as a resource over xDS;
//! whether it refuses it for a broken constraint, and for which field, must be what [`foregate_envoy::validate`] says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod carriers;
#[path = "../support/envoys.rs"]
mod envoys;
mod live;
mod minimal;
mod reach;
mod sample;
mod slots;
mod values;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use foregate_envoy::{Violation, descriptors, validate};
use live::{Answer, Live};
use minimal::Minimal;
use sample::Sample;
use verdict::{Verdict, read};

/// Messages whose constraints Envoy 1.40 doesn't check where it reads them; we do, as its API asks for.
const UNCHECKED: [&str; 15] = [
    "envoy.extensions.http.cache.file_system_http_cache.v3.FileSystemHttpCacheConfig",
    "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig",
    "envoy.extensions.internal_redirect.filter_state.v3.FilterStateConfig",
    "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
    "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
    "envoy.extensions.network.dns_resolver.hickory.v3.DnsOverHttpsConfig",
    "envoy.extensions.network.dns_resolver.hickory.v3.DnsOverTlsConfig",
    "envoy.extensions.network.dns_resolver.hickory.v3.HickoryDnsResolverConfig",
    "envoy.extensions.outlier_detection_monitors.consecutive_errors.v3.ConsecutiveErrors",
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
    "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
    "envoy.extensions.upstreams.http.dynamic_modules.v3.Config",
];

/// Fields that have another name in our descriptors than in Envoy 1.40: theirs, ours.
const RENAMED: [(&str, &str); 2] = [("llm_protocol", "api_protocol"), ("default_llm_protocol", "default_api_protocol")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_agrees_on_every_field_with_rules() {
    let binary = envoys::envoys().pop().unwrap();
    let mut live = Live::start(&binary).await;
    let mut minimal = Minimal::new();
    let carriers = carriers::discover(&mut live, &mut minimal).await;
    let samples = sample::all(&carriers, &mut minimal);
    let questions: Vec<_> = samples.iter().map(|sample| sample.question.clone()).collect();
    let answers = live.ask(&questions).await;
    let mut tally = Tally::default();
    for (sample, answer) in samples.iter().zip(&answers) {
        tally.add(sample, answer);
    }
    tally.settle();
    tally.say(&samples, &minimal);
    assert!(tally.disagreements.is_empty(), "{}", tally.disagreements.join("\n"));
    // Far below what is reached, and far above what would be if a kind of place were lost.
    assert!(tally.broken >= 3_500 && tally.accepted >= 5_000 && tally.fields.len() >= 900, "too few verdicts");
    assert!(tally.earlier + tally.unchecked < 400 && tally.died < 10, "too many messages without a verdict");
}

#[derive(Default)]
struct Tally {
    /// Broken by both, at the same field.
    broken: usize,
    /// Kept, and accepted.
    accepted: usize,
    /// Kept, and refused for a reason that is no constraint; the types.
    otherwise: Vec<String>,
    /// Broken, but Envoy refused it for another reason before it came to that.
    earlier: usize,
    /// Envoy ended.
    died: usize,
    /// Of messages that Envoy checks no constraints of.
    unchecked: usize,
    /// Fields that both have found broken.
    fields: BTreeSet<String>,
    /// Messages that Envoy accepts though we say that they are broken, by their type.
    lenient: BTreeMap<String, Vec<String>>,
    /// Types that Envoy checks the constraints of.
    strict: BTreeSet<String>,
    disagreements: Vec<String>,
}

impl Tally {
    fn add(&mut self, sample: &Sample, answer: &Answer) {
        let ours = validate(&sample.carried, &sample.message);
        let refusal = match answer {
            Answer::Accepted => None,
            Answer::Refused(text) => Some(text.as_str()),
            Answer::Died => return self.died += 1,
        };
        let words = || format!("{} = {}: Envoy says {refusal:?}, we say {ours:?}", sample.target, sample.shown);
        match (read(refusal), ours.as_slice()) {
            (Verdict::Broken(path), broken) if broken.iter().any(|ours| same_place(&path, ours)) => {
                self.broken += 1;
                self.strict.insert(sample.carried.clone());
                self.fields.insert(sample.target.clone());
            }
            (Verdict::Accepted, []) => self.accepted += 1,
            (Verdict::Otherwise, []) => self.otherwise.push(sample.carried.clone()),
            (Verdict::Otherwise, _) => self.earlier += 1,
            (Verdict::Accepted, _) => self.lenient.entry(sample.carried.clone()).or_default().push(words()),
            (Verdict::Broken(_), _) => self.disagreements.push(words()),
        }
    }

    /// Types that Envoy checks nothing of are known ones; else what it accepts is a disagreement.
    fn settle(&mut self) {
        let mut known = BTreeSet::new();
        for (carried, words) in std::mem::take(&mut self.lenient) {
            if UNCHECKED.contains(&carried.as_str()) && !self.strict.contains(&carried) {
                self.unchecked += words.len();
                known.insert(carried);
            } else {
                self.disagreements.extend(words);
            }
        }
        for carried in UNCHECKED.iter().filter(|carried| !known.contains(**carried)) {
            self.disagreements.push(format!("{carried} is listed, but Envoy doesn't accept broken ones"));
        }
    }

    fn say(&self, samples: &[Sample], minimal: &Minimal) {
        let tried: BTreeSet<&str> = samples.iter().map(|sample| &*sample.target).collect();
        let all: usize = descriptors::pool().all_messages().map(|desc| minimal.rules.count(&desc)).sum();
        println!(
            "{} messages about {} of {all} fields and oneofs with rules; the others are in no listener or cluster (bootstrap, \
             services, events), or in extensions that aren't tried.",
            samples.len(),
            tried.len(),
        );
        // Only where Envoy was seen to check constraints does another reason say that it has found them kept.
        let (kept, open): (Vec<_>, Vec<_>) = self.otherwise.iter().partition(|carried| self.strict.contains(*carried));
        println!(
            "Agreed: {} broken at the same field ({} fields), {} accepted, {} refused for what is no constraint.",
            self.broken,
            self.fields.len(),
            self.accepted,
            kept.len()
        );
        println!(
            "No verdict: {} refused for another reason first, {} of extensions that check none, {} that end Envoy.",
            self.earlier + open.len(),
            self.unchecked,
            self.died
        );
    }
}

/// Whether Envoy's field is ours; for a oneof Envoy adds its name.
fn same_place(theirs: &[String], ours: &Violation) -> bool {
    let known = |name: &String| {
        RENAMED.iter().find(|(old, _)| verdict::plain(old) == *name).map(|(_, new)| verdict::plain(new))
    };
    let theirs: Vec<String> = theirs.iter().map(|name| known(name).unwrap_or_else(|| name.clone())).collect();
    let fields = verdict::fields(&ours.path);
    match theirs.split_last() {
        None => true,
        Some((_, rest)) if ours.rule == "oneof.required" => rest == fields,
        _ => theirs == fields,
    }
}
