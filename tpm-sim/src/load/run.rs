//! A run of rounds, from its beginning to its report.

use std::sync::Arc;
use std::time::Instant;

use super::admissions::{self, Found};
use super::arguments::Rounds;
use super::crew::{self, AT_ONCE, Traits};
use super::drive::{self, Driven};
use super::load::Load;
use super::metrics;
use super::pool::Pool;
use super::report::{Phase, Phases, Report};
use super::subject::{Subject, allow_connections};
use super::{pace, progress, yardstick};

/// Does all of it.
pub(crate) async fn run(rounds: &Rounds) -> anyhow::Result<Report> {
    allow_connections(rounds.connections())?;
    let subject = Subject::meet(rounds.target.wanted(rounds.tags)?).await?;
    let began = Instant::now();
    let pool = Pool::new(Arc::clone(&subject.endpoint), rounds.connections());
    let pool = Arc::new(pool);
    let traits = Traits {
        tags: rounds.tags,
        runtime_list: rounds.runtime_list,
        distinct_logs: rounds.distinct_logs,
    };
    let mustered = crew::muster(&subject, rounds.target.hosts(), traits, &pool);
    let (hosts, enrolments) = mustered.await?;
    let load = Arc::new(Load::new(pool, hosts, began, rounds.reboot));

    let first = first(rounds, &subject, &load).await;
    let steady = match rounds.duration().is_zero() {
        true => None,
        false => Some(steady(rounds, &subject, &load).await),
    };
    let admissions = admissions(rounds, &subject, &load).await?;
    let end = metrics::read(&subject.operator).await;
    let phases = Phases {
        enrolments,
        first,
        steady,
        admissions,
        p256_verification_micros: yardstick::p256_verification_micros()?,
    };
    Ok(Report::new(rounds, &subject, phases, end))
}

async fn first(rounds: &Rounds, subject: &Subject, load: &Arc<Load>) -> Phase {
    let bar = progress::bar("first rounds", load.hosts() as u64);
    let at_once = AT_ONCE.min(rounds.connections());
    let driven = drive::each_once(load, at_once, &bar);
    let phase = measured(subject, load, driven).await;
    bar.finish_and_clear();
    phase
}

async fn steady(rounds: &Rounds, subject: &Subject, load: &Arc<Load>) -> Phase {
    let (rate, duration) = (rounds.rate, rounds.duration());
    let bar = progress::bar("rounds", pace::turns(rate, duration));
    let phase = match rate == 0.0 {
        true => {
            let at_once = rounds.connections();
            let driven = drive::as_fast_as_answered(load, at_once, duration, &bar);
            measured(subject, load, driven).await
        }
        false => {
            let driven = drive::at_rate(load, rate, duration, &bar);
            measured(subject, load, driven).await
        }
    };
    bar.finish_and_clear();
    phase
}

/// The phase of rounds that `driven` does, with what it cost.
async fn measured(subject: &Subject, load: &Load, driven: impl Future<Output = Driven>) -> Phase {
    let before = metrics::read(&subject.operator).await;
    let opened = load.pool.opened();
    let driven = driven.await;
    let opened = load.pool.opened() - opened;
    let after = metrics::read(&subject.operator).await;
    Phase::new(driven, opened, metrics::between(&before, &after))
}

async fn admissions(
    rounds: &Rounds,
    subject: &Subject,
    load: &Arc<Load>,
) -> anyhow::Result<Option<Found>> {
    match rounds.admissions.admissions {
        Some(rate) => admissions::run(&rounds.admissions, rate, subject, load)
            .await
            .map(Some),
        None => Ok(None),
    }
}
