//! The proxies of the clients of the broker and of the database.

use e2e::proxy::{Conditions, Proxy};

/// Proxies in front of all servers of the broker, or of the database and its standby.
pub struct Proxies(Vec<Proxy>);

impl Proxies {
    /// In front of the broker's servers on these ports.
    pub(super) async fn of_broker(targets: &[u16]) -> Self {
        let mut proxies = Vec::new();
        for target in targets {
            proxies.push(Proxy::start(*target).await);
        }
        Self(proxies)
    }

    /// In front of the database's servers on these ports.
    pub(super) async fn of_database(targets: &[u16]) -> Self {
        let mut proxies = Vec::new();
        for target in targets {
            proxies.push(Proxy::of_database(*target).await);
        }
        Self(proxies)
    }

    /// Their addresses for clients of the broker.
    pub fn url(&self) -> String {
        let urls = self.0.iter().map(Proxy::url);
        urls.collect::<Vec<_>>().join(",")
    }

    /// Their ports.
    pub fn ports(&self) -> Vec<u16> {
        self.0.iter().map(Proxy::port).collect()
    }

    /// Changes what all of them do.
    pub fn set(&self, conditions: Conditions) {
        for proxy in &self.0 {
            proxy.set(conditions);
        }
    }
}
