//! Required node affinity on our labels, in every term that is there: terms are alternatives, and one without it
//! would let the pod onto any node that it names.

use serde_json::{Map, Value, json};
use touchstone_policies::placement::Demand;

use super::object::{child, items};

/// Narrows the nodes that the pod may go to; what was added, in words. A list of no terms and a term without demands
/// select no node (Kubernetes API, `NodeSelectorTerm`) and stay as they are: with ours they would select some.
pub(super) fn require(pod: &mut Value, demands: &[Demand]) -> Vec<String> {
    let wanted: Vec<Value> = demands.iter().map(expression).collect();
    let added = narrow_all(pod, &wanted).unwrap_or_default();
    demands
        .iter()
        .zip(added)
        .filter(|(_, added)| *added)
        .map(|(demand, _)| words(demand))
        .collect()
}

/// Which of `wanted` some term did not have yet.
fn narrow_all(pod: &mut Value, wanted: &[Value]) -> Option<Vec<bool>> {
    if wanted.is_empty() {
        return None;
    }
    let spec = pod.get_mut("spec")?.as_object_mut()?;
    let affinity = child(child(spec, "affinity")?, "nodeAffinity")?;
    let required = affinity
        .entry("requiredDuringSchedulingIgnoredDuringExecution")
        .or_insert(Value::Null);
    if required.is_null() {
        *required = json!({ "nodeSelectorTerms": [{ "matchExpressions": wanted }] });
        return Some(vec![true; wanted.len()]);
    }
    let terms = required.get_mut("nodeSelectorTerms")?.as_array_mut()?;
    let mut added = vec![false; wanted.len()];
    for term in terms.iter_mut().filter_map(Value::as_object_mut) {
        narrow(term, wanted, &mut added);
    }
    Some(added)
}

fn narrow(term: &mut Map<String, Value>, wanted: &[Value], added: &mut [bool]) {
    let demands_nothing = ["matchExpressions", "matchFields"]
        .iter()
        .all(|demands| term.get(*demands).is_none_or(is_nothing));
    if demands_nothing {
        return;
    }
    let Some(expressions) = items(term, "matchExpressions") else {
        return;
    };
    for (expression, added) in wanted.iter().zip(added) {
        if !expressions.contains(expression) {
            expressions.push(expression.clone());
            *added = true;
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn expression(demand: &Demand) -> Value {
    match demand.values.as_slice() {
        [] => json!({ "key": demand.label, "operator": "Exists" }),
        values => json!({ "key": demand.label, "operator": "In", "values": values }),
    }
}

fn words(demand: &Demand) -> String {
    let values = demand.values.join(" or ");
    match demand.values.is_empty() {
        true => format!("only nodes with {}", demand.label),
        false => format!("only nodes with {} {values}", demand.label),
    }
}
