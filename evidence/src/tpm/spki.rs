//! DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7, RFC 3279 §2.3.1, RFC 5480 §2) of TPM keys.

use super::public::{Curve, Key};

/// SEQUENCE { rsaEncryption, NULL }.
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// SEQUENCE { id-ecPublicKey, prime256v1 }.
const P256_ALGORITHM: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// SEQUENCE { id-ecPublicKey, secp384r1 }.
const P384_ALGORITHM: [u8; 18] = [
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x22,
];

pub(super) fn of(key: &Key) -> Vec<u8> {
    match key {
        Key::Rsa { modulus } => of_rsa(modulus, &[1, 0, 1]),
        Key::Ec { curve, .. } => of_point(*curve, &key.point().unwrap_or_default()),
    }
}

/// Of the RSA key of these numbers, most significant byte first.
pub(crate) fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [integer(modulus), integer(exponent)].concat();
    info(&RSA_ALGORITHM, &der(0x30, &[&numbers]))
}

/// Of the key at this uncompressed point.
pub(crate) fn of_point(curve: Curve, point: &[u8]) -> Vec<u8> {
    let algorithm: &[u8] = match curve {
        Curve::P256 => &P256_ALGORITHM,
        Curve::P384 => &P384_ALGORITHM,
    };
    info(algorithm, point)
}

/// A number without leading zeros: one whose highest bit is set would be negative without one.
fn integer(number: &[u8]) -> Vec<u8> {
    match number.first() {
        Some(0x80..) => der(0x02, &[&[0], number]),
        _ => der(0x02, &[number]),
    }
}

/// SEQUENCE { algorithm, BIT STRING without unused bits }.
fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    der(0x30, &[algorithm, &der(0x03, &[&[0], key])])
}

/// A DER value of less than 64 KiB: tag, length in its shortest form, content.
fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let [.., high, low] = content.len().to_be_bytes();
    let mut out = vec![tag];
    match (high, low) {
        (0, 0..=0x7f) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(&content);
    out
}
