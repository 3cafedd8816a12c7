//! As much of HTTP/1.1 as a webhook and its receiver need: one message each way, then the
//! connection is closed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long either side waits for the other.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// No message is longer.
const LIMIT: u64 = 64 << 10;

/// A request or an answer.
pub struct Message {
    /// Its first line.
    pub start: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// The value of a header; `name` in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Reads one from a connection.
    pub fn read(from: &TcpStream) -> io::Result<Message> {
        let mut from = BufReader::new(from.take(LIMIT));
        let mut message =
            Message { start: line(&mut from)?, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = line(&mut from)?;
            let Some((name, value)) = line.split_once(':') else { break };
            message.headers.push((name.to_ascii_lowercase(), value.trim().into()));
        }
        let length = message.header("content-length").and_then(|text| text.parse().ok());
        let length: u64 = length.unwrap_or(0);
        from.take(length).read_to_end(&mut message.body)?;
        if message.body.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(message)
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(whole) => Ok(whole.trim_end().to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Sends `body` to `address`, with these headers; the status it is answered with.
pub fn post(address: SocketAddr, headers: &[(&str, &str)], body: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    set_patience(&stream)?;
    let mut request = format!("POST / HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes())?;
    let answer = Message::read(&stream)?;
    let status = answer.start.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::other(format!("not an answer: {}", answer.start)))
}

/// Answers a request with a status and nothing else.
pub fn answer(mut stream: &TcpStream, status: u16) -> io::Result<()> {
    let reason = match status {
        204 => "No Content",
        400 => "Bad Request",
        _ => "Service Unavailable",
    };
    let answer = format!("HTTP/1.1 {status} {reason}\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes())
}

/// Lets no read or write wait for ever.
pub fn set_patience(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}
