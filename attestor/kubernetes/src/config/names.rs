//! What the settings name in a cluster: each name is one that an object can have. Of another nothing would ever be found,
//! and whoever is given a mistyped account would take our marks on nodes for somebody else's.

use super::Config;
use crate::object_name::{is_label, is_subdomain, shown};

/// How the API server calls service accounts: `system:serviceaccount:NAMESPACE:NAME`.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Longest name of a user that no service account is, bytes.
const USER_MAX: usize = 253;

const NAMESPACE: &str = "name of a namespace; say 1 to 63 lower-case letters, digits and hyphens, none of them a hyphen at either end";
const OBJECT: &str = "name of an object; say 1 to 253 lower-case letters, digits, hyphens and dots, each part between dots with a letter \
                      or digit at both ends";
const ACCOUNT: &str = "service account; say `system:serviceaccount:NAMESPACE:NAME`";
const USER: &str = "name of a user; say `system:serviceaccount:NAMESPACE:NAME`, or what the kubeconfig's certificate names";

/// A setting names what no cluster has.
#[derive(Debug, thiserror::Error)]
#[error("`{name}`, of `{setting}`, is no {meant}")]
pub struct NameError {
    /// Which setting.
    setting: &'static str,
    /// What it says, as far as it is shown.
    name: String,
    /// What is meant there, and how that is written.
    meant: &'static str,
}

/// Refuses the first name that is none.
pub(super) fn check(config: &Config) -> Result<(), NameError> {
    let demand = |good: bool, setting, name: &str, meant| match good {
        true => Ok(()),
        false => Err(NameError {
            setting,
            name: shown(name),
            meant,
        }),
    };
    let Config {
        namespace,
        webhooks,
        account,
        agent,
        ..
    } = config;
    demand(is_label(namespace), "namespace", namespace, NAMESPACE)?;
    demand(is_subdomain(webhooks), "webhooks", webhooks, OBJECT)?;
    if let Some(account) = account {
        // Who is in a pod is its service account.
        let (good, meant) = match config.kubeconfig {
            Some(_) => (is_user(account), USER),
            None => (service_account(account).is_some(), ACCOUNT),
        };
        demand(good, "account", account, meant)?;
    }
    if let Some(agent) = agent {
        demand(service_account(agent).is_some(), "agent", agent, ACCOUNT)?;
    }
    for namespace in &config.registries.pull_secrets {
        demand(is_label(namespace), "pull-secrets", namespace, NAMESPACE)?;
    }
    Ok(())
}

/// Namespace and name of a service account, as the API server calls it.
pub(super) fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (is_label(namespace) && is_subdomain(name)).then_some((namespace, name))
}

/// Whoever a kubeconfig may be of.
fn is_user(name: &str) -> bool {
    let odd = |character: char| character.is_whitespace() || character.is_control();
    let one_word = (1..=USER_MAX).contains(&name.len()) && !name.contains(odd);
    one_word && (!name.starts_with(SERVICE_ACCOUNT) || service_account(name).is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn read(text: &str) -> Result<Config, NameError> {
        let config: Config = toml::from_str(text).unwrap();
        check(&config).map(|()| config)
    }

    #[test]
    fn names_that_nothing_can_have_are_refused_with_what_is_meant() {
        let account = "say `system:serviceaccount:NAMESPACE:NAME`";
        let label = "say 1 to 63 lower-case letters, digits and hyphens, none";
        let object = "say 1 to 253 lower-case letters, digits, hyphens and dots";
        let long = "a".repeat(64);
        for (setting, text, name, meant) in [
            ("namespace", "namespace = ''", "", label),
            ("namespace", "namespace = 'Touchstone'", "Touchstone", label),
            ("namespace", "namespace = 'a.b'", "a.b", label),
            ("namespace", &format!("namespace = '{long}'"), &long, label),
            (
                "webhooks",
                "webhooks = 'touchstone/v1'",
                "touchstone/v1",
                object,
            ),
            ("webhooks", "webhooks = \"a\\nb\"", "a\\nb", object),
            ("account", "account = 'touchstone'", "touchstone", account),
            (
                "account",
                "account = 'system:serviceaccount:a'",
                "system:serviceaccount:a",
                account,
            ),
            ("agent", "agent = 'agent'", "agent", account),
            ("agent", "agent = 'system:node:a'", "system:node:a", account),
            (
                "agent",
                "agent = 'system:serviceaccount::b'",
                "system:serviceaccount::b",
                account,
            ),
            (
                "agent",
                "agent = 'system:serviceaccount:a:b:c'",
                "system:serviceaccount:a:b:c",
                account,
            ),
            (
                "agent",
                "agent = 'system:serviceaccount:A:b'",
                "system:serviceaccount:A:b",
                account,
            ),
            (
                "pull-secrets",
                "[registries]\npull-secrets = ['payments', '*']",
                "*",
                label,
            ),
        ] {
            let said = read(text).unwrap_err().to_string();
            let begin = format!("`{name}`, of `{setting}`, is no ");
            assert!(said.starts_with(&begin), "{text}: {said}");
            assert!(said.contains(meant), "{text}: {said}");
        }
    }

    #[test]
    fn whoever_a_kubeconfig_is_of_may_be_no_service_account() {
        let outside = |account: &str| read(&format!("kubeconfig = '/k'\naccount = \"{account}\""));
        for good in [
            "touchstone",
            "anna@example.org",
            "system:serviceaccount:a:b",
        ] {
            assert_eq!(outside(good).unwrap().account(), good);
        }
        for wrong in [
            "",
            "a b",
            "a\\n",
            "system:serviceaccount:a",
            &"a".repeat(254),
        ] {
            assert!(outside(wrong).is_err(), "{wrong}");
        }
    }
}
