//! The limit takes the certificate, and only those who were told of it trust it.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use rustls::{ServerConnection, StreamOwned};

use super::{Certificate, server};

/// What a client that trusts `trusted` reads from a server that shows `shown`.
fn read(trusted: &Certificate, shown: &Certificate) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = Arc::new(server(&shown.path(), &shown.key()).unwrap());
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        stream.write_all(b"hi")?;
        stream.conn.send_close_notify();
        stream.flush()
    });
    let mut client = trusted.client(address, std::net::TcpStream::connect(address)?).unwrap();
    let mut text = String::new();
    let read = client.read_to_string(&mut text).map(|_len| text);
    drop(client);
    // It sees an error when the client does.
    let _served = serving.join().unwrap();
    read
}

#[test]
fn client_trusts_the_certificate_that_it_was_told_of_and_no_other() {
    let [told, other] = [Certificate::new().unwrap(), Certificate::new().unwrap()];
    assert_eq!(read(&told, &told).unwrap(), "hi");
    let refused = read(&told, &other).unwrap_err().to_string();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}
