//! The web console: plain pages made on the server, without a script.
//!
//! A page shows what the API says and nothing else, and comes anew every five seconds, but for a search in logs. Whoever
//! has no cookie is asked for the API token once.
//!
//! Invariants:
//! - Every text that came from a node is escaped by the template engine.
//! - The content security policy forbids scripts, frames and foreign sources altogether.
//! - A page but `/login` is made for nobody without the cookie: one layer asks for it, before all of them.
//! - No page changes anything, so there is nothing that another site could make a browser do.

mod alerts;
mod pages;
mod scaling;
#[cfg(test)]
mod tests;
mod workloads;

use crate::api::{Access, ApiError, Fleet, newest, node_detail, node_views, query_of};
use alerts::AlertsPage;
use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use pages::{LoginPage, LogsPage, MessagePage, NodePage, NodesPage};
use scaling::{CapacityPage, ScalingPage};
use serde::Deserialize;
use skerry_model::{NodeId, TimeRange, UnixMillis};
use workloads::WorkloadsPage;

/// Newest values on a node's page.
const NEWEST_SHOWN: usize = 2_000;
/// Log lines on a node's page.
const LINES_SHOWN: usize = 100;
/// Log lines that a search shows.
const LINES_FOUND: usize = 500;
const ALWAYS: TimeRange = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };
/// What pages may do: show themselves, with their own style.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; \
                      base-uri 'none'";

#[derive(Deserialize)]
struct Search {
    q: Option<String>,
}

#[derive(Deserialize)]
struct Login {
    token: Option<String>,
}

/// All pages.
pub fn router(fleet: Fleet) -> Router {
    let pages = Router::new()
        .route("/", get(nodes))
        .route("/nodes/{node}", get(node))
        .route("/nodes/{node}/logs", get(logs))
        .route("/alerts", get(alerts_page))
        .route("/scaling", get(scaling_page))
        .route("/workloads", get(workloads_page))
        .route("/capacity", get(capacity_page))
        .route_layer(from_fn_with_state(fleet.clone(), admitted));
    Router::new()
        .merge(pages)
        .route("/login", get(login).post(login_form))
        .route("/style.css", get(style))
        .layer(from_fn(guarded))
        .with_state(fleet)
}

/// Asks whoever has no cookie for the token.
async fn admitted(State(fleet): State<Fleet>, request: Request, next: Next) -> Response {
    if fleet.access.admits_cookie(request.headers()) {
        next.run(request).await
    } else {
        Redirect::to("/login").into_response()
    }
}

/// Puts the headers on every page.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (kind, include_str!("../../templates/style.css")).into_response()
}

/// `?token=` is for the address that a tool prints: the token goes into the cookie and out of the address bar.
async fn login(State(fleet): State<Fleet>, Query(login): Query<Login>) -> Response {
    match login.token {
        Some(token) => enter(&fleet, token.trim()),
        None => page(StatusCode::OK, &LoginPage { wrong: false }),
    }
}

async fn login_form(State(fleet): State<Fleet>, Form(login): Form<Login>) -> Response {
    enter(&fleet, login.token.unwrap_or_default().trim())
}

fn enter(fleet: &Fleet, token: &str) -> Response {
    if !fleet.access.admits(token) {
        return page(StatusCode::UNAUTHORIZED, &LoginPage { wrong: true });
    }
    let cookie = Access::cookie(token, fleet.is_https);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

async fn nodes(State(fleet): State<Fleet>) -> Response {
    shown(node_views(&fleet).await.map(|nodes| NodesPage::new(nodes, (fleet.wall)())))
}

async fn alerts_page(State(fleet): State<Fleet>) -> Response {
    shown(AlertsPage::load(&fleet).await)
}

async fn scaling_page(State(fleet): State<Fleet>) -> Response {
    shown(ScalingPage::load(&fleet).await)
}

async fn workloads_page(State(fleet): State<Fleet>) -> Response {
    shown(WorkloadsPage::load(&fleet).await)
}

async fn capacity_page(State(fleet): State<Fleet>) -> Response {
    shown(CapacityPage::load(&fleet).await)
}

async fn node(State(fleet): State<Fleet>, Path(name): Path<String>) -> Response {
    shown(node_page(&fleet, &name).await)
}

async fn node_page(fleet: &Fleet, name: &str) -> Result<NodePage, ApiError> {
    let detail = node_detail(fleet, name, NEWEST_SHOWN).await?;
    let node: NodeId = name.parse().map_err(|_| ApiError::no_node(name))?;
    let lines = newest(fleet, &query_of(&node, ""), ALWAYS, LINES_SHOWN).await?;
    Ok(NodePage::new(detail, lines.records, (fleet.wall)()))
}

/// A search in a node's logs. The page stays as it is, since whoever writes a query does not want it anew meanwhile.
async fn logs(State(fleet): State<Fleet>, Path(name): Path<String>, Query(search): Query<Search>) -> Response {
    let Ok(node) = name.parse::<NodeId>() else { return failed(&ApiError::no_node(&name)) };
    let query = search.q.unwrap_or_default();
    match newest(&fleet, &query_of(&node, &query), ALWAYS, LINES_FOUND).await {
        Ok(found) => page(StatusCode::OK, &LogsPage::new(&node, query, found.records, found.more)),
        Err(error) => page(error.status(), &LogsPage::refused(&node, query, error.message())),
    }
}

fn shown(found: Result<impl Template, ApiError>) -> Response {
    match found {
        Ok(found) => page(StatusCode::OK, &found),
        Err(error) => failed(&error),
    }
}

fn failed(error: &ApiError) -> Response {
    page(error.status(), &MessagePage { message: error.message().to_owned() })
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
