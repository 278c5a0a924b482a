//! Waits for events and runs the arrow from the definition to the kernel.
