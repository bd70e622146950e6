//! Whether platforms take what is written.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use foregate_api::cluster::RENEW_SECONDS;
use foregate_api::credential::{REMOVED, REVOKED};
use foregate_api::{GatewayTemplate, WorkloadCluster};
use foregate_attach::{Connection, Health, Input, TargetEvent, TargetId};
use kube::api::{Api, Patch, PatchParams};
use kube::core::Status;
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};

use crate::backoff::Backoff;
use crate::client::{self, Exchangeable};
use crate::dispatch::Gate;
use crate::renew::Renewal;
use crate::source::Fed;
use crate::write::MANAGER;

/// Between checks as long as all is well: what platforms expect of a controller that is there.
const EVERY: Duration = Duration::from_secs(RENEW_SECONDS);
/// Between checks at least, however many doubts there are.
const LEAST: Duration = Duration::from_secs(1);
/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Checks in a row that must go unanswered before it is said.
const SILENT: u32 = 3;

/// What is asked of a platform.
pub struct Probe {
    /// Its API.
    pub client: Client,
    /// The tenant's namespace.
    pub namespace: String,
    /// The WorkloadCluster that is renewed; none: there needn't be one.
    pub cluster: Option<String>,
    /// The GatewayTemplates that must be there.
    pub templates: BTreeSet<String>,
}

impl Probe {
    /// Asks. `leads`: says that the controller is there, too.
    async fn ask(&self, leads: bool) -> Health {
        match tokio::time::timeout(PATIENCE, self.try_ask(leads)).await {
            Ok(Ok(missing_templates)) => Health::Good { missing_templates },
            Ok(Err(health)) => health,
            Err(_) => Health::Away(format!("the platform doesn't answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn try_ask(&self, leads: bool) -> Result<BTreeSet<String>, Health> {
        if let Some(name) = &self.cluster {
            let api = Api::<WorkloadCluster>::namespaced(self.client.clone(), &self.namespace);
            let asked = if leads { renew(&api, name).await } else { api.get(name).await.map(drop) };
            asked.map_err(|error| judge(&error, &format!("WorkloadCluster {}/{name}", self.namespace)))?;
        }
        let api = Api::<GatewayTemplate>::namespaced(self.client.clone(), &self.namespace);
        let mut missing = BTreeSet::new();
        for template in &self.templates {
            match api.get_metadata(template).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    missing.insert(template.clone());
                }
                // Who may not look believes.
                Err(kube::Error::Api(status)) if status.code == 403 && self.cluster.is_some() => {}
                Err(error) => return Err(judge(&error, &format!("GatewayTemplate {}/{template}", self.namespace))),
                Ok(_) => {}
            }
        }
        Ok(missing)
    }
}

async fn renew(api: &Api<WorkloadCluster>, name: &str) -> kube::Result<()> {
    let patch = json!({
        "apiVersion": WorkloadCluster::api_version(&()), "kind": WorkloadCluster::kind(&()),
        "status": { "lastSeen": jiff::Timestamp::now(), "controllerVersion": env!("CARGO_PKG_VERSION") },
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(name, &params, &Patch::Merge(&patch)).await.map(drop)
}

/// What a failed request says of a platform.
fn judge(error: &kube::Error, what: &str) -> Health {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => unknown(status),
            403 => Health::Refused(format!("the platform forbids it: {}", status.message)),
            404 => Health::Refused(format!("the platform has no {what}: {}", status.message)),
            code => Health::Away(format!("the platform answers {code}: {}", status.message)),
        },
        other => unreachable(other),
    }
}

/// What a 401 says. Only what is known to be gone for good is given up.
fn unknown(status: &Status) -> Health {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    let why = causes.find(|cause| [REVOKED, REMOVED].contains(&cause.reason.as_str()));
    let message = &status.message;
    match why.map(|cause| cause.reason.as_str()) {
        Some(REMOVED) => Health::Disowned(format!(
            "the cluster was removed on the platform, with all that it had written there ({message}): `foregate cluster \
             add` on the platform's side adds it again; apply what is printed"
        )),
        Some(_) => Health::Refused(format!(
            "the credential was revoked on the platform ({message}): `foregate cluster renew` on the platform's side \
             makes another; apply what is printed"
        )),
        None => Health::Refused(format!(
            "the platform doesn't know the credential ({message}): `foregate cluster renew` on the platform's side makes \
             another; apply what is printed"
        )),
    }
}

/// A connection that can't be had: TLS doesn't come right by itself.
fn unreachable(error: &(dyn Error + 'static)) -> Health {
    let chain: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    let innermost = chain.last().cloned().unwrap_or_default();
    if let Some(why) = chain.iter().rev().find(|text| text.contains("invalid peer certificate")) {
        let why = why.split("invalid peer certificate: ").last().unwrap_or(why);
        return Health::Refused(format!(
            "the platform's certificate isn't one that spec.platform.caCertificates of the GatewayClassParameters \
             vouches for ({why})"
        ));
    }
    if let Some(why) = chain.iter().rev().find(|text| text.contains("received fatal alert")) {
        return Health::Refused(format!("the platform refuses the credential's certificate ({why})"));
    }
    Health::Away(format!("the platform can't be reached: {innermost}"))
}

/// Checks a platform again and again, at once where there is `doubt`, and tells what changed.
pub async fn keep(mut teller: Teller, probe: Probe, doubt: Arc<Notify>) {
    loop {
        let health = probe.ask(false).await;
        let Some(pause) = teller.tell(health).await else { return };
        rest(pause, &doubt).await;
    }
}

/// Connects to a platform, with new credentials whenever they come, and checks it as [`keep`] does. Who leads asks for
/// the next credential in time.
pub async fn keep_connected(
    mut teller: Teller,
    (exchangeable, mut renewal): (Exchangeable, Renewal),
    mut connections: watch::Receiver<Arc<Connection>>,
    mut gate: Gate,
    doubt: Arc<Notify>,
) {
    let mut connected: Option<Arc<Connection>> = None;
    loop {
        let to = connections.borrow_and_update().clone();
        let health = match reconnect(&exchangeable, connected.as_deref(), &to).await {
            Err(error) => Health::Refused(format!("the platform can't be connected to: {error}")),
            Ok(()) => {
                connected = Some(to.clone());
                let probe = Probe {
                    client: exchangeable.client(&to.namespace),
                    namespace: to.namespace.clone(),
                    cluster: Some(to.cluster.clone()),
                    templates: to.templates.clone(),
                };
                let health = probe.ask(gate.is_open()).await;
                if matches!(health, Health::Good { .. }) && gate.is_open() {
                    let stale = renewal.keep(&probe.client, &to).await;
                    if teller.tell_renewal(stale).await.is_none() {
                        return;
                    }
                }
                health
            }
        };
        let Some(pause) = teller.tell(health).await else { return };
        tokio::select! {
            () = rest(pause, &doubt) => {}
            // Who leads says so at once.
            () = gate.changed() => {}
            changed = connections.changed() => if changed.is_err() { return },
        }
    }
}

/// The pause between two checks. Doubt ends that of a platform that was well; others are asked again soon anyway.
async fn rest(pause: Duration, doubt: &Notify) {
    if pause < EVERY {
        return tokio::time::sleep(pause).await;
    }
    tokio::time::sleep(LEAST).await;
    // Whichever comes first.
    let _ = tokio::time::timeout(pause - LEAST, doubt.notified()).await;
}

/// Exchanges the client where more has changed than templates and what else there is in the Secret.
async fn reconnect(
    exchangeable: &Exchangeable,
    from: Option<&Connection>,
    to: &Connection,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let like_new = |from: &Connection| Connection {
        templates: to.templates.clone(),
        secret_version: to.secret_version.clone(),
        ..from.clone()
    };
    if from.is_none_or(|from| like_new(from) != *to) {
        exchangeable.set(client::of_platform(to).await?);
    }
    Ok(())
}

/// Tells what is new.
pub struct Teller {
    id: TargetId,
    feed: mpsc::Sender<Fed>,
    /// Whether writes make sense.
    up: watch::Sender<bool>,
    told: Option<Health>,
    /// Why the credential isn't renewed, as it was told last.
    stale: Option<String>,
    silent: u32,
    pauses: Backoff,
}

impl Teller {
    /// `up` is told whether writes make sense.
    pub fn new(id: TargetId, feed: mpsc::Sender<Fed>, up: watch::Sender<bool>) -> Self {
        Self { id, feed, up, told: None, stale: None, silent: 0, pauses: Backoff::default() }
    }

    /// Tells why the credential isn't renewed. None: nobody listens.
    async fn tell_renewal(&mut self, stale: Option<String>) -> Option<()> {
        if self.stale == stale {
            return Some(());
        }
        if let Some(why) = &stale {
            tracing::warn!(id = ?self.id, "{why}");
        }
        self.stale.clone_from(&stale);
        self.feed.send(Fed::Input(Input::Target(self.id, TargetEvent::Renewal(stale)))).await.ok()
    }

    /// Returns the pause until the next check; none: nobody listens.
    async fn tell(&mut self, health: Health) -> Option<Duration> {
        let is_away = matches!(health, Health::Away(_));
        self.silent = if is_away { self.silent + 1 } else { 0 };
        let is_good = matches!(health, Health::Good { .. });
        // One lost request doesn't make a platform that was there go away.
        let was_good = matches!(self.told, Some(Health::Good { .. }));
        // Why it is away may be said in many ways; one will do.
        let is_new = self.told.as_ref() != Some(&health) && !(is_away && matches!(self.told, Some(Health::Away(_))));
        if is_new && !(is_away && was_good && self.silent < SILENT) {
            match &health {
                Health::Good { .. } => tracing::info!(id = ?self.id, "the platform is there"),
                Health::Refused(why) | Health::Disowned(why) | Health::Away(why) => {
                    tracing::warn!(id = ?self.id, "{why}")
                }
            }
            self.told = Some(health.clone());
            self.up.send_if_modified(|up| std::mem::replace(up, is_good) != is_good);
            let news = Input::Target(self.id, TargetEvent::Checked(health));
            self.feed.send(Fed::Input(news)).await.ok()?;
        }
        if is_good {
            self.pauses = Backoff::default();
            return Some(EVERY);
        }
        self.pauses.next()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn chain(texts: &[&'static str]) -> Option<Box<Layer>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Layer { text, source: chain(rest) }))
    }

    #[test]
    fn tls_does_not_come_right_by_itself() {
        for (texts, refused, contains) in [
            (&["client error", "tcp connect error", "Connection refused"][..], false, "Connection refused"),
            (&["client error", "invalid peer certificate: UnknownIssuer"], true, "UnknownIssuer"),
            (&["client error", "received fatal alert: CertificateUnknown"], true, "CertificateUnknown"),
        ] {
            let error = chain(texts).unwrap();
            let health = unreachable(&*error);
            let (Health::Refused(text) | Health::Away(text)) = &health else { unreachable!() };
            assert_eq!(matches!(health, Health::Refused(_)), refused, "{text}");
            assert!(text.contains(contains), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn doubt_ends_the_pause_of_a_platform_that_was_well() {
        let doubt = Notify::new();
        for (pause, is_doubted, expected) in [
            (EVERY, false, EVERY),
            (EVERY, true, LEAST),
            // It was in the pause before.
            (EVERY, false, EVERY),
            (LEAST / 2, true, LEAST / 2),
        ] {
            if is_doubted {
                doubt.notify_one();
            }
            let before = tokio::time::Instant::now();
            rest(pause, &doubt).await;
            let rested = before.elapsed();
            assert!(rested >= expected && rested < expected + LEAST / 4, "{pause:?} {is_doubted}: {rested:?}");
        }
    }

    #[tokio::test]
    async fn answers_that_say_no_more_than_that_it_is_there_raise_no_doubt() {
        use http::{Response, StatusCode};
        use kube::client::Body;
        for (answer, is_doubted) in [
            (Some(200), false),
            (Some(401), true),
            (Some(403), true),
            (Some(404), false),
            (Some(409), false),
            (Some(422), false),
            (Some(500), true),
            (Some(503), true),
            (None, true),
        ] {
            let service = tower::service_fn(move |_: http::Request<Body>| async move {
                let Some(code) = answer else { return Err(kube::Error::Service("connection refused".into())) };
                Ok(Response::builder().status(StatusCode::from_u16(code).unwrap()).body(Body::empty()).unwrap())
            });
            let doubt = Arc::new(Notify::new());
            let client = client::doubting(Client::new::<_, Body, _>(service, "tenant-shop"), doubt.clone());
            let _ = Api::<WorkloadCluster>::namespaced(client, "tenant-shop").get("edge").await;
            let told = tokio::time::timeout(Duration::ZERO, doubt.notified()).await.is_ok();
            assert_eq!(told, is_doubted, "{answer:?}");
        }
    }

    #[test]
    fn a_cluster_is_given_up_only_where_it_was_removed() {
        for (reason, is_removed, says) in [
            (Some(REVOKED), false, "was revoked on the platform"),
            (Some(REMOVED), true, "`foregate cluster add`"),
            (Some("Other"), false, "doesn't know the credential"),
            (None, false, "`foregate cluster renew`"),
        ] {
            let causes: Vec<_> = reason.map(|it| json!({ "reason": it, "message": "m" })).into_iter().collect();
            let status = json!({ "code": 401, "message": "so it is", "details": { "causes": causes } });
            let status: Status = serde_json::from_value(status).unwrap();
            let health = judge(&kube::Error::Api(Box::new(status)), "WorkloadCluster tenant-shop/edge");
            assert_eq!(matches!(health, Health::Disowned(_)), is_removed, "{reason:?}");
            let (Health::Disowned(text) | Health::Refused(text)) = &health else { unreachable!() };
            assert!(text.contains(says) && text.contains("so it is"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_that_was_there_is_away_after_several_silent_checks() {
        let (feed, mut told) = mpsc::channel(16);
        let mut teller = Teller::new(TargetId::DEFAULT, feed, watch::Sender::new(true));
        let good = || Health::Good { missing_templates: BTreeSet::new() };
        let away = || Health::Away("silent".to_owned());
        for (health, news) in
            [(away(), 1), (good(), 1), (away(), 0), (away(), 0), (good(), 0), (away(), 0), (away(), 0)]
        {
            teller.tell(health).await.unwrap();
            assert_eq!((0..).map_while(|_| told.try_recv().ok()).count(), news);
        }
        teller.tell(away()).await.unwrap();
        assert!(told.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn ten_minutes_without_a_platform_are_told_once_and_cost_little() {
        use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

        use kube::client::Body;
        let (is_away, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (away, count) = (is_away.clone(), asked.clone());
        let service = tower::service_fn(move |_: http::Request<Body>| {
            count.fetch_add(1, Relaxed);
            let is_away = away.load(Relaxed);
            async move {
                let metadata = json!({ "apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": {} });
                match is_away {
                    true => Err(kube::Error::Service("connection refused".into())),
                    false => Ok(http::Response::new(Body::from(metadata.to_string().into_bytes()))),
                }
            }
        });
        let client = Client::new::<_, Body, _>(service, "tenant-shop");
        let templates = BTreeSet::from(["default".to_owned()]);
        let probe = Probe { client, namespace: "tenant-shop".to_owned(), cluster: None, templates };
        let (feed, mut told) = mpsc::channel(16);
        let (up, is_up) = watch::channel(false);
        let doubt = Arc::new(Notify::new());
        tokio::spawn(keep(Teller::new(TargetId::DEFAULT, feed, up), probe, doubt.clone()));
        let mut news = async || match told.recv().await {
            Some(Fed::Input(Input::Target(_, TargetEvent::Checked(health)))) => health,
            _ => unreachable!(),
        };
        assert!(matches!(news().await, Health::Good { .. }));
        assert!(*is_up.borrow());

        let minutes = Duration::from_secs(600);
        is_away.store(true, Relaxed);
        doubt.notify_one();
        let (start, before) = (tokio::time::Instant::now(), asked.load(Relaxed));
        assert!(matches!(news().await, Health::Away(_)));
        assert!(start.elapsed() < Duration::from_secs(5), "a doubt is looked into at once");
        assert!(!*is_up.borrow(), "nothing is written");
        let silence = tokio::time::timeout_at(start + minutes, news()).await;
        assert!(silence.is_err(), "it is told once");
        let asked = asked.load(Relaxed) - before;
        assert!((100..300).contains(&asked), "{asked} questions in ten minutes");

        is_away.store(false, Relaxed);
        let back = tokio::time::Instant::now();
        assert!(matches!(news().await, Health::Good { .. }));
        assert!(*is_up.borrow() && back.elapsed() <= Duration::from_secs(5));
    }
}
