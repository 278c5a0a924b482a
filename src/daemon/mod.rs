//! Waits for events and runs the arrow from the definition to the kernel.

pub mod control;
pub mod logging;
pub mod read;
pub mod route;
pub mod state;
pub mod watch;
