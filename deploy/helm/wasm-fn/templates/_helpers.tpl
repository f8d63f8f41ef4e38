{{- define "wasm-fn.selector" -}}
app.kubernetes.io/name: wasm-fn
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "wasm-fn.labels" -}}
{{ include "wasm-fn.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
