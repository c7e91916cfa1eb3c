//! Who did what an entry tells.

use crate::role::{CredentialName, Role};

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Holder of a credential.
    Staff(Staff),
    /// The host that the event names, by its enrolled TLS key.
    Host,
    /// Holder of a join token.
    JoinToken,
    /// A caller of the webhook with a configured TLS key.
    WebhookCertificate,
    /// A caller of the webhook who knew its secret path.
    WebhookSecret,
    /// The attestor itself.
    Attestor,
}

/// Somebody who showed a credential that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staff {
    pub(crate) name: CredentialName,
    pub(crate) role: Role,
}

impl Actor {
    /// The word for it in an entry.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Staff(staff) => staff.role.word(),
            Self::Host => "host",
            Self::JoinToken => "join-token",
            Self::WebhookCertificate => "webhook-certificate",
            Self::WebhookSecret => "webhook-secret",
            Self::Attestor => "attestor",
        }
    }

    /// Whose credential it was.
    pub(crate) fn credential(&self) -> Option<&str> {
        match self {
            Self::Staff(staff) => Some(staff.name.as_str()),
            _ => None,
        }
    }
}
