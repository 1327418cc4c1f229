use super::*;

fn letter(security: Security) -> Letter {
    Letter {
        hello: "me".into(),
        security,
        is_loopback: false,
        login: Login::default(),
        from: "s@b.c".into(),
        to: vec!["a@b.c".into()],
        message: b"Subject: x\r\n\r\n.dot\r\nend".to_vec(),
    }
}

fn with_login(security: Security) -> Letter {
    let (password, secret) = (Some("pw".into()), Some("tanstaaftanstaaf".into()));
    let login = Login { username: "tim".into(), password, secret, identity: String::new() };
    Letter { login, ..letter(security) }
}

/// Plays what the server says, `TLS` where it expects that TLS begins, and gives what the client says, `TLS` where it
/// begins, and how it ends.
fn play(letter: Letter, server: &[&str]) -> (Vec<String>, Option<Outcome>) {
    let mut session = Session::new(letter);
    assert_eq!(session.step(&[]), Step::Send(vec![]), "the server speaks first");
    let mut said = Vec::new();
    for line in server {
        let input = if *line == "TLS" { String::new() } else { format!("{}\r\n", line.replace('\n', "\r\n")) };
        match session.step(input.as_bytes()) {
            Step::Send(bytes) => said.push(String::from_utf8(bytes).unwrap().trim_end().to_owned()),
            Step::StartTls(bytes) => {
                assert!(bytes.is_empty());
                said.push("TLS".into());
            }
            Step::Done(bytes, outcome) => {
                said.push(String::from_utf8(bytes).unwrap().trim_end().to_owned());
                return (said, Some(outcome));
            }
            Step::Last(_) => panic!("a mail is confirmed"),
        }
    }
    (said, None)
}

fn failed(outcome: &Option<Outcome>, part: &str) -> bool {
    matches!(outcome, Some(Outcome::Failed { error }) if error.contains(part))
}

fn retried(outcome: &Option<Outcome>, part: &str) -> bool {
    matches!(outcome, Some(Outcome::Retry { error, .. }) if error.contains(part))
}

#[test]
fn a_mail_is_handed_over() {
    let server = ["220-mx\n220 ready", "250-mx hello\n250 8BITMIME", "250 ok", "250 ok", "354 go", "250 taken"];
    let (said, outcome) = play(letter(Security::Offered), &server);
    let text = "Subject: x\r\n\r\n..dot\r\nend\r\n.";
    assert_eq!(said, ["EHLO me", "MAIL FROM:<s@b.c>", "RCPT TO:<a@b.c>", "DATA", text, "QUIT"]);
    assert_eq!(outcome, Some(Outcome::Sent));
}

#[test]
fn tls_begins_before_anything_that_matters() {
    let server = [
        "220 mx",
        "250-mx\n250-STARTTLS\n250 AUTH PLAIN",
        "220 go",
        "TLS",
        "250-mx\n250 AUTH=LOGIN PLAIN",
        "334 VXNlcm5hbWU6",
        "334 UGFzc3dvcmQ6",
        "235 in",
        "250 ok",
    ];
    for security in [Security::Required, Security::Offered] {
        let (said, _) = play(with_login(security), &server);
        // tim, pw
        let expected = [
            "EHLO me",
            "STARTTLS",
            "TLS",
            "EHLO me",
            "AUTH LOGIN",
            "dGlt",
            "cHc=",
            "MAIL FROM:<s@b.c>",
            "RCPT TO:<a@b.c>",
        ];
        assert_eq!(said, expected);
    }
    let (said, outcome) = play(letter(Security::Required), &["220 mx", "250 mx"]);
    assert!(failed(&outcome, "STARTTLS") && said == ["EHLO me", "QUIT"]);
    let (_, outcome) = play(letter(Security::Required), &["220 mx", "250-mx\n250 STARTTLS", "454 no"]);
    assert!(retried(&outcome, "454 after STARTTLS"), "{outcome:?}");
    // What was put in before TLS would be read behind it.
    let (_, outcome) = play(letter(Security::Required), &["220 mx", "250-mx\n250 STARTTLS", "220 go\n250 mx"]);
    assert!(retried(&outcome, "before TLS"), "{outcome:?}");
    let (said, _) = play(letter(Security::Implicit), &["220 mx", "250-mx\n250 STARTTLS"]);
    assert_eq!(said, ["EHLO me", "MAIL FROM:<s@b.c>"]);
}

#[test]
fn passwords_are_said_to_nobody_who_listens() {
    let (said, outcome) = play(with_login(Security::Offered), &["220 mx", "250-mx\n250 AUTH PLAIN LOGIN"]);
    assert!(failed(&outcome, "without TLS") && said == ["EHLO me", "QUIT"], "{said:?}");
    let own = Letter { is_loopback: true, ..with_login(Security::Offered) };
    assert_eq!(play(own, &["220 mx", "250-mx\n250 AUTH PLAIN"]).0, ["EHLO me", "AUTH PLAIN AHRpbQBwdw=="]);
    // The example of RFC 2195.
    let server = [
        "220 mx",
        "250-mx\n250 AUTH PLAIN CRAM-MD5",
        "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+",
        "535 no",
    ];
    let (said, outcome) = play(with_login(Security::Offered), &server);
    let answer = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
    assert_eq!(said, ["EHLO me", "AUTH CRAM-MD5", answer, "QUIT"]);
    assert!(failed(&outcome, "535 after AUTH: no"), "{outcome:?}");
    let mut odd = with_login(Security::Implicit);
    odd.login.password = None;
    assert!(failed(&play(odd, &["220 mx", "250-mx\n250 AUTH PLAIN LOGIN"]).1, "auth_secret"));
    let (said, _) = play(with_login(Security::Implicit), &["220 mx", "250 no auth here"]);
    assert_eq!(said, ["EHLO me", "MAIL FROM:<s@b.c>"], "a server that asks for nothing gets nothing");
}

#[test]
fn answers_of_4xx_are_tried_again_and_those_of_5xx_not() {
    let good = ["220 mx", "250 mx", "250 ok", "250 ok", "354 go", "250 taken"];
    for at in 0..good.len() {
        for (code, is_final) in [("421", false), ("550", true)] {
            let answer = format!("{code}-no\n{code} really");
            let mut server = good;
            server[at] = &answer;
            let (_, outcome) = play(letter(Security::Implicit), &server);
            let part = format!("the mail server said {code}");
            assert!(if is_final { failed(&outcome, &part) } else { retried(&outcome, &part) }, "{at} {outcome:?}");
            assert!(outcome.unwrap().error().unwrap().ends_with("no really"));
        }
    }
    let (said, _) = play(letter(Security::Offered), &["220 mx", "502 what", "250 hello"]);
    assert_eq!(said, ["EHLO me", "HELO me", "MAIL FROM:<s@b.c>"]);
}

#[test]
fn one_bad_address_does_not_keep_the_others_from_hearing() {
    let all = || Letter { to: ["a@x", "b@x", "c@x"].map(str::to_owned).to_vec(), ..letter(Security::Implicit) };
    let server = ["220 mx", "250 mx", "250 ok", "550 who", "250 ok", "550 who", "354 go", "250 taken"];
    assert_eq!(play(all(), &server).1, Some(Outcome::Sent));
    let server = ["220 mx", "250 mx", "250 ok", "550 who", "550 who", "550 who"];
    let (said, outcome) = play(all(), &server);
    assert!(failed(&outcome, "550 after RCPT: who"), "{outcome:?}");
    assert!(!said.contains(&"DATA".to_owned()));
    let mut session = Session::new(all());
    for line in ["", "220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "550 who\r\n"] {
        session.step(line.as_bytes());
    }
    assert!(session.refusal().unwrap().contains("550"));
}

#[test]
fn addresses_beyond_ascii_need_a_server_that_takes_them() {
    let odd = || Letter { to: vec!["jörg@b.c".into()], ..letter(Security::Implicit) };
    assert!(failed(&play(odd(), &["220 mx", "250 mx"]).1, "ASCII"));
    let (said, _) = play(odd(), &["220 mx", "250-mx\n250 SMTPUTF8"]);
    assert_eq!(said, ["EHLO me", "MAIL FROM:<s@b.c> SMTPUTF8"]);
}

#[test]
fn replies_come_in_any_pieces_and_have_a_bound() {
    let mut session = Session::new(letter(Security::Implicit));
    for byte in b"220-mx\r\n220-more\r\n220 ready\r" {
        assert_eq!(session.step(&[*byte]), Step::Send(vec![]));
    }
    assert_eq!(session.step(b"\n"), Step::Send(b"EHLO me\r\n".to_vec()));
    for nonsense in ["HTTP/1.1 400 Bad Request", "2200 what", "220_x", "ü20 x", "999 x", ""] {
        let (_, outcome) = play(letter(Security::Implicit), &[nonsense]);
        assert!(retried(&outcome, "no mail server"), "{nonsense} {outcome:?}");
    }
    let mut session = Session::new(letter(Security::Implicit));
    let endless = b"220-and on it goes\r\n".repeat(2000);
    assert!(matches!(session.step(&endless), Step::Done(_, Outcome::Retry { .. })));
    assert!(matches!(Session::new(letter(Security::Implicit)).ended(), Outcome::Retry { .. }));
}
