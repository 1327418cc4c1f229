//! Log inputs: tails files and container logs.
