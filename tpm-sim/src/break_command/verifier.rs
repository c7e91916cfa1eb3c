//! Whom the lies are told to: an attestor of our own, one that runs, or any verifier that gave a join token.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use touchstone_evidence::wire::JoinToken;
use touchstone_tpm_sim::lies::Cast;

use crate::attestor::{Attestor, Console, Credential};
use crate::cli::Break;
use crate::process;

const POLICY: &str = include_str!("../../../policies/samples/germany-only/policy.yaml");
/// Beside it, for the host that lies about what ran.
const RUNTIME_POLICY: &str = "---
apiVersion: touchstone.dev/v1
kind: HostPolicy
metadata:
  name: runtime
spec:
  hosts: [runtime-1]
  freshnessSeconds: 300
  runtime:
    violations: refused
";

/// The policy under which every lie shows: one `HostPolicy` for each host, as two for one are ambiguous.
pub(super) fn policy() -> String {
    let others = "hosts: [\"liar-*\", \"applicant-*\", \"foreign-*\"]";
    POLICY.replacen("hosts: [\"*\"]", others, 1) + RUNTIME_POLICY
}

/// The server that the lies go to, if it is one that runs already.
pub(super) fn server(options: &Break) -> anyhow::Result<Option<String>> {
    Ok(match (&options.join_token, &options.operator) {
        (Some(file), _) => Some(read_token(file)?.server.clone()),
        (None, Some(operator)) => Some(Credential::read(operator)?.server),
        (None, None) => None,
    })
}

/// A verifier that knows the machines of the cast.
pub(super) struct Verifier {
    token: JoinToken,
    own: Option<Attestor>,
}

impl Verifier {
    /// The one that the options mean; an attestor is told about the machines first.
    pub(super) async fn of(options: &Break, place: &Path, cast: &Cast) -> anyhow::Result<Self> {
        if let Some(file) = &options.join_token {
            let token = read_token(file)?;
            return Ok(Self { token, own: None });
        }
        if let Some(operator) = &options.operator {
            let console = Console {
                touchstone: process::sibling("touchstone")?,
                operator: operator.clone(),
            };
            check_ready(&console, cast).await?;
            let token = introduce(&console, place, cast).await?;
            return Ok(Self { token, own: None });
        }
        let attestor =
            Attestor::start(&place.join("attestor"), &place.join("attestor.log")).await?;
        let file = place.join("policy.yaml");
        fs::write(&file, policy())?;
        let console = attestor.console();
        console.run(&[&"policy", &"apply", &file]).await?;
        let token = introduce(console, place, cast).await?;
        Ok(Self {
            token,
            own: Some(attestor),
        })
    }

    /// With which hosts enrol.
    pub(super) fn token(&self) -> &JoinToken {
        &self.token
    }

    /// Ends an attestor of our own.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self.own {
            Some(attestor) => attestor.stop().await,
            None => Ok(()),
        }
    }
}

/// Nothing is changed at an attestor at which it would not lead to the end.
async fn check_ready(console: &Console, cast: &Cast) -> anyhow::Result<()> {
    console.run(&[&"policy", &"show"]).await.context(
        "the attestor has no policy, so no honest round is affirming; next: tpm-sim break --policy > lies.yaml; touchstone policy apply lies.yaml",
    )?;
    let there = console.run(&[&"inventory", &"list"]).await?.to_string();
    let known = cast.parts().iter().map(|part| part.role.name);
    let known: Vec<_> = known
        .filter(|name| there.contains(&format!("\"{name}\"")))
        .collect();
    ensure!(
        known.is_empty(),
        "machines of an earlier run are in the inventory; next: touchstone inventory remove, for each of {}",
        known.join(", ")
    );
    Ok(())
}

/// What an operator does, done with the operator's command.
async fn introduce(console: &Console, place: &Path, cast: &Cast) -> anyhow::Result<JoinToken> {
    let key = place.join("location-authority.key");
    let _before = fs::remove_file(&key);
    console
        .run(&[
            &"endorsement",
            &"import",
            &"--class",
            &"simulator",
            &cast.roots(),
        ])
        .await?;
    console
        .run(&[&"location", &"authority", &"create", &"--key", &key])
        .await?;
    for part in cast.parts() {
        let name = part.role.name;
        if part.role.in_inventory {
            let [rsa, ecc] = part.ek_certificates();
            let add: [&dyn AsRef<OsStr>; 8] = [
                &"inventory",
                &"add",
                &"--host",
                &name,
                &"--ek-certificate",
                &rsa,
                &"--ek-certificate",
                &ecc,
            ];
            console.run(&add).await?;
        }
        if part.role.tagged {
            let tag: [&dyn AsRef<OsStr>; 10] = [
                &"location",
                &"tag",
                &"--host",
                &name,
                &"--key",
                &key,
                &"--country",
                &"DE",
                &"--site",
                &"fra1",
            ];
            console.run(&tag).await?;
        }
    }
    let file: PathBuf = place.join("join-token");
    let _before = fs::remove_file(&file);
    console
        .run(&[&"join-token", &"create", &"--out", &file])
        .await?;
    read_token(&file)
}

fn read_token(file: &Path) -> anyhow::Result<JoinToken> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the join token `{}`", file.display()))?;
    text.parse()
        .with_context(|| format!("`{}` holds no join token", file.display()))
}
