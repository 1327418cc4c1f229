//! The admin CLI, `skerry`: makes a fleet, signs what nodes obey, and shows what they sent.
//!
//! It speaks to the server's public API and to nothing else; rule files are checked and tested on the spot. Signing happens here, with keys that never leave the
//! admin's folder; what the server says about keys and root documents is checked against the root hash in that folder.
//!
//! Invariants:
//! - Nothing is signed before its subject was shown and, unless `--yes` says so, confirmed.
//! - A secret goes to a file with mode 0600, or to standard output where it is what was asked for; never to a log.

mod alerts;
mod args;
mod assign;
mod beside;
mod client;
mod config;
mod enrol;
mod home;
mod init;
mod logs;
mod output;
mod rules;
mod scale;
mod show;
mod sign;
mod table;

pub use args::Cli;
pub use init::{Made, Plan, init};

use args::{Command, ConfigCommand, EnrolCommand, GetCommand};
use client::Client;
use home::Home;
use scale::args::ScaleCommand;
use skerry_model::UnixMillis;
use std::process::ExitCode;

/// Runs one command, and says how the program ends: commands that judge files have exit codes of their own.
///
/// # Errors
/// For people: what failed, where, why, and what to do next.
pub fn run(cli: Cli, now: UnixMillis) -> anyhow::Result<ExitCode> {
    let format = cli.output;
    let open = || -> anyhow::Result<Session> {
        let home = Home::open(cli.dir.as_deref())?;
        let client = Client::new(&home)?;
        Ok(Session { home, client, now })
    };
    let done = match cli.command {
        Command::Init(args) => init::command(&args, cli.dir.as_deref(), now),
        Command::Enrol(EnrolCommand::Token(args)) => enrol::token(&open()?, &args),
        Command::Enrol(EnrolCommand::List) => enrol::list(&open()?, format),
        Command::Enrol(EnrolCommand::Revoke { id }) => enrol::revoke_token(&open()?, &id),
        Command::Enrol(EnrolCommand::Approve { node, yes }) => enrol::approve(&open()?, &node, yes),
        Command::Assign(args) => assign::command(&open()?, &args),
        Command::Revoke { node, yes } => assign::revoke(&open()?, &node, yes),
        Command::Apply(args) => config::apply(&open()?, &args),
        Command::Cosign { file, key } => sign::cosign(&Home::open(cli.dir.as_deref())?, &file, &key),
        Command::Upload { file } => sign::upload(&open()?, &file),
        Command::Config(ConfigCommand::Show { stream, version }) => config::show(&open()?, &stream, version, format),
        Command::Get(GetCommand::Nodes) => show::nodes(&open()?, format),
        Command::Get(GetCommand::Tokens) => enrol::list(&open()?, format),
        Command::Get(GetCommand::Configs) => config::list(&open()?, format),
        Command::Get(GetCommand::RemoteWrite) => show::remote_write(&open()?, format),
        Command::Get(GetCommand::Forward) => show::forward(&open()?, format),
        Command::Describe(args::DescribeCommand::Node { name }) => show::describe(&open()?, &name, format),
        Command::Logs(args) => logs::logs(&open()?, &args, format),
        Command::Events { node, limit } => show::events(&open()?, &node, limit, format),
        Command::Losses { node, limit } => show::losses(&open()?, &node, limit, format),
        Command::Alerts(args) => alerts::alerts(&open()?, &args, format),
        Command::Silence(command) => alerts::silence(&open()?, &command, format),
        Command::Scale(ScaleCommand::List(args)) => scale::list(&open()?, &args, format),
        Command::Scale(ScaleCommand::Explain(args)) => return scale::explain(open, &args, format),
        Command::Scale(ScaleCommand::History(args)) => scale::history(&open()?, &args, format),
        Command::Scale(ScaleCommand::Recommend(args)) => scale::recommend(&open()?, &args, format),
        Command::Capacity(args) => scale::capacity(&open()?, &args, format),
        Command::Workloads(args) => scale::workloads(&open()?, &args, format),
        Command::Query(args) => show::query(&open()?, &args, format),
        Command::Rules(command) => return rules::command(&command),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What most commands work with.
struct Session {
    home: Home,
    client: Client,
    now: UnixMillis,
}
