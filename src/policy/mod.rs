//! What was meant: a definition that has been validated.
