//! What came of encrypted images on one host, what is due there, and each cell in which it differs.

use comfy_table::Table;
use serde::Serialize;

use super::ran::Ran;
use super::record::Recorded;
use crate::demo::expectation::{Due, Mismatch};

/// Of one host.
#[derive(Debug, Serialize)]
pub(in crate::demo) struct Outcome {
    pub(in crate::demo) host: &'static str,
    /// Stage 3: the workload ran there.
    pub(super) image: Ran,
    /// Stage 4: the workload read its records there.
    pub(super) information: Ran,
    /// After its place was taken back, where it was.
    pub(super) taken_back: Option<TakenBack>,
    /// After the authority vouched for it again.
    pub(super) restored: Option<Ran>,
    /// What the audit log says.
    pub(in crate::demo) recorded: Recorded,
}

/// What becomes of a workload whose host lost its place.
#[derive(Debug, Serialize)]
pub(in crate::demo) struct TakenBack {
    /// It ran, was killed, and is off the disk.
    pub(super) gone: bool,
    /// The same runtime, asked to run it anew.
    pub(super) again: Ran,
}

impl Outcome {
    /// Of a host that was asked to run the image.
    pub(super) fn begin(host: &'static str, image: Ran) -> Self {
        Self {
            host,
            image,
            information: Ran::default(),
            taken_back: None,
            restored: None,
            recorded: Recorded::default(),
        }
    }
}

/// Why a host without a place is refused.
const NO_PLACE: &str = "the location tag was taken back";

/// Every cell of `outcome` that differs from what is due.
pub(in crate::demo) fn mismatches(due: &Due, outcome: &Outcome) -> Vec<Mismatch> {
    let words = due.why.refusal();
    let [image, information] =
        [(&outcome.image, "runs"), (&outcome.information, "read")].map(|(ran, good)| {
            let expected = match due.place_admits {
                true => good.to_owned(),
                false => refused(&words),
            };
            (expected, seen(ran, good, &words))
        });
    let cells = [
        ("image (stage 3)", image),
        ("information (stage 4)", information),
        ("place taken back", (of_who_may(due, LOST), outcome.lost())),
        (
            "place vouched for again",
            (of_who_may(due, "runs"), outcome.regained()),
        ),
        (
            "audit log",
            (logged(due).to_owned(), outcome.recorded.in_short()),
        ),
    ];
    let differing = cells
        .into_iter()
        .filter(|(_, (expected, seen))| expected != seen);
    let mismatch = |(cell, (expected, seen))| Mismatch {
        host: outcome.host.to_owned(),
        cell,
        expected,
        seen,
    };
    differing.map(mismatch).collect()
}

/// What became of the workload when its host lost its place.
const LOST: &str = "killed and purged; then refused: the location tag was taken back";
/// Where a host was asked for nothing.
const NOTHING: &str = "-";

/// Only who may run the workload can lose it.
fn of_who_may(due: &Due, what: &str) -> String {
    match due.place_admits {
        true => what.to_owned(),
        false => NOTHING.to_owned(),
    }
}

fn logged(due: &Due) -> &'static str {
    match due.place_admits {
        true => "keys released, images purged",
        false => "keys refused",
    }
}

fn refused(words: &str) -> String {
    format!("refused: {words}")
}

/// A refusal that gives the reason that is due is that reason.
fn seen(ran: &Ran, good: &str, words: &str) -> String {
    match (ran.good, !words.is_empty() && ran.said.contains(words)) {
        (true, _) => good.to_owned(),
        (false, true) => refused(words),
        (false, false) => refused(&ran.said),
    }
}

impl Outcome {
    fn lost(&self) -> String {
        let Some(TakenBack { gone, again }) = &self.taken_back else {
            return NOTHING.to_owned();
        };
        let refused = !again.good && again.said.contains(NO_PLACE);
        match (gone, refused) {
            (true, true) => LOST.to_owned(),
            (true, false) => format!("killed and purged; then {}", again.shown("ran")),
            (false, _) => format!("neither killed nor purged; then {}", again.shown("ran")),
        }
    }

    fn regained(&self) -> String {
        match &self.restored {
            Some(ran) => seen(ran, "runs", ""),
            None => NOTHING.to_owned(),
        }
    }
}

/// One row for each host.
pub(in crate::demo) fn fill(table: &mut Table, outcomes: &[Outcome]) {
    table.set_header([
        "host",
        "payments/api",
        "its records",
        "place taken back",
        "vouched again",
        "audit log",
    ]);
    for outcome in outcomes {
        let purged = outcome.taken_back.as_ref();
        let purged = purged.map_or(NOTHING, |taken| match taken.gone {
            true => "killed and purged",
            false => "NOT PURGED",
        });
        let restored = outcome.restored.as_ref();
        table.add_row([
            outcome.host,
            outcome.image.word("runs"),
            outcome.information.word("read"),
            purged,
            restored.map_or(NOTHING, |ran| ran.word("runs")),
            &outcome.recorded.in_full(),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::fleet::plans;

    fn ran(good: bool, said: &str) -> Ran {
        Ran {
            good,
            said: said.to_owned(),
        }
    }

    fn cells(due: &Due, outcome: &Outcome) -> Vec<&'static str> {
        let mismatches = mismatches(due, outcome);
        mismatches.iter().map(|mismatch| mismatch.cell).collect()
    }

    #[test]
    fn each_cell_is_compared() {
        let [good, abroad, altered] = plans(false).map(|plan| plan.due);
        let mut outcome = Outcome::begin("h", ran(true, "hello"));
        outcome.information = ran(true, "a record");
        outcome.taken_back = Some(TakenBack {
            gone: true,
            again: ran(false, "the location tag was taken back"),
        });
        outcome.restored = Some(ran(true, "hello"));
        outcome.recorded = Recorded {
            released: 3,
            refused: 2,
            purged: 1,
        };
        assert_eq!(cells(&good, &outcome), [""; 0]);
        let all = [
            "image (stage 3)",
            "information (stage 4)",
            "place taken back",
            "place vouched for again",
            "audit log",
        ];
        assert_eq!(cells(&abroad, &outcome), all);
        assert_eq!(cells(&altered, &outcome), all);

        outcome.taken_back = Some(TakenBack {
            gone: true,
            again: ran(false, "for another reason"),
        });
        assert_eq!(cells(&good, &outcome), ["place taken back"]);
        let nowhere = Outcome::begin("h", ran(false, "for another reason"));
        assert_eq!(cells(&good, &nowhere), all);
    }

    #[test]
    fn a_refusal_must_give_the_reason_that_is_due() {
        let [_, abroad, altered] = plans(false).map(|plan| plan.due);
        let region = "h stands in US (US-VA, iad1), outside the region `germany`";
        let mut outcome = Outcome::begin("h", ran(false, region));
        outcome.information = ran(false, region);
        outcome.recorded.refused = 2;
        assert_eq!(cells(&abroad, &outcome), [""; 0]);
        assert_eq!(
            cells(&altered, &outcome),
            ["image (stage 3)", "information (stage 4)"]
        );
        outcome.recorded.released = 1;
        assert_eq!(cells(&abroad, &outcome), ["audit log"]);
    }
}
