//! Decides how the tests speak HTTP: by hand, over one connection a request, so that nothing of a client's habits is in
//! between. It never hides a byte of an answer.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Names of a list's items.
    pub(crate) fn names(&self) -> Vec<String> {
        let items = self.json()["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Sends a request and reads the whole answer.
pub(crate) fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = Stream::open(to, method, path, headers, body);
    let mut text = String::new();
    while let Some(part) = stream.part() {
        text.push_str(&String::from_utf8_lossy(&part));
    }
    Answer {
        code: stream.code,
        head: stream.head,
        text,
    }
}

pub(crate) fn get(to: SocketAddr, path: &str) -> Answer {
    send(to, "GET", path, &[], "")
}

pub(crate) fn post(to: SocketAddr, path: &str, body: &Value) -> Answer {
    send(
        to,
        "POST",
        path,
        &[("Content-Type", "application/json")],
        &body.to_string(),
    )
}

pub(crate) fn patch(to: SocketAddr, path: &str, kind: &str, body: &Value) -> Answer {
    send(to, "PATCH", path, &[("Content-Type", kind)], &body.to_string())
}

/// An answer that is read piece by piece.
pub(crate) struct Stream {
    pub(crate) code: u16,
    pub(crate) head: String,
    reader: BufReader<TcpStream>,
    chunked: bool,
    left: usize,
    rest: Vec<u8>,
    /// The connection ended without the last chunk.
    pub(crate) cut: bool,
}

impl Stream {
    pub(crate) fn open(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: standin\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(text.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(
                reader.read_line(&mut head).unwrap() > 0,
                "the connection ended within the head: {head}"
            );
        }
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = head.to_ascii_lowercase();
        let chunked = lower.contains("transfer-encoding: chunked");
        let length = lower
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.trim().parse().ok());
        Self {
            code,
            head,
            reader,
            chunked,
            left: length.unwrap_or(0),
            rest: Vec::new(),
            cut: false,
        }
    }

    pub(crate) fn watch(to: SocketAddr, path: &str) -> Self {
        let stream = Self::open(to, "GET", path, &[], "");
        assert_eq!(stream.code, 200, "{}", stream.head);
        stream
    }

    /// The next bytes; none at the end.
    fn part(&mut self) -> Option<Vec<u8>> {
        if self.chunked {
            let mut size = String::new();
            self.reader.read_line(&mut size).unwrap_or(0);
            match usize::from_str_radix(size.trim(), 16) {
                Ok(0) => return None,
                Ok(size) => self.left = size + 2,
                Err(_) => {
                    self.cut = true;
                    return None;
                }
            }
        }
        if self.left == 0 {
            return None;
        }
        let mut bytes = vec![0; std::mem::take(&mut self.left)];
        self.reader.read_exact(&mut bytes).unwrap();
        if self.chunked {
            bytes.truncate(bytes.len() - 2);
        }
        Some(bytes)
    }

    /// The next line, also half a one before the end.
    pub(crate) fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.drain(..=end).collect::<Vec<u8>>();
                return Some(line[..end].to_vec());
            }
            match self.part() {
                Some(part) => self.rest.extend(part),
                None if self.rest.is_empty() => return None,
                None => return Some(std::mem::take(&mut self.rest)),
            }
        }
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Option<Value> {
        let line = self.line()?;
        Some(
            serde_json::from_slice(&line).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&line))),
        )
    }

    /// The next event in short: `ADDED name`.
    pub(crate) fn short(&mut self) -> String {
        let Some(event) = self.event() else { return "end".into() };
        let object = &event["object"];
        let name = object["metadata"]["name"]
            .as_str()
            .map_or_else(|| object["code"].to_string(), str::to_owned);
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}
