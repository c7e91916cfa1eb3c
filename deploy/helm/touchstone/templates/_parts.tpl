{{/* Labels of everything: `include "touchstone.labels" (list . "attestor")`. */}}
{{- define "touchstone.labels" -}}
{{ include "touchstone.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
{{- end }}

{{/* Those by which pods are chosen; they never change. */}}
{{- define "touchstone.selector" -}}
app.kubernetes.io/name: touchstone
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The attestor's first name: in join tokens, and what API servers expect in its certificate. */}}
{{- define "touchstone.host" -}}
touchstone.{{ .Release.Namespace }}.svc
{{- end }}

{{/* What no container of ours needs. */}}
{{- define "touchstone.narrow" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
  - ALL
{{- end }}

{{/* The way to names, wherever they are told. */}}
{{- define "touchstone.dns" -}}
- ports:
  - port: 53
    protocol: UDP
  - port: 53
    protocol: TCP
{{- end }}
