//! TPM firmware with published flaws, as data: by manufacturer and the version that attestations carry.
//!
//! Only what a vendor's or Microsoft's advisory lists by version is here; a version that is not listed
//! is not shown to be sound. Intel's PTT (CVE-2019-11090) and libtpms (CVE-2023-1017, CVE-2023-1018)
//! are left out: the first for want of a list by firmware version, the second because a virtual TPM
//! reports a fixed one.

use touchstone_evidence::endorsement::ManufacturerId;

/// A range of versions, both ends included, with the same flaw.
pub(super) struct Flaw {
    manufacturer: [u8; 4],
    from: Version,
    to: Version,
    /// Its name and number.
    pub(super) name: &'static str,
    /// What mends it.
    pub(super) fixed: &'static str,
}

/// The four 16-bit parts of `firmwareVersion` (TPM 2.0 Part 2 §10.12.8): how the vendors below number it.
type Version = [u16; 4];

const INFINEON: [u8; 4] = *b"IFX\0";
const ST: [u8; 4] = *b"STM ";
const NUVOTON: [u8; 4] = *b"NTC\0";

/// Weak RSA keys: Microsoft ADV170012, whose list is Infineon's.
const ROCA: &str = "ROCA, CVE-2017-15361";
/// ECDSA whose time tells the key: ST, "Information on ST's TPM firmware update".
const TPM_FAIL: &str = "TPM-FAIL, CVE-2019-16863";
/// A write out of bounds: Nuvoton SA-003.
const OUT_OF_BOUNDS: &str = "CVE-2023-1017";

const FLAWS: &[Flaw] = &[
    minors(INFINEON, 4, 0, 33, ROCA, "4.34 or newer"),
    minors(INFINEON, 4, 40, 42, ROCA, "4.43 or newer"),
    minors(INFINEON, 5, 0, 61, ROCA, "5.62 or newer"),
    minors(INFINEON, 6, 0, 42, ROCA, "6.43 or newer"),
    minors(INFINEON, 7, 0, 61, ROCA, "7.62 or newer"),
    minors(INFINEON, 133, 0, 32, ROCA, "133.33 or newer"),
    minors(ST, 71, 0, 0, TPM_FAIL, "71.16"),
    minors(ST, 71, 4, 4, TPM_FAIL, "71.16"),
    minors(ST, 71, 12, 12, TPM_FAIL, "71.16"),
    minors(ST, 73, 0, 0, TPM_FAIL, "73.20"),
    minors(ST, 73, 4, 4, TPM_FAIL, "73.20"),
    minors(ST, 73, 5, 5, TPM_FAIL, "73.21"),
    minors(ST, 73, 8, 8, TPM_FAIL, "73.64"),
    minors(ST, 73, 9, 9, TPM_FAIL, "73.65"),
    minors(ST, 74, 0, 0, TPM_FAIL, "74.20"),
    minors(ST, 74, 4, 4, TPM_FAIL, "74.20"),
    minors(ST, 74, 5, 5, TPM_FAIL, "74.21"),
    minors(ST, 74, 8, 8, TPM_FAIL, "74.64"),
    minors(ST, 74, 9, 9, TPM_FAIL, "74.65"),
    minors(ST, 74, 16, 16, TPM_FAIL, "74.64"),
    exactly(NUVOTON, [1, 3, 0, 1], OUT_OF_BOUNDS, "1.3.2.20"),
    exactly(NUVOTON, [1, 3, 1, 0], OUT_OF_BOUNDS, "1.3.2.20"),
    exactly(NUVOTON, [1, 3, 2, 8], OUT_OF_BOUNDS, "1.3.2.20"),
];

/// The flaw of this firmware, if one is known.
pub(super) fn known_flaw(manufacturer: ManufacturerId, version: u64) -> Option<&'static Flaw> {
    let version = parts(version);
    FLAWS.iter().find(|flaw| {
        flaw.manufacturer == manufacturer.0 && (flaw.from..=flaw.to).contains(&version)
    })
}

/// A version as the vendors write it.
pub(super) fn text(version: u64) -> String {
    parts(version).map(|part| part.to_string()).join(".")
}

fn parts(version: u64) -> Version {
    let [a, b, c, d, e, f, g, h] = version.to_be_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes)
}

/// Every build of the versions `major.from` to `major.to`.
const fn minors(
    manufacturer: [u8; 4],
    major: u16,
    from: u16,
    to: u16,
    name: &'static str,
    fixed: &'static str,
) -> Flaw {
    Flaw {
        manufacturer,
        from: [major, from, 0, 0],
        to: [major, to, u16::MAX, u16::MAX],
        name,
        fixed,
    }
}

const fn exactly(
    manufacturer: [u8; 4],
    version: Version,
    name: &'static str,
    fixed: &'static str,
) -> Flaw {
    Flaw {
        manufacturer,
        from: version,
        to: version,
        name,
        fixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version([a, b, c, d]: Version) -> u64 {
        [a, b, c, d]
            .into_iter()
            .fold(0, |version, part| version << 16 | u64::from(part))
    }

    #[test]
    fn the_ends_of_each_range_are_in_it_and_their_neighbours_are_not() {
        for (vendor, bad, sound) in [
            (INFINEON, vec![[5, 0, 0, 0], [5, 61, 9, 9]], [5, 62, 0, 0]),
            (INFINEON, vec![[4, 33, 0, 0], [4, 40, 0, 0]], [4, 34, 0, 0]),
            (
                INFINEON,
                vec![[7, 61, 0, 0], [133, 32, 0, 0]],
                [7, 85, 4555, 0],
            ),
            (INFINEON, vec![[6, 42, 1, 0]], [133, 33, 0, 0]),
            (
                ST,
                vec![[71, 12, 3, 4], [73, 9, 0, 0]],
                [73, 20, 17568, 5511],
            ),
            (ST, vec![[74, 8, 17568, 5511]], [74, 64, 0, 0]),
            (NUVOTON, vec![[1, 3, 2, 8]], [1, 3, 2, 20]),
            (NUVOTON, vec![[1, 3, 0, 1]], [7, 2, 3, 1]),
        ] {
            let flaw = |parts| known_flaw(ManufacturerId(vendor), version(parts));
            for parts in bad {
                assert!(flaw(parts).is_some(), "{parts:?}");
            }
            assert!(flaw(sound).is_none(), "{sound:?}");
        }
        // The simulator, and another vendor's firmware of the same number.
        assert!(known_flaw(ManufacturerId(*b"IBM\0"), 0x2019_1023_0016_3636).is_none());
        assert!(known_flaw(ManufacturerId(*b"INTC"), version([5, 1, 0, 0])).is_none());
    }
}
