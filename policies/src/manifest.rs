//! Policy manifests: YAML documents that officers write, read into one checked [`PolicySet`].

mod document;
mod host_policy;
mod reference;
mod region;
mod replace;
mod stream;
mod workload;

use std::collections::BTreeMap;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

pub use document::ManifestError;
pub use host_policy::{
    Boot, Grade, HostPattern, HostPolicy, Location, Reprovision, Runtime, Violations,
};
pub use reference::{LifeCycle, ReferenceEvent, ReferenceValues, StartupLocality};
pub use region::Region;
pub use replace::with_reference;
pub use workload::{
    Digests, EXEMPT, HostHalf, ImageDemands, ImagePrefix, Placement, PodHalf, WorkloadPolicy,
};

/// JSON Schema (draft 2020-12) of one manifest, for editors. It is no stricter than [`PolicySet::parse_new`], which
/// also sees that names resolve.
pub const SCHEMA: &str = include_str!("../schema.json");

/// Everything that is in force, by kind and name. Each reference between manifests resolves.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// SHA-256 of the text that it was read from.
    pub digest: Sha256Digest,
    /// `HostPolicy` manifests.
    pub hosts: BTreeMap<String, HostPolicy>,
    /// `ReferenceValues` manifests.
    pub references: BTreeMap<String, ReferenceValues>,
    /// `Region` manifests.
    pub regions: BTreeMap<String, Region>,
    /// `WorkloadPolicy` manifests.
    pub workloads: BTreeMap<String, WorkloadPolicy>,
}

impl PolicySet {
    /// Nothing in force: every host is None, and no pod is anybody's concern. What a new attestor holds.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            digest: Sha256Digest::of(&[]),
            hosts: BTreeMap::new(),
            references: BTreeMap::new(),
            regions: BTreeMap::new(),
            workloads: BTreeMap::new(),
        }
    }

    /// Reads one or more YAML documents separated by `---`.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut set = Self::empty();
        set.digest = Sha256Digest::of(text.as_bytes());
        let documents = document::split(text)?;
        // An empty file would take every demand back: that is never what was meant.
        if documents.is_empty() {
            return Err(ManifestError::Empty);
        }
        for document in documents {
            document.read_into(&mut set)?;
        }
        set.check_references()?;
        Ok(set)
    }

    /// The same of manifests that are to come into force after those `in_force`: they name nothing that no pod can be of. What
    /// the same policy names already is no reason, so that it neither goes out of force nor keeps others from coming.
    pub fn parse_new(text: &str, in_force: &Self) -> Result<Self, ManifestError> {
        let set = Self::parse(text)?;
        for (name, policy) in &set.workloads {
            let before = in_force.workloads.get(name);
            let before = before.map_or(&[][..], |before| &before.pod.namespaces);
            let new = policy.pod.namespaces.iter();
            for namespace in new.filter(|namespace| !before.contains(namespace)) {
                let problem = workload::namespace_problem(namespace);
                problem.map_or(Ok(()), |why| {
                    Err(ManifestError::Namespace {
                        policy: name.clone(),
                        namespace: namespace.clone(),
                        why,
                    })
                })?;
            }
        }
        Ok(set)
    }

    /// What policy says about new keys of `host`; where no policy is for it, or several are, an operator
    /// decides.
    #[must_use]
    pub fn reprovision(&self, host: &HostId) -> Reprovision {
        let mut matching = self
            .hosts
            .values()
            .filter(|policy| policy.hosts.iter().any(|pattern| pattern.matches(host)));
        match (matching.next(), matching.next()) {
            (Some(policy), None) => policy.reprovision,
            _ => Reprovision::Approve,
        }
    }

    fn check_references(&self) -> Result<(), ManifestError> {
        for (name, policy) in &self.hosts {
            for reference in policy.boot.iter().flat_map(|boot| &boot.reference_values) {
                if !self.references.contains_key(reference) {
                    return Err(unresolved("HostPolicy", name, "ReferenceValues", reference));
                }
            }
        }
        self.check_anchors()?;
        for (name, policy) in &self.workloads {
            for region in policy.host.region.iter() {
                if !self.regions.contains_key(region) {
                    return Err(unresolved("WorkloadPolicy", name, "Region", region));
                }
            }
        }
        Ok(())
    }
}

impl PolicySet {
    /// What an event says is proven only as far as its PCR is pinned: a log can give a measured digest
    /// another label. So what is read out of events needs the PCR that they are in (docs/architecture.md, Rules).
    fn check_anchors(&self) -> Result<(), ManifestError> {
        let unanchored = |reference: &String, pcr: u8, what: &'static str| {
            Err(ManifestError::Unanchored {
                reference: reference.clone(),
                pcr,
                what,
            })
        };
        for (name, reference) in &self.references {
            if !reference.kernel_command_lines.is_empty() && !reference.pins(8) {
                return unanchored(name, 8, "kernelCommandLines");
            }
        }
        for boot in self
            .hosts
            .values()
            .filter_map(|policy| policy.boot.as_ref())
        {
            for name in boot.reference_values.iter().filter(|_| boot.secure_boot) {
                if self
                    .references
                    .get(name)
                    .is_some_and(|reference| !reference.pins(7))
                {
                    return unanchored(name, 7, "secureBoot");
                }
            }
        }
        Ok(())
    }
}

fn unresolved(kind: &str, name: &str, target_kind: &str, target: &str) -> ManifestError {
    ManifestError::Unresolved {
        from: format!("{kind} `{name}`"),
        to: format!("{target_kind} `{target}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_new_names_namespaces_that_pods_can_be_of() {
        let policy = |namespace: &str| {
            format!(
                "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w}}\n\
                 spec: {{pod: {{namespaces: ['{namespace}']}}, host: {{tier: affirming}}}}\n"
            )
        };
        let none = PolicySet::empty();
        let long = "a".repeat(64);
        for namespace in [
            "*",
            "pay*",
            "Payments",
            "pay_ments",
            "-a",
            "a-",
            "",
            &long,
            "kube-system",
        ] {
            let text = policy(namespace);
            let refused = PolicySet::parse_new(&text, &none)
                .map(drop)
                .unwrap_err()
                .to_string();
            assert!(refused.contains(&format!("`{namespace}`")), "{refused}");
            // What came into force before that was looked at stays so, and no other change waits for it.
            let in_force = PolicySet::parse(&text).unwrap();
            let more = format!("{text}---\n{REGION}");
            assert!(PolicySet::parse_new(&more, &in_force).is_ok());
            let another = text.replace("{name: w}", "{name: v}");
            assert!(PolicySet::parse_new(&another, &in_force).is_err());
            let one_more = text.replace("namespaces: [", "namespaces: ['b*', ");
            assert!(PolicySet::parse_new(&one_more, &in_force).is_err());
        }
        for namespace in ["payments", "a", "team-1"] {
            assert!(
                PolicySet::parse_new(&policy(namespace), &none).is_ok(),
                "{namespace}"
            );
        }
    }

    const REGION: &str = "apiVersion: touchstone.dev/v1
kind: Region
metadata: {name: germany}
spec: {version: 1, countries: [DE]}
";

    fn refused(text: &str) -> String {
        PolicySet::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn documents_are_told_apart_and_named() {
        let two = format!(
            "# a comment\n---\n{REGION}---\n{}",
            REGION.replace("germany", "other")
        );
        let set = PolicySet::parse(&two).unwrap();
        assert_eq!(set.regions.keys().collect::<Vec<_>>(), ["germany", "other"]);
        assert_eq!(set.digest, Sha256Digest::of(two.as_bytes()));
        let twice = format!("{REGION}---\n{REGION}");
        assert!(refused(&twice).contains("Region `germany` is there twice"));
    }

    #[test]
    fn errors_name_the_line_of_the_whole_text() {
        let text = format!("{REGION}---\n{}", REGION.replace("[DE]", "[Germany]"));
        let error = refused(&text);
        // Four lines of the first document, the separator, and the fourth of the second.
        assert!(
            error.contains("line 9") && error.contains("ISO 3166-1"),
            "{error}"
        );
        let misspelt = refused(&REGION.replace("countries", "country"));
        assert!(misspelt.contains("country"), "{misspelt}");
    }

    /// A text in which each document carried the lines before it would be one of 250 GB.
    #[test]
    fn a_text_of_as_many_documents_as_fit_is_read_as_one_of_its_size() {
        let room = 4 << 20;
        let comments = "---\n#\n".repeat((room - 200) / 6);
        let lines = comments.lines().count();
        let text = format!("{comments}---\n{}", REGION.replace("[DE]", "[Germany]"));
        let error = refused(&text);
        let line = format!("line {}, column", lines + 5);
        assert!(error.contains(&line), "{error}");
    }

    #[test]
    fn a_text_without_manifests_is_refused() {
        for empty in ["", "# nothing\n", "---\n", "\n---\n# only comments\n"] {
            assert!(
                matches!(PolicySet::parse(empty), Err(ManifestError::Empty)),
                "{empty:?}"
            );
        }
    }

    #[test]
    fn a_runtime_part_of_the_first_manifests_still_reads() {
        let runtime = |written: &str| {
            let text = format!(
                "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {{name: h}}\nspec: {{hosts: [a], freshnessSeconds: 60, runtime: {written}}}\n"
            );
            PolicySet::parse(&text)
                .map(|set| set.hosts["h"].runtime.as_ref().map(|part| part.violations))
                .map_err(|error| error.to_string())
        };
        assert_eq!(runtime("true"), Ok(Some(Violations::Refused)));
        assert_eq!(runtime("false"), Ok(None));
        let tolerated = runtime("{violations: tolerated}");
        assert_eq!(tolerated, Ok(Some(Violations::Tolerated)));
        for wrong in [
            "{}",
            "yes please",
            "{violations: some}",
            "{allowed: true}",
            "~",
        ] {
            assert!(runtime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_protects_nothing_is_refused() {
        let unknown = refused(&REGION.replace("Region", "Regio"));
        assert!(unknown.contains("use HostPolicy"), "{unknown}");
        let version = refused(&REGION.replace("/v1", "/v2"));
        assert!(
            version.contains("write `apiVersion: touchstone.dev/v1`"),
            "{version}"
        );
        let workload = |spec: &str| {
            format!(
                "{REGION}---\napiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w}}\nspec: {spec}\n"
            )
        };
        let never = refused(&workload("{pod: {namespaces: [a]}, host: {tier: none}}"));
        assert!(never.contains("never enough"), "{never}");
        let misspelt = refused(&workload(
            "{pod: {namespaces: [a]}, host: {tier: afirming}}",
        ));
        let offer = "`afirming` is no tier; use `affirming` or `warning`";
        assert!(misspelt.contains(offer), "{misspelt}");
        for never in ["none", "contraindicated"] {
            assert!(!misspelt.contains(never), "{misspelt}");
        }
        let negative = refused(&workload(
            "{pod: {namespaces: [a]}, host: {tier: warning}, placement: {terminationGraceSeconds: -5}}",
        ));
        assert!(
            negative.contains("`-5` seconds to end in; use 0 to 3600"),
            "{negative}"
        );
        let nobody = refused(&workload(
            "{pod: {namespaces: []}, host: {tier: affirming}}",
        ));
        assert!(nobody.contains("name at least one"), "{nobody}");
        let dangling = refused(&workload(
            "{pod: {namespaces: [a]}, host: {tier: affirming, region: mars}}",
        ));
        assert!(dangling.contains("names Region `mars`"), "{dangling}");
        assert!(
            PolicySet::parse(&workload(
                "{pod: {namespaces: [a]}, host: {tier: affirming, region: germany}}"
            ))
            .is_ok()
        );
    }

    #[test]
    fn new_keys_are_an_operators_matter_unless_the_one_policy_says_otherwise() {
        let policy = |name: &str, hosts: &str, more: &str| {
            format!(
                "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {{name: {name}}}\nspec: {{hosts: [{hosts}], freshnessSeconds: 60{more}}}\n"
            )
        };
        let text = [
            policy("a", "'de-*'", ", reprovision: automatic"),
            policy("b", "'de-2*', us-1", ""),
            policy("c", "us-2", ", reprovision: approve"),
        ]
        .join("---\n");
        let set = PolicySet::parse(&text).unwrap();
        for (host, expected) in [
            ("de-1", Reprovision::Automatic),
            ("de-2", Reprovision::Approve),
            ("us-1", Reprovision::Approve),
            ("us-2", Reprovision::Approve),
            ("fr-1", Reprovision::Approve),
        ] {
            assert_eq!(set.reprovision(&host.parse().unwrap()), expected, "{host}");
        }
        assert!(refused(&text.replace("automatic", "always")).contains("automatic"));
    }

    #[test]
    fn what_is_read_out_of_events_needs_its_register_pinned() {
        let digest = "00".repeat(32);
        let text = |pcrs: &str, spec: &str| {
            format!(
                "apiVersion: touchstone.dev/v1\nkind: ReferenceValues\nmetadata: {{name: r}}\nspec: {{provenance: p, lifeCycle: Active, pcrs: {pcrs}{spec}}}\n---\napiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {{name: h}}\nspec: {{hosts: ['*'], freshnessSeconds: 60, boot: {{referenceValues: [r], secureBoot: true}}}}\n"
            )
        };
        let all = format!("{{7: ['{digest}'], 8: ['{digest}']}}");
        assert!(PolicySet::parse(&text(&all, ", kernelCommandLines: [a]")).is_ok());
        let seven = format!("{{7: ['{digest}']}}");
        let unpinned = refused(&text(&seven, ", kernelCommandLines: [a]"));
        assert!(unpinned.contains("unless PCR 8"), "{unpinned}");
        let eight = format!("{{8: ['{digest}']}}");
        assert!(refused(&text(&eight, "")).contains("unless PCR 7"));
        assert!(refused(&text("{}", "")).contains("at least one PCR"));
        assert!(refused(&text("{7: []}", "")).contains("at least one value"));
    }
}
