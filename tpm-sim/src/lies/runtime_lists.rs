//! L6 to L8: lies about the runtime list, over an honest quote. They show only where policy demands
//! `runtime` with violations refused.

use touchstone_evidence::ima::{PART_MAX, whole_entries};
use touchstone_evidence::wire::{Evidence, RuntimePart};

use super::liar::{accepted, code};
use super::{Enrolled, Error, Liar, Machine, Result, Told};
use crate::profile::Profile;
use crate::runtime_list::{file, legacy, record, violation};

pub(super) const TOLD: &[&str] = &[
    "L6f", "L6g", "L6h", "L6i", "L6j", "L6k", "L6m", "L6n", "L6o", "L6p", "L6q", "L6r", "L6s",
    "L6t", "L6u", "L6v", "L6w", "L7d", "L7e", "L7f", "L7g", "L7h", "L7i", "L8d", "L8e", "L8f",
    "L8g",
];

/// Entries that were added to the end and never measured were believed.
const BELIEVED: &str = "believed";

pub(super) async fn tell(scene: &Enrolled<'_>) -> Result<Told> {
    let Enrolled { liar, machine, .. } = *scene;
    let mut told = Told::new();
    machine.reboot()?;
    first_lists(liar, machine.profile.runtime_list, &mut told).await?;
    // From here on a list is accepted.
    let answer = accepted(liar.lie(|_| ()).await?)?;
    let position = answer.challenge.runtime;
    let offset = position.ok_or(Error::Scene("an honest list is not accepted"))?;
    continued(liar, machine, offset.offset, &mut told).await?;
    measured(liar, machine, &mut told).await?;
    machine.reboot()?;
    Ok(told)
}

/// Lies of a host that has shown no list in this boot.
async fn first_lists(liar: &Liar, honest: &[u8], told: &mut Told) -> Result<()> {
    for (id, list) in altered(honest)? {
        told.insert(id, code(&liar.lie(|lie| show(lie, 0, list)).await?));
    }
    let withheld = liar.lie(|lie| lie.runtime = None).await?;
    told.insert("L7h", code(&withheld));
    let long = [honest, &file("/bin/x", b"").repeat(PART_MAX / 92)].concat();
    let large = liar.lie(|lie| show(lie, 0, long)).await?;
    told.insert("L8d", code(&large));
    let put_off = liar.lie(|lie| {
        show(lie, 0, first_entry(honest).to_vec());
        lie.runtime.iter_mut().for_each(|part| part.more = true);
    });
    told.insert("L8e", code(&put_off.await?));
    told.insert("L8f", endless(liar, honest).await?);
    let challenge = liar.challenge().await?;
    let evidence = serde_json::to_vec(&liar.evidence(&challenge).await?)?;
    // Nothing bounds what would come out of it.
    let packed = [bomb(16), evidence].concat();
    told.insert("L8g", code(&liar.send_encoded("gzip", packed).await?));
    Ok(())
}

/// Lists made from the honest one.
fn altered(honest: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let ends = ends(honest);
    let [_, _, _, _, _, from, to, .., before_last, _] = ends[..] else {
        return Err(Error::Scene("a recorded list is too short"));
    };
    // The seventh entry: template `ima-sig`, a SHA-256 digest.
    let (head, line, tail) = (&honest[..from], &honest[from..to], &honest[to..]);
    let glue = |entry: &[u8]| [head, entry, tail].concat();
    let changed = |at: usize, bytes: &[u8]| {
        let mut line = line.to_vec();
        line[at..at + bytes.len()].copy_from_slice(bytes);
        glue(&line)
    };
    let digest = [&b"sha256:\0"[..], &[7; 32]].concat();
    let odd_path = record("ima-ng", &[&digest, b"/bin/sh\0/bin/evil\0"]);
    let broken = record(
        "ima-ng",
        &[&[&b"md5:\0"[..], &[7; 16]].concat(), b"/bin/x\0"],
    );
    let mut large = record("ima-ng", &[&digest, b"/bin/x\0"]);
    large[34..38].fill(0xff);
    Ok(vec![
        ("L6f", honest[..honest.len() - 1].to_vec()),
        ("L6g", honest[..before_last].to_vec()),
        ("L6h", [head, &file("/bin/evil", b""), line, tail].concat()),
        ("L6i", glue(&file("/bin/evil", b""))),
        ("L6j", changed(60, &[0xaa, 0xbb])),
        ("L6m", glue(&odd_path)),
        ("L6o", changed(28, b"abc-sig")),
        ("L6p", changed(43, b"sha512")),
        ("L6q", changed(28, b"ima-buf")),
        ("L6r", glue(&broken)),
        ("L6u", changed(0, &[11])),
        ("L6w", glue(&large)),
    ])
}

/// Full parts of an honest beginning and the smallest entries there are, and always more to come.
async fn endless(liar: &Liar, honest: &[u8]) -> Result<String> {
    let entries = legacy(&[1; 20], "").repeat(PART_MAX / 55);
    let mut first = [first_entry(honest), &entries].concat();
    first.truncate(PART_MAX);
    first.truncate(whole_entries(&first));
    let mut next = Some((0, first));
    loop {
        let (offset, part) = next.take().unwrap_or_default();
        let said = liar.lie(|lie| {
            show(lie, offset, part);
            lie.runtime.iter_mut().for_each(|part| part.more = true);
        });
        let said = said.await?;
        let goes_on = said.as_ref().ok().and_then(|answer| {
            let position = answer.challenge.runtime?;
            (code(&said) == "ima-list-unfinished").then_some(position.offset)
        });
        match goes_on {
            Some(reached) if reached > offset => next = Some((reached, entries.clone())),
            _ => return Ok(code(&said)),
        }
    }
}

/// Lies of a host whose list was accepted up to `offset`, and has grown by two entries since.
async fn continued(liar: &Liar, machine: Machine<'_>, offset: u64, told: &mut Told) -> Result<()> {
    let new = [file("/bin/one", b"1"), file("/bin/two", b"2")];
    machine.runtime_list.measure(machine.tpm, &new.concat())?;
    let honest = machine.profile.runtime_list;
    let whole = [honest, &new.concat()].concat();
    let [one, two] = &new;
    let after_one = offset + length(one);
    let shorter = whole_entries(&honest[..honest.len() / 2]);
    for (id, offset, entries) in [
        ("L7d", after_one, two.clone()),
        ("L7e", 0, whole.clone()),
        ("L7g", 0, honest[..shorter].to_vec()),
        ("L7i", offset, Vec::new()),
    ] {
        let said = liar.lie(|lie| show(lie, offset, entries)).await?;
        told.insert(id, code(&said));
    }
    let more = liar.lie(|lie| {
        let part = lie.runtime.iter_mut();
        part.for_each(|part| part.entries.0.extend(file("/bin/never", b"")));
    });
    let said = more.await?;
    let reached = accepted(said.clone())?.challenge.runtime;
    let believed = reached.is_none_or(|reached| reached.offset != length(&whole));
    told.insert(
        "L6v",
        match believed {
            true => BELIEVED.to_owned(),
            false => code(&said),
        },
    );
    Ok(())
}

/// What a kernel has really measured: none of these lists lies about that.
async fn measured(liar: &Liar, machine: Machine<'_>, told: &mut Told) -> Result<()> {
    let lines = file("/tmp/a\n10 ff ima-ng sha256:00 /bin/b", b"");
    machine.runtime_list.measure(machine.tpm, &lines)?;
    told.insert("L6n", code(&liar.lie(|_| ()).await?));
    let written = violation("/var/log/x");
    machine.runtime_list.measure(machine.tpm, &written)?;
    let violated = liar.lie(|_| ()).await?;
    told.insert("L6k", code(&violated));
    let before = accepted(violated)?.challenge.runtime;
    let before = before.map(|position| position.offset).unwrap_or_default();

    machine.reboot()?;
    let continued = liar.lie(|lie| show(lie, before, Vec::new()));
    told.insert("L7f", code(&continued.await?));
    let other = Profile::named("shim_sb_evil");
    let other = other.ok_or(Error::Scene("a recorded boot is missing"))?;
    machine.reboot_to(other.runtime_list)?;
    told.insert("L6s", code(&liar.lie(|_| ()).await?));
    let honest = machine.profile.runtime_list;
    machine.reboot_to(&honest[first_entry(honest).len()..])?;
    told.insert("L6t", code(&liar.lie(|_| ()).await?));
    Ok(())
}

fn show(lie: &mut Evidence, offset: u64, entries: Vec<u8>) {
    lie.runtime = Some(RuntimePart {
        offset,
        entries: entries.into(),
        more: false,
    });
}

/// Where each entry ends.
fn ends(list: &[u8]) -> Vec<usize> {
    let mut ends: Vec<usize> = (1..=list.len())
        .map(|length| whole_entries(&list[..length]))
        .collect();
    ends.retain(|end| *end > 0);
    ends.dedup();
    ends
}

fn first_entry(list: &[u8]) -> &[u8] {
    let end = ends(&list[..list.len().min(512)]).first().copied();
    &list[..end.unwrap_or_default()]
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A gzip member (RFC 1952) of some hundred kilobytes that unpacks to `mebibytes` of zeros: one literal zero,
/// then copies of it, 258 at a time, under fixed codes (RFC 1951 §3.2.6). What follows it is not looked at.
fn bomb(mebibytes: usize) -> Vec<u8> {
    // Last block, fixed codes; the literal 0.
    let mut bits = vec![1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    for _ in 0..(mebibytes << 20) / 258 {
        // Length code 285, distance code 0.
        bits.extend([1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
    }
    bits.extend([0; 7]);
    let byte = |bits: &[u8]| {
        let bits = bits.iter().enumerate();
        bits.fold(0u8, |byte, (at, bit)| byte | bit << at)
    };
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    head.into_iter().chain(bits.chunks(8).map(byte)).collect()
}
