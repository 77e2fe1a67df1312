{{- define "waypost.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "waypost.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "waypost.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "waypost.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "waypost.role" -}}
{{- default (include "waypost.fullname" .) .Values.clusterRole.nameOverride -}}
{{- end -}}

{{- define "waypost.deployment" -}}
{{- default (include "waypost.fullname" .) .Values.deployment.name -}}
{{- end -}}

{{/* The labels that Pods are found by: CoreDNS's chart's. */}}
{{- define "waypost.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- if .Values.isClusterService }}
k8s-app: {{ default (include "waypost.name" .) .Values.k8sAppLabelOverride | quote }}
{{- end }}
app.kubernetes.io/name: {{ include "waypost.name" . | quote }}
{{- end -}}

{{/* The metadata of all objects but for their names; its argument is a list of the root, the own labels, the own annotations. */}}
{{- define "waypost.metadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- $labels := dict "app.kubernetes.io/managed-by" $root.Release.Service "helm.sh/chart" (printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_")) "app.kubernetes.io/version" $root.Chart.AppVersion }}
  {{- if $root.Values.isClusterService }}
  {{- $labels = merge $labels (dict "kubernetes.io/cluster-service" "true" "kubernetes.io/name" "CoreDNS") }}
  {{- end }}
  {{- toYaml (merge (index . 1) $root.Values.customLabels $labels (include "waypost.selector" $root | fromYaml)) | nindent 2 }}
{{- with merge (dict) (index . 2) $root.Values.customAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "waypost.pullSecrets" -}}
{{- with . }}
imagePullSecrets:
{{- range . }}
- name: {{ ternary . (get (ternary (dict) . (kindIs "string" .)) "name") (kindIs "string" .) | quote }}
{{- end }}
{{- end }}
{{- end -}}
