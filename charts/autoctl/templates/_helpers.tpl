{{- define "autoctl.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "autoctl.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "autoctl.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "autoctl.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "autoctl.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "autoctl.selectorLabels" -}}
app.kubernetes.io/name: {{ include "autoctl.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "autoctl.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "autoctl.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* metadata.annotations from values.additionalAnnotations and, if given, an object's own. */}}
{{- define "autoctl.annotations" -}}
{{- $all := merge (dict) (.own | default dict) .root.Values.additionalAnnotations }}
{{- with $all -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "autoctl.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* The affinity, with the chart's own labels where an anti-affinity term selects nothing. */}}
{{- define "autoctl.affinity" -}}
{{- $affinity := deepCopy .Values.affinity }}
{{- $own := include "autoctl.selectorLabels" . | fromYaml }}
{{- range dig "podAntiAffinity" "requiredDuringSchedulingIgnoredDuringExecution" list $affinity }}
{{- if and (not (dig "labelSelector" "matchLabels" dict .)) (not (dig "labelSelector" "matchExpressions" list .)) }}
{{- $_ := set . "labelSelector" (dict "matchLabels" $own) }}
{{- end }}
{{- end }}
{{- toYaml $affinity }}
{{- end }}

{{- define "autoctl.topologySpreadConstraints" -}}
{{- $constraints := deepCopy .Values.topologySpreadConstraints }}
{{- $own := include "autoctl.selectorLabels" . | fromYaml }}
{{- range $constraints }}
{{- if not .labelSelector }}
{{- $_ := set . "labelSelector" (dict "matchLabels" $own) }}
{{- end }}
{{- end }}
{{- toYaml $constraints }}
{{- end }}

{{- /* settings.fooBar as AUTOCTL_FOO_BAR; lists and maps as JSON, which pydantic-settings reads. */}}
{{- define "autoctl.settingsEnv" -}}
{{- range $key, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: AUTOCTL_{{ $key | snakecase | upper }}
  {{- if or (kindIs "slice" $value) (kindIs "map" $value) }}
  value: {{ $value | toJson | quote }}
  {{- else if kindIs "float64" $value }}
  value: {{ $value | toJson | quote }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
