//! Endpoints that say who they are, and what becomes of a stream in words.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::people::Identity;

/// Nothing in these tests takes longer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Everything until the end, and how that is.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut all)).await;
    let end = match read {
        Err(_) => " (open)",
        Ok(Ok(_)) => " (end)",
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => " (reset)",
        Ok(Err(_)) => " (broken)",
    };
    String::from_utf8_lossy(&all).into_owned() + end
}

/// So many bytes, or all until the end.
pub async fn some(stream: &mut (impl AsyncRead + Unpin), length: usize) -> String {
    let mut all = vec![0; length];
    match tokio::time::timeout(LIMIT, stream.read_exact(&mut all)).await {
        Ok(Ok(_)) => String::from_utf8_lossy(&all).into_owned(),
        _ => "(nothing)".to_owned(),
    }
}

/// The stream's end will be a reset.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Serves every connection; returns the port.
pub async fn serve<F, D>(serve: F) -> u16
where
    F: Fn(TcpStream) -> D + Send + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// Says its name, then all that it hears, and `!` at the end.
pub async fn echo(name: &'static str) -> u16 {
    serve(move |mut stream| async move {
        let _ = stream.write_all(name.as_bytes()).await;
        let (mut read, mut write) = stream.split();
        if tokio::io::copy(&mut read, &mut write).await.is_ok() {
            let _ = write.write_all(b"!").await;
            let _ = write.shutdown().await;
        }
    })
    .await
}

/// The same, in TLS; it says for which name it was asked, too.
pub async fn tls_echo(name: &'static str, identity: &Identity) -> u16 {
    let acceptor = TlsAcceptor::from(identity.server());
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let asked = stream.get_ref().1.server_name().unwrap_or("-").to_ascii_lowercase();
            let _ = stream.write_all(format!("{name} {asked}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

/// Answers each datagram with its name and the datagram.
pub async fn udp_echo(name: &'static str) -> u16 {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let answer = [name.as_bytes(), b" ", &buffer[..length]].concat();
            let _ = socket.send_to(&answer[..answer.len().min(65_000)], from).await;
        }
    });
    port
}
