//! Facts about where work runs, and about the queue before it.

use std::{future::Future, pin::pin, sync::mpsc, task::Poll};

use super::*;

async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    let mut future = future;
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[tokio::test]
async fn work_runs_on_threads_that_give_way() {
    let compiler = Compiler::new();
    let own = rustix::process::getpriority_process(None).unwrap();
    let (name, nice) = compiler
        .run(|| {
            let name = thread::current().name().map(str::to_owned);
            (name, rustix::process::getpriority_process(None).unwrap())
        })
        .await
        .unwrap();
    assert!(name.unwrap().starts_with("compile-"));
    assert_eq!(nice, own.max(NICE));
    assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
}

#[tokio::test]
async fn panic_ends_only_its_own_work() {
    let compiler = Compiler::new();
    let panicked = compiler.run(|| panic!("on purpose")).await;
    assert!(matches!(panicked, Err(CompilerError::Panicked)), "{panicked:?}");
    assert_eq!(compiler.run(|| 1).await.unwrap(), 1);
}

#[tokio::test]
async fn queue_is_bounded_and_whoever_leaves_it_makes_room() {
    let compiler = Compiler::new();
    let (release, held) = mpsc::sync_channel::<()>(1);
    let mut holding = pin!(compiler.run(move || held.recv()));
    assert!(poll_once(holding.as_mut()).await.is_pending());
    let other = Compiler { admitted: compiler.admitted.clone(), turns: Arc::new(Semaphore::new(0)) };
    let mut waiting: Vec<_> = (1..ADMITTED_MAX).map(|_| Box::pin(other.run(|| ()))).collect();
    for waiting in &mut waiting {
        assert!(poll_once(waiting.as_mut()).await.is_pending());
    }
    assert!(matches!(compiler.run(|| ()).await, Err(CompilerError::Full)));
    waiting.pop();
    let mut next = Box::pin(other.run(|| ()));
    assert!(poll_once(next.as_mut()).await.is_pending());
    release.send(()).unwrap();
    holding.await.unwrap().unwrap();
}
