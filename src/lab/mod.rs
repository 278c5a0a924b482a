//! A cloud on one machine: every instance of a definition as a network namespace, joined by a router that plays the VPC and the
//! internet, and each enforcing its groups by the same steps as on a VM.
//!
//! ```text
//! one process                     the router, a thread
//!   definition, watched           /        |        \        a cable each
//!   control socket        ins-web1     ins-db      internet
//!                         thread,      thread,     thread
//!                         namespace,   …           …
//!                         its table
//! ```
//!
//! Nothing of it has a name outside: namespaces are held open by the process, the socket's name is abstract. However the process
//! ends, all of it ends.
//!
//! | file | subject |
//! |---|---|
//! | [`addresses`] | addresses that the definition leaves out |
//! | [`plan`] | what a lab is made of (pure) |
//! | [`service`] | what can listen and be tried |
//! | [`ground`] | the namespaces that all share |
//! | [`node`] | one namespace and its thread |
//! | [`route`] | messages of rtnetlink |
//! | [`wire`] | cables |
//! | [`network`] | all nodes, arranged as planned |
//! | [`visit`] | addresses that are played for a moment |
//! | [`enforced`] | the policy of a node |
//! | [`enforce`] | those of all nodes |
//! | [`listen`] | what listens |
//! | [`probe`] | what is tried |
//! | [`cell`] | one cell of the matrix, and what is expected of it |
//! | [`ends`] | who tries one, and where |
//! | [`reach`] | all of them |
//! | [`read`] | a definition read for a lab |
//! | [`live`] | a lab that is up |
//! | [`status`] | what there is in it |
//! | [`follow`] | it follows its definition |
//! | [`expectation`] | what `lab test` compares with |
//! | [`control`] | the socket on which it is asked |
//! | [`exec`] | a program in a node |
//! | [`differences`] | why one is not as expected |
//! | [`evidence`] | what other rules were seen to do |

pub mod addresses;
pub mod cell;
pub mod control;
pub mod differences;
pub mod ends;
pub mod enforce;
pub mod enforced;
pub mod evidence;
pub mod exec;
pub mod expectation;
pub mod follow;
pub mod ground;
pub mod listen;
pub mod live;
pub mod network;
pub mod node;
pub mod plan;
pub mod probe;
pub mod reach;
pub mod read;
pub mod route;
pub mod service;
pub mod status;
pub mod visit;
pub mod wire;
