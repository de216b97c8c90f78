//! `auth`: log in, log out, and show the stored logins.

mod import;
mod login;
mod logout;
mod shared;
mod status;
mod token;

use super::{Context, Exit};
use crate::cli::{AuthArgs, AuthCommand};
use crate::error::Result;

/// Runs a subcommand; `login` if none is named.
///
/// # Errors
/// Those of the subcommand.
pub async fn run(context: &Context, args: AuthArgs) -> Result<Exit> {
    match args.command {
        None => Box::pin(login::run(context, args.login)).await,
        Some(AuthCommand::Login(args)) => Box::pin(login::run(context, *args)).await,
        Some(AuthCommand::Logout(args)) => logout::run(context, args).await,
        Some(AuthCommand::Status(args)) => status::run(context, args).await,
        Some(AuthCommand::Token(args)) => Box::pin(token::run(context, args)).await,
        Some(AuthCommand::Import(args)) => import::run(context, args).await,
    }
}
