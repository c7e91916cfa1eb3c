//! That pods stay where they must not, because too many nodes would lose theirs at once, or too many pods are said to run
//! another image: told once, and so is its end.

use touchstone_kubernetes::cluster_name::ClusterName;

use crate::audit::Event;

/// What was told last.
#[derive(Default)]
pub(super) struct Held {
    held: bool,
}

impl Held {
    /// As whoever led before told it last.
    pub(super) fn resume(held: Option<bool>) -> Self {
        Self {
            held: held.unwrap_or(false),
        }
    }

    /// Tells it, if it is not as it was told last; `nodes`: those that are held. What could not be written is told again.
    pub(super) async fn note<E: AsRef<dyn std::error::Error + Send + Sync>>(
        &mut self,
        cluster: &ClusterName,
        nodes: usize,
        write: impl AsyncFnOnce(Event) -> Result<(), E>,
    ) {
        let held = nodes > 0;
        if held == self.held {
            return;
        }
        match held {
            true => tracing::error!(
                nodes,
                "too many nodes would lose their pods at once, or too many pods are said to run another image: these are not ended until it is fewer; see `touchstone host list`, the policies and the warnings before this"
            ),
            false => tracing::info!("pods that may not stay are ended again"),
        }
        match write(Event::EvictionsHeld {
            cluster: cluster.clone(),
            nodes,
            held,
        })
        .await
        {
            Ok(()) => self.held = held,
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

    #[tokio::test]
    async fn what_could_not_be_written_is_told_again() {
        let mut held = Held::default();
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
            held.note(&ClusterName::default(), nodes, write).await;
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
            held.note(&ClusterName::default(), nodes, write).await;
            assert_eq!(wrote, told, "{before:?} {nodes}");
        }
    }
}
