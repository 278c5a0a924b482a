//! What was meant. A [`Policy`] is made only out of a definition that [`validate()`] found right, so it cannot be
//! wrong.
//!
//! ```text
//! Definition -> validate -> Account (all groups and instances) -> Policy (one host) -> decide (one packet)
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `validate` | from a definition to an account, with all that is wrong |
//! | [`account`], [`host`] | all groups and instances; the policy of one host |
//! | [`rule`], [`platform`], [`blocked_ports`], `essential` | groups and rules; what the cloud does by itself |
//! | [`until`], `ended` | when a rule ends; rules whose time has come |
//! | [`network_acl`] | subnets, and the stateless layer in front of them |
//! | [`decide`], `reason` | the reference: what happens to one packet, and why |
//! | [`listed`] | the same as one ordered list, for the check and the insights |
//! | [`quotas`] | how much of the cloud's quotas a definition uses |
//! | [`packet`], `protocol` | a packet; the protocols that rules name |
//! | [`address`], [`port`], [`interval`], `number` | sets of them; how a number is written |
//! | [`id`], [`interface`], [`places`] | names, and back to what was written |
//! | `alike` | whether two policies enforce the same |

pub mod account;
pub mod address;
mod alike;
pub mod blocked_ports;
pub mod decide;
mod ended;
mod essential;
pub mod host;
pub mod id;
pub mod interface;
pub mod interval;
pub mod listed;
pub mod network_acl;
mod number;
pub mod packet;
pub mod places;
pub mod platform;
pub mod port;
mod protocol;
pub mod quotas;
mod reason;
pub mod rule;
pub mod until;
pub mod validate;

pub use account::{Account, Instance, same_host};
pub use address::{AddressRange, AddressSet};
pub use decide::{Decision, Reason, Verdict};
pub use host::{Binding, HostFacts, Policy};
pub use id::{AclId, GroupId, InstanceId, SubnetId};
pub use interface::InterfaceName;
pub use interval::{Interval, Point};
pub use network_acl::{AclEntry, AclEntryId, NetworkAcl, Subnet, SubnetAcl};
pub use packet::{About, Flow, Own, Packet, State, Way};
pub use platform::Platform;
pub use port::PortSet;
pub use protocol::Protocol;
pub use rule::{Action, Direction, Rule, RuleId, SecurityGroup, Service};
pub use until::Until;
pub use validate::{Validated, validate, validate_at};
