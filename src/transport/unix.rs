//! A Unix socket: one JSON-RPC message a line, as over standard streams, to a server that runs already.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::lines::Inbox;
use super::outbox::{Lines, Outbox};
use super::{Boxed, Connection, Envelope, Options, Transport, UnixEndpoint, Wire};
use crate::error::{Again, Class, Failure, Result};

/// How long after a failed write the end of the connection may take to show.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long the server may take to hang up once we have said that nothing more comes.
const FAREWELL: Duration = Duration::from_millis(200);

/// Connects to the socket.
///
/// # Errors
/// [`Class::Unreachable`] when nobody listens there, [`Class::Timeout`] when the connection does not stand
/// in time.
pub(super) async fn connect(endpoint: &UnixEndpoint, options: &Options) -> Result<Connection> {
    let path = &endpoint.path;
    let connecting = async {
        match options.connect_timeout {
            Some(limit) => timeout(limit, UnixStream::connect(path)).await.map_err(|_| late(path))?,
            None => UnixStream::connect(path).await,
        }
        .map_err(|error| cannot_connect(path, &error))
    };
    let (reading, writing) = options.interrupt.guard(connecting).await??.into_split();
    let (sender, incoming) = mpsc::unbounded_channel();
    let inbox = Arc::new(Inbox::new(options.trace.clone(), sender, "sent"));
    let (shared, shown) = (inbox.clone(), path.display().to_string());
    let reader = tokio::spawn(async move {
        shared.read(reading).await;
        shared.end(
            Failure::new(Class::Unreachable, format!("the server at {shown} closed the connection"))
                .again(Again::default()),
        );
    });
    let transport = UnixTransport {
        outbox: Outbox::with(Lines(writing), options.trace.clone()),
        reader: std::sync::Mutex::new(Some(reader)),
        inbox,
    };
    Ok(Connection { transport: Arc::new(transport), incoming })
}

fn late(path: &Path) -> Failure {
    Failure::new(Class::Timeout, format!("cannot connect to {} in time", path.display()))
        .hint("wait longer with --connect-timeout TIME")
}

fn cannot_connect(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display();
    let failure = Failure::new(Class::Unreachable, format!("cannot connect to {shown}")).source(error);
    let unsent = Again { unsent: true, ..Again::default() };
    match error.kind() {
        ErrorKind::NotFound => failure.again(unsent).hint("check the path, and that the server is running"),
        ErrorKind::ConnectionRefused => failure.hint("nobody listens on that socket: check that the server is running"),
        ErrorKind::PermissionDenied => failure.hint(format!("check who may use it: ls -l {shown}")),
        _ => failure,
    }
}

struct UnixTransport {
    outbox: Outbox<std::io::Error>,
    reader: std::sync::Mutex<Option<JoinHandle<()>>>,
    inbox: Arc<Inbox>,
}

impl Transport for UnixTransport {
    fn wire(&self) -> Wire {
        Wire::Unix
    }

    fn send(&self, message: Envelope) -> Boxed<'_, Result<()>> {
        Box::pin(async move {
            let Some(error) = self.outbox.send(message).await? else { return Ok(()) };
            if self.inbox.ends_within(LAST_WORDS).await {
                return Ok(());
            }
            Err(Failure::new(Class::Unreachable, "the server does not read what it is sent").source(&error))
        })
    }

    fn abandon(&self, _id: u64) {}

    fn last_words(&self) -> (Vec<String>, Option<String>) {
        (Vec::new(), self.inbox.noise())
    }

    fn close(&self, patient: bool) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.outbox.close().await;
            if patient {
                self.inbox.ends_within(FAREWELL).await;
            }
            let reader = self.reader.lock().ok().and_then(|mut reader| reader.take());
            if let Some(reader) = reader {
                reader.abort();
            }
        })
    }
}
