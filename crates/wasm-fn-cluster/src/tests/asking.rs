//! Questions of one node to another, over a real broker.

use bytes::Bytes;
use tokio::time::timeout;

use super::{PATIENCE, Server, make, options};
use crate::{ANSWER_BYTES_MAX, Cluster, QUESTION_BYTES_MAX, QuestionError};

/// Two nodes that hear each other's questions.
async fn pair(server: &Server) -> [Cluster; 2] {
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let nodes = ["a", "b"].map(|node| Cluster::start(options(&brokers, node)).unwrap());
    for node in &nodes {
        timeout(PATIENCE, node.joined()).await.unwrap().unwrap();
    }
    nodes
}

/// Asks `to` until it hears, and gives what it answers with `answer`.
async fn ask(from: &Cluster, to: &Cluster, answer: &Bytes) -> Bytes {
    let asked = async {
        for id in 0_u32.. {
            let id = format!("{id:08x}");
            let question = Bytes::from(format!("question {id}"));
            let asked = from.questions().ask(&id, to.instance(), question.clone());
            // What nobody hears yet is lost.
            if let Ok(Ok(answer)) = timeout(PATIENCE / 40, asked).await {
                return answer;
            }
        }
        unreachable!("there are more numbers")
    };
    let answering = async {
        loop {
            let question = to.questions().hear().await;
            assert_eq!(question.from, from.instance());
            assert_eq!(question.body, format!("question {}", question.id).as_bytes());
            to.questions().answer(&question.id, &question.from, answer);
        }
    };
    tokio::select! {
        answer = timeout(PATIENCE, asked) => answer.unwrap(),
        () = answering => unreachable!("it answers without end"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn question_is_answered_by_the_node_that_is_asked() {
    let Some(mut server) = Server::start("question_is_answered_by_the_node_that_is_asked") else { return };
    let [a, b] = pair(&server).await;
    for (number, size) in [0, 1, 300 << 10, ANSWER_BYTES_MAX].into_iter().enumerate() {
        let answer: Bytes = vec![u8::try_from(number).unwrap(); size].into();
        assert_eq!(ask(&a, &b, &answer).await, answer, "{size} bytes");
    }
    server.restart();
    let answer = Bytes::from_static(b"again");
    assert_eq!(ask(&b, &a, &answer).await, answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn question_that_cannot_be_asked_says_why() {
    let Some(mut server) = Server::start("question_that_cannot_be_asked_says_why") else { return };
    let [a, b] = pair(&server).await;
    let long = Bytes::from(vec![0; QUESTION_BYTES_MAX + 1]);
    let found = a.questions().ask("0", b.instance(), long).await;
    assert_eq!(found, Err(QuestionError::TooLong { found: QUESTION_BYTES_MAX + 1 }));
    server.kill();
    let lost = async {
        loop {
            let asked = a.questions().ask("0", b.instance(), Bytes::new());
            if let Ok(Err(error)) = timeout(PATIENCE / 40, asked).await {
                return error;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, lost).await.unwrap(), QuestionError::NotSent);
}
