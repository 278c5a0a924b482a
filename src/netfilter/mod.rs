//! Speaks to the kernel, and is the only room that does.
