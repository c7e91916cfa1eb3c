//! What somebody may try on a demo that is kept.

use std::env;
use std::path::{Display, Path};

use anyhow::Context as _;

use super::INTERVAL;
use crate::demo::encrypted;
use crate::demo::stages::Running;

/// Commands to copy, with their real paths.
pub(super) fn what_to_try(running: &Running, folder: &Path) -> anyhow::Result<String> {
    let console = running.attestor.console();
    let touchstone = console.touchstone.display();
    let operator = console.operator.display();
    let key = running.authority_key.display();
    let folder = folder.display();
    let this = env::current_exe()?;
    let this = this.display();
    let abroad = running.hosts.iter().find(|host| host.plan.name == "us-1");
    let state = abroad.context("the fleet has no us-1")?.machine.state();
    let state = state.display();
    let pid = running.attestor.pid();
    let pid = pid.context("the attestor has ended")?;
    let again = running.attestor.again()?;
    let interval = match running.containers {
        Some(_) => encrypted::INTERVAL,
        None => INTERVAL,
    };
    let images = match running.containers {
        Some(_) => images(&this),
        None => String::new(),
    };
    Ok(format!(
        "
It goes on running, and hosts attest every {interval} seconds. To try next:

  export TOUCHSTONE_OPERATOR={operator}
  {touchstone} host list
  {touchstone} host show de-2
  {touchstone} audit export --out {folder}/now.jsonl
  {touchstone} audit verify {folder}/now.jsonl

  # say that us-1 was carried to Germany: two rounds later, a minute at most, the pod is admitted there
  {this} review worker-us-1
  {touchstone} location tag --host us-1 --key {key} --country DE --site fra2
  {touchstone}-agent --state {state} status
  {this} review worker-us-1

  # edit the policy, and see what becomes of the hosts
  {touchstone} policy apply {folder}/germany-only.yaml
{images}
  # stop the attestor, see the hosts without it, and start it again: Ctrl-C ends it then
  kill {pid}
  {again}

To end it: {this} demo-stop (or make demo-stop)"
    ))
}

/// The same for encrypted images.
fn images(this: &Display<'_>) -> String {
    format!(
        "
  # encrypt an image with a key of its own, and run it: on de-1, and on us-1, which is refused
  {this} on operator touchstone key create first --policy payments
  {this} on build 'skopeo copy --encryption-key provider:touchstone:first docker://$REGISTRY/hello:v1 docker://$REGISTRY/first:v1'
  {this} on de-1 'podman run --decryption-key provider:touchstone:node $REGISTRY/first:v1'
  {this} on us-1 'podman run --decryption-key provider:touchstone:node $REGISTRY/first:v1'

  # take back the place of de-1, and see its images go
  {this} on operator touchstone location revoke --host de-1
  {this} on de-1 podman images
"
    )
}
