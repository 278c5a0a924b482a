//! Serves connections: a bounded number at once, and a bounded number of root's besides.
//!
//! No connection waits for a place. Where all are taken, the one that has been silent longest ends in favour of the new
//! one. Root's connections have places of their own, which others can neither take nor end.

use super::seldom::Seldom;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tracing::warn;

/// Connections of others than root at once.
pub const PLACES: usize = 64;
/// Connections of root at once.
const PLACES_OF_ROOT: usize = 16;

/// The pause after a connection that could not be accepted, most likely for want of file descriptors: without it the
/// loop would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a connection has asked and waits for its answer, else it is silent.
#[derive(Debug, Clone, Default)]
pub struct Asked(Arc<AtomicBool>);

impl Asked {
    /// The request has come whole.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The answer has gone.
    pub fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A connection that is served.
struct Connection {
    of_root: bool,
    asked: Asked,
    answer: AbortHandle,
}

/// Accepts connections and answers each. `accept` returns a connection and whether root is at its other end. When this
/// future is dropped, the answers end too.
pub async fn serve<S, A>(
    what: &'static str,
    accept: impl AsyncFn() -> io::Result<(S, bool)>,
    answer: impl Fn(S, Asked) -> A,
) where
    A: Future<Output = ()> + Send + 'static,
{
    let mut served = JoinSet::new();
    // In the order in which they came.
    let mut open: Vec<Connection> = Vec::new();
    let (ended, refused) = (Seldom::new(), Seldom::new());
    loop {
        let (stream, of_root) = match accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                refused.log(|left_out| {
                    warn!(
                        left_out,
                        "a connection for {what} cannot be accepted: {error}"
                    );
                });
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while served.try_join_next().is_some() {}
        open.retain(|each| !each.answer.is_finished());
        if let Some(at) = surplus(&open, of_root) {
            open.remove(at).answer.abort();
            ended.log(|left_out| {
                let places = places(of_root);
                warn!(
                    left_out,
                    "more than {places} connections for {what}: the silent ones end"
                );
            });
        }
        let asked = Asked::default();
        let answer = served.spawn(answer(stream, asked.clone()));
        open.push(Connection {
            of_root,
            asked,
            answer,
        });
        // Read what has been asked meanwhile before another one is accepted.
        tokio::task::yield_now().await;
    }
}

fn places(of_root: bool) -> usize {
    match of_root {
        true => PLACES_OF_ROOT,
        false => PLACES,
    }
}

/// The connection that ends for a new one: the longest silent, or the oldest where all have asked.
fn surplus(open: &[Connection], of_root: bool) -> Option<usize> {
    let mut like = (0..open.len()).filter(|at| open[*at].of_root == of_root);
    if like.clone().count() < places(of_root) {
        return None;
    }
    let silent = like
        .clone()
        .find(|at| !open[*at].asked.0.load(Ordering::Relaxed));
    silent.or_else(|| like.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::{Notify, mpsc};

    /// A server that reads one byte as the request, and answers with it once it may.
    struct Server {
        connect: mpsc::UnboundedSender<(DuplexStream, bool)>,
        may_answer: Arc<Notify>,
        _task: JoinSet<()>,
    }

    impl Server {
        fn start() -> Self {
            let (connect, accepted) = mpsc::unbounded_channel();
            let accepted = Mutex::new(accepted);
            let may_answer = Arc::new(Notify::new());
            let wait = may_answer.clone();
            let answer = move |mut stream: DuplexStream, asked: Asked| {
                let wait = wait.clone();
                async move {
                    let Ok(request) = stream.read_u8().await else {
                        return;
                    };
                    asked.begin();
                    wait.notified().await;
                    let _ = stream.write_u8(request).await;
                }
            };
            let mut task = JoinSet::new();
            let accept = async move || match poll_fn(|cx| accepted.lock().poll_recv(cx)).await {
                Some(accepted) => Ok(accepted),
                None => std::future::pending().await,
            };
            task.spawn(async move { serve("the test", accept, answer).await });
            Server {
                connect,
                may_answer,
                _task: task,
            }
        }

        fn connect(&self, of_root: bool) -> DuplexStream {
            let (ours, theirs) = duplex(16);
            self.connect.send((theirs, of_root)).unwrap();
            ours
        }
    }

    /// Whether the server has ended it. Lets the server do what it can before.
    async fn has_ended(stream: &mut DuplexStream) -> bool {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            read = stream.read_u8() => read.is_err(),
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn the_longest_silent_ends_and_who_has_asked_stays() {
        let server = Server::start();
        let mut asker = server.connect(false);
        asker.write_u8(7).await.unwrap();
        let mut silent: Vec<_> = (0..PLACES + 1).map(|_| server.connect(false)).collect();
        for (at, stream) in silent.iter_mut().enumerate() {
            assert_eq!(has_ended(stream).await, at < 2, "{at}");
        }
        let mut late = server.connect(false);
        late.write_u8(8).await.unwrap();
        assert!(!has_ended(&mut late).await);
        assert!(has_ended(&mut silent[2]).await);
        server.may_answer.notify_waiters();
        assert_eq!(asker.read_u8().await.unwrap(), 7);
        assert_eq!(late.read_u8().await.unwrap(), 8);
    }

    #[tokio::test]
    async fn root_has_places_of_its_own() {
        let server = Server::start();
        let mut of_root = server.connect(true);
        let mut others: Vec<_> = (0..PLACES).map(|_| server.connect(false)).collect();
        // Others end each other, also where all have asked.
        for stream in &mut others {
            stream.write_u8(1).await.unwrap();
        }
        let mut more: Vec<_> = (0..3).map(|_| server.connect(false)).collect();
        assert!(!has_ended(&mut more[2]).await);
        assert!(has_ended(&mut more[1]).await, "silent, where others ask");
        assert!(has_ended(&mut others[0]).await);
        assert!(!has_ended(&mut others[1]).await);
        assert!(!has_ended(&mut of_root).await);
        // Root ends nobody but root.
        let mut many: Vec<_> = (0..PLACES_OF_ROOT).map(|_| server.connect(true)).collect();
        assert!(!has_ended(&mut many[PLACES_OF_ROOT - 1]).await);
        assert!(has_ended(&mut of_root).await);
        assert!(!has_ended(&mut others[1]).await);
        assert!(!has_ended(&mut more[2]).await);
    }
}
