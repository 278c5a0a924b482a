//! What the operator wrote, with places.
