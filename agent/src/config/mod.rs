//! Config: local file and signed documents.
