//! Completions and the manual, made from the command itself.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Answer, Cli, output};

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  meridian completions bash > /etc/bash_completion.d/meridian
  meridian completions zsh > ~/.zfunc/_meridian";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  meridian man | man -l -
  meridian man explain > meridian-explain.1";

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// The page of one verb
    verb: Option<String>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Answer {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meridian", &mut text);
    output::raw(&text);
    Answer::Yes
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<Answer> {
    let mut command = Cli::command();
    command.build();
    if let Some(name) = &args.verb {
        let verb = command
            .find_subcommand(name)
            .filter(|verb| !verb.is_hide_set())
            .ok_or_else(|| anyhow::anyhow!("there is no verb `{name}`; see meridian --help"))?;
        command = verb.clone();
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    output::raw(&text);
    Ok(Answer::Yes)
}
