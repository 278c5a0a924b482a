//! Where the daemon's own messages go: standard error, in the shape its reader understands.

use crate::definition::printable;
use crate::words::one_line;
use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The variable that sets the level when the command line does not.
pub const LEVEL_VARIABLE: &str = "SECGROUPD_LOG";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is none.
    #[error("\"{level}\" is not a log level: use error, warn, info, debug or trace")]
    Level {
        /// What was asked for.
        level: String,
    },
    /// Something else in this process logs already.
    #[error("logging is set up already")]
    Twice,
}

/// Sends the messages of this process to standard error, from `level` (`--log-level`) up, else from that of
/// `SECGROUPD_LOG`, else from `info`. A level may be several, each of a module, such as `info,secgroupd::daemon=debug`.
///
/// # Errors
/// When the level is none, or on the second call in a process.
pub fn init(level: Option<&str>) -> Result<(), LoggingError> {
    let asked = level
        .map(str::to_owned)
        .or_else(|| {
            std::env::var(LEVEL_VARIABLE)
                .ok()
                .filter(|level| !level.is_empty())
        })
        .unwrap_or_else(|| "info".to_owned());
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .event_format(Line::for_stderr());
    tracing_subscriber::registry()
        .with(filter(&asked)?)
        .with(lines)
        .try_init()
        .map_err(|_| LoggingError::Twice)
}

fn filter(level: &str) -> Result<Targets, LoggingError> {
    let wrong = || LoggingError::Level {
        level: printable(level),
    };
    // A bare word that is no level would be read as the name of a module, and silence everything.
    let bare = !level.contains([',', '=']);
    if bare
        && level
            .parse::<tracing::level_filters::LevelFilter>()
            .is_err()
    {
        return Err(wrong());
    }
    level.parse().map_err(|_| wrong())
}

/// How a message becomes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Time, level, message.
    Plain,
    /// The same with colours.
    Coloured,
    /// For the journal: its priority, and no time, which it adds.
    Journal,
}

impl Line {
    fn for_stderr() -> Line {
        if is_the_journal() {
            return Line::Journal;
        }
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match std::io::stderr().is_terminal() && !unwanted && !dumb {
            true => Line::Coloured,
            false => Line::Plain,
        }
    }
}

/// Whether the messages of this process go to systemd's journal.
pub fn is_the_journal() -> bool {
    is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref())
}

/// Whether standard error is the stream that systemd names as "device:inode": the variable alone is inherited by
/// whatever a service starts, with its output redirected or not.
fn is_journal(stream: Option<&str>) -> bool {
    let named = stream.and_then(|stream| {
        let (device, inode) = stream.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let ours = std::fs::metadata("/proc/self/fd/2").map(|file| (file.dev(), file.ino()));
    matches!((named, ours), (Some(named), Ok(ours)) if named == ours)
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        match self {
            Line::Journal => write!(to, "<{}>", priority(level))?,
            Line::Plain => {
                SystemTime.format_time(&mut to)?;
                write!(to, " {level:>5} ")?;
            }
            Line::Coloured => {
                to.write_str("\u{1b}[2m")?;
                SystemTime.format_time(&mut to)?;
                write!(
                    to,
                    "\u{1b}[0m \u{1b}[{}m{level:>5}\u{1b}[0m ",
                    colour(level)
                )?;
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(to, "{}{}", fields.message, fields.others)
    }
}

/// The syslog priority that sd-daemon(3) puts in front of a line.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        _ => 35,
    }
}

/// The fields of a message as `message key=value ...`, escaped.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(&printable(&one_line(value)));
            return;
        }
        let value = printable(value);
        let bare = !value.is_empty() && !value.contains([' ', '"', '=']);
        let _ = match bare {
            true => write!(self.others, " {}={value}", field.name()),
            false => write!(
                self.others,
                " {}=\"{}\"",
                field.name(),
                value.replace('"', "\\\"")
            ),
        };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(line: Line, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(line)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let text = logged(Line::Journal, || {
            tracing::error!(path = "/a b", n = 3, "cannot read");
            tracing::warn!("w");
            tracing::info!("i");
        });
        assert_eq!(text, "<3>cannot read path=\"/a b\" n=3\n<4>w\n<6>i\n");
    }

    #[test]
    fn a_value_can_forge_no_line_and_steer_no_terminal() {
        let nasty = "a\n<3>forged \u{1b}[31mred\u{9b}1m\r\u{202e}";
        let text = logged(Line::Journal, || {
            tracing::info!(shown = %nasty, quoted = nasty, debug = ?nasty, "said {nasty}");
        });
        assert_eq!(text.matches('\n').count(), 1);
        // Several lines are several clauses.
        assert!(text.contains("said a; <3>forged"), "{text}");
        assert!(
            !text.trim_end().contains(|c: char| c.is_control()),
            "{text:?}"
        );
        assert!(
            text.contains("\\u{a}<3>forged \\u{1b}[31mred\\u{9b}1m\\u{d}\\u{202e}"),
            "{text}"
        );
    }

    #[test]
    fn a_terminal_gets_time_and_colours_only_when_asked() {
        let plain = logged(Line::Plain, || tracing::info!("hello"));
        assert!(
            plain.ends_with("  INFO hello\n") && plain.starts_with("20"),
            "{plain}"
        );
        assert!(
            logged(Line::Coloured, || tracing::info!("hello"))
                .contains("\u{1b}[32m INFO\u{1b}[0m hello")
        );
    }

    #[test]
    fn levels() {
        for good in [
            "error",
            "WARN",
            "info",
            "debug",
            "trace",
            "off",
            "info,secgroupd=debug",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "secgroupd=loud", "in fo"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_journal_is_known_by_its_inode() {
        let stderr = std::fs::metadata("/proc/self/fd/2").unwrap();
        assert!(is_journal(Some(&format!(
            "{}:{}",
            stderr.dev(),
            stderr.ino()
        ))));
        assert!(!is_journal(Some("1:2")));
        assert!(!is_journal(Some("nonsense")));
        assert!(!is_journal(None));
    }
}
