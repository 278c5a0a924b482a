//! `GET /metrics`, for Prometheus: the numbers of `status`, on a unix socket or a loopback port, when asked for.

pub mod page;
mod server;

use super::connections::{PLACES, serve};
use super::enforcer::Enforcer;
use super::socket::{SocketError, SocketFile, of_root};
use page::Page;
use server::{Asker, converse};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

/// How long a page is sent again.
const FRESH: Duration = Duration::from_secs(1);

/// Where metrics can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// `unix:/run/secgroupd/metrics.sock`
    Unix(PathBuf),
    /// `127.0.0.1:9101`
    Loopback(SocketAddr),
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write unix:/run/secgroupd/metrics.sock, 127.0.0.1:9101 or [::1]:9101";
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(MetricsAddress::Unix(path)),
                false => Err(format!("the path of the socket is not absolute: {FORM}")),
            };
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            format!("it is neither a unix socket nor an address with a port: {FORM}")
        })?;
        let is_ours = match address.ip() {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => address.is_loopback(),
        };
        match is_ours && address.port() != 0 {
            true => Ok(MetricsAddress::Loopback(address)),
            false if is_ours => Err(format!("port 0 is none: {FORM}")),
            false => Err(format!(
                "{} is no loopback address, and metrics are for this host alone: {FORM}",
                address.ip()
            )),
        }
    }
}

/// Why nobody can ask for metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The unix socket.
    #[error("metrics: {0}")]
    Unix(#[from] SocketError),
    /// The port.
    #[error("cannot listen for metrics on {address}: {source}{}", hint(.source))]
    Port {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The service's unit lets the daemon have no socket of the internet's families.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::EAFNOSUPPORT | nix::libc::EPERM) => {
            " (under systemd the unit must say RestrictAddressFamilies=AF_INET AF_INET6 and IPAddressAllow=localhost)"
        }
        _ => "",
    }
}

/// The open endpoint. Dropped, it serves nobody any more and takes its file away.
#[derive(Debug)]
pub struct Endpoint {
    server: tokio::task::JoinHandle<()>,
    _file: Option<SocketFile>,
}

impl Endpoint {
    /// Opens it; who asks comes out of the receiver. Must be called within a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// See [`MetricsError`].
    pub fn open(address: &MetricsAddress) -> Result<(Self, mpsc::Receiver<Asker>), MetricsError> {
        const WHAT: &str = "metrics";
        let (askers, receiver) = mpsc::channel(PLACES);
        let (server, _file) = match address {
            MetricsAddress::Unix(path) => {
                let (file, listener) = SocketFile::open(path)?;
                let accept = async move || {
                    let (stream, _) = listener.accept().await?;
                    let of_root = of_root(&stream);
                    Ok((stream, of_root))
                };
                let answer = move |stream, asked| converse(stream, asked, askers.clone());
                let served = async move { serve(WHAT, accept, answer).await };
                (tokio::spawn(served), Some(file))
            }
            MetricsAddress::Loopback(address) => {
                let listener = listen_on(*address)?;
                // Of a port the kernel does not say who is at its other end.
                let accept = async move || Ok((listener.accept().await?.0, false));
                let answer = move |stream, asked| converse(stream, asked, askers.clone());
                let served = async move { serve(WHAT, accept, answer).await };
                (tokio::spawn(served), None)
            }
        };
        Ok((Endpoint { server, _file }, receiver))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn listen_on(address: SocketAddr) -> Result<TcpListener, MetricsError> {
    let failed = |source| MetricsError::Port { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

/// Waits for somebody who asks; for ever where nobody can.
pub async fn asked(askers: &mut Option<mpsc::Receiver<Asker>>) -> Asker {
    match askers {
        Some(receiver) => match receiver.recv().await {
            Some(asker) => asker,
            // The endpoint lives as long as the daemon.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The page that was made last: whoever asks often has the kernel's counters read once a second, and keeps the host
/// from nothing.
#[derive(Debug, Clone, Default)]
pub struct LastPage(Arc<Mutex<Option<Made>>>);

/// When a page was made, and its text.
type Made = (Instant, Arc<str>);

impl LastPage {
    /// Answers while the loop goes on, which does not wait for the kernel's counters.
    pub fn answer(&self, asker: Asker, mut page: Page, enforcer: Enforcer) {
        let last = self.0.clone();
        tokio::spawn(async move {
            let mut last = last.lock().await;
            if last.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH) {
                let made = enforcer.run(move |host| {
                    page.look_at(host);
                    page.text()
                });
                *last = made.await.ok().map(|text| (Instant::now(), text.into()));
            }
            if let Some((_, text)) = &*last {
                // An asker who has gone away is no error.
                let _ = asker.send(text.clone());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_unix_only() {
        let read = |text: &str| text.parse::<MetricsAddress>();
        assert_eq!(
            read("unix:/run/m.sock"),
            Ok(MetricsAddress::Unix("/run/m.sock".into()))
        );
        for text in ["127.0.0.1:9101", "127.8.8.8:1", "[::1]:9101"] {
            assert!(
                matches!(read(text), Ok(MetricsAddress::Loopback(_))),
                "{text}"
            );
        }
        for (text, word) in [
            ("0.0.0.0:9101", "0.0.0.0 is no loopback address"),
            ("[::]:9101", "no loopback address"),
            ("192.0.2.1:9101", "no loopback address"),
            ("127.0.0.1:0", "port 0"),
            ("unix:metrics.sock", "not absolute"),
            ("127.0.0.1", "neither"),
            ("localhost:9101", "neither"),
            ("", "neither"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(word) && error.contains("unix:/run"),
                "{text}: {error}"
            );
        }
    }
}
