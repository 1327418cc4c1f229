//! HTTP/1.1 over TLS, one thread for each connection, and what goes wrong on the way.

use super::answer::{Asked, answer, status};
use super::{Kube, Mishap};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Longest head and longest body of a request.
const BYTES_MAX: u64 = 1 << 20;

type Stream = BufReader<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>;

pub(super) fn accept(listener: &TcpListener, kube: &Kube) {
    for stream in listener.incoming().flatten() {
        let kube = kube.clone();
        // A client that goes away ends its connection: nothing to tell.
        let talk = move || talk(&kube, stream).ok();
        let _ = std::thread::Builder::new().name("kube connection".into()).spawn(talk);
    }
}

fn talk(kube: &Kube, stream: TcpStream) -> anyhow::Result<()> {
    let config = kube.state().tls.clone();
    let session = rustls::ServerConnection::new(config)?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(session, stream));
    loop {
        let Some(asked) = read(&mut stream)? else { return Ok(()) };
        let line = format!("{} {}", asked.method, asked.target);
        kube.state().asked.push(line.clone());
        match kube.due(&line) {
            None => {}
            Some(Mishap::Raced) => {
                let objects = &mut kube.state().objects;
                objects.version += 1;
                for deployment in objects.deployments.values_mut() {
                    deployment.version = objects.version;
                }
            }
            Some(Mishap::Status(code, retry)) => {
                let header = retry.map_or(String::new(), |seconds| format!("Retry-After: {seconds}\r\n"));
                let body = status(code, "Mishap", "as the test wants it").1.to_string();
                write(&mut stream, code, &header, &body)?;
                continue;
            }
            Some(Mishap::Body(body)) => {
                write(&mut stream, 200, "", &body)?;
                continue;
            }
            Some(Mishap::Redirect(to)) => {
                write(&mut stream, 307, &format!("Location: {to}\r\n"), "")?;
                continue;
            }
            Some(mishap) => return misbehave(&mut stream, &mishap),
        }
        let (code, body) = answer(kube, &asked);
        write(&mut stream, code, "", &body.to_string())?;
    }
}

/// What ends the connection, at the latest when the client has gone.
fn misbehave(stream: &mut Stream, mishap: &Mishap) -> anyhow::Result<()> {
    let out = stream.get_mut();
    match mishap {
        Mishap::HangInBody => out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"kind\": ")?,
        Mishap::Garbage => out.write_all(b"SSH-2.0-nothing\r\n\0\xff\r\n\r\n")?,
        Mishap::Endless => {
            out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
            loop {
                out.write_all(chunk.as_bytes())?;
            }
        }
        Mishap::EndlessHead => {
            out.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                out.write_all(b"X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")?;
            }
        }
        Mishap::Close => return Ok(()),
        _ => {}
    }
    out.flush()?;
    // Returns when the client closes.
    std::io::copy(stream, &mut std::io::sink())?;
    Ok(())
}

fn read(stream: &mut Stream) -> anyhow::Result<Option<Asked>> {
    let mut lines = Vec::new();
    let mut left = BYTES_MAX;
    loop {
        let mut line = String::new();
        let bytes = stream.by_ref().take(left).read_line(&mut line)?;
        left -= bytes as u64;
        if bytes == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut words = lines.first().context("a request line")?.split(' ').map(str::to_owned);
    let (method, target) = (words.next().context("a method")?, words.next().context("a target")?);
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: u64 = headers.get("content-length").map_or(Ok(0), |length| length.parse())?;
    ensure!(length <= BYTES_MAX, "a body of {length} bytes");
    let mut body = Vec::new();
    stream.by_ref().take(length).read_to_end(&mut body)?;
    let has_certificate = stream.get_ref().conn.peer_certificates().is_some();
    Ok(Some(Asked { method, target, headers, body, has_certificate }))
}

fn write(stream: &mut Stream, code: u16, headers: &str, body: &str) -> anyhow::Result<()> {
    let out = stream.get_mut();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {code} Test\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n");
    out.write_all(head.as_bytes())?;
    out.write_all(body.as_bytes())?;
    out.flush()?;
    Ok(())
}
