//! Annotations of encrypted layers, and the cipher options in them: what opens is what was sealed.

#![no_main]

use touchstone_evidence::annotation::{Annotation, Binding, layer_of};
use touchstone_evidence_fuzz::{SECRET, one_byte_changed};

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    seals(data) | reads(data)
}

/// The input as cipher options.
fn seals(options: &[u8]) -> bool {
    let Ok(layer) = layer_of(options) else {
        return false;
    };
    let binding = Binding {
        key: "payments".parse().unwrap(),
        key_version: 3,
        layer,
        policy: "payments-eu".parse().unwrap(),
    };
    let sealed = Annotation::seal(binding.clone(), options, &SECRET, [1; 12]).unwrap();
    let json = sealed.to_json().unwrap();
    let opened = Annotation::parse(&json).unwrap().open(&SECRET).unwrap();
    assert_eq!(opened.options(), options);
    assert_eq!(opened.binding(), &binding);
    let changed = one_byte_changed(&json).and_then(|json| Annotation::parse(&json).ok());
    if let Some(changed) = changed.filter(|changed| *changed != sealed) {
        assert!(changed.open(&SECRET).is_err());
    }
    true
}

/// The input as an annotation.
fn reads(json: &[u8]) -> bool {
    let Ok(annotation) = Annotation::parse(json) else {
        return false;
    };
    let written = annotation.to_json().unwrap();
    assert_eq!(Annotation::parse(&written), Ok(annotation.clone()));
    if let Ok(opened) = annotation.open(&SECRET) {
        assert_eq!(opened.binding(), annotation.untrusted_binding());
        assert_eq!(layer_of(opened.options()), Ok(opened.binding().layer));
    }
    true
}
