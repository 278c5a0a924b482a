//! The rules that the cloud's console saves, as CSV: one direction of one group.
//!
//! Its columns are not documented: they are found by the words of the header, in English and Chinese, and what was
//! taken for what is said.

use super::error::ImportError;
use super::inventory::{Inventory, RuleRecord, ServiceRecord};
use super::notes::Notes;
use super::tencent::policy::protocol_and_ports;
use super::values::{address_in_cloud_rule, allows};
use crate::policy::{Direction, GroupId};
use csv::{ReaderBuilder, StringRecord};

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Source,
    Destination,
    Service,
    Protocol,
    Port,
    Action,
    Description,
    Direction,
    /// It says nothing about packets.
    Ignored,
}

/// The words of headers, in lower case without blanks and signs.
const WORDS: [(&str, Column); 44] = [
    ("source", Column::Source),
    ("sourceip", Column::Source),
    ("sourceaddress", Column::Source),
    ("来源", Column::Source),
    ("源", Column::Source),
    ("源ip", Column::Source),
    ("源地址", Column::Source),
    ("destination", Column::Destination),
    ("destinationip", Column::Destination),
    ("destinationaddress", Column::Destination),
    ("target", Column::Destination),
    ("目标", Column::Destination),
    ("目的", Column::Destination),
    ("目的ip", Column::Destination),
    ("protocolport", Column::Service),
    ("协议端口", Column::Service),
    ("protocol", Column::Protocol),
    ("协议", Column::Protocol),
    ("协议类型", Column::Protocol),
    ("port", Column::Port),
    ("ports", Column::Port),
    ("portrange", Column::Port),
    ("端口", Column::Port),
    ("端口范围", Column::Port),
    ("policy", Column::Action),
    ("action", Column::Action),
    ("策略", Column::Action),
    ("动作", Column::Action),
    ("remark", Column::Description),
    ("remarks", Column::Description),
    ("notes", Column::Description),
    ("description", Column::Description),
    ("备注", Column::Description),
    ("描述", Column::Description),
    ("direction", Column::Direction),
    ("方向", Column::Direction),
    ("规则方向", Column::Direction),
    ("type", Column::Ignored),
    ("类型", Column::Ignored),
    ("priority", Column::Ignored),
    ("优先级", Column::Ignored),
    ("modifytime", Column::Ignored),
    ("modificationtime", Column::Ignored),
    ("修改时间", Column::Ignored),
];

/// Whether the first line of a text is a header of such a table.
pub fn is_one(text: &str) -> bool {
    let Some(head) = first_line(text) else {
        return false;
    };
    let cells = head.split(delimiter(head));
    let columns: Vec<Column> = cells
        .filter_map(|cell| column(cell.trim_matches('"')))
        .collect();
    let has = |wanted: &[Column]| columns.iter().any(|column| wanted.contains(column));
    has(&[Column::Source, Column::Destination]) && has(&[Column::Action])
}

/// Reads a table into the rules of a group.
///
/// # Errors
/// When there is no group, or the table has no header that is known, or is broken.
pub fn read(
    name: &str,
    text: &str,
    group: Option<String>,
    inventory: &mut Inventory,
    notes: &mut Notes,
) -> Result<(), ImportError> {
    let failed = |why: String| ImportError::Table {
        name: name.to_owned(),
        why,
    };
    let group = group.filter(|id| GroupId::parse(id).is_ok());
    let group = group.ok_or_else(|| {
        failed(
            "the console's rules name no group: say --group sg-…, or name the file sg-….csv"
                .to_owned(),
        )
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let head = first_line(text).unwrap_or_default();
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter(head) as u8)
        .flexible(true)
        .from_reader(text.as_bytes());
    let broken = |error: csv::Error| failed(format!("{error}: save it as CSV in UTF-8"));
    let header = reader.headers().map_err(broken)?.clone();
    let columns: Vec<Option<Column>> = header.iter().map(column).collect();
    let table = Table::of(&columns).map_err(failed)?;
    for (title, column) in header.iter().zip(&columns) {
        match column {
            None if title.trim().is_empty() => {}
            None => notes.not_kept(
                format!("{name}:1"),
                format!("the column `{title}` is not read"),
            ),
            Some(_) => {}
        }
    }
    notes.assumed(format!("{name}:1"), table.meaning(&header, &group));
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, csv::Position::line);
        let place = format!("{name}:{line}");
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        match table.rule(&record, &place, notes) {
            Ok((direction, rule)) => inventory.group(&group).rules_mut(direction).push(rule),
            Err(why) => notes.not_kept(place, format!("the rule is left out: {why}")),
        }
    }
    Ok(())
}

/// Where the columns stand.
struct Table {
    remote: usize,
    direction: Direction,
    of_direction: Option<usize>,
    service: Option<usize>,
    protocol: Option<usize>,
    port: Option<usize>,
    action: usize,
    description: Option<usize>,
}

impl Table {
    fn of(columns: &[Option<Column>]) -> Result<Self, String> {
        let find = |wanted: Column| columns.iter().position(|column| *column == Some(wanted));
        let (source, destination) = (find(Column::Source), find(Column::Destination));
        let (remote, direction) = match (source, destination) {
            (Some(at), None) => (at, Direction::Inbound),
            (None, Some(at)) => (at, Direction::Outbound),
            (Some(_), Some(_)) => {
                return Err(
                    "it has a source and a destination: keep the one that is the remote".to_owned(),
                );
            }
            (None, None) => {
                return Err("no column is the source or the destination: its header says `source` or `来源`".to_owned());
            }
        };
        let action = find(Column::Action);
        let action = action.ok_or("no column is the policy: its header says `policy` or `策略`")?;
        let (service, protocol) = (find(Column::Service), find(Column::Protocol));
        if service.is_none() && protocol.is_none() {
            return Err(
                "no column is the protocol: its header says `protocol port` or `协议端口`"
                    .to_owned(),
            );
        }
        Ok(Table {
            remote,
            direction,
            of_direction: find(Column::Direction),
            service,
            protocol,
            port: find(Column::Port),
            action,
            description: find(Column::Description),
        })
    }

    fn meaning(&self, header: &StringRecord, group: &str) -> String {
        let title = |at: usize| header.get(at).unwrap_or_default().trim().to_owned();
        let service = self
            .service
            .or(self.protocol)
            .map(title)
            .unwrap_or_default();
        format!(
            "the rules are {} ones of {group}: remote in `{}`, service in `{service}`, action in `{}`",
            self.direction,
            title(self.remote),
            title(self.action)
        )
    }

    fn rule(
        &self,
        record: &StringRecord,
        place: &str,
        notes: &mut Notes,
    ) -> Result<(Direction, RuleRecord), String> {
        let cell = |at: Option<usize>| {
            let text = at.and_then(|at| record.get(at)).unwrap_or_default().trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let action = cell(Some(self.action)).unwrap_or_default();
        let service = match cell(self.service) {
            Some(written) => service(&written)?,
            None => protocol_and_ports(cell(self.protocol), cell(self.port))?,
        };
        let direction = match cell(self.of_direction) {
            None => self.direction,
            Some(word) => direction(&word).ok_or(format!("`{word}` is no direction"))?,
        };
        let mut remote = Vec::new();
        for text in cell(Some(self.remote))
            .unwrap_or_default()
            .split([',', ';', '\n', ' '])
        {
            remote.extend(item(text.trim(), place, notes)?);
        }
        if remote.is_empty() {
            return Err("it has no remote".to_owned());
        }
        let rule = RuleRecord {
            allow: allows(&action).ok_or(format!("`{action}` is no action"))?,
            service,
            remote,
            description: cell(self.description),
            comment: None,
            place: place.to_owned(),
        };
        Ok((direction, rule))
    }
}

/// `TCP:80,443`, `ICMP`, `ALL`, or the id of a template.
fn service(written: &str) -> Result<ServiceRecord, String> {
    if written.starts_with("ppm") {
        return Ok(ServiceRecord::Template(id_of(written)));
    }
    let (protocol, port) = written.split_once([':', '：']).unwrap_or((written, ""));
    let protocol = match protocol.trim() {
        "全部" | "所有" | "全部流量" | "all traffic" | "All traffic" => "ALL",
        protocol => protocol,
    };
    let port = Some(port.to_owned()).filter(|port| !port.is_empty());
    protocol_and_ports(Some(protocol.to_owned()), port)
}

fn item(text: &str, place: &str, notes: &mut Notes) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with("sg-") || text.starts_with("ipm") {
        return Ok(Some(id_of(text)));
    }
    if text.eq_ignore_ascii_case("all") || text == "全部" {
        return Ok(Some("any".to_owned()));
    }
    let (text, assumed) = address_in_cloud_rule(text)?;
    if let Some(assumed) = assumed {
        notes.assumed(place, assumed);
    }
    Ok(Some(text))
}

/// An id, without the name that stands behind it.
fn id_of(text: &str) -> String {
    let id = text
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '-');
    id.collect()
}

fn direction(word: &str) -> Option<Direction> {
    match word.to_lowercase().as_str() {
        "in" | "inbound" | "ingress" | "入站" | "入方向" | "入" => Some(Direction::Inbound),
        "out" | "outbound" | "egress" | "出站" | "出方向" | "出" => Some(Direction::Outbound),
        _ => None,
    }
}

fn column(title: &str) -> Option<Column> {
    let plain: String = title
        .trim()
        .trim_start_matches('\u{feff}')
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let known = WORDS.iter().find(|(word, _)| *word == plain);
    known.map(|(_, column)| *column)
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().find(|line| !line.trim().is_empty())
}

/// What the cells of a line are apart by.
fn delimiter(line: &str) -> char {
    let count = |c: char| line.matches(c).count();
    [',', ';', '\t']
        .into_iter()
        .max_by_key(|c| count(*c))
        .unwrap_or(',')
}
