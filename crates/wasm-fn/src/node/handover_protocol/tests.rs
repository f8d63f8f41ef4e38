//! Both ends of a handover socket in one process.

use super::*;

#[test]
fn sockets_and_data_directory_arrive_as_they_were_sent() {
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let address = |socket: &TcpListener| socket.local_addr().unwrap();
    for redirect in [None, Some(listener())] {
        let (old, new) = UnixStream::pair().unwrap();
        let sockets = Sockets { http: listener(), admin: listener(), redirect };
        let data_dir = Path::new("/data with spaces");
        send(&old, &sockets, data_dir).unwrap();
        let (received, path) = receive(&new).unwrap();
        assert_eq!(address(&received.http), address(&sockets.http));
        assert_eq!(address(&received.admin), address(&sockets.admin));
        assert_eq!(received.redirect.as_ref().map(address), sockets.redirect.as_ref().map(address));
        assert_eq!(path, data_dir);
    }
}

#[test]
fn line_without_sockets_is_refused() {
    use std::io::Write as _;
    let (mut old, new) = UnixStream::pair().unwrap();
    assert_eq!(receive(&new).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    old.write_all(b"/data\n").unwrap();
    assert_eq!(receive(&new).unwrap_err().to_string(), "received 0 descriptors, expected 2 or 3");
}

#[tokio::test]
async fn words_out_of_order_and_the_end_are_told_apart() {
    let (old, new) = UnixStream::pair().unwrap();
    let (mut old, mut new) = (HandoverChannel::new(old).unwrap(), HandoverChannel::new(new).unwrap());
    new.send(Message::Prepared).await.unwrap();
    new.send(Message::Working).await.unwrap();
    assert!(old.expect_message(Message::Prepared).await.unwrap());
    assert!(!old.expect_message(Message::Prepared).await.unwrap(), "it takes longer");
    new.send(Message::Prepared).await.unwrap();
    let error = old.expect_message(Message::Serving).await.unwrap_err();
    assert_eq!(error.to_string(), "received 'p', expected Serving");
    drop(new);
    assert_eq!(old.expect_message(Message::Serving).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
