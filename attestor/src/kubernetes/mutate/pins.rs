//! Digests in the place of tags, in every list of containers that a pod has.

use serde_json::Value;

/// Where a pod names images.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A container whose image is named by a tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tagged {
    list: &'static str,
    at: usize,
    container: String,
    /// As the pod names it.
    pub(super) image: String,
}

/// The containers of `pod` whose image has no digest. A container of `old` that keeps its image runs already, perhaps:
/// another name would start it anew.
pub(super) fn tagged(pod: &Value, old: Option<&Value>) -> Vec<Tagged> {
    let mut all = Vec::new();
    for list in LISTS {
        for (at, container) in containers(pod, list).iter().enumerate() {
            let (Some(image), name) = (word(container, "image"), word(container, "name")) else {
                continue;
            };
            let kept = old.is_some_and(|old| {
                let mut olds = containers(old, list).iter();
                olds.any(|old| word(old, "name") == name && word(old, "image") == Some(image))
            });
            if !image.is_empty() && !image.contains('@') && !kept {
                all.push(Tagged {
                    list,
                    at,
                    container: name.unwrap_or_default().to_owned(),
                    image: image.to_owned(),
                });
            }
        }
    }
    all
}

/// Puts `digest` in the place of the tag; what was done, in words.
pub(super) fn pin(pod: &mut Value, tagged: &Tagged, digest: &str) -> Option<String> {
    let containers = pod.get_mut("spec")?.get_mut(tagged.list)?;
    let image = containers.get_mut(tagged.at)?.get_mut("image")?;
    *image = format!("{}@{digest}", untagged(&tagged.image)).into();
    Some(format!("{} was {}", tagged.container, tagged.image))
}

/// The image without its tag: a colon behind the last slash begins one, others begin ports.
fn untagged(image: &str) -> &str {
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[name..].find(':') {
        Some(tag) => &image[..name + tag],
        None => image,
    }
}

fn containers<'a>(pod: &'a Value, list: &str) -> &'a [Value] {
    let list = pod.get("spec").and_then(|spec| spec.get(list));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn word<'a>(container: &'a Value, field: &str) -> Option<&'a str> {
    container.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tag_goes_and_a_port_stays() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("nginx:1", "nginx"),
            ("registry.example:5000/a/b", "registry.example:5000/a/b"),
            ("registry.example:5000/a/b:1", "registry.example:5000/a/b"),
        ] {
            assert_eq!(untagged(image), name);
        }
    }

    #[test]
    fn an_update_pins_only_what_it_changes() {
        let pod = |app: &str, debug: &str| {
            json!({ "spec": {
                "containers": [{ "name": "app", "image": app }],
                "ephemeralContainers": [{ "name": "debug", "image": debug }],
            } })
        };
        let old = pod("r/app:1", "r/debug:1");
        let images = |new: &Value, old| -> Vec<String> {
            let all = tagged(new, old).into_iter();
            all.map(|one| one.image).collect()
        };
        assert_eq!(images(&old, None), ["r/app:1", "r/debug:1"]);
        assert_eq!(images(&old, Some(&old)), [""; 0]);
        let new = pod("r/app:1", "r/debug:2");
        assert_eq!(images(&new, Some(&old)), ["r/debug:2"]);
        assert_eq!(images(&pod("r/app@sha256:0", ""), Some(&old)), [""; 0]);
    }
}
