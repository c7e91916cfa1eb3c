//! One session with a token: found, logged in, and with a key that was looked at.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::uri::TokenUri;
use super::{Mac, TokenError};
use crate::keys;

/// Bytes of the key, and of what HMAC-SHA256 gives.
const LENGTH: u64 = 32;

/// What is looked at before a key is used.
const LOOKED_AT: [AttributeType; 9] = [
    AttributeType::KeyType,
    AttributeType::ValueLen,
    AttributeType::Private,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::Derive,
    AttributeType::Sign,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
];

/// A session that can compute with the key.
pub(super) struct Opened {
    session: Session,
    key: ObjectHandle,
}

/// Loads the module's library, once.
pub(super) fn module(uri: &TokenUri) -> Result<Pkcs11, TokenError> {
    let path = uri.module.clone();
    Pkcs11::new(&uri.module).map_err(|source| TokenError::Module { path, source })
}

impl Opened {
    /// Begins with the module, finds token and key, and makes the key if it is not there and `may_make`.
    pub(super) fn open(
        module: &Pkcs11,
        uri: &TokenUri,
        may_make: bool,
    ) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Failed {
            token: uri.token.clone(),
            source,
        };
        begin(module, uri)?;
        let (slot, info) = find_token(module, uri)?;
        let session = module.open_rw_session(slot).map_err(failed)?;
        log_in(&session, uri, &info)?;
        let key = match find_key(&session, uri)? {
            Some(key) => key,
            None if may_make => make_key(&session, uri)?,
            None => {
                let (token, object) = (uri.token.clone(), uri.object.clone());
                return Err(TokenError::KeyMissing { token, object });
            }
        };
        check(
            &session.get_attributes(key, &LOOKED_AT).map_err(failed)?,
            uri,
        )?;
        Ok(Self { session, key })
    }

    /// HMAC-SHA256 over `data`.
    pub(super) fn mac(&self, data: &[u8], uri: &TokenUri) -> Result<Mac, TokenError> {
        let mac = self.session.sign(&Mechanism::Sha256Hmac, self.key, data);
        let mac = mac.map(Zeroizing::new);
        let right = |mac: &Mac| u64::try_from(mac.len()) == Ok(LENGTH);
        match mac {
            Ok(mac) if right(&mac) => Ok(mac),
            other => Err(TokenError::Failed {
                token: uri.token.clone(),
                source: other.err().unwrap_or(Pkcs11Error::InvalidValue),
            }),
        }
    }
}

fn begin(module: &Pkcs11, uri: &TokenUri) -> Result<(), TokenError> {
    let begun = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    match begun {
        // By the key before this one, which is behind the same module.
        Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(source) => Err(TokenError::Beginning {
            path: uri.module.clone(),
            source,
        }),
    }
}

fn find_token(module: &Pkcs11, uri: &TokenUri) -> Result<(Slot, TokenInfo), TokenError> {
    let slots = module.get_slots_with_token();
    let slots = slots.map_err(|source| TokenError::Failed {
        token: uri.token.clone(),
        source,
    })?;
    let there: Vec<(Slot, TokenInfo)> = slots
        .into_iter()
        .filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?)))
        .filter(|(_, info)| info.token_initialized())
        .collect();
    let labels = there.iter().map(|(_, info)| info.label().to_owned());
    let labels = labels.collect();
    let serial = uri.serial.as_deref();
    let mut wanted = there.into_iter().filter(|(_, info)| {
        info.label() == uri.token && serial.is_none_or(|serial| info.serial_number() == serial)
    });
    match (wanted.next(), wanted.next()) {
        (Some(token), None) => Ok(token),
        (None, _) => Err(TokenError::NoToken {
            wanted: uri.token.clone(),
            there: labels,
        }),
        (Some(_), Some(_)) => Err(TokenError::SeveralTokens(uri.token.clone())),
    }
}

/// The PIN is read anew each time, and kept nowhere.
fn log_in(session: &Session, uri: &TokenUri, info: &TokenInfo) -> Result<(), TokenError> {
    let token = || uri.token.clone();
    if !info.login_required() {
        return Ok(());
    }
    let path = uri.pin.as_ref();
    let path = path.ok_or_else(|| TokenError::PinWanted(token()))?;
    if info.user_pin_final_try() {
        return Err(TokenError::PinAtStake(token()));
    }
    let bytes = keys::read_private_bytes(path)?;
    let text = str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(TokenError::NoPin(path.clone()));
    }
    match session.login(UserType::User, Some(&AuthPin::new(text.into()))) {
        Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Pkcs11Error::Pkcs11(
            RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked,
            _,
        )) => Err(TokenError::PinRefused(token())),
        Err(source) => Err(TokenError::Failed {
            token: token(),
            source,
        }),
    }
}

fn find_key(session: &Session, uri: &TokenUri) -> Result<Option<ObjectHandle>, TokenError> {
    let (token, object) = (uri.token.clone(), uri.object.clone());
    let found = session.find_objects(&[
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(uri.object.as_bytes().to_vec()),
    ]);
    match found {
        Ok(found) if found.len() > 1 => Err(TokenError::SeveralKeys { token, object }),
        Ok(found) => Ok(found.first().copied()),
        Err(source) => Err(TokenError::Failed { token, source }),
    }
}

fn make_key(session: &Session, uri: &TokenUri) -> Result<ObjectHandle, TokenError> {
    let failed = |source| TokenError::Failed {
        token: uri.token.clone(),
        source,
    };
    let made = session.generate_key(
        &Mechanism::GenericSecretKeyGen,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::ValueLen(LENGTH.into()),
            Attribute::Label(uri.object.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Derive(false),
        ],
    );
    let made = made.map_err(failed)?;
    // Another attestor may have made one at the same moment: then neither is used.
    if let Err(error) = find_key(session, uri) {
        session.destroy_object(made).map_err(failed)?;
        return Err(error);
    }
    tracing::warn!(
        "the master key `{}` was made in the token `{}`; back the token up",
        uri.object,
        uri.token
    );
    Ok(made)
}

/// What is not said is taken as bad. (One that is not `CKA_PRIVATE` serves without a login, and a token may keep it in
/// clear. With `CKA_DERIVE`, parts of a key can be had as other keys.)
fn check(attributes: &[Attribute], uri: &TokenUri) -> Result<(), TokenError> {
    let has = |attribute: &Attribute| attributes.contains(attribute);
    let kinds = [KeyType::GENERIC_SECRET, KeyType::SHA256_HMAC].map(Attribute::KeyType);
    let demands = [
        (kinds.iter().any(has), "it is no key of HMAC"),
        (
            has(&Attribute::ValueLen(LENGTH.into())),
            "it has not 256 bits",
        ),
        (
            has(&Attribute::Private(true)),
            "it can be used without a PIN",
        ),
        (has(&Attribute::Sensitive(true)), "it is not sensitive"),
        (has(&Attribute::Extractable(false)), "it could be extracted"),
        (
            has(&Attribute::Derive(false)),
            "others could be derived from it",
        ),
        (has(&Attribute::Sign(true)), "it may not sign"),
    ];
    if let Some((_, what)) = demands.iter().find(|(met, _)| !met) {
        let object = uri.object.clone();
        return Err(TokenError::Unfit { object, what });
    }
    let born = [
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
    ];
    if !born.iter().all(has) {
        tracing::warn!(
            "the master key `{}` was not made in its token: whoever brought it there may have kept it",
            uri.object
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::path::Path;

    use super::*;

    #[test]
    fn a_key_is_taken_only_if_every_demand_is_met() {
        let uri = "pkcs11:token=hsm;object=master?module-path=/m.so";
        let uri = TokenUri::of(Path::new(uri)).unwrap().unwrap();
        let fit = [
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::ValueLen(LENGTH.into()),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Derive(false),
            Attribute::Sign(true),
        ];
        check(&fit, &uri).unwrap();
        for at in 0..fit.len() {
            let without = [&fit[..at], &fit[at + 1..]].concat();
            let refused = check(&without, &uri);
            let unfit = matches!(refused, Err(TokenError::Unfit { .. }));
            assert!(unfit, "without {:?}", fit[at]);
            // Nothing is demanded that is not looked at.
            assert!(LOOKED_AT.contains(&fit[at].attribute_type()));
        }
    }
}
