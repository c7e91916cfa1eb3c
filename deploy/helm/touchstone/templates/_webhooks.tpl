{{/* What all webhooks have in common: `include "touchstone.webhook" (list . "validate")`. */}}
{{- define "touchstone.webhook" -}}
{{- $ := index . 0 -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: touchstone
    namespace: {{ $.Release.Namespace }}
    port: 8443
    path: /kubernetes/v1/{{ index . 1 }}{{ with $.Values.webhooks.secret }}/{{ . }}{{ end }}
  caBundle: {{ $.Values.webhooks.caBundle | trim | printf "%s\n" | b64enc }}
matchPolicy: Equivalent
sideEffects: NoneOnDryRun
timeoutSeconds: 3
{{- end }}

{{/* Where nothing is asked. */}}
{{- define "touchstone.exemptions" -}}
namespaceSelector:
  matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: [kube-system, kube-node-lease, kube-public, {{ .Release.Namespace }}]
{{- end }}

{{/* CEL: an object has other labels than before. The attestor knows it by these words (attestor/kubernetes/src/webhooks.rs). */}}
{{- define "touchstone.labels-differ" -}}
has(object.metadata.labels) != has(oldObject.metadata.labels)
|| (has(object.metadata.labels) && object.metadata.labels != oldObject.metadata.labels)
{{- end }}

{{/* CEL: a node comes with a label or taint of ours, or one of them is another than before. */}}
{{- define "touchstone.ours-differ" -}}
request.operation == 'CREATE'
? (has(object.metadata.labels)
  && object.metadata.labels.exists(k, k.startsWith('node-restriction.kubernetes.io/touchstone-')))
  || (has(object.spec.taints) && object.spec.taints.exists(t, t.key.startsWith('touchstone.dev/')))
: (has(object.metadata.labels) && object.metadata.labels.exists(k,
    k.startsWith('node-restriction.kubernetes.io/touchstone-')
    && !(has(oldObject.metadata.labels) && k in oldObject.metadata.labels
      && oldObject.metadata.labels[k] == object.metadata.labels[k])))
  || (has(oldObject.metadata.labels) && oldObject.metadata.labels.exists(k,
    k.startsWith('node-restriction.kubernetes.io/touchstone-')
    && !(has(object.metadata.labels) && k in object.metadata.labels)))
  || (has(object.spec.taints) && object.spec.taints.exists(t, t.key.startsWith('touchstone.dev/')
    && !(has(oldObject.spec.taints) && oldObject.spec.taints.exists(o, o.key == t.key && o.effect == t.effect
      && has(o.value) == has(t.value) && (!has(o.value) || o.value == t.value)))))
  || (has(oldObject.spec.taints) && oldObject.spec.taints.exists(o, o.key.startsWith('touchstone.dev/')
    && !(has(object.spec.taints) && object.spec.taints.exists(t, t.key == o.key && t.effect == o.effect))))
{{- end }}
