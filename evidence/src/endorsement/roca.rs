//! ROCA (CVE-2017-15361): RSA keys whose primes a faulty library took from a tiny set. Their moduli
//! show it, without being factored.
//!
//! The primes are `k·M + (65537^a mod M)`, where M is the product of the first 126 primes for keys of
//! 1984 to 3936 bits (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, §2 and §3.1). So
//! the modulus is a power of 65537 modulo each of those primes. A sound key is so by chance with a
//! probability below 2^-100.

/// The largest of the first 126 primes.
const LARGEST: u32 = 701;

/// What the faulty library raised to powers.
const GENERATOR: u32 = 65_537;

/// Whether an RSA modulus, big-endian, bears the mark. Meant for 1984 bits and more: shorter keys have
/// fewer primes in their M, and are refused for their length.
#[must_use]
pub fn bears_roca_mark(modulus: &[u8]) -> bool {
    let primes = (2..=LARGEST).filter(|number| is_prime(*number));
    primes
        .into_iter()
        .all(|prime| remainder(modulus, prime).is_some_and(|rest| is_power(rest, prime)))
}

fn is_prime(number: u32) -> bool {
    (2..number)
        .take_while(|divisor| divisor.saturating_mul(*divisor) <= number)
        .all(|divisor| number.checked_rem(divisor) != Some(0))
}

/// `modulus mod prime`, digit by digit; a prime below 2^16 keeps every step below 2^24.
fn remainder(modulus: &[u8], prime: u32) -> Option<u32> {
    modulus.iter().try_fold(0_u32, |rest, byte| {
        rest.checked_mul(256)?
            .checked_add(u32::from(*byte))?
            .checked_rem(prime)
    })
}

/// Whether `value` is a power of the generator modulo `prime`: walks the subgroup once.
fn is_power(value: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == value {
            return true;
        }
        let next = GENERATOR
            .checked_rem(prime)
            .and_then(|base| base.checked_mul(power))
            .and_then(|product| product.checked_rem(prime));
        match next {
            Some(next) if next != 1 => power = next,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `number · factor + summand`, little-endian bytes.
    fn multiply_add(number: &[u8], factor: u32, summand: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut carry = summand;
        for byte in number {
            carry += u64::from(*byte) * u64::from(factor);
            out.push(carry as u8);
            carry >>= 8;
        }
        while carry > 0 {
            out.push(carry as u8);
            carry >>= 8;
        }
        out
    }

    /// A number of 2048 bits that is 65537^power modulo M, big-endian.
    fn marked(power: u32) -> Vec<u8> {
        let mut number = vec![1];
        for prime in (2..=LARGEST).filter(|number| is_prime(*number)) {
            number = multiply_add(&number, prime, 0);
        }
        // A multiple of M of the right size: any k serves, the mark does not depend on it.
        while number.len() < 255 {
            number = multiply_add(&number, 251, 0);
        }
        while !(number.len() == 256 && number[255] >= 0x80) {
            number = multiply_add(&number, 2, 0);
        }
        let mut number = multiply_add(&number, 1, u64::from(GENERATOR).pow(power));
        number.reverse();
        number
    }

    #[test]
    fn a_modulus_of_the_faulty_library_is_known_by_its_remainders() {
        assert_eq!(
            (2..=LARGEST).filter(|number| is_prime(*number)).count(),
            126
        );
        for power in 0..4 {
            let number = marked(power);
            assert_eq!((number.len(), number[0] >= 0x80), (256, true));
            assert!(bears_roca_mark(&number), "65537^{power}");
            // One more, and the remainders are those of any number.
            let mut other = number;
            other[255] = other[255].wrapping_add(2);
            assert!(!bears_roca_mark(&other));
        }
        assert!(!bears_roca_mark(&[]));
    }

    #[test]
    fn sound_keys_do_not_bear_the_mark() {
        for _ in 0..4 {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
            let spki = rcgen::PublicKeyData::subject_public_key_info(&pair);
            let Some(super::super::public_key::PublicKey::Rsa { modulus, .. }) =
                super::super::public_key::PublicKey::of_canonical(&spki)
            else {
                panic!("not RSA");
            };
            assert!(!bears_roca_mark(&modulus));
        }
    }
}
