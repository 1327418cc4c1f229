//! Enrolment of nodes.
