//! That pods stay where they must not, because too many nodes would lose theirs at once, or too many pods are said to run
//! another image: told once, and so is its end.

use touchstone_kubernetes::cluster_name::ClusterName;

use crate::audit::Event;

/// What is held in a round.
#[derive(Clone, Copy)]
pub(super) struct Holding {
    /// On how many nodes.
    pub(super) nodes: usize,
    /// Since too many nodes would lose theirs.
    pub(super) of_hosts: bool,
    /// Since too many pods are said to run another image.
    pub(super) of_images: bool,
}

/// What was told last.
pub(super) struct Held {
    held: bool,
    /// For which of the two; `None`: whoever led before told it.
    reasons: Option<(bool, bool)>,
}

impl Held {
    /// As whoever led before told it last.
    pub(super) fn resume(held: Option<bool>) -> Self {
        Self {
            held: held.unwrap_or(false),
            reasons: None,
        }
    }

    /// Tells it, if it is not as it was told last. What could not be written is told again.
    pub(super) async fn note<E: AsRef<dyn std::error::Error + Send + Sync>>(
        &mut self,
        cluster: &ClusterName,
        holding: Holding,
        write: impl AsyncFnOnce(Event) -> Result<(), E>,
    ) {
        let Holding { nodes, .. } = holding;
        let held = nodes > 0;
        let reasons = (holding.of_hosts, holding.of_images);
        if held == self.held && self.reasons.is_none_or(|told| told == reasons) {
            self.reasons = Some(reasons);
            return;
        }
        if holding.of_hosts {
            tracing::error!(
                nodes,
                "too many nodes would lose their pods at once: none is ended until fewer would; see `touchstone host list` and the policies"
            );
        }
        if holding.of_images {
            tracing::error!(
                nodes,
                "too many pods are said to run another image: none is ended for that until it is fewer; see the warning before this"
            );
        }
        if !held {
            tracing::info!("pods that may not stay are ended again");
        }
        match write(Event::EvictionsHeld {
            cluster: cluster.clone(),
            nodes,
            held,
        })
        .await
        {
            Ok(()) => (self.held, self.reasons) = (held, Some(reasons)),
            Err(error) => {
                let error = error.as_ref() as &dyn std::error::Error;
                tracing::error!(error, "an entry was not written");
            }
        }
    }

    /// Whether the entry says how it is, with that many nodes held.
    pub(super) fn is_told(&self, nodes: usize) -> bool {
        self.held == (nodes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Written = Result<(), Box<dyn std::error::Error + Send + Sync>>;

    fn of_hosts(nodes: usize) -> Holding {
        Holding {
            nodes,
            of_hosts: nodes > 0,
            of_images: false,
        }
    }

    #[tokio::test]
    async fn hosts_that_fall_are_told_of_where_images_are_held_already() {
        let mut held = Held::resume(None);
        let mut told = 0;
        for (of_hosts, of_images, is_news) in [
            (false, true, true),
            (false, true, false),
            (true, true, true),
            (true, false, true),
            (false, false, true),
            (false, false, false),
        ] {
            let holding = Holding {
                nodes: usize::from(of_hosts) + usize::from(of_images),
                of_hosts,
                of_images,
            };
            let before = told;
            let write = async |_: Event| -> Written {
                told += 1;
                Ok(())
            };
            held.note(&ClusterName::default(), holding, write).await;
            assert_eq!(told - before, usize::from(is_news));
        }
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_told_again() {
        let mut held = Held::resume(None);
        let mut told = Vec::new();
        for (nodes, written) in [
            (0, true),
            (3, false),
            (2, true),
            (4, true),
            (0, false),
            (0, true),
        ] {
            let write = async |event: Event| -> Written {
                told.push((event, written));
                match written {
                    true => Ok(()),
                    false => Err("the database is away".into()),
                }
            };
            held.note(&ClusterName::default(), of_hosts(nodes), write)
                .await;
        }
        let told: Vec<(usize, bool, bool)> = told
            .into_iter()
            .filter_map(|(event, written)| match event {
                Event::EvictionsHeld { nodes, held, .. } => Some((nodes, held, written)),
                _ => None,
            })
            .collect();
        assert_eq!(
            told,
            [
                (3, true, false),
                (2, true, true),
                (0, false, false),
                (0, false, true)
            ]
        );
    }

    #[tokio::test]
    async fn who_leads_next_tells_an_end_and_no_begin_twice() {
        for (before, nodes, told) in [
            (Some(true), 2, None),
            (Some(true), 0, Some(false)),
            (Some(false), 2, Some(true)),
            (None, 2, Some(true)),
            (None, 0, None),
        ] {
            let mut wrote = None;
            let write = async |event: Event| -> Written {
                if let Event::EvictionsHeld { held, .. } = event {
                    wrote = Some(held);
                }
                Ok(())
            };
            let mut held = Held::resume(before);
            held.note(&ClusterName::default(), of_hosts(nodes), write)
                .await;
            assert_eq!(wrote, told, "{before:?} {nodes}");
        }
    }
}
