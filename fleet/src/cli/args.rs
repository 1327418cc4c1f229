//! The command line.

use super::scale::args::{CapacityArgs, ScaleCommand, WorkloadsArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};
use skerry_model::{NodeId, Span, StreamName};
use skerry_seal::TokenId;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Runs a Skerry fleet: enrols nodes, signs what they obey, shows what they sent.
#[derive(Debug, Parser)]
#[command(name = "skerry", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// The admin folder [default: $SKERRY_HOME, else ~/.config/skerry].
    #[arg(long, global = true)]
    pub(super) dir: Option<PathBuf>,
    /// Output format.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub(super) output: Format,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[value(alias = "default")]
    Table,
    /// For people, with more columns.
    Wide,
    Json,
    Yaml,
    /// The text of log lines alone; elsewhere as a table.
    Raw,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a fleet: CA, admin keys, root document, and the server's config.
    Init(InitArgs),
    /// Let nodes join.
    #[command(subcommand)]
    Enrol(EnrolCommand),
    /// Sign which config streams a node follows, and its labels.
    Assign(AssignArgs),
    /// Shut a node out: its connection ends and its key is refused for ever.
    Revoke {
        /// The node.
        node: NodeId,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Sign a NodeConfig and send it to the nodes of its stream.
    Apply(ApplyArgs),
    /// Add a signature to a document that `apply --out` wrote.
    Cosign {
        /// The document.
        file: PathBuf,
        /// The key, a PKCS#8 file.
        #[arg(long)]
        key: PathBuf,
    },
    /// Send a signed document to the server.
    Upload {
        /// The document.
        file: PathBuf,
    },
    /// Look at configs.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List things.
    #[command(subcommand)]
    Get(GetCommand),
    /// Tell all about one thing.
    #[command(subcommand)]
    Describe(DescribeCommand),
    /// Print log lines of a node, or of many, oldest first; or search them with LogQL.
    Logs(LogsArgs),
    /// Print what happened on a node, newest first.
    Events {
        /// The node.
        node: NodeId,
        /// Most rows.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Print what is missing from a node, and why.
    Losses {
        /// The node.
        node: NodeId,
        /// Most rows.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Check and test rule files as promtool does; without a server.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// List alerts that fire, or with --history those that did.
    Alerts(AlertsArgs),
    /// Hold alerts back for a while.
    #[command(subcommand)]
    Silence(SilenceCommand),
    /// How nodes scale: what they decided, and what they would decide.
    #[command(subcommand)]
    Scale(ScaleCommand),
    /// What sites have and what they lack: which needs a node, how many would do, what is idle.
    Capacity(CapacityArgs),
    /// List workloads, or what happened to them.
    Workloads(WorkloadsArgs),
    /// Evaluate PromQL over the fleet, such as 'avg by (node) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))'.
    Query(QueryArgs),
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where the server's config, certificates and root document go; made if absent.
    #[arg(long)]
    pub(super) server_dir: PathBuf,
    /// The fleet's id [default: 16 random hex digits].
    #[arg(long)]
    pub(super) fleet: Option<String>,
    /// A name or address under which nodes reach the server; repeat it for several. The first one is told to nodes.
    #[arg(long = "host", default_values = ["localhost", "127.0.0.1"])]
    pub(super) hosts: Vec<String>,
    /// Where the server listens for HTTP. Off loopback it speaks TLS with the fleet's own CA.
    #[arg(long, default_value = "127.0.0.1:9480")]
    pub(super) http: SocketAddr,
    /// Where it listens for MQTT.
    #[arg(long, default_value = "0.0.0.0:8883")]
    pub(super) mqtt: SocketAddr,
    /// Where the server keeps its data.
    #[arg(long, default_value = "/var/lib/skerry")]
    pub(super) data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum EnrolCommand {
    /// Make a token that lets nodes join, and print it.
    Token(TokenArgs),
    /// List the tokens.
    List,
    /// Remove a token.
    Revoke {
        /// Its id.
        id: TokenId,
    },
    /// Let a node join that waits.
    Approve {
        /// The node.
        node: NodeId,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1)]
    pub(super) uses: u32,
    /// How long it may be used.
    #[arg(long, default_value = "24h")]
    pub(super) ttl: Span,
    /// Nodes wait until `skerry enrol approve`.
    #[arg(long)]
    pub(super) approve: bool,
}

#[derive(Debug, Args)]
pub(super) struct AssignArgs {
    /// The node.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) node: Option<NodeId>,
    /// Every node that has joined and has no assignment yet.
    #[arg(long)]
    pub(super) all: bool,
    /// A group that it belongs to; repeat it for several. Without any the node keeps those it has.
    #[arg(long = "group")]
    pub(super) groups: Vec<String>,
    /// A label, as name=value; repeat it for several. Without any the node keeps those it has.
    #[arg(long = "label")]
    pub(super) labels: Vec<String>,
    /// Keys to sign with [default: keys/assign-1.p8].
    #[arg(long = "key")]
    pub(super) keys: Vec<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// The NodeConfig.
    #[arg(short, long)]
    pub(super) file: PathBuf,
    /// Keys to sign with [default: keys/config-1.p8]; several for m-of-n.
    #[arg(long = "key")]
    pub(super) keys: Vec<PathBuf>,
    /// After this time no node adopts it, such as 30d.
    #[arg(long)]
    pub(super) expires_in: Option<Span>,
    /// Lowest agent version that takes it, such as 0.2.0.
    #[arg(long)]
    pub(super) min_agent: Option<String>,
    /// Check and show, but sign nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write the signed document to a file instead of sending it, for others to add their signature.
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print a config stream's newest revision, or another one.
    Show {
        /// The stream, such as group/edge or node/pi-4.
        stream: StreamName,
        /// The version [default: the newest].
        #[arg(long)]
        version: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GetCommand {
    /// Nodes with their state.
    #[command(visible_alias = "node")]
    Nodes,
    /// Enrolment tokens.
    #[command(visible_alias = "token")]
    Tokens,
    /// Config streams with their newest revision.
    #[command(visible_alias = "config")]
    Configs,
    /// Where samples are sent on to by remote write, and how that fares.
    RemoteWrite,
    /// Where log records are sent on to, and how that fares.
    Forward,
}

#[derive(Debug, Subcommand)]
pub(super) enum DescribeCommand {
    /// One node.
    Node {
        /// Its name.
        name: NodeId,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Check rule files. Exit code 1 where one cannot be used, 3 with --lint-fatal where one has remarks.
    Check(RulesCheckArgs),
    /// Run unit tests of rules, in promtool's format. Exit code 1 where one fails.
    Test(RulesTestArgs),
    /// List the packs of rules that come with Skerry.
    Packs,
    /// Print a pack: an ordinary rule file, to be changed and named in a config's rules.
    Pack {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct RulesCheckArgs {
    /// Rule files [default: standard input].
    pub(super) files: Vec<String>,
    /// What else to look for, separated by commas: all, duplicate-rules, none.
    #[arg(long, default_value = "duplicate-rules")]
    pub(super) lint: String,
    /// End with exit code 3 where that is found.
    #[arg(long)]
    pub(super) lint_fatal: bool,
    /// Pass over keys that nobody knows.
    #[arg(long)]
    pub(super) ignore_unknown_fields: bool,
}

#[derive(Debug, Args)]
pub(super) struct RulesTestArgs {
    /// Test files.
    #[arg(required = true)]
    pub(super) files: Vec<String>,
    /// Only tests in whose name this regular expression finds something; repeat it for several.
    #[arg(long, value_name = "REGEX")]
    pub(super) run: Vec<regex::Regex>,
    /// Show what differs, instead of what was expected and what came.
    #[arg(long)]
    pub(super) diff: bool,
    /// Pass over keys of rule files that nobody knows.
    #[arg(long)]
    pub(super) ignore_unknown_fields: bool,
}

#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    /// Episodes that began and ended, too, newest first.
    #[arg(long)]
    pub(super) history: bool,
    /// Of this node.
    #[arg(long)]
    pub(super) node: Option<NodeId>,
    /// With these labels, such as severity=page or 'site=~"lab.*"'; repeat it for several.
    #[arg(short = 'l', long = "label", value_name = "MATCHER")]
    pub(super) matchers: Vec<String>,
    /// With --history, only what fired within this last span of time.
    #[arg(long, requires = "history")]
    pub(super) since: Option<Span>,
    /// With --history, most rows.
    #[arg(long, default_value_t = 100)]
    pub(super) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Make a silence and print its id.
    Add(SilenceAddArgs),
    /// List silences.
    List {
        /// With these conditions, such as alertname=NodeGone.
        matchers: Vec<String>,
        /// Those that have ended, too.
        #[arg(long)]
        expired: bool,
    },
    /// End silences.
    Expire {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct SilenceAddArgs {
    /// Conditions that an alert has to meet, all of them, such as NodeGone 'site=~"lab.*"'.
    #[arg(required = true)]
    pub(super) matchers: Vec<String>,
    /// How long it lasts.
    #[arg(short, long, default_value = "1h", conflicts_with = "end")]
    pub(super) duration: Span,
    /// From this time on, RFC 3339 [default: now].
    #[arg(long)]
    pub(super) start: Option<String>,
    /// Until this time, instead of --duration.
    #[arg(long)]
    pub(super) end: Option<String>,
    /// Why.
    #[arg(short, long)]
    pub(super) comment: String,
    /// Who makes it [default: $USER].
    #[arg(short, long)]
    pub(super) author: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// The expression.
    pub(super) expression: String,
    /// Let this node answer from what it keeps itself, instead of the centre; repeat it for several.
    #[arg(long = "at", value_name = "NODE")]
    pub(super) at: Vec<NodeId>,
    /// As --at, for every node with these labels, such as site=lab,arch!=x86; '' means every node.
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(super) selector: Option<String>,
    /// How long to wait for nodes [default: 10s].
    #[arg(long)]
    pub(super) timeout: Option<Span>,
    /// When: Unix seconds or RFC 3339 [default: now].
    #[arg(long, conflicts_with_all = ["since", "start"])]
    pub(super) time: Option<String>,
    /// Over this last span of time, such as 1h, instead of at one moment.
    #[arg(long, conflicts_with = "start")]
    pub(super) since: Option<Span>,
    /// From this time on, Unix seconds or RFC 3339, instead of at one moment.
    #[arg(long)]
    pub(super) start: Option<String>,
    /// Until this time [default: now].
    #[arg(long, requires = "start")]
    pub(super) end: Option<String>,
    /// Distance of the moments of --since, or of --start.
    #[arg(long, default_value = "1m")]
    pub(super) step: Span,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The node, or with -l the LogQL query.
    #[arg(required_unless_present_any = ["selector", "logql"])]
    pub(super) node: Option<String>,
    /// LogQL: a whole query, as '{source="app"} |= "failed" | json', or what follows a selector, as '|~ "(?i)error"'.
    #[arg(conflicts_with = "logql")]
    pub(super) query: Option<String>,
    /// LogQL, in place of QUERY.
    #[arg(long = "query", value_name = "LOGQL")]
    pub(super) logql: Option<String>,
    /// Every node with these labels, such as site=berlin,arch!=x86, instead of one; '' means every node.
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(super) selector: Option<String>,
    /// Go on with the lines that are written from now on.
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Only lines of this last span of time.
    #[arg(long, default_value = "1h", conflicts_with = "from")]
    pub(super) since: Span,
    /// Only lines from this time on, Unix seconds or RFC 3339, instead of --since.
    #[arg(long)]
    pub(super) from: Option<String>,
    /// Only lines before this time, Unix seconds or RFC 3339.
    #[arg(long, conflicts_with = "follow")]
    pub(super) until: Option<String>,
    /// Only lines that contain this text.
    #[arg(long)]
    pub(super) grep: Option<String>,
    /// Only lines of this severity or a higher one: trace, debug, info, warn, error or fatal.
    #[arg(long)]
    pub(super) level: Option<String>,
    /// Only lines with this label, as name=value; repeat it for several.
    #[arg(long = "label")]
    pub(super) labels: Vec<String>,
    /// Most lines.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(super) limit: u32,
    /// Which lines, where there are more: the newest (backward) or the oldest (forward) ones.
    #[arg(long, value_enum, default_value = "backward", conflicts_with = "follow")]
    pub(super) direction: Direction,
    /// Who is asked for what was written before: the centre, the nodes themselves (which also have what is not shipped,
    /// or not yet), or both.
    #[arg(long, value_enum, default_value = "both")]
    pub(super) at: Place,
    /// How long to wait for nodes.
    #[arg(long, default_value = "5s")]
    pub(super) timeout: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Direction {
    Backward,
    Forward,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Place {
    Centre,
    Nodes,
    Both,
}
