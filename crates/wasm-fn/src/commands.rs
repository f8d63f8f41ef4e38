//! The commands.

mod access;
mod address;
mod backup;
mod cluster;
mod completions;
mod config;
mod deploy;
mod doctor;
mod events;
mod everywhere;
mod explain;
mod functions;
mod identity;
mod invoke;
mod kv;
mod logs;
mod man;
mod preview;
mod project;
mod secrets;
mod serve;
mod status;
mod top;
mod traffic;
mod watch;

pub(crate) use completions::complete;

use crate::{
    args::{self, Command, Format},
    client::Client,
    config::Connection,
    demo,
    fault::Fault,
    output::Output,
    telemetry,
};

/// Exit code of a command that succeeded.
const DONE: u8 = 0;

impl Command {
    /// The format of this command's data and errors.
    pub(crate) fn format(&self) -> Format {
        let connection: &args::Connection = match self {
            Self::Serve(_) | Self::Demo(_) | Self::Completions(_) | Self::Hook(_) | Self::Man(_) => {
                return Format::Table;
            }
            Self::Explain(args) => return args.output,
            Self::Doctor(args) => return args.output,
            Self::New(_) | Self::Build(_) => return Format::Table,
            Self::Test(args) => return args.output,
            Self::Dev(args) => &args.connection,
            Self::Restore(args) => return args.output,
            Self::Push(args) => return args.output,
            Self::Backup(args) => &args.connection,
            Self::Cluster(args) => match &args.command {
                args::ClusterCommand::Init(args) => return args.output,
                args::ClusterCommand::Import(args) => return args.init.output,
                args::ClusterCommand::Export(args) => return args.output,
                args::ClusterCommand::Status(args) | args::ClusterCommand::Leave(args) => &args.connection,
                args::ClusterCommand::Drain(args) => &args.connection,
            },
            Self::Config(args) => {
                let args::ConfigCommand::Check(args) = &args.command;
                return args.output;
            }
            Self::Deploy(args) => &args.release.connection,
            Self::PromoteStage(args) => &args.release.connection,
            Self::Status(args) => &args.connection,
            Self::Top(args) => &args.connection,
            Self::Versions(args) => &args.connection,
            Self::Traffic(args) => &args.change.connection,
            Self::Promote(args) => &args.change.connection,
            Self::Pause(args) | Self::Resume(args) | Self::Approve(args) | Self::Reject(args) => {
                &args.connection
            }
            Self::Abort(args) => &args.change.connection,
            Self::Rollback(args) => &args.change.connection,
            Self::History(args) => &args.connection,
            Self::Invoke(args) => &args.connection,
            Self::Preview(args) => &args.connection,
            Self::Logs(args) => &args.connection,
            Self::Functions(args) => &args.connection,
            Self::Delete(args) => &args.connection,
            Self::Secrets(args) => match &args.command {
                args::SecretsCommand::Set(args) => &args.connection,
                args::SecretsCommand::Import(args) => &args.connection,
                args::SecretsCommand::List(args) => &args.connection,
                args::SecretsCommand::Delete(args) => &args.connection,
                args::SecretsCommand::RotateKey(args) => &args.connection,
            },
            Self::Kv(args) => args.command.connection(),
            Self::Login(args) => &args.connection,
            Self::Logout(args) => &args.connection,
            Self::Whoami(args) => &args.connection,
            Self::Triggers(args) => args.command.connection(),
            Self::Events(args) => args.command.connection(),
            Self::Tokens(args) => match &args.command {
                args::TokensCommand::Create(args) => &args.connection,
                args::TokensCommand::List(args) | args::TokensCommand::Show(args) => &args.connection,
                args::TokensCommand::Rotate(args) => &args.connection,
                args::TokensCommand::Revoke(args) => &args.connection,
            },
            Self::Audit(args) => match &args.command {
                None => &args.connection,
                Some(args::AuditCommand::Verify(args)) => &args.connection,
                Some(args::AuditCommand::Head(args)) => &args.connection,
            },
        };
        connection.output
    }
}

/// Runs `command` and returns its exit code.
pub(crate) fn run(command: Command) -> Result<u8, Fault> {
    match command {
        Command::Serve(args) => {
            let telemetry = telemetry::start_of_node(&args.log)?;
            // A node uses every core; a client waits for one answer.
            block_on(tokio::runtime::Builder::new_multi_thread(), serve::run(args, telemetry))
        }
        Command::Demo(args) => {
            node_of_ours(&args.log)?;
            let tour = demo::demo(args, Output::new(Format::Table));
            block_on(tokio::runtime::Builder::new_multi_thread(), async { tour.await.map(|()| DONE) })
        }
        Command::New(args) => project::new::run(&args),
        Command::Build(args) => project::build::run(&args.of),
        Command::Dev(args) => {
            let output = Output::new(args.connection.output);
            node_of_ours(&args.log)?;
            block_on(tokio::runtime::Builder::new_multi_thread(), project::dev::run(args, output))
        }
        Command::Test(args) => {
            let output = Output::new(args.output);
            node_of_ours(&args.log)?;
            block_on(tokio::runtime::Builder::new_multi_thread(), project::test::run(args, output))
        }
        Command::Completions(args) => completions::run(&args),
        Command::Explain(args) => {
            let output = Output::new(args.output);
            explain::run(&args, output)
        }
        Command::Man(args) => man::run(&args),
        Command::Config(args) => config::run(args),
        Command::Hook(args) => deploy::hook::run(&args),
        command => block_on(tokio::runtime::Builder::new_current_thread(), client(command)),
    }
}

/// Starts the log of a node inside of a command. The command says what happens; the node logs only when
/// something is wrong.
fn node_of_ours(log: &args::Log) -> Result<(), Fault> {
    let mut log = log.clone();
    log.log.get_or_insert_with(|| "warn".to_owned());
    telemetry::start(&log)
}

fn block_on(
    mut runtime: tokio::runtime::Builder,
    command: impl Future<Output = Result<u8, Fault>>,
) -> Result<u8, Fault> {
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| Fault::new("system", "the program did not start", error))?;
    runtime.block_on(command)
}

async fn client(command: Command) -> Result<u8, Fault> {
    let (output, everywhere) = (Output::new(command.format()), everywhere::wanted(&command));
    let code = Box::pin(run_client(command, output)).await?;
    if let Some(connection) = everywhere {
        everywhere::wait(&connection, output).await?;
    }
    Ok(code)
}

async fn run_client(command: Command, output: Output) -> Result<u8, Fault> {
    match command {
        Command::Doctor(args) => doctor::run(args, output).await,
        Command::Backup(args) => backup::backup(args, output).await,
        Command::Cluster(args) => cluster::run(args, output).await,
        Command::Restore(args) => backup::restore(args, output).await,
        Command::Deploy(args) => deploy::run(args, output).await,
        Command::Push(args) => deploy::push::run(args, output).await,
        Command::PromoteStage(args) => deploy::promote_stage(args, output).await,
        Command::Status(args) => status::run(args, output).await,
        Command::Top(args) => top::run(args, output).await,
        Command::Versions(args) => functions::versions(args, output).await,
        Command::Traffic(args) => traffic::traffic(args, output).await,
        Command::Promote(args) => traffic::promote(args, output).await,
        Command::Pause(args) => traffic::pause(args, output).await,
        Command::Resume(args) => traffic::resume(args, output).await,
        Command::Approve(args) => access::approvals::approve(args, output).await,
        Command::Reject(args) => access::approvals::reject(args, output).await,
        Command::Abort(args) => traffic::abort(args, output).await,
        Command::Rollback(args) => traffic::rollback(args, output).await,
        Command::History(args) => functions::history(args, output).await,
        Command::Invoke(args) => invoke::run(args, output).await,
        Command::Preview(args) => preview::run(args, output).await,
        Command::Logs(args) => logs::run(args, output).await,
        Command::Functions(args) => functions::list(args, output).await,
        Command::Delete(args) => functions::delete(args, output).await,
        Command::Secrets(args) => secrets::run(args, output).await,
        Command::Kv(args) => kv::run(args, output).await,
        Command::Login(args) => identity::login::run(args, output).await,
        Command::Logout(args) => identity::logout::run(args, output).await,
        Command::Whoami(args) => identity::whoami(args, output).await,
        Command::Triggers(args) => events::triggers::run(args, output).await,
        Command::Events(args) => events::inbox::run(args, output).await,
        Command::Tokens(args) => access::tokens::run(args, output).await,
        Command::Audit(args) => access::audit::run(args, output).await,
        Command::Serve(_)
        | Command::Demo(_)
        | Command::New(_)
        | Command::Build(_)
        | Command::Dev(_)
        | Command::Test(_)
        | Command::Completions(_)
        | Command::Config(_)
        | Command::Explain(_)
        | Command::Man(_)
        | Command::Hook(_) => {
            unreachable!("these commands do not talk to a node and were run before")
        }
    }
}

/// Creates a client of the node in `args`.
fn connect(args: &args::Connection) -> Result<Client, Fault> {
    Connection::resolve(args).map(Client::new)
}
