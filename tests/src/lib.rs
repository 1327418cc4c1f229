//! What tests share: the deterministic simulation, a fleet on loopback, real processes, and a link that can be cut.

pub mod alone;
pub mod bench;
pub mod engine;
pub mod kube;
pub mod lab;
pub mod logstore;
pub mod peers;
pub mod promqltest;
pub mod proxy;
pub mod records;
pub mod routing;
pub mod scaled;
pub mod sim;
pub mod site;
pub mod stall;
pub mod systemd;
pub mod torture;
pub mod vectors;
pub mod web;

/// The command line of a tool that a cargo alias starts, without a `--` that leads it: the aliases end in `--`, and
/// `cargo demo -- --nodes 5`, as one writes it for `cargo run`, arrives with a second one.
pub fn command_line() -> impl Iterator<Item = std::ffi::OsString> {
    let second_is_dashes = |&(at, ref argument): &(usize, std::ffi::OsString)| at == 1 && argument == "--";
    std::env::args_os().enumerate().filter(move |each| !second_is_dashes(each)).map(|(_, argument)| argument)
}
