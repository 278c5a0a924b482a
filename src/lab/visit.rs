//! Addresses outside that somebody is played from for a moment: a host has one while it tries something.

use super::node::{Node, NodeError};
use super::wire::{self, Cable};
use std::net::IpAddr;
use std::sync::Arc;

/// An address, until this is dropped.
#[derive(Debug)]
pub struct Visit {
    router: Arc<Node>,
    host: Arc<Node>,
    cable: Cable,
    address: IpAddr,
}

impl Visit {
    /// Adds an address to a host. One thing is tried at a time, so that no two visits are about the same address.
    pub fn begin(
        router: &Arc<Node>,
        host: &Arc<Node>,
        cable: Cable,
        address: IpAddr,
    ) -> Result<Self, NodeError> {
        wire::add(router, host, cable, address)?;
        Ok(Visit {
            router: router.clone(),
            host: host.clone(),
            cable,
            address,
        })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        wire::remove(&self.router, &self.host, self.cable, self.address);
    }
}
