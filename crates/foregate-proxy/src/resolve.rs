//! Names of endpoints to addresses.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// A lookup that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// Who looks names up.
#[derive(Clone, Debug, Default)]
pub(crate) enum Resolver {
    /// This system: its hosts file, its name servers. It doesn't tell for how long an answer is good.
    #[default]
    System,
    /// A test.
    #[cfg(test)]
    Fixed(fixed::Names),
}

impl Resolver {
    /// The addresses of a name, the best first, each once.
    pub(crate) async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::time::timeout(LIMIT, self.addresses(name)).await;
        let mut addresses = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()),
            #[cfg(test)]
            Self::Fixed(names) => names.addresses(name),
        }
    }
}

#[cfg(test)]
pub(crate) mod fixed {
    //! Names as a test says.

    use std::collections::HashMap;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Names.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Names(Arc<Mutex<HashMap<String, Entry>>>);

    /// A name's addresses, if it has any, and how often it was looked up.
    type Entry = (Option<Vec<IpAddr>>, usize);

    impl Names {
        /// What a name is from now on; `None`: looking it up fails.
        pub(crate) fn set(&self, name: &str, addresses: Option<&[&str]>) {
            let addresses = addresses.map(|all| all.iter().filter_map(|text| text.parse().ok()).collect());
            self.0.lock().entry(name.to_owned()).or_default().0 = addresses;
        }

        /// How often it was looked up.
        pub(crate) fn lookups(&self, name: &str) -> usize {
            self.0.lock().get(name).map_or(0, |(_, count)| *count)
        }

        pub(super) fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            let mut names = self.0.lock();
            let (addresses, count) = names.entry(name.to_owned()).or_default();
            *count += 1;
            addresses.clone().ok_or_else(|| io::Error::other("the test says that this fails"))
        }
    }
}
