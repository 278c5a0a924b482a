//! The thread that is told.

use super::event::{Event, LeftOut, Refusal, direction, now};
use super::journal::Journal;
use super::limit::Limit;
use super::shared::Shared;
use crate::netfilter::refusals::{Flow, Listener, Told, messages};
use crate::policy::Direction;
use nix::errno::Errno;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tracing::{Level, enabled, info, warn};

/// How often what was left out is told.
const PERIOD: Duration = Duration::from_secs(1);

/// Begins to listen. It is said if that cannot be; the packets are refused all the same.
pub(super) fn start(shared: &Shared) {
    let listener = Listener::open().map_err(|error| match error {
        Errno::EBUSY => "another program listens to secgroupd's group of NFLOG".to_owned(),
        Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT => {
            "this kernel lacks the module nfnetlink_log (CONFIG_NETFILTER_NETLINK_LOG)".to_owned()
        }
        error => format!("the kernel does not let us listen to its nfnetlink_log: {error}"),
    });
    let started = listener.and_then(|listener| {
        let ours = shared.clone();
        std::thread::Builder::new()
            .name("packet-log".into())
            .spawn(move || listen(listener, &ours))
            .map_err(|error| error.to_string())
    });
    let failed = started.err();
    if let Some(why) = &failed {
        warn!("refused packets are not told: {why}");
    }
    let mut shared = shared.lock();
    shared.listens = failed.is_none();
    shared.failed = failed;
}

fn listen(mut listener: Listener, shared: &Shared) {
    let mut hearing = Hearing::new(shared, Instant::now());
    let error = loop {
        match listener.receive() {
            Ok(datagram) => hearing.hear(datagram.unwrap_or_default(), Instant::now()),
            Err(error) => break error,
        }
    };
    warn!("refused packets are no longer told: {error}");
    let mut shared = shared.lock();
    shared.listens = false;
    shared.failed = Some(error.to_string());
}

/// What was heard so far.
struct Hearing<'s> {
    shared: &'s Shared,
    journal: Option<Journal>,
    limit: Limit,
    /// The number of the next packet.
    next: Option<u32>,
    left_out: LeftOut,
    told_at: Instant,
    /// Names of interfaces, asked anew each period.
    names: HashMap<u32, String>,
}

impl<'s> Hearing<'s> {
    fn new(shared: &'s Shared, now: Instant) -> Self {
        Hearing {
            shared,
            journal: Journal::of_this_process(),
            limit: Limit::new(now),
            next: None,
            left_out: LeftOut::default(),
            told_at: now,
            names: HashMap::new(),
        }
    }

    fn hear(&mut self, datagram: &[u8], at: Instant) {
        for told in messages(datagram) {
            self.packet(&told, at);
        }
        if at >= self.told_at + PERIOD {
            self.told_at = at;
            self.names.clear();
            self.tell_what_was_left_out();
        }
    }

    fn packet(&mut self, told: &Told, at: Instant) {
        if let Some(number) = told.number {
            let expected = self.next.unwrap_or(number);
            self.left_out.lost += u64::from(number.wrapping_sub(expected));
            self.next = Some(number.wrapping_add(1));
        }
        let flow = Flow::of(told.packet);
        let remote = flow.map(|flow| match direction(told) {
            Direction::Inbound => flow.source,
            Direction::Outbound => flow.destination,
        });
        match flow.zip(remote) {
            Some((flow, remote)) if self.limit.admits(remote, at) => self.tell(told, &flow),
            _ => self.left_out.limited += 1,
        }
    }

    fn tell(&mut self, told: &Told, flow: &Flow) {
        let number = match direction(told) {
            Direction::Inbound => told.entered,
            Direction::Outbound => told.leaves,
        };
        let interface = number.map(|number| self.name(number)).unwrap_or_default();
        let policy = self.shared.lock().policy.clone();
        let refusal = Refusal::of(told, flow, interface, policy.as_deref());
        let event = Event::Refused(refusal.clone());
        if !self.in_journal(&event) {
            info!(
                interface = refusal.interface,
                direction = %refusal.direction,
                protocol = refusal.protocol,
                source = %refusal.source,
                source_port = refusal.source_port,
                destination = %refusal.destination,
                destination_port = refusal.destination_port,
                icmp_type = refusal.icmp_type,
                layer = refusal.layer,
                rule = refusal.rule,
                place = refusal.place,
                "{}",
                if refusal.observed { "would be refused" } else { "refused" }
            );
        }
        self.shared.lock().recent.push(event);
    }

    /// Whether the journal has it, or nobody is to be told; else a line has to say it.
    fn in_journal(&self, event: &Event) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| !enabled!(Level::INFO) || journal.tell(event))
    }

    /// A number where the interface has gone meanwhile.
    fn name(&mut self, number: u32) -> String {
        let name = self.names.entry(number).or_insert_with(|| {
            let name = nix::net::if_::if_indextoname(number);
            name.map_or_else(
                |_| format!("#{number}"),
                |name| name.to_string_lossy().into_owned(),
            )
        });
        name.clone()
    }

    fn tell_what_was_left_out(&mut self) {
        let left_out = LeftOut {
            time: now(),
            ..std::mem::take(&mut self.left_out)
        };
        if (left_out.limited, left_out.lost) == (0, 0) {
            return;
        }
        let event = Event::LeftOut(left_out.clone());
        if !self.in_journal(&event) {
            info!(
                limited = left_out.limited,
                lost = left_out.lost,
                "more packets were refused than are told one by one"
            );
        }
        self.shared.lock().recent.push(event);
    }
}
