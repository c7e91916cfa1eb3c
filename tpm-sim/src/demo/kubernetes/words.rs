//! What somebody may try on a cluster that is kept.

use std::env;

use touchstone_tpm_sim::kubernetes::VARIABLE;

use super::Running;
use crate::demo::keep::INTERVAL;

/// Commands to copy, with their real paths.
pub(super) fn what_to_try(running: &Running) -> anyhow::Result<String> {
    let console = running.attestor.console();
    let (touchstone, operator) = (console.touchstone.display(), console.operator.display());
    let this = env::current_exe()?;
    let this = this.display();
    let again = running.attestor.again()?;
    let cluster = match &running.cluster {
        Some(cluster) => {
            let kubeconfig = cluster.kubeconfig()?;
            format!(
                "
  # the cluster; kubectl is beside the other programs of {VARIABLE}
  export KUBECONFIG={}
  kubectl get nodes
  kubectl get pods --all-namespaces --output wide
  kubectl --namespace payments describe pod api-us-1
",
                kubeconfig.display()
            )
        }
        None => format!(
            "
  # ask as an API server does
  {this} review node-de-1
  {this} review node-us-1
"
        ),
    };
    Ok(format!(
        "
It goes on running, and hosts attest every {INTERVAL} seconds. To try next:

  export TOUCHSTONE_OPERATOR={operator}
  {touchstone} host list
  {touchstone} node map node-de-5 de-5
{cluster}
  # if you stop the attestor, this starts it again
  {again}

To end it: {this} demo-stop (or make demo-stop)"
    ))
}
