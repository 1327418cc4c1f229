use crate::testkit::{Kit, NOW};
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn get(kit: &Kit, path: &str, cookie: &str) -> Response<Body> {
    let request = Request::get(path).header(header::COOKIE, cookie).body(Body::empty()).unwrap();
    super::router(kit.fleet.clone()).oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn strangers_are_asked_for_the_token() {
    let kit = Kit::new().await;
    for path in ["/", "/nodes/a", "/nodes/a/logs", "/alerts", "/scaling", "/workloads", "/capacity"] {
        let response = get(&kit, path, "skerry_token=wrong").await;
        assert_eq!(response.headers()[header::LOCATION], "/login", "{path}");
    }
    assert_eq!(get(&kit, "/login?token=wrong", "").await.status(), StatusCode::UNAUTHORIZED);
    let entered = get(&kit, &format!("/login?token={}", kit.api_token), "").await;
    assert_eq!(entered.headers()[header::LOCATION], "/");
    let cookie = entered.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let page = get(&kit, "/", cookie.split(';').next().unwrap()).await;
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(text(page).await.contains("No node has joined yet"));
}

#[tokio::test]
async fn what_comes_from_others_is_escaped() {
    let kit = Kit::new().await;
    let node = kit.joined("a").await;
    let envelope = kit.assignment(&node, 1).await.seal(&[&kit.key("assign-1")]).unwrap();
    kit.fleet.control.add_assignment(envelope, &kit.fleet.trust.current(), NOW).await.unwrap();
    let cookie = format!("skerry_token={}", kit.api_token);
    for path in ["/", "/nodes/a"] {
        let page = text(get(&kit, path, &cookie).await).await;
        assert!(page.contains("site=&#60;b&#62;here"), "{page}");
        assert!(!page.contains("<b>here</b>"), "{page}");
    }
    let missing = get(&kit, "/nodes/nobody", &cookie).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn alerts_are_shown_with_who_holds_them_back() {
    let kit = Kit::new().await;
    let cookie = format!("skerry_token={}", kit.api_token);
    assert_eq!(get(&kit, "/alerts", "").await.headers()[header::LOCATION], "/login");
    let page = text(get(&kit, "/alerts", &cookie).await).await;
    assert!(page.contains("Nothing fires.") && page.contains("skerry silence add"), "{page}");
    let ask = async |method: &str, path: &str, body: &str| {
        let (method, path, query) = (method.to_owned(), path.to_owned(), String::new());
        let asked = crate::alerts::Asked { method, path, query, body: body.as_bytes().to_vec() };
        let answer = kit.fleet.alerts.ask(asked).await.unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    };
    let silence = r#"{"matchers":[{"name":"alertname","value":"Quiet","isRegex":false,"isEqual":true}],
        "startsAt":"2027-01-15T08:00:00Z","endsAt":"2027-01-15T09:00:00Z","createdBy":"me","comment":"<i>work</i>"}"#;
    ask("POST", "/silences", silence).await;
    let alert = |name: &str| {
        format!(r#"{{"labels":{{"alertname":"{name}","node":"a"}},"annotations":{{"summary":"<b>hot</b>"}}}}"#)
    };
    ask("POST", "/alerts", &format!("[{},{}]", alert("Loud"), alert("Quiet"))).await;
    let page = text(get(&kit, "/alerts", &cookie).await).await;
    let (firing, held) = page.split_once("<h2>Silenced or inhibited</h2>").unwrap();
    assert!(firing.contains("Loud") && !firing.contains("Quiet"), "{page}");
    assert!(held.contains("Quiet") && held.contains("silence "), "{page}");
    assert!(page.contains("&#60;b&#62;hot") && !page.contains("<b>hot</b>") && !page.contains("<i>work"), "{page}");
}

#[tokio::test]
async fn decisions_are_shown_as_they_were_told() {
    use crate::intake::fixture::{events, node};
    use skerry_model::{StreamKind, UnixMillis};
    use skerry_wire::{Event, EventKind, ScalingEvent};

    let kit = Kit::new().await;
    kit.joined("a").await;
    let cookie = format!("skerry_token={}", kit.api_token);
    let page = text(get(&kit, "/scaling", &cookie).await).await;
    assert!(page.contains("No node scales anything.") && page.contains("None yet."), "{page}");
    let page = text(get(&kit, "/capacity", &cookie).await).await;
    assert!(page.contains("No node has told yet") && page.contains("Nothing is known of: a"), "{page}");
    let decision = ScalingEvent {
        policy: "web".into(),
        target: "Container/web".into(),
        from: 1,
        to: 3,
        reason: "SuccessfulRescale".into(),
        message: "<b>cpu</b> is high".into(),
    };
    let event = Event { at: UnixMillis(NOW.0 - 1000), kind: EventKind::Scaling(decision) };
    kit.fleet.store.ingest(&node("a"), StreamKind::Events, events(1, 1, &vec![event]), NOW).await.unwrap();
    let page = text(get(&kit, "/scaling", &cookie).await).await;
    assert!(page.contains("1 → 3") && page.contains("SuccessfulRescale"), "{page}");
    assert!(page.contains("&#60;b&#62;cpu") && !page.contains("<b>cpu"), "{page}");
}

#[tokio::test]
async fn workloads_are_shown_as_they_were_told() {
    use crate::intake::fixture::{events, node};
    use skerry_model::{StreamKind, UnixMillis};
    use skerry_wire::{Event, EventKind, WorkloadEvent};

    let kit = Kit::new().await;
    kit.joined("a").await;
    let cookie = format!("skerry_token={}", kit.api_token);
    let page = text(get(&kit, "/workloads", &cookie).await).await;
    assert!(page.contains("No node keeps a workload.") && page.contains("Nothing yet."), "{page}");
    let happened = WorkloadEvent {
        workload: "till".into(),
        container: Some("till-1".into()),
        reason: "CrashLoopBackOff".into(),
        message: "<script>alert(1)</script>".into(),
    };
    let event = Event { at: UnixMillis(NOW.0 - 1000), kind: EventKind::Workload(happened) };
    kit.fleet.store.ingest(&node("a"), StreamKind::Events, events(1, 1, &vec![event]), NOW).await.unwrap();
    let page = text(get(&kit, "/workloads", &cookie).await).await;
    assert!(page.contains("till-1") && page.contains("CrashLoopBackOff"), "{page}");
    assert!(page.contains("&#60;script&#62;alert") && !page.contains("<script"), "{page}");
}
