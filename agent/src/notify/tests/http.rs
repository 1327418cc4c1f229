use super::*;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::any;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// What a stand-in for a webhook's receiver was asked: method, path, `Authorization` and body.
type Asked = Arc<Mutex<Vec<(String, String, String, String)>>>;

async fn keep(State(asked): State<Asked>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let auth = parts.headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap()).to_owned();
    let entry = (parts.method.to_string(), parts.uri.to_string(), auth, String::from_utf8(body.to_vec()).unwrap());
    asked.lock().unwrap().push(entry);
    StatusCode::OK.into_response()
}

/// Chunks that never end.
fn endless() -> Body {
    Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 8192]))))
}

async fn receiver() -> (String, Asked) {
    let asked = Asked::default();
    let app = Router::new()
        .route("/keep", any(keep))
        .route("/hang", any(|| async { std::future::pending::<()>().await }))
        .route("/broken", any(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "out of order") }))
        .route("/busy", any(|| async { (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")], "") }))
        .route("/bad", any(|| async { (StatusCode::BAD_REQUEST, "no") }))
        .route("/moved", any(|| async { Redirect::temporary("/keep") }))
        .route("/loop", any(|| async { Redirect::temporary("/loop") }))
        .route("/endless", any(|| async { endless() }))
        .route(
            "/stalls",
            any(|| async { Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()) }),
        )
        .route("/endless-error", any(|| async { (StatusCode::BAD_GATEWAY, endless()) }))
        .with_state(asked.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, asked)
}

#[tokio::test]
async fn whatever_a_receiver_answers_has_an_end() {
    let (url, asked) = receiver().await;
    let tell = async |path: &str, limit| told("webhook_configs", &format!("{{url: '{url}{path}'}}"), limit).await;
    assert_eq!(tell("/keep", AMPLE).await, Outcome::Sent);
    assert_eq!(tell("/moved", AMPLE).await, Outcome::Sent);
    let late = tell("/hang?token=SECRET", SHORT).await;
    assert!(is_retry(&late, "within ") && !late.error().unwrap().contains("SECRET"), "{late:?}");
    assert!(is_retry(&tell("/broken", AMPLE).await, "HTTP 500: out of order"));
    let busy = tell("/busy", AMPLE).await;
    assert!(matches!(busy, Outcome::Retry { after: Some(after), .. } if after.as_secs() == 7), "{busy:?}");
    assert!(is_failed(&tell("/bad", AMPLE).await, "HTTP 400: no"));
    assert!(is_failed(&tell("/loop", AMPLE).await, "HTTP 307"));
    assert_eq!(tell("/endless", AMPLE).await, Outcome::Sent, "its status says that it has the notice");
    assert_eq!(tell("/stalls", 10 * SHORT).await, Outcome::Sent, "so does this one's, whose body never comes");
    assert!(is_retry(&tell("/endless-error", AMPLE).await, "HTTP 502"));
    assert!(is_retry(&told("webhook_configs", "{url: 'http://127.0.0.1:1/'}", AMPLE).await, "cannot reach"));
    assert!(is_retry(&told("webhook_configs", "{url_file: /nowhere/url}", AMPLE).await, "/nowhere/url"));
    let timed = format!("{{url: '{url}/hang', timeout: 100ms}}");
    assert!(is_retry(&told("webhook_configs", &timed, AMPLE).await, "within 0."));

    let asked = asked.lock().unwrap();
    let bodies: Vec<_> =
        asked.iter().map(|(method, path, _, body)| (method.as_str(), path.as_str(), body.len())).collect();
    let length = data(true).webhook_json(0).len();
    assert_eq!(bodies, [("POST", "/keep", length), ("POST", "/keep", length)]);
}

#[tokio::test]
async fn credentials_of_files_are_read_for_each_notice() {
    let (url, asked) = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    let (token, target) = (folder.path().join("token"), folder.path().join("url"));
    std::fs::write(&target, format!("{url}/keep\n")).unwrap();
    let entry = format!(
        "{{url_file: {}, http_config: {{authorization: {{credentials_file: {}}}, follow_redirects: false}}}}",
        target.display(),
        token.display()
    );
    for secret in ["one", "two"] {
        std::fs::write(&token, secret).unwrap();
        assert_eq!(told("webhook_configs", &entry, AMPLE).await, Outcome::Sent);
    }
    std::fs::write(&target, format!("{url}/moved\n")).unwrap();
    assert!(is_failed(&told("webhook_configs", &entry, AMPLE).await, "HTTP 307"));
    let auth: Vec<String> = asked.lock().unwrap().iter().map(|(_, _, auth, _)| auth.clone()).collect();
    assert_eq!(auth, ["Bearer one", "Bearer two"]);
}

#[tokio::test]
async fn requests_of_one_notice_go_in_turn_and_stop_where_one_fails() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let app = Router::new().fallback(any(move |request: Request| {
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            let is_message = request.uri().path().ends_with("/message");
            if is_message { StatusCode::BAD_GATEWAY } else { StatusCode::ACCEPTED }
        }
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let entry = format!("{{api_key: k, api_url: '{url}', update_alerts: true}}");
    assert!(is_retry(&told("opsgenie_configs", &entry, AMPLE).await, "HTTP 502"));
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn tries_are_counted_and_bounded_in_number() {
    let (url, _) = receiver().await;
    let shell = Arc::new(shell());
    let templates = Templates::new(&[], |_| None).unwrap();
    let hang = integration("webhook_configs", &format!("{{url: '{url}/hang'}}"));
    let tell = |limit| {
        let (shell, hang, templates) = (shell.clone(), hang.clone(), templates.clone());
        async move { shell.tell(&hang, &data(true), &templates, NOW, limit).await }
    };
    // Tries that do not end by themselves while they are looked at. Those that are called off are not counted.
    let mut held = tokio::task::JoinSet::new();
    (0..TRIES_MAX).for_each(|_| drop(held.spawn(tell(10 * AMPLE))));
    while shell.slots.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let one_more = tell(SHORT / 10).await;
    assert!(is_retry(&one_more, "too many"), "{one_more:?}");
    held.shutdown().await;
    assert_eq!(shell.slots.available_permits(), TRIES_MAX, "all are given back");
    let mut tries = tokio::task::JoinSet::new();
    (0..TRIES_MAX).for_each(|_| drop(tries.spawn(tell(SHORT))));
    let outcomes = tries.join_all().await;
    assert!(outcomes.iter().all(|outcome| is_retry(outcome, "within")), "{outcomes:?}");
    let odd = integration("slack_configs", &format!("{{api_url: '{url}/keep', title: '{{{{ .Nope }}}}'}}"));
    assert_eq!(shell.tell(&odd, &data(true), &templates, NOW, AMPLE).await, Outcome::Sent);
    let tries = TRIES_MAX as u64 + 1;
    let expected = [
        ("slack", Counts { tries: 1, failed: 0, template_errors: 1 }),
        ("webhook", Counts { tries, failed: tries, template_errors: 0 }),
    ];
    assert_eq!(shell.counts(), expected);
}
