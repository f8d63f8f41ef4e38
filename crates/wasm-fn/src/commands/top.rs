//! `wasm-fn top`: the terminal, the keys and the node around the state in [`top`](crate::top).

use std::{io, time::Duration};

use futures_util::{StreamExt as _, stream};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use wasm_fn_api as api;

use super::{
    DONE, connect, functions,
    watch::{Functions, Known, RETRY, Statuses},
};
use crate::{
    args,
    client::{Client, ClientError},
    fault::Fault,
    output::{self, Look, Output, time},
    top::{Do, Key, Listed, Top, Wanted, draw},
};

/// Time between two requests for the status of functions, and between two pictures without news.
const PERIOD: Duration = Duration::from_secs(1);

/// Requests for the status of functions that are under way at a time.
const ASKED_MAX: usize = 8;

/// Events that wait to be drawn. Whoever sends more waits.
const WAITING_MAX: usize = 64;

/// How long the thread that reads the terminal waits before it looks whether it is still needed.
const POLL: Duration = Duration::from_millis(100);

/// What the node said.
enum News {
    /// All functions, as of a time in Unix milliseconds.
    List(Vec<Listed>, u64),
    /// One function.
    Status(Box<api::FunctionStatus>, u64),
    /// There is no such function any more.
    Gone(String),
    /// It did not answer.
    Away(String),
}

/// What happened at the terminal.
enum Input {
    Key(Key),
    Resized,
    /// There is no terminal any more.
    Closed,
}

pub(super) async fn run(args: args::Top, output: Output) -> Result<u8, Fault> {
    let args::Top { filter, sort, connection } = args;
    if output.is_json() {
        let cause = "found `-o json`, expected no format: it draws on a terminal";
        let fault = Fault::new("usage", "the functions cannot be shown", cause);
        return Err(fault.help("run `wasm-fn status -w -o json`"));
    }
    if !output::stdout_is_terminal() || !output::stdin_is_terminal() {
        let cause = "standard input and output are not both a terminal, expected one to draw on";
        let fault = Fault::new("no-terminal", "the functions cannot be shown", cause);
        return Err(fault.help("run `wasm-fn status -w`, which prints lines elsewhere"));
    }
    let client = connect(&connection)?;
    // What fails now fails like any other command, not on a screen that vanishes.
    let list = functions::all(&client, None).await;
    let list = list.map_err(|error| error.fault("the functions cannot be shown"))?;
    let filter = filter.unwrap_or_default();
    let mut top = Top::new(client.address().to_string(), filter, sort, Look::of_stdout().colours);
    let functions = list
        .functions
        .into_iter()
        .map(|summary| Listed::from(&Known { summary, latency_p50_ms: None, latency_p99_ms: None }));
    top.listed(functions.collect(), time::now_ms());
    let screen = Screen::take().map_err(|error| Fault::output(&error))?;
    shown(screen, top, &client).await?;
    Ok(DONE)
}

/// Shows `top` until the user quits.
async fn shown(mut screen: Screen, mut top: Top, client: &Client) -> Result<(), Fault> {
    let (wanted, wants) = watch::channel(top.wanted());
    let (sender, mut news) = mpsc::channel(WAITING_MAX);
    let (keys, mut inputs) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || read(&keys));
    let broken = |error: io::Error| Fault::output(&error);
    let mut terminated = signal(SignalKind::terminate()).map_err(broken)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(broken)?;
    let ui = async {
        loop {
            top.fits(screen.0.size().map_err(broken)?.height);
            let wants = top.wanted();
            wanted.send_if_modified(|wanted| {
                let is_new = *wanted != wants;
                *wanted = wants;
                is_new
            });
            screen.0.draw(|frame| draw(frame, &top)).map_err(broken)?;
            tokio::select! {
                Some(input) = inputs.recv() => match input {
                    Input::Key(key) => match top.key(key) {
                        Do::Draw => {}
                        Do::Quit => return Ok(()),
                    },
                    Input::Resized => {}
                    Input::Closed => return Ok(()),
                },
                Some(news) = news.recv() => match news {
                    News::List(list, at) => top.listed(list, at),
                    News::Status(status, at) => top.told(*status, at),
                    News::Gone(name) => top.gone(&name),
                    News::Away(why) => top.away(why),
                },
                _ = terminated.recv() => return Ok(()),
                _ = hung_up.recv() => return Ok(()),
            }
        }
    };
    tokio::select! {
        ended = ui => ended,
        fault = hear(client, wants, sender) => Err(fault),
    }
}

/// Tells what the node says, until it refuses for good.
async fn hear(client: &Client, wants: watch::Receiver<Wanted>, news: mpsc::Sender<News>) -> Fault {
    let error = tokio::select! {
        error = follow(client, &news) => error,
        error = ask(client, wants, &news) => error,
    };
    error.fault("the functions cannot be shown")
}

/// Follows all functions.
async fn follow(client: &Client, news: &mpsc::Sender<News>) -> ClientError {
    let mut functions = Functions::new(client);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = false;
    loop {
        // Rates fall without news.
        let next = tokio::select! {
            next = functions.next() => next.map(drop),
            _ = ticks.tick(), if heard => Ok(()),
        };
        match next {
            Ok(()) => {
                heard = true;
                let functions = functions.known().map(Listed::from).collect();
                tell(news, News::List(functions, time::now_ms())).await;
            }
            Err(error) if error.is_passing() => {
                heard = false;
                tell(news, News::Away(error.to_string())).await;
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return error,
        }
    }
}

/// Follows the function that is open, or asks for what only the status of a function says.
async fn ask(client: &Client, mut wants: watch::Receiver<Wanted>, news: &mpsc::Sender<News>) -> ClientError {
    let mut looks = tokio::time::interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let wanted = wants.borrow_and_update().clone();
        let asked = match &wanted {
            Wanted::Open(name) => tokio::select! {
                error = open(client, name, news) => Err(error),
                () = opened(&mut wants, &wanted) => Ok(()),
            },
            Wanted::Details(names) => details(client, names, news).await,
        };
        match asked {
            Ok(()) => {}
            Err(error) if error.is_passing() => tell(news, News::Away(error.to_string())).await,
            Err(error) => return error,
        }
        // A function that is opened is asked for at once.
        tokio::select! {
            _ = looks.tick() => {}
            () = opened(&mut wants, &wanted) => {}
        }
    }
}

/// Follows the function `name` until the node does not answer.
async fn open(client: &Client, name: &str, news: &mpsc::Sender<News>) -> ClientError {
    let mut statuses = Statuses::new(client, name);
    loop {
        match statuses.next().await {
            Ok(status) => tell(news, News::Status(Box::new(status), time::now_ms())).await,
            Err(error) if is_gone(&error) => {
                tell(news, News::Gone(name.to_owned())).await;
                // It is shown as deleted until the user leaves it.
                std::future::pending::<()>().await;
            }
            Err(error) => return error,
        }
    }
}

/// Asks for the status of each of `names`.
async fn details(client: &Client, names: &[String], news: &mpsc::Sender<News>) -> Result<(), ClientError> {
    let statuses = names.iter().map(|name| async move {
        let status = client.get::<api::FunctionStatus>(&format!("/v1/functions/{name}")).await;
        (name, status)
    });
    let mut statuses = stream::iter(statuses).buffer_unordered(ASKED_MAX);
    while let Some((name, status)) = statuses.next().await {
        let said = match status {
            Ok(status) => News::Status(Box::new(status), time::now_ms()),
            Err(error) if is_gone(&error) => News::Gone(name.clone()),
            Err(error) => return Err(error),
        };
        tell(news, said).await;
    }
    Ok(())
}

fn is_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if problem.code == "no-such-function")
}

/// Nobody listens once the user has quit.
async fn tell(news: &mpsc::Sender<News>, said: News) {
    let _ = news.send(said).await;
}

/// Waits until another function is opened, or none any more.
async fn opened(wants: &mut watch::Receiver<Wanted>, before: &Wanted) {
    let is_other = |wanted: &Wanted| wanted.open() != before.open();
    if wants.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl From<&Known> for Listed {
    fn from(known: &Known) -> Self {
        let api::FunctionSummary { function, stages, .. } = &known.summary;
        let canary = |stage: &api::StageSummary| {
            let canary = stage.canary.as_ref()?;
            let on = if stage.stage == "live" { String::new() } else { format!("@{}", stage.stage) };
            let share = stage.split.iter().find(|share| share.version == *canary);
            let share = share.map(|share| format!(" {}", share.weight)).unwrap_or_default();
            Some(format!("{canary}{on}{share}"))
        };
        Self {
            function: function.clone(),
            requests: stages.iter().map(|stage| stage.requests).sum(),
            failures: stages.iter().map(|stage| stage.failures).sum(),
            latency_p50_ms: known.latency_p50_ms,
            latency_p99_ms: known.latency_p99_ms,
            canaries: stages.iter().filter_map(canary).collect(),
        }
    }
}

/// Reads the terminal until nobody listens.
fn read(keys: &mpsc::Sender<Input>) {
    loop {
        let input = match event::poll(POLL)
            .and_then(|found| if found { event::read().map(Some) } else { Ok(None) })
        {
            Ok(Some(Event::Key(key))) => self::key(key).map(Input::Key),
            Ok(Some(Event::Resize(..))) => Some(Input::Resized),
            Ok(_) => None,
            Err(_) => Some(Input::Closed),
        };
        let is_over = matches!(input, Some(Input::Closed));
        if input.is_some_and(|input| keys.blocking_send(input).is_err()) || is_over || keys.is_closed() {
            return;
        }
    }
}

/// What a key means, if it means something.
fn key(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => Key::Interrupt,
        KeyCode::Char(_) if is_control => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

/// The terminal in raw mode, with a screen of its own. Dropping it gives the terminal back as it was; so does
/// a panic, before its message.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Twice would overwrite the message of the panic.
        if !std::thread::panicking() {
            ratatui::restore();
        }
    }
}

#[cfg(test)]
mod tests;
