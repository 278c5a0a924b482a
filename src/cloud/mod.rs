//! The rules of the account: the unblock ledger.
