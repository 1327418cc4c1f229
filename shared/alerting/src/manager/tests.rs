//! Tables in virtual time.
