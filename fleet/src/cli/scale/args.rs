//! The command line of `skerry scale`, `skerry capacity` and `skerry workloads`.

use clap::{Args, Subcommand, ValueEnum};
use skerry_model::{NodeId, Span};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ScaleCommand {
    /// List policies with their replicas.
    List(NodesArgs),
    /// Say what a policy would do now, and why; nothing is changed. A file is checked, and with --node tried out there.
    Explain(ExplainArgs),
    /// List what was decided, newest first.
    History(HistoryArgs),
    /// List what containers should ask for, by what they use.
    Recommend(NodesArgs),
}

/// Which nodes, and who is asked.
#[derive(Debug, Args)]
pub(in crate::cli) struct NodesArgs {
    /// Of this node; repeat it for several [default: every node].
    #[arg(long = "node", value_name = "NODE")]
    pub(in crate::cli) nodes: Vec<NodeId>,
    /// Of every node with these labels, such as site=lab,arch!=x86.
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(in crate::cli) selector: Option<String>,
    /// Who is asked: the centre alone, which knows how nodes stood last, or the nodes, and the centre for those that do
    /// not answer.
    #[arg(long, value_enum, default_value = "both")]
    pub(in crate::cli) at: At,
    /// How long to wait for nodes.
    #[arg(long, default_value = "5s")]
    pub(in crate::cli) timeout: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum At {
    Centre,
    Both,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// A policy, or a file with ScalingPolicy or HorizontalPodAutoscaler documents; - for standard input.
    pub(in crate::cli) subject: String,
    /// The node [default: for a policy the one that has it].
    #[arg(long)]
    pub(in crate::cli) node: Option<NodeId>,
    /// How long to wait for the node.
    #[arg(long, default_value = "10s")]
    pub(in crate::cli) timeout: Span,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// Of this policy.
    pub(in crate::cli) policy: Option<String>,
    /// Of this node.
    #[arg(long)]
    pub(in crate::cli) node: Option<NodeId>,
    /// Only what was decided within this last span of time.
    #[arg(long)]
    pub(in crate::cli) since: Option<Span>,
    /// Go on behind the rows of a list before, which says this at its end.
    #[arg(long, value_name = "PLACE")]
    pub(in crate::cli) before: Option<String>,
    /// Most rows.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(in crate::cli) limit: u32,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CapacityArgs {
    /// The label by whose values nodes are summed: one that the admins signed, or node.
    #[arg(long, default_value = "site", value_name = "LABEL")]
    pub(in crate::cli) by: String,
    /// Each node, too.
    #[arg(long)]
    pub(in crate::cli) nodes: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WorkloadsArgs {
    /// Only this workload, with its containers.
    pub(in crate::cli) workload: Option<String>,
    /// What happened to them, newest first.
    #[arg(long)]
    pub(in crate::cli) history: bool,
    /// With --history, only what happened within this last span of time.
    #[arg(long, requires = "history")]
    pub(in crate::cli) since: Option<Span>,
    /// With --history, go on behind the rows of a list before, which says this at its end.
    #[arg(long, value_name = "PLACE", requires = "history")]
    pub(in crate::cli) before: Option<String>,
    /// With --history, most rows.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(in crate::cli) limit: u32,
    #[command(flatten)]
    pub(in crate::cli) nodes: NodesArgs,
}
