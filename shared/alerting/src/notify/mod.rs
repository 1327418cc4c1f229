//! Receivers: what each of them is sent.
