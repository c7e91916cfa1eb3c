//! Rounds that carry a release key: bound to it, and else as any other.

use touchstone_evidence::result::TrustTier;
use touchstone_evidence::wire::Evidence;
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::world::healthy_host;
use touchstone_tpm_sim::lies::Said;

/// What is said of an honest round with a release key, once `lie` changed it.
async fn told(liar: &Liar, lie: impl FnOnce(&mut Evidence)) -> Said {
    let challenge = liar.challenge().await;
    let mut evidence = liar.evidence_with_release_key(&challenge).await;
    lie(&mut evidence);
    liar.send(&evidence).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_bound_to_its_release_key_and_not_judged_by_it() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let affirming = |said: Said| {
        let answer = said.unwrap();
        assert_eq!(answer.tier, TrustTier::Affirming, "{:?}", codes(&answer));
    };
    affirming(told(&liar, |_| ()).await);
    let other = |said: Said| assert_eq!(said.unwrap_err(), "qualifying-data-mismatch");
    let flip = |lie: &mut Evidence| lie.release_key.as_mut().unwrap().public.0[30] ^= 1;
    other(told(&liar, flip).await);
    other(told(&liar, |lie| lie.release_key = None).await);
    // A key that is not certified is no matter of the verdict: it is only that nothing is sealed to it.
    let uncertified = |lie: &mut Evidence| {
        let quote = lie.quote.clone();
        lie.release_key.as_mut().unwrap().certification = quote;
    };
    affirming(told(&liar, uncertified).await);
    affirming(liar.lie(|_| ()).await);
}
