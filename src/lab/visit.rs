//! Addresses outside that somebody is played from for a moment: given to a host while it tries something, and taken away again.

use super::node::{Node, NodeError};
use super::wire::{self, Cable};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// How many hold an address of a cable.
type Held = Arc<Mutex<HashMap<(u32, IpAddr), usize>>>;

/// Those that are held now.
#[derive(Debug, Default)]
pub struct Visits(Held);

/// An address, until this is dropped.
#[derive(Debug)]
pub struct Visit {
    held: Held,
    router: Arc<Node>,
    host: Arc<Node>,
    cable: Cable,
    address: IpAddr,
}

impl Visits {
    /// Gives the host an address, unless it is held already.
    pub fn begin(
        &self,
        router: &Arc<Node>,
        host: &Arc<Node>,
        cable: Cable,
        address: IpAddr,
    ) -> Result<Visit, NodeError> {
        let mut held = self.0.lock();
        let count = held.entry((cable.index(), address)).or_default();
        if *count == 0 {
            wire::add(router, host, cable, address)?;
        }
        *count += 1;
        Ok(Visit {
            held: self.0.clone(),
            router: router.clone(),
            host: host.clone(),
            cable,
            address,
        })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        let key = (self.cable.index(), self.address);
        let Some(count) = held.get_mut(&key) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            held.remove(&key);
            wire::remove(&self.router, &self.host, self.cable, self.address);
        }
    }
}
