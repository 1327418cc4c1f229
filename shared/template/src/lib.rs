//! Go's `text/template`, with bounds.
