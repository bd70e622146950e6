//! Who leads, and when another one does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod api;

use api::Leases;

use super::*;

fn seen(version: &str, holder: &str) -> Lease {
    let spec = LeaseSpec { holder_identity: Some(holder.to_owned()), ..LeaseSpec::default() };
    let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
    Lease { metadata, spec: Some(spec) }
}

/// An API that answers everything alike.
fn candidate(code: u16, message: &'static str) -> Candidate {
    let service = tower::service_fn(move |_| async move {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message,
            "reason": "Any",
        });
        let body = kube::client::Body::from(status.to_string().into_bytes());
        Ok::<_, std::convert::Infallible>(http::Response::builder().status(code).body(body).unwrap())
    });
    Candidate::new(Client::new(service, "default"), "gone", "lease", "me")
}

#[tokio::test]
async fn what_is_wrong_is_said_once_with_what_to_do() {
    for (code, says) in [
        (404, "create the namespace, or use --lease-namespace for another, or --leader-elect false"),
        (403, "Lease gone/lease: no way (403)"),
    ] {
        let (candidate, mut trouble) = (candidate(code, "no way"), Trouble::default());
        assert!(candidate.take(None, PATIENCE, &mut trouble).await.is_none());
        let said = trouble.0.clone().unwrap();
        assert!(said.contains(says), "{said}");
        assert!(!trouble.is_new(&said), "the next time it isn't said");
        trouble.over();
        assert!(trouble.is_new(&said), "after it was well, it is");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_older_version_changes_nothing() {
    let mut state = None;
    note(&mut state, seen("10", "a"));
    tokio::time::advance(Duration::from_secs(3)).await;
    note(&mut state, seen("9", "b"));
    note(&mut state, seen("10", "a"));
    let now = state.as_ref().unwrap();
    assert_eq!((holder(&now.lease), now.since.elapsed().as_secs()), (Some("a"), 3));
    note(&mut state, seen("11", ""));
    let now = state.as_ref().unwrap();
    assert_eq!((holder(&now.lease), now.since.elapsed().as_secs()), (None, 0));
}

/// A replica, until it is dropped.
struct Replica {
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Ended>,
}

impl Replica {
    fn start(leases: &Leases, identity: &str, clock: Clock) -> Self {
        let (told, leads) = watch::channel(false);
        let stop = CancellationToken::new();
        let candidate = Candidate::new(leases.client(), "system", "lease", identity).with_clock(clock);
        let task = tokio::spawn(candidate.run(told, stop.clone()));
        Self { leads, stop, task }
    }

    fn leads(&self) -> bool {
        // One that was killed writes nothing.
        !self.task.is_finished() && *self.leads.borrow()
    }

    async fn until_it_leads(&mut self) -> Duration {
        let start = Instant::now();
        let led = self.leads.wait_for(|leads| *leads);
        tokio::time::timeout(Duration::from_secs(60), led).await.expect("it never led").unwrap();
        start.elapsed()
    }
}

const NOW: Clock = jiff::Timestamp::now;
const AHEAD: Clock = || jiff::Timestamp::now() + Duration::from_secs(3_600);
const BEHIND: Clock = || jiff::Timestamp::now() - Duration::from_secs(3_600);
/// Goes an hour ahead and an hour back with every look.
const JUMPING: Clock = || {
    static LOOKS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    match LOOKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 {
        0 => AHEAD(),
        _ => BEHIND(),
    }
};

#[tokio::test(start_paused = true)]
async fn clocks_that_are_wrong_make_neither_two_leaders_nor_none() {
    for (first, second) in
        [(NOW, AHEAD), (AHEAD, NOW), (NOW, BEHIND), (BEHIND, AHEAD), (AHEAD, BEHIND), (JUMPING, NOW), (NOW, JUMPING)]
    {
        let leases = Leases::default();
        let mut a = Replica::start(&leases, "a", first);
        a.until_it_leads().await;
        let b = Replica::start(&leases, "b", second);
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(a.leads() && !b.leads());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_leads_soon_after_a_leader_is_killed_and_at_once_after_one_that_ends() {
    for clock in [NOW, AHEAD, BEHIND] {
        let leases = Leases::default();
        let mut a = Replica::start(&leases, "a", clock);
        a.until_it_leads().await;
        let mut b = Replica::start(&leases, "b", NOW);
        tokio::time::sleep(Duration::from_millis(7_300)).await;
        a.task.abort();
        let took = b.until_it_leads().await;
        assert!(took <= LASTS && took + RENEWS >= LASTS, "{took:?}");
        let mut c = Replica::start(&leases, "c", clock);
        tokio::time::sleep(RENEWS).await;
        b.stop.cancel();
        assert_eq!(b.task.await.unwrap(), Ended::Shutdown);
        assert!(c.until_it_leads().await < Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_before_another_begins() {
    let leases = Leases::default();
    let mut a = Replica::start(&leases, "a", NOW);
    a.until_it_leads().await;
    let b = Replica::start(&leases, "b", NOW);
    tokio::time::sleep(RENEWS).await;
    leases.refuse("a");
    let mut told = Vec::new();
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = (a.leads(), b.leads());
        if told.last() != Some(&now) {
            told.push(now);
        }
    }
    assert_eq!(told, [(true, false), (false, false), (false, true)]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_election_costs_two_writes_in_three_seconds() {
    let leases = Leases::default();
    let mut a = Replica::start(&leases, "a", NOW);
    a.until_it_leads().await;
    let _b = Replica::start(&leases, "b", NOW);
    let before = leases.requests();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = leases.requests() - before;
    assert!((38..=44).contains(&asked), "{asked} requests in a minute");
}
