//! Container runtimes: who runs on this node.
