//! The results of many nodes as one answer.

use crate::{Refusal, Response, with_node, with_signed, write};
use skerry_model::{Labels, NodeId, UnixMillis};
use skerry_promql::{Point, Query, QueryError, Series, Shape};
use skerry_wire::{Done, Piece, Question, ResultKind, StreamPart};
use std::collections::{BTreeMap, BTreeSet};

/// Most remarks that are kept of all nodes, each once, and longest one.
const REMARKS_MAX: usize = 32;
const REMARK_BYTES_MAX: usize = 512;

/// A result that is not of the kind that the question has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its result has another form than the question asks for")]
pub struct Mismatch;

/// Takes in results until all are there.
#[derive(Debug)]
pub struct Merge {
    kind: ResultKind,
    is_range: bool,
    /// By node, so that the order does not hang on who was first.
    series: BTreeMap<NodeId, Vec<Series>>,
    sets: BTreeSet<Labels>,
    texts: BTreeSet<String>,
    logs: Vec<StreamPart>,
    documents: BTreeMap<NodeId, Vec<String>>,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

impl Merge {
    /// For the results of a question.
    ///
    /// # Errors
    /// [`QueryError`] where its expression is none.
    pub fn new(question: &Question) -> Result<Self, QueryError> {
        let kind = match question {
            Question::Instant { expr, .. } => match Query::parse(expr)?.shape() {
                Shape::Scalar => ResultKind::Scalar,
                Shape::String => ResultKind::String,
                Shape::Vector => ResultKind::Vector,
                Shape::Matrix => ResultKind::Matrix,
            },
            Question::Range { expr, .. } => match Query::parse(expr)?.shape() {
                Shape::Scalar => ResultKind::Scalar,
                _ => ResultKind::Matrix,
            },
            Question::Series(_) => ResultKind::Series,
            Question::Labels(_) | Question::LabelValues { .. } => ResultKind::Texts,
            Question::Logs { .. } => ResultKind::Logs,
            // A number alone comes as a series without labels.
            Question::LogMetric { step_ms: 0, .. } => ResultKind::Vector,
            Question::LogMetric { .. } => ResultKind::Matrix,
            Question::LogStreams { .. } => ResultKind::Series,
            Question::Scaling(_) => ResultKind::Documents,
        };
        Ok(Self {
            kind,
            is_range: matches!(question, Question::Range { .. }),
            series: BTreeMap::new(),
            sets: BTreeSet::new(),
            texts: BTreeSet::new(),
            logs: Vec::new(),
            documents: BTreeMap::new(),
            warnings: BTreeSet::new(),
            infos: BTreeSet::new(),
        })
    }

    /// Takes a node's whole result in; how many series, label sets or texts it has.
    ///
    /// # Errors
    /// [`Mismatch`]; nothing of the result is taken then.
    pub fn take(&mut self, node: &NodeId, signed: &Labels, done: &Done, pieces: Vec<Piece>) -> Result<usize, Mismatch> {
        if done.kind != self.kind {
            return Err(Mismatch);
        }
        let label = |labels: &Labels| {
            let is_ours = labels.value("node") == node.as_str();
            let labels = if is_ours { labels.clone() } else { with_node(labels, node) };
            with_signed(&labels, signed.iter())
        };
        let (mut series, mut sets, mut texts): (Vec<Series>, Vec<Labels>, Vec<String>) = Default::default();
        let mut logs: Vec<StreamPart> = Vec::new();
        for piece in pieces {
            match (piece, self.kind) {
                (Piece::Series(parts), ResultKind::Scalar | ResultKind::Vector | ResultKind::Matrix) => {
                    for part in parts {
                        let labels = label(&part.labels);
                        let points = part.points.0.into_iter().map(|(at, value)| Point { at, value });
                        match series.last_mut().filter(|last| self.kind != ResultKind::Vector && last.labels == labels)
                        {
                            Some(last) => last.points.extend(points),
                            None => series.push(Series { labels, points: points.collect() }),
                        }
                    }
                }
                (Piece::Labels(all), ResultKind::Series) => sets.extend(all.iter().map(label)),
                (Piece::Texts(all), ResultKind::Texts | ResultKind::String | ResultKind::Documents) => {
                    texts.extend(all)
                }
                (Piece::Logs(all), ResultKind::Logs) => {
                    logs.extend(all.into_iter().map(|part| StreamPart { labels: label(&part.labels), ..part }));
                }
                _ => return Err(Mismatch),
            }
        }
        let is_single = self.kind == ResultKind::Vector || (self.kind == ResultKind::Scalar && !self.is_range);
        if series.iter().any(|series| series.points.is_empty() || (is_single && series.points.len() > 1)) {
            return Err(Mismatch);
        }
        let records: usize = logs.iter().map(|part| part.entries.len()).sum();
        let count = series.len() + sets.len() + texts.len() + records;
        self.series.insert(node.clone(), series);
        self.sets.extend(sets);
        match self.kind {
            ResultKind::Documents => drop(self.documents.insert(node.clone(), texts)),
            _ => self.texts.extend(texts),
        }
        self.logs.extend(logs);
        keep(&mut self.warnings, &done.warnings);
        keep(&mut self.infos, &done.infos);
        Ok(count)
    }

    /// The results of all nodes: series by node, label sets, or records by node and stream.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Series>, BTreeSet<Labels>, Vec<StreamPart>) {
        (self.series.into_values().flatten().collect(), self.sets, self.logs)
    }

    /// JSON objects by node, in the order in which each node named them.
    #[must_use]
    pub fn into_documents(self) -> BTreeMap<NodeId, Vec<String>> {
        self.documents
    }

    /// The answer, as Prometheus writes it, at most `limit` items of it. `warnings` are the caller's, and `nodes` says
    /// as JSON how it went with each node.
    #[must_use]
    pub fn response(
        self,
        now: UnixMillis,
        limit: Option<usize>,
        warnings: &[String],
        nodes: &serde_json::Value,
    ) -> Response {
        let mut all: Vec<Series> = self.series.into_values().flatten().collect();
        let is_matrix = self.kind == ResultKind::Matrix || self.is_range;
        if is_matrix {
            all.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        let (data, is_cut) = match self.kind {
            ResultKind::String => (write::string(now, self.texts.first().map_or("", String::as_str)), false),
            ResultKind::Scalar | ResultKind::Vector | ResultKind::Matrix => write::series_list(&all, !is_matrix, limit),
            ResultKind::Series => write::items(self.sets.iter().map(write::labels), self.sets.len(), limit),
            // Asked for through APIs that write them themselves.
            ResultKind::Logs | ResultKind::Documents => ("[]".to_owned(), false),
            ResultKind::Texts => write::items(self.texts.iter().map(|text| write::text(text)), self.texts.len(), limit),
        };
        let mut told: Vec<&str> = warnings.iter().chain(&self.warnings).map(String::as_str).collect();
        if is_cut {
            told.push(write::CUT);
        }
        let infos: Vec<&str> = self.infos.iter().map(String::as_str).collect();
        let body = with_nodes(write::success(&data, &told, &infos), nodes);
        Response { status: 200, body }
    }
}

impl Refusal {
    /// The refusal as an answer that says how it went with each node.
    #[must_use]
    pub fn with_nodes(self, nodes: &serde_json::Value) -> Response {
        let Response { status, body } = self.into();
        Response { status, body: with_nodes(body, nodes) }
    }
}

/// Clients of Prometheus's API look past fields that they do not know.
fn with_nodes(mut body: String, nodes: &serde_json::Value) -> String {
    body.pop();
    body.push_str(&format!(",\"nodes\":{nodes}}}"));
    body
}

fn keep(kept: &mut BTreeSet<String>, told: &[String]) {
    for text in told {
        if kept.len() < REMARKS_MAX {
            kept.insert(text[..text.floor_char_boundary(REMARK_BYTES_MAX)].to_owned());
        }
    }
}
