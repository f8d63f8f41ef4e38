//! Lives of a node: each has its own runtime, on virtual time, and ends by its own will or by a crash.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use wasm_fn_control::{
    Access, Clock, ControlOptions,
    state::{ReleaseStrategy, StageKey},
};
use wasm_fn_core::{Revision, StageName};
use wasm_fn_router::{RouteTable, Salt};
use wasm_fn_secrets::NodeKey;
use wasm_fn_store::Blobs;

use arc_swap::ArcSwap;
use tokio::time::sleep;

use crate::{
    guest::{Guest, Node},
    host::{SimHost, SimStore},
    look,
    people::{self, SimControl, Wish},
    request::{self, Ask},
    scenario::Stop,
    world::World,
};

/// Requests of a seed after which nobody calls any more.
pub(crate) const REQUESTS_MAX: u64 = 2500;

/// Lives of a node in one seed.
const LIVES_MAX: u32 = 12;

/// Longest time that nothing is looked at.
const LOOK_EVERY_MS: u64 = 500;

/// The key of secrets, which the functions here do not have.
pub(crate) const SECRETS_KEY: &str = "wfk_0000000000000000000000000000000000000000000000000000000000000000";

/// After the last request: longer than any can take.
const DRAIN: Duration = Duration::from_secs(240);

/// What requests and people of one life share.
pub(crate) struct Plane {
    pub(crate) world: Arc<World>,
    pub(crate) tables: Arc<ArcSwap<RouteTable<Arc<Guest>>>>,
    pub(crate) folder: PathBuf,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Crashed,
    Restarted,
    Over,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Self::Crashed => "crash",
            Self::Restarted => "restart",
            Self::Over => "end",
        }
    }
}

/// One life.
struct Life {
    plane: Arc<Plane>,
    control: Arc<SimControl<SimStore>>,
    node: Arc<Node>,
    store: SimStore,
    revision: Revision,
}

/// Lets the node live until the scenario is over or something does not hold.
pub(crate) fn run(world: &Arc<World>) -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = SimStore { kept: Arc::default(), world: Arc::clone(world), healthy: false };
    let mut clock_ms = 1_000_000_000;
    for life in 1..=LIVES_MAX {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        let (down_ms, jump_ms) = if life == 1 { (0, 0) } else { between_lives(world) };
        clock_ms += down_ms;
        let shows_ms = clock_ms.saturating_add_signed(jump_ms);
        let began_ms = world.now_ms() + down_ms;
        let ending = runtime.block_on(async {
            world.begin(down_ms);
            world.say(format_args!("life {life} begins, its clock shows {shows_ms}"));
            let life = Life::open(world, &store, folder.path().to_owned(), shows_ms, life == LIVES_MAX).await;
            let ending = match life {
                Ok(life) => life.live().await,
                Err(what) => {
                    world.fault(what);
                    Ending::Over
                }
            };
            // The last look at the clock: without its runtime it is another.
            world.say(format_args!("the life ends: {ending:?}"));
            world.happened(ending.as_str());
            world.end();
            ending
        });
        drop(runtime);
        clock_ms = shows_ms + (world.now_ms() - began_ms);
        look::at_accounts(world);
        if ending == Ending::Over || world.found().is_some() {
            break;
        }
    }
    Ok(())
}

/// How long the node is down, and how far its clock jumps meanwhile, milliseconds.
fn between_lives(world: &World) -> (u64, i64) {
    let dice = &mut world.lock().dice;
    let hour = 3_600_000;
    (dice.within(1..=5000), dice.pick(&[0, 0, hour, -hour, 3000, -3000]))
}

impl Life {
    async fn open(
        world: &Arc<World>,
        store: &SimStore,
        folder: PathBuf,
        clock_ms: u64,
        last: bool,
    ) -> Result<Self, String> {
        let node = Node::new(Arc::clone(world));
        let salts = Arc::clone(world);
        let control = SimControl::open(ControlOptions {
            host: Arc::new(SimHost::new(Arc::clone(&node))),
            store: SimStore { healthy: last, ..store.clone() },
            blobs: Arc::new(Blobs::open(&folder, 1024).map_err(|error| error.to_string())?.in_place()),
            access: Access::only("wfn_sim".to_owned()),
            secrets_key: NodeKey::parse(SECRETS_KEY).expect("it is a key"),
            clock: Clock::showing(clock_ms),
            stage_rules: wasm_fn_control::state::StageRules::new(),
            salt: Box::new(move || {
                let dice = &mut salts.lock().dice;
                Salt([dice.bits(), dice.bits()])
            }),
            peers: None,
        });
        let control = control.await.map_err(|error| error.to_string())?;
        let plane = Plane { world: Arc::clone(world), tables: control.tables(), folder };
        let (plane, store) = (Arc::new(plane), store.clone());
        Ok(Self { plane, control, node, store, revision: Revision::default() })
    }

    /// Lives until something ends it.
    async fn live(mut self) -> Ending {
        let world = Arc::clone(&self.plane.world);
        let ending = tokio::select! {
            biased;
            () = world.crash.notified() => Ending::Crashed,
            ending = self.work() => ending,
        };
        if ending != Ending::Crashed {
            self.look();
            look::back(&world, &self.control, &self.store).await;
        }
        ending
    }

    async fn work(&mut self) -> Ending {
        let world = Arc::clone(&self.plane.world);
        let mut command_ms = self.next_command(world.now_ms());
        let mut load_ends_ms = 0;
        let loads: Vec<_> = world
            .scenario
            .loads
            .iter()
            .map(|load| {
                load_ends_ms += load.lasts_ms;
                (load_ends_ms, load.per_second)
            })
            .collect();
        let began_ms = world.now_ms();
        let stop = world.scenario.stops.range(began_ms..).next().map(|(at, stop)| (*at, *stop));
        let mut pauses: VecDeque<_> = world.scenario.pauses.iter().copied().collect();
        self.begin().await;
        while world.found().is_none() {
            let now_ms = world.now_ms();
            if let Some((_, stop)) = stop.filter(|(at, _)| *at <= now_ms) {
                if stop == Stop::Restart {
                    sleep(DRAIN).await;
                    return Ending::Restarted;
                }
                return Ending::Crashed;
            }
            if let Some(command) =
                pauses.front().filter(|(at_ms, _)| *at_ms <= now_ms).map(|(_, command)| *command)
            {
                pauses.pop_front();
                self.person(Some(Wish::Command(command)));
            }
            if now_ms >= command_ms {
                self.person(None);
                command_ms = self.next_command(now_ms);
            }
            let Some((_, per_second)) = loads.iter().find(|(ends_ms, _)| *ends_ms > now_ms) else { break };
            let mut wait_ms = LOOK_EVERY_MS;
            if *per_second > 0.0 && world.lock().requests.last() < REQUESTS_MAX {
                self.call();
                wait_ms = world.lock().dice.wait_ms(1000.0 / per_second).min(LOOK_EVERY_MS);
            }
            sleep(Duration::from_millis(wait_ms)).await;
            self.look();
        }
        sleep(DRAIN).await;
        Ending::Over
    }

    /// Has every function that does not exist deployed; in a quiet scenario, the canary after it.
    async fn begin(&self) {
        let world = &self.plane.world;
        let first = |component, strategy| Wish::Deploy { component, strategy, replace: false };
        for at in 0..world.scenario.functions.len() {
            let key = self.key(at);
            if self.control.state().function(&key.0).is_err() {
                let wish = first(0, ReleaseStrategy::AllAtOnce);
                people::wish(Arc::clone(&self.plane), Arc::clone(&self.control), key, wish).await;
            }
        }
        if world.scenario.quiet {
            // Some functions have a past, and some have none.
            if let Some(past) = world.scenario.past {
                self.warm(past).await;
            }
            let strategy = {
                let dice = &mut world.lock().dice;
                world.scenario.strategy(dice)
            };
            self.person(Some(first(1, strategy)));
        }
    }

    /// So many requests, one after the other's beginning.
    async fn warm(&self, requests: u64) {
        for _ in 0..requests {
            self.call();
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody wants something: `wish`, or anything.
    fn person(&self, wish: Option<Wish>) {
        let wish = wish.unwrap_or_else(|| Wish::draw(&self.plane));
        let key = self.any_key();
        tokio::spawn(people::wish(Arc::clone(&self.plane), Arc::clone(&self.control), key, wish));
    }

    fn next_command(&self, now_ms: u64) -> u64 {
        let world = &self.plane.world;
        let every_ms = world.scenario.command_every_ms;
        if every_ms.is_finite() { now_ms + world.lock().dice.wait_ms(every_ms) } else { u64::MAX }
    }

    /// Somebody calls a function.
    fn call(&self) {
        let (key, scenario) = (self.any_key(), &self.plane.world.scenario);
        let ask = Ask::draw(key, scenario, &mut self.plane.world.lock().dice);
        tokio::spawn(request::live(Arc::clone(&self.plane), ask));
    }

    /// Looks at what must hold at every moment.
    fn look(&mut self) {
        let world = &self.plane.world;
        look::at_node(world, &self.control, &self.node, &mut self.revision);
        let mut inner = world.lock();
        let now_ms = inner.now();
        let watched = inner.model.watch(now_ms);
        inner.held(watched);
    }

    fn any_key(&self) -> StageKey {
        let last = self.plane.world.scenario.functions.len() as u64 - 1;
        let at = self.plane.world.lock().dice.within(0..=last);
        self.key(usize::try_from(at).expect("an index fits"))
    }

    fn key(&self, at: usize) -> StageKey {
        (self.plane.world.scenario.functions[at].clone(), StageName::live())
    }
}
